"""Judges a running DPS with Microsoft's own device client, azure-iot-device, unchanged.

Usage:
    pip install -r requirements.txt -r ../sdk-judge/requirements.txt
    export IOTDPS_CONNECTION_STRING="$(local-hub connection-string --data DIR --dps)"
    export IOTDPS_ID_SCOPE="$(cat DIR/dps-id-scope)"
    export REQUESTS_CA_BUNDLE=DIR/ca.pem
    python dps_judge.py CERTIFICATES [websockets]

The client knows no other ports than 8883 and 443, so the DPS and its hub must listen there. CERTIFICATES is a
folder with `chain.pem` and `key.pem` in `devices/judge-dps-x509` and `devices/judge-dps-group`, as `cert-tool issue
--sink folder` writes them with one CA, with `root.pem` of that CA, and in `stranger/devices/judge-dps-x509` from a
different CA.

With `websockets` everything is done once more inside WebSockets.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin. It makes
entries with ids that begin with "judge-dps-" and deletes them; their devices stay on the hub.
"""

import base64
import hashlib
import hmac
import os
import re
import sys
import time
import traceback
import urllib.parse

try:
    import requests
    from azure.iot.device import IoTHubDeviceClient, ProvisioningDeviceClient, X509
    from azure.iot.device.exceptions import ClientError
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt -r ../sdk-judge/requirements.txt", file=sys.stderr)
    sys.exit(2)

CLIENT = "Python azure-iot-device (registers)"


class Service:
    """The service's side: entries, as they are sent over REST."""

    def __init__(self, connection_string):
        parts = dict(part.split("=", 1) for part in connection_string.strip().split(";"))
        self.host, self.key = parts["HostName"], base64.b64decode(parts["SharedAccessKey"])
        self.policy = parts["SharedAccessKeyName"]

    def call(self, method, path, body=None, headers=None):
        resource, until = urllib.parse.quote(self.host, safe=""), int(time.time()) + 600
        digest = hmac.new(self.key, f"{resource}\n{until}".encode(), hashlib.sha256).digest()
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        token = f"SharedAccessSignature sr={resource}&sig={signature}&se={until}&skn={self.policy}"
        url = f"https://{self.host}{path}?api-version=2021-10-01"
        answer = requests.request(method, url, json=body, headers={"Authorization": token, **(headers or {})})
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def enroll(self, kind, id, attestation, **further):
        member = "registrationId" if kind == "enrollments" else "enrollmentGroupId"
        self.call("PUT", f"/{kind}/{id}", {member: id, "attestation": attestation, **further})

    def keys(self, kind, id):
        return self.call("POST", f"/{kind}/{id}/attestationmechanism")["symmetricKey"]

    def delete(self, path):
        try:
            self.call("DELETE", path)
        except requests.HTTPError as error:
            if error.response.status_code != 404:
                raise


class Judge:
    """What all checks share: the service, the certificates, and the score."""

    def __init__(self, connection_string, scope, ca_file, certificates):
        self.service, self.scope, self.certificates = Service(connection_string), scope, certificates
        self.host = self.service.host
        self.ca_pem = open(ca_file).read()
        self.passed = self.failed = 0

    def check(self, what, function, *arguments):
        """Runs one check and notes how it went; answers what the check answers."""
        try:
            answer = function(*arguments)
        except Exception as error:
            self.failed += 1
            print(f"FAILED {CLIENT}: {what}: {error!r}")
            traceback.print_exc()
            return None
        self.passed += 1
        print(f"ok {CLIENT}: {what}")
        return answer

    def x509(self, folder):
        folder = os.path.join(self.certificates, folder)
        return X509(os.path.join(folder, "chain.pem"), os.path.join(folder, "key.pem"))

    def pem(self, *path):
        text = open(os.path.join(self.certificates, *path)).read()
        return re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S).group(0)

    def options(self, websockets):
        return {"server_verification_cert": self.ca_pem, "websockets": websockets}

    def by_certificate(self, id, folder, websockets):
        return ProvisioningDeviceClient.create_from_x509_certificate(
            self.host, id, self.scope, self.x509(folder), **self.options(websockets)
        )

    def by_key(self, id, key, websockets):
        return ProvisioningDeviceClient.create_from_symmetric_key(
            self.host, id, self.scope, key, **self.options(websockets)
        )


def register(client, payload=None):
    """Registers a device; answers the state of its registration."""
    if payload is not None:
        client.provisioning_payload = payload
    result = client.register()
    assert result.status == "assigned", f"{result.status}: {result.registration_state}"
    return result.registration_state


