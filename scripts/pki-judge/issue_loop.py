"""Issues certificates for the first rows of a batch with Python's cryptography, into a CSV with PEM and
thumbprints: issue_loop.py CERTIFICATE KEY BATCH OUT ROWS. A process for each core."""

import csv
import datetime
import multiprocessing
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USAGE = dict.fromkeys(
    [
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ],
    False,
)


def start(certificate, key):
    """Reads the CA once in each process."""
    global ISSUER, KEY, AUTHORITY, NOT_BEFORE, NOT_AFTER
    with open(certificate, "rb") as file:
        ca = x509.load_pem_x509_certificate(file.read())
    with open(key, "rb") as file:
        KEY = serialization.load_pem_private_key(file.read(), None)
    ISSUER = ca.subject
    AUTHORITY = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())
    NOT_BEFORE = datetime.datetime.now(datetime.timezone.utc)
    NOT_AFTER = NOT_BEFORE + datetime.timedelta(days=365)


def issue(device):
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)]))
        .issuer_name(ISSUER)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **USAGE), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(AUTHORITY, critical=False)
        .sign(KEY, hashes.SHA256())
    )
    return [
        device,
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate.fingerprint(hashes.SHA256()).hex().upper(),
        certificate.fingerprint(hashes.SHA1()).hex().upper(),
    ]


def main():
    certificate, key, batch, out, rows = sys.argv[1:]
    with open(batch, newline="") as file:
        devices = [row["device_id"] for row, _ in zip(csv.DictReader(file), range(int(rows)))]
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", newline="") as file:
        writer = csv.writer(file)
        with multiprocessing.Pool(initializer=start, initargs=(certificate, key)) as pool:
            writer.writerows(pool.imap(issue, devices, chunksize=64))


if __name__ == "__main__":
    main()
