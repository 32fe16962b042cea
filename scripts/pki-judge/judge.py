"""Judges certificates with pkilint and with the path validator of Python's `cryptography`.

Arguments: folders, each with `root.pem`, `issuing.pem`, and any of `leaf-*.pem`, `crl.pem`, and
`other-*.pem`, which are linted only. Prints what is wrong and ends with 1 if anything is.
"""

import contextlib
import io
import pathlib
import sys

from cryptography import x509
from cryptography.x509 import verification
from pkilint.bin import lint_crl, lint_pkix_cert


def lint(tool, arguments):
    """What a linter of pkilint finds, at warning or above; nothing where all is well."""
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = tool.main(arguments)
        except SystemExit as end:
            code = end.code
        except Exception as error:  # what a linter can't read is a finding too
            code, _ = 1, said.write(repr(error))
    return said.getvalue().strip() or f"exit code {code}" if code else None


def validate(root, issuing, leaf):
    """Why `cryptography` would not let a client in; nothing where it would."""
    # A device has no DNS name, which is all that web servers would look at.
    policy = verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(
        x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([load(root)]))
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy
        )
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(load(leaf), [load(issuing)]).chain
    except verification.VerificationError as error:
        return str(error)
    return None if len(chain) == 3 else f"a chain of {len(chain)}"


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def judge(folder):
    root, issuing, crl = (folder / name for name in ("root.pem", "issuing.pem", "crl.pem"))
    leaves = sorted(folder.glob("leaf-*.pem"))
    for certificate in [root, issuing, *leaves, *sorted(folder.glob("other-*.pem"))]:
        yield certificate, "pkilint", lint(lint_pkix_cert, ["lint", str(certificate), "-s", "WARNING"])
    for leaf in leaves:
        yield leaf, "cryptography", validate(root, issuing, leaf)
    if crl.exists():
        yield crl, "pkilint", lint(lint_crl, ["lint", "-t", "CRL", "-p", "PKIX", str(crl), "-s", "WARNING"])


def main():
    count = 0
    is_good = True
    for folder in map(pathlib.Path, sys.argv[1:]):
        for file, by, fault in judge(folder):
            count += 1
            if fault:
                is_good = False
                print(f"{file}: {by}: {fault}")
    print(f"{count} judgements")
    return 0 if is_good and count else 1


if __name__ == "__main__":
    sys.exit(main())
