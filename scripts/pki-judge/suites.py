"""Runs `cert-tool verify` over three suites of certificates that others made, and writes the tables of
`docs/pki-judges.md`.

- x509-limbo (https://x509-limbo.com): `limbo.json`, given by its path. Its server cases are judged with
  `--for tls-server --host NAME`, its client cases with `--for tls-client`.
- NIST PKITS and the X.509 vectors of Python's `cryptography`: from the package `cryptography_vectors`.

Every verdict that is not the suite's must be on the list of exceptions, with a reason. Ends with 1 where
one is not, or where an exception is no longer needed.
"""

import argparse
import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import warnings

import cryptography_vectors
from cryptography import x509

HERE = pathlib.Path(__file__).parent
TABLES = re.compile(r"(<!-- tables: begin -->\n).*(<!-- tables: end -->)", re.DOTALL)


class Verdict:
    """What `cert-tool verify` says of a certificate."""

    def __init__(self, code, out, err):
        self.code = code
        checks = [json.loads(line) for line in out.splitlines()]
        faults = [f"{one['check']}: {one['fault']}" for one in checks if not one["ok"]]
        self.is_accepted = code == 0
        self.why = "; ".join(faults) or err.strip().split("\n")[0]


class Judge:
    """Runs the binary on files in a folder of its own."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder

    def write(self, name, parts):
        path = self.folder / name
        path.write_text("\n".join(parts))
        return path

    def verify(self, leaf, trusted, between=(), crls=(), at=None, options=()):
        command = [self.binary, "--format", "json", "verify", self.write("leaf.pem", [leaf])]
        command += ["--ca", self.write("trusted.pem", trusted)]
        if between:
            command += ["--intermediates", self.write("between.pem", between)]
        if crls:
            command += ["--crl", self.write("crls.pem", crls)]
        if at:
            command += ["--at", at]
        ran = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
        if ran.returncode not in (0, 1, 2, 3):
            raise SystemExit(f"{command} ended with {ran.returncode}: {ran.stderr}")
        return Verdict(ran.returncode, ran.stdout, ran.stderr)


class Suite:
    """The cases of a suite, their verdicts, and those that are another than the suite's."""

    def __init__(self, name, exceptions):
        self.name = name
        self.accepted = exceptions[name]["accepted"]
        self.refused = exceptions[name]["refused"]
        self.groups = {}
        self.others = []
        self.left_out = 0

    def add(self, group, case, should_accept, verdict):
        counts = self.groups.setdefault(group, [0, 0, 0, 0])
        counts[0 if should_accept else 2] += 1
        if should_accept != verdict.is_accepted:
            counts[1 if should_accept else 3] += 1
            self.others.append((case, should_accept, verdict.why))

    def reason(self, case, should_accept, why):
        """The written reason of a verdict that is not the suite's; nothing where there is none."""
        if not should_accept:
            return self.accepted.get(case)
        for pattern, reason in self.refused.items():
            if re.search(pattern, why):
                return reason
        return None

    def table(self):
        yield "| group | good | of them refused | bad | of them accepted |"
        yield "|---|--:|--:|--:|--:|"
        for group, counts in sorted(self.groups.items()):
            yield f"| {group} | " + " | ".join(map(str, counts)) + " |"
        sums = [sum(column) for column in zip(*self.groups.values())]
        yield "| **all** | " + " | ".join(f"**{count}**" for count in sums) + " |"

    def listed(self):
        for title, wanted in (("Bad ones that are accepted", False), ("Good ones that are refused", True)):
            found = [other for other in self.others if other[1] == wanted]
            reasons = {}
            for other in sorted(found):
                reason = self.reason(*other) or "**no reason is written down**"
                reasons.setdefault(reason, []).append(other[0])
            if not reasons:
                yield f"{title}: none."
                yield ""
                continue
            yield f"{title} ({len(found)}), and why:"
            yield ""
            for reason, cases in sorted(reasons.items()):
                names = "" if wanted and len(cases) > 12 else ": " + ", ".join(f"`{case}`" for case in cases)
                yield from list_item(f"{reason} ({len(cases)}){names}.")
            yield ""
        if self.left_out:
            yield f"Left out, because `verify` has no such option: {self.left_out}."
            yield ""

    def complaints(self):
        for other in self.others:
            if self.reason(*other) is None:
                case, should_accept, why = other
                wanted = "refused, though it is good" if should_accept else "accepted, though it is bad"
                yield f"{self.name}: {case} is {wanted}: {why}"
        for case in self.accepted.keys() - {case for case, should_accept, _ in self.others if not should_accept}:
            yield f"{self.name}: {case} needs no exception any more"


