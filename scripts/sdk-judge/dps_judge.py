"""Judges a running DPS with Microsoft's own client, azure-iot-deviceprovisioning, unchanged.

Usage:
    pip install -r requirements.txt
    export IOTDPS_CONNECTION_STRING="$(local-hub connection-string --data DIR --dps)"
    export REQUESTS_CA_BUNDLE=DIR/ca.pem
    python dps_judge.py CERTIFICATES

CERTIFICATES is a folder with a certificate in `devices/judge-dps/chain.pem`, the device's first.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin.
Every entry it makes has an id that begins with "judge-dps", and it deletes them all.
"""

import base64
import os
import pathlib
import re
import sys
import time
import traceback

try:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.core.exceptions import HttpResponseError
    from azure.iot.deviceprovisioning import DeviceProvisioningClient, generate_sas_token
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

PREFIX = "judge-dps"
KEY = base64.b64encode(bytes([1]) * 32).decode()
OTHER_KEY = base64.b64encode(bytes([2]) * 32).decode()
KEYS = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": OTHER_KEY}}
ALL = {"query": "SELECT *"}

CHECKS = []


def check(function):
    """Registers a check; its docstring is what it is called."""
    CHECKS.append(function)
    return function


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def refused(status, code, call, *arguments, **options):
    """Runs a call that the DPS must refuse with this status and this error code."""
    try:
        call(*arguments, **options)
    except HttpResponseError as error:
        equal(error.status_code, status, "status")
        equal(error.response.headers.get("x-ms-error-code"), str(code), "x-ms-error-code")
        equal(error.response.json()["errorCode"], code, "errorCode")
        return
    raise AssertionError(f"not refused, wanted {status} {code}")


def enrollment(name, attestation=KEYS, **members):
    return {"registrationId": f"{PREFIX}-{name}", "attestation": attestation, **members}


def group(name, attestation=KEYS, **members):
    return {"enrollmentGroupId": f"{PREFIX}-{name}", "attestation": attestation, **members}


def certificates():
    """The certificates of the chain, the device's first."""
    chain = pathlib.Path(sys.argv[1], "devices", "judge-dps", "chain.pem").read_text()
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", chain, re.DOTALL)


@check
def symmetric_keys(dps):
    """an enrolment with keys of its own, and one with generated keys"""
    entry = enrollment("own", deviceId="pump", provisioningStatus=None, iotHubs=None)
    made = dps.enrollment.create_or_update(f"{PREFIX}-own", entry)
    equal(made["attestation"], KEYS, "keys")
    equal((made["deviceId"], made["provisioningStatus"]), ("pump", None), "members")
    read = dps.enrollment.get(f"{PREFIX}-own")
    equal(read["attestation"], {"type": "symmetricKey"}, "attestation without keys")
    equal(read["registrationState"]["status"], "unassigned", "registration state")
    equal(read["etag"], made["etag"], "etag")
    equal(dps.enrollment.get_attestation_mechanism(f"{PREFIX}-own"), KEYS, "attestation mechanism")
    made = dps.enrollment.create_or_update(f"{PREFIX}-gen", enrollment("gen", {"type": "symmetricKey"}))
    equal(len(base64.b64decode(made["attestation"]["symmetricKey"]["primaryKey"])), 32, "generated key")