def refused(client):
    """Registers a device that must be refused as unauthorized."""
    try:
        result = client.register()
    except ClientError as error:
        text = f"{error!r} {error.__cause__!r}"
        assert "401" in text, text
        return
    raise AssertionError(f"it was let in: {result.status}")


def connect(judge, state, websockets, **credential):
    """Connects to the hub of a registration, and sends a message."""
    options = {"connection_retry": False, "auto_connect": False, **judge.options(websockets)}
    if "x509" in credential:
        client = IoTHubDeviceClient.create_from_x509_certificate(
            credential["x509"], state.assigned_hub, state.device_id, **options
        )
    else:
        client = IoTHubDeviceClient.create_from_symmetric_key(
            credential["key"], state.assigned_hub, state.device_id, **options
        )
    try:
        client.connect()
        client.send_message("registered")
    finally:
        client.shutdown()


def derived(group_key, id):
    """The key of a device of a group, as the service's documentation computes it."""
    digest = hmac.new(base64.b64decode(group_key), id.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def judge_certificates(judge, websockets, suffix):
    own, grouped = "judge-dps-x509", "judge-dps-group"
    certificate = {"primary": {"certificate": judge.pem("devices", own, "chain.pem")}}
    root = {"primary": {"certificate": judge.pem("root.pem")}}
    service = judge.service
    twin = {"tags": {"judged": True}, "properties": {"desired": {"rate": 5}}}
    service.enroll(
        "enrollments", own, {"type": "x509", "x509": {"clientCertificates": certificate}}, initialTwin=twin
    )
    service.enroll("enrollmentGroups", "judge-dps-ca", {"type": "x509", "x509": {"signingCertificates": root}})
    for what, id in [("its own certificate", own), ("a chain to the CA of a group", grouped)]:
        folder = f"devices/{id}"
        client = judge.by_certificate(id, folder, websockets)
        state = judge.check(f"registers with {what}{suffix}", register, client)
        if state:
            assert state.device_id == id, state.device_id
            x509 = judge.x509(folder)
            judge.check(
                f"connects to its hub with {what}{suffix}", lambda: connect(judge, state, websockets, x509=x509)
            )
            again = judge.check(
                f"registers again with {what}{suffix}", register, judge.by_certificate(id, folder, websockets)
            )
            assert again is None or again.created_date_time == state.created_date_time, again
    stranger = judge.by_certificate(own, "stranger/devices/judge-dps-x509", websockets)
    judge.check(f"is refused with a certificate of another CA{suffix}", refused, stranger)


def judge_keys(judge, websockets, suffix):
    own, group, member = "judge-dps-key", "judge-dps-keys", "judge-dps-member"
    service = judge.service
    service.enroll("enrollments", own, {"type": "symmetricKey"})
    service.enroll("enrollmentGroups", group, {"type": "symmetricKey"})
    group_key = service.keys("enrollmentGroups", group)["primaryKey"]
    for what, id, key in [
        ("its own key", own, service.keys("enrollments", own)["secondaryKey"]),
        ("a key of a group", member, derived(group_key, member)),
    ]:
        state = judge.check(
            f"registers with {what}{suffix}", register, judge.by_key(id, key, websockets), {"line": 4}
        )
        if state:
            judge.check(
                f"connects to its hub with {what}{suffix}", lambda: connect(judge, state, websockets, key=key)
            )
    judge.check(f"is refused with the group's own key{suffix}", refused, judge.by_key(member, group_key, websockets))


def main():
    certificates, *ways = sys.argv[1:]
    environment = os.environ
    judge = Judge(
        environment["IOTDPS_CONNECTION_STRING"],
        environment["IOTDPS_ID_SCOPE"].strip(),
        environment["REQUESTS_CA_BUNDLE"],
        certificates,
    )
    for websockets in [False, True] if "websockets" in ways else [False]:
        suffix = " (WebSocket)" if websockets else ""
        try:
            judge_certificates(judge, websockets, suffix)
            judge_keys(judge, websockets, suffix)
        finally:
            for id in ["judge-dps-x509", "judge-dps-key"]:
                judge.service.delete(f"/enrollments/{id}")
            for id in ["judge-dps-ca", "judge-dps-keys"]:
                judge.service.delete(f"/enrollmentGroups/{id}")
    print(f"{judge.passed} passed, {judge.failed} failed")
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