def limbo(path, judge, exceptions):
    """x509-limbo."""
    suite = Suite("x509-limbo", exceptions)
    for case in json.loads(path.read_text())["testcases"]:
        if case["max_chain_depth"] is not None:
            suite.left_out += 1
            continue
        name = case["expected_peer_name"]
        if case["validation_kind"] == "CLIENT":
            options = ["--for", "tls-client"]
        else:
            options = ["--for", "tls-server"]
            if name and name["kind"] in ("DNS", "IP"):
                options += ["--host", name["value"]]
        at = case["validation_time"]
        verdict = judge.verify(
            case["peer_certificate"],
            case["trusted_certs"],
            case["untrusted_intermediates"],
            case.get("crls", []),
            at.replace("+00:00", "Z") if at else None,
            options,
        )
        group = case["id"].rsplit("::", 1)[0]
        suite.add(group, case["id"], case["expected_result"] == "SUCCESS", verdict)
    return suite


# End certificates whose names do not say that NIST wants them refused with its default inputs.
PKITS_INVALID = re.compile(r"Invalid|DifferentPoliciesTest(4|5|7|8|9|12)EE")
PKITS_TEST = re.compile(r"(.+?)Test(\d+)(EE)?$")
# At this moment every certificate of PKITS that is meant to be good is.
PKITS_TIME = "2020-01-01T00:00:00Z"


def pkits(folder, judge, exceptions):
    """NIST PKITS: each end certificate below the one root, with all its CAs and revocation lists."""
    suite = Suite("PKITS", exceptions)
    certificates = {path.stem: pem(path) for path in sorted((folder / "certs").glob("*.crt"))}
    trusted = [certificates.pop("TrustAnchorRootCertificate")]
    ends = {name for name in certificates if PKITS_TEST.fullmatch(name) and name.endswith("EE")}
    between = [text for name, text in certificates.items() if name not in ends]
    crls = [crl_pem(path) for path in sorted((folder / "crls").glob("*.crl"))]
    for name in sorted(ends):
        verdict = judge.verify(
            certificates[name],
            trusted,
            between,
            crls,
            PKITS_TIME,
            ["--for", "tls-client"],
        )
        suite.add(pkits_group(name), name, not PKITS_INVALID.match(name), verdict)
    return suite


# The sections of PKITS, by the names of their tests.
PKITS_SECTIONS = [
    ("4.1 signatures", r"CertificatePath|CASignature|EESignature|DSA"),
    ("4.2 validity periods", r"CAnot|EEnot|pre2000UTCnot|pre2000UTCEE|GeneralizedTimenot"),
    ("4.3 name chaining", r"NameChaining|NameUIDs|RFC3280|Rollover|UTF8String"),
    ("4.5 self-issued certificates", r"BasicSelfIssued"),
    ("4.6 basic constraints", r"MissingbasicConstraints|cAFalse|basicConstraintsNot|pathLen|SelfIssuedpathLen"),
    ("4.7 key usage", r"keyUsage"),
    ("4.8-4.12 policies", r".*Polic|UserNotice|CPSPointer|Mapping"),
    ("4.13 name constraints", r".*nameConstraints"),
    ("4.14 distribution points", r"distributionPoint|NoissuingDist|only|IDPwith|cRLIssuer"),
    ("4.15 delta lists", r"deltaCRL"),
    ("4.16 private extensions", r"UnknownNotCriticalCert|UnknownCriticalCert"),
]


def pkits_group(name):
    """The section of a test."""
    topic = re.sub(r"^(Valid|Invalid)", "", PKITS_TEST.fullmatch(name).group(1))
    found = (section for section, pattern in PKITS_SECTIONS if re.match(pattern, topic))
    return next(found, "4.4 revocation lists")