@check
def x509(dps):
    """an enrolment with a certificate, of which the DPS returns the facts"""
    leaf = certificates()[0]
    attestation = {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": leaf}}}}
    made = dps.enrollment.create_or_update(f"{PREFIX}-x509", enrollment("x509", attestation))
    shown = made["attestation"]["x509"]["clientCertificates"]
    equal(shown["primary"]["info"]["subjectName"], "CN=judge-dps", "subject")
    equal(shown["primary"], shown["secondary"], "secondary")
    equal("certificate" in shown["primary"], False, "certificate in the answer")


@check
def tpm(dps):
    """an enrolment with the keys of a TPM"""
    attestation = {"type": "tpm", "tpm": {"endorsementKey": "AToAAQALAAMAsgAg"}}
    made = dps.enrollment.create_or_update(f"{PREFIX}-tpm", enrollment("tpm", attestation))
    equal(made["attestation"], attestation, "attestation")


@check
def optimistic_concurrency(dps):
    """updates and deletions by the current etag, and refusals for all others"""
    name = f"{PREFIX}-etag"
    first = dps.enrollment.create_or_update(name, enrollment("etag"))
    refused(409, 409201, dps.enrollment.create_or_update, name, enrollment("etag"))
    second = dps.enrollment.create_or_update(name, {**first, "deviceId": "renamed"}, if_match=first["etag"])
    equal(second["deviceId"], "renamed", "device id")
    equal(second["createdDateTimeUtc"], first["createdDateTimeUtc"], "time of creation")
    refused(412, 412201, dps.enrollment.create_or_update, name, first, if_match=first["etag"])
    refused(412, 412201, dps.enrollment.delete, name, if_match=first["etag"])
    dps.enrollment.delete(name, if_match=second["etag"])
    refused(404, 404201, dps.enrollment.get, name)


@check
def bulk(dps):
    """ten enrolments at once, failures item by item, deletions at once"""
    items = [enrollment(f"bulk-{number}") for number in range(10)]
    run = dps.enrollment.run_bulk_operation
    equal(run({"enrollments": items, "mode": "create"}), {"errors": [], "isSuccessful": True}, "creation")
    again = run({"enrollments": items[:2], "mode": "update"})
    equal([error["errorCode"] for error in again["errors"]], [409201, 409201], "update without etag")
    current = dps.enrollment.get(f"{PREFIX}-bulk-0")
    changed = {**current, "provisioningStatus": "disabled"}
    equal(run({"enrollments": [changed], "mode": "updateIfMatchETag"})["isSuccessful"], True, "update")
    equal(dps.enrollment.get(f"{PREFIX}-bulk-0")["provisioningStatus"], "disabled", "status")
    refused(400, 400000, run, {"enrollments": [*items, enrollment("x")], "mode": "create"})
    equal(run({"enrollments": items, "mode": "delete"})["isSuccessful"], True, "deletion")


@check
def queries(dps):
    """queries page by page"""
    for number in range(5):
        dps.enrollment.create_or_update(f"{PREFIX}-page-{number}", enrollment(f"page-{number}"))
    pages = dps.enrollment.query(ALL, top=2).by_page()
    sizes = [len(list(page)) for page in pages]
    equal(max(sizes), 2, "largest page")
    found = [entry["registrationId"] for entry in dps.enrollment.query(ALL, top=2)]
    equal(len(found), sum(sizes), "rows")
    wanted = [f"{PREFIX}-page-{number}" for number in range(5)]
    equal([name for name in found if "-page-" in name], wanted, "ids")


@check
def groups(dps):
    """groups with keys and with a CA, in bulk and by query"""
    made = dps.enrollment_group.create_or_update(f"{PREFIX}-keys", group("keys", {"type": "symmetricKey"}))
    mechanism = dps.enrollment_group.get_attestation_mechanism(f"{PREFIX}-keys")
    equal(mechanism, made["attestation"], "attestation mechanism")
    signing = {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": certificates()[-1]}}}}
    made = dps.enrollment_group.create_or_update(f"{PREFIX}-ca", group("ca", signing))
    info = made["attestation"]["x509"]["signingCertificates"]["primary"]["info"]
    equal(len(info["sha256Thumbprint"]), 64, "thumbprint")
    changed = dps.enrollment_group.create_or_update(
        f"{PREFIX}-ca", {**made, "provisioningStatus": "disabled"}, if_match=made["etag"]
    )
    equal(changed["attestation"], made["attestation"], "attestation after the change")
    run = dps.enrollment_group.run_bulk_operation
    equal(run({"enrollmentGroups": [group("bulk")], "mode": "create"})["isSuccessful"], True, "bulk")
    again = run({"enrollmentGroups": [group("bulk")], "mode": "create"})
    equal(again["errors"][0]["errorCode"], 409202, "bulk again")
    found = [entry["enrollmentGroupId"] for entry in dps.enrollment_group.query(ALL)]
    wanted = [f"{PREFIX}-{name}" for name in ("bulk", "ca", "keys")]
    equal([name for name in found if name.startswith(PREFIX)], wanted, "ids")
    refused(412, 412202, dps.enrollment_group.delete, f"{PREFIX}-ca", if_match=made["etag"])


@check
def registrations(dps):
    """registrations of devices that never registered"""
    equal(list(dps.device_registration_state.query(f"{PREFIX}-keys")), [], "registrations of a group")
    refused(404, 404203, dps.device_registration_state.get, f"{PREFIX}-none")
    refused(404, 404203, dps.device_registration_state.delete, f"{PREFIX}-none")


@check
def credentials(_dps):
    """a token and a named key instead of a connection string, and a refused key"""
    access = dict(part.split("=", 1) for part in connection_string().split(";"))
    host, policy, key = access["HostName"], access["SharedAccessKeyName"], access["SharedAccessKey"]
    token = generate_sas_token(host, policy, key)
    for credential in (AzureSasCredential(token), AzureNamedKeyCredential(policy, key)):
        client = DeviceProvisioningClient(endpoint=host, credential=credential)
        refused(404, 404201, client.enrollment.get, f"{PREFIX}-none")
    stranger = DeviceProvisioningClient(endpoint=host, credential=AzureNamedKeyCredential(policy, KEY))
    refused(401, 401002, stranger.enrollment.get, f"{PREFIX}-none")


def connection_string():
    return os.environ["IOTDPS_CONNECTION_STRING"].strip()


def clean(dps):
    for entry in list(dps.enrollment.query(ALL)):
        if entry["registrationId"].startswith(PREFIX):
            dps.enrollment.delete(entry["registrationId"])
    for entry in list(dps.enrollment_group.query(ALL)):
        if entry["enrollmentGroupId"].startswith(PREFIX):
            dps.enrollment_group.delete(entry["enrollmentGroupId"])


def main():
    if not os.environ.get("IOTDPS_CONNECTION_STRING") or len(sys.argv) < 2:
        print("cannot begin: IOTDPS_CONNECTION_STRING and CERTIFICATES are needed", file=sys.stderr)
        return 2
    dps = DeviceProvisioningClient.from_connection_string(connection_string())
    clean(dps)
    failed = 0
    started = time.monotonic()
    for function in CHECKS:
        try:
            function(dps)
            print(f"ok      {function.__name__}: {function.__doc__}")
        except Exception as error:  # whatever a client throws is a finding
            failed += 1
            print(f"FAILED  {function.__name__}: {function.__doc__}\n        {error}")
            if not isinstance(error, AssertionError):
                traceback.print_exc()
    clean(dps)
    seconds = time.monotonic() - started
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed in {seconds:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