# Vectors that are damaged or break a rule of RFC 5280, so that nobody may accept them.
PYCA_BAD = {
    "badasn1time.pem",
    "custom/ec_no_named_curve.pem",
    "custom/empty-eku.pem",
    "custom/invalid-sct-length.der",
    "custom/invalid_utf8_common_name.pem",
    "custom/invalid_version.pem",
    "custom/malformed-ian.pem",
    "custom/malformed-san.pem",
    "custom/mismatch_inner_outer_sig_algorithm.der",
    "custom/nc_invalid_ip4_netmask.der",
    "custom/nc_invalid_ip_netmask.pem",
    "custom/nc_ip_invalid_length.pem",
    "custom/negative_serial.pem",
    "custom/two_basic_constraints.pem",
    "custom/unsupported_extension_critical.pem",
    "verisign_md2_root.pem",
}


def pyca(folder, judge, exceptions):
    """The vectors of Python's `cryptography`: each certificate as a client's, trusted itself."""
    suite = Suite("pyca", exceptions)
    folders = [folder, folder / "custom"]
    for path in sorted(file for place in folders for file in place.iterdir() if file.is_file()):
        text = certificate(path)
        if text is None:
            continue
        name = str(path.relative_to(folder))
        verdict = judge.verify(text, [text], at=middle(text), options=["--for", "tls-client"])
        group = "custom" if path.parent.name == "custom" else "real certificates"
        is_good = name not in PYCA_BAD
        suite.add(group, name, is_good, verdict)
    return suite


def certificate(path):
    """The first certificate of a file as PEM; nothing where there is none."""
    body = path.read_bytes()
    if b"-----BEGIN" not in body:
        return armour(body, "CERTIFICATE") if path.suffix == ".der" and b"crl" not in path.name.encode() else None
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", body, re.DOTALL)
    return found and found.group().decode() + "\n"


def middle(text):
    """A moment at which a certificate is good; nothing where its dates can't be read."""
    try:
        parsed = x509.load_pem_x509_certificate(text.encode())
        begin, end = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except (ValueError, x509.InvalidVersion):
        return None
    return (begin + (end - begin) / 2).strftime("%Y-%m-%dT%H:%M:%SZ")


def pem(path):
    return armour(path.read_bytes(), "CERTIFICATE")


def crl_pem(path):
    return armour(path.read_bytes(), "X509 CRL")


def armour(der, label):
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


def list_item(text):
    """The lines of an item of a list, at most 100 columns wide."""
    return textwrap.wrap(
        text,
        width=100,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def write_tables(page, suites, notes):
    lines = []
    for suite, title in suites:
        lines += [f"## {title}", "", *suite.table(), "", *suite.listed()]
    lines += notes
    text = "\n".join(lines).rstrip() + "\n"
    before = page.read_text()
    after = TABLES.sub(lambda found: f"{found.group(1)}\n{text}\n{found.group(2)}", before)
    page.write_text(after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path, help="cert-tool")
    parser.add_argument("--limbo", type=pathlib.Path, help="limbo.json; without it that suite is not run")
    parser.add_argument("--write", type=pathlib.Path, metavar="PAGE", help="write the tables into this page")
    parser.add_argument("--verbose", action="store_true", help="print every verdict that is not the suite's")
    arguments = parser.parse_args()
    if arguments.write and not arguments.limbo:
        parser.error("--write needs --limbo: the page has the tables of all suites")
    warnings.simplefilter("ignore")
    exceptions = json.loads((HERE / "exceptions.json").read_text())
    vectors = pathlib.Path(cryptography_vectors.__file__).parent / "x509"
    suites = []
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(arguments.binary.resolve(), pathlib.Path(folder))
        if arguments.limbo:
            suites.append((limbo(arguments.limbo, judge, exceptions), "x509-limbo"))
        else:
            print("x509-limbo is not run: give the path of its limbo.json with --limbo", file=sys.stderr)
        suites.append((pkits(vectors / "PKITS_data", judge, exceptions), "NIST PKITS"))
        suites.append((pyca(vectors, judge, exceptions), "The vectors of Python's `cryptography`"))
    for suite, title in suites:
        print(title, *suite.table(), "", sep="\n")
        if arguments.verbose:
            for case, should_accept, why in suite.others:
                print("refused " if should_accept else "ACCEPTED", case, why)
    if arguments.write:
        write_tables(arguments.write, suites, [])
    complaints = [line for suite, _ in suites for line in suite.complaints()]
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
