"""Judges a running hub with Microsoft's own device client, azure-iot-device, unchanged.

Usage:
    pip install -r requirements.txt -r ../sdk-judge/requirements.txt
    export IOTHUB_CONNECTION_STRING="$(local-hub connection-string --data DIR)"
    export REQUESTS_CA_BUNDLE=DIR/ca.pem
    python judge.py CERTIFICATES [websockets]

The client knows no other ports than 8883 and 443, so the hub must listen there. CERTIFICATES is a folder
with `chain.pem` and `key.pem` in `devices/judge-thumbprint`, `devices/judge-ca`,
`modules/judge-sas/judge-thumbprint`, `modules/judge-sas/judge-ca`, as `cert-tool issue --sink folder` writes
them with a CA that the hub knows by --device-ca, and in `stranger/devices/judge-ca` from a CA it does not know.

With `websockets` everything is done once more inside WebSockets.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin.
Every device it makes has an id that begins with "judge-", and it deletes them all.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import re
import ssl
import sys
import time
import traceback
import urllib.parse

try:
    import requests
    from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, X509
    from azure.iot.device.exceptions import CredentialError
    from azure.iot.hub import IoTHubRegistryManager
    from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt -r ../sdk-judge/requirements.txt", file=sys.stderr)
    sys.exit(2)

CLIENT = "Python azure-iot-device"
DEADLINE = 60  # seconds, for whatever must come


class Judge:
    """What all checks share: the service's side, the certificates, and the score."""

    def __init__(self, connection_string, ca_file, certificates):
        self.parts = dict(part.split("=", 1) for part in connection_string.strip().split(";"))
        self.host = self.parts["HostName"]
        self.ca_file = ca_file
        self.ca_pem = open(ca_file).read()
        self.certificates = certificates
        self.registry = IoTHubRegistryManager.from_connection_string(connection_string.strip())
        self.passed = self.failed = 0

    def check(self, client, what, function, *arguments):
        """Runs one check and notes how it went; answers what the check answers."""
        try:
            answer = function(*arguments)
        except Exception as error:
            self.failed += 1
            print(f"FAILED {client}: {what}: {error!r}")
            traceback.print_exc()
            return None
        self.passed += 1
        print(f"ok {client}: {what}")
        return answer

    def x509(self, folder):
        folder = os.path.join(self.certificates, folder)
        return X509(os.path.join(folder, "chain.pem"), os.path.join(folder, "key.pem"))

    def thumbprint(self, folder):
        pem = open(os.path.join(self.certificates, folder, "chain.pem")).read()
        first = re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first.group(0))).hexdigest().upper()

    def send_to_device(self, device, payload):
        """Sends a message from the cloud as the hub takes them: over REST."""
        expiry = int(time.time()) + 3600
        resource = urllib.parse.quote(self.host, safe="")
        key = base64.b64decode(self.parts["SharedAccessKey"])
        digest = hmac.new(key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        policy = self.parts["SharedAccessKeyName"]
        token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}"
        url = f"https://{self.host}/devices/{device}/messages/deviceBound?api-version=2021-04-12"
        headers = {"Authorization": token, "iothub-messageid": "m-1", "iothub-app-color": "red"}
        requests.post(url, data=payload, headers=headers, verify=self.ca_file, timeout=DEADLINE).raise_for_status()

    def options(self, websockets):
        return dict(
            server_verification_cert=self.ca_pem,
            websockets=websockets,
            connection_retry=False,
            auto_connect=False,
        )


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def exercise(judge, name, client, device, module=None):
    """Everything that a device or module does, in the order in which it does it."""
    desired, messages, asked = queue.Queue(), queue.Queue(), queue.Queue()

    def on_method(request):
        asked.put((request.name, request.payload))
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, {"did": request.name}))

    def service_twin():
        if module:
            return judge.registry.get_module_twin(device, module)
        return judge.registry.get_twin(device)

    def connect():
        client.connect()
        equal(service_twin().connection_state, "Connected", "connectionState")

    def get_twin():
        twin = client.get_twin()
        equal(sorted(twin), ["desired", "reported"], "the twin's members")
        assert isinstance(twin["desired"]["$version"], int)

    def report():
        client.patch_twin_reported_properties({"firmware": name, "gone": None})
        equal(service_twin().properties.reported["firmware"], name, "the reported property")

    def receive_desired():
        client.on_twin_desired_properties_patch_received = desired.put
        patch = Twin(properties=TwinProperties(desired={"wanted": {"by": name}, "gone": None}))
        if module:
            judge.registry.update_module_twin(device, module, patch, "*")
        else:
            judge.registry.update_twin(device, patch, "*")
        told = desired.get(timeout=DEADLINE)
        equal(told["wanted"], {"by": name}, "the desired property")
        equal(told["gone"], None, "the removed property")
        equal(told["$version"], service_twin().properties.desired["$version"], "$version")

    def answer_method():
        client.on_method_request_received = on_method
        call = CloudToDeviceMethod(method_name="blink", payload={"times": 2}, response_timeout_in_seconds=DEADLINE)
        # The SDK subscribes on a thread of its own: the call waits until it has.
        call.connect_timeout_in_seconds = DEADLINE
        if module:
            answer = judge.registry.invoke_device_module_method(device, module, call)
        else:
            answer = judge.registry.invoke_device_method(device, call)
        equal((answer.status, answer.payload), (207, {"did": "blink"}), "the answer")
        equal(asked.get(timeout=DEADLINE), ("blink", {"times": 2}), "what was asked")

    def telemetry():
        before = service_twin().last_activity_time
        message = Message(json.dumps({"t": 21.5}), content_encoding="utf-8", content_type="application/json")
        message.custom_properties["alarm"] = "a&b=c/d"
        client.send_message(message)
        assert service_twin().last_activity_time > before, "lastActivityTime stands still"

    def command():
        client.on_message_received = messages.put
        judge.send_to_device(device, "hello")
        message = messages.get(timeout=DEADLINE)
        equal(message.data, b"hello", "the message")
        equal((message.message_id, message.custom_properties["color"]), ("m-1", "red"), "its properties")

    def disconnect():
        client.disconnect()
        deadline = time.time() + DEADLINE
        while service_twin().connection_state != "Disconnected":
            assert time.time() < deadline, "it stays connected"
            time.sleep(0.05)

    kind = f"{CLIENT} ({name})"
    judge.check(kind, "connects and is seen to be connected", connect)
    judge.check(kind, "reads its twin", get_twin)
    judge.check(kind, "reports", report)
    judge.check(kind, "is told of desired properties", receive_desired)
    judge.check(kind, "answers a direct method", answer_method)
    judge.check(kind, "sends a message to the cloud", telemetry)
    if not module:
        judge.check(kind, "receives a message from the cloud", command)
    judge.check(kind, "disconnects and is seen to have", disconnect)
    client.shutdown()


def refused(judge, name, client):
    """The hub must not let this client in, and the SDK must know that it is its credential's fault."""

    def connect():
        try:
            client.connect()
        except CredentialError:
            return
        raise AssertionError("it was let in")

    judge.check(f"{CLIENT} ({name})", "is refused", connect)
    client.shutdown()


def create(judge):
    registry = judge.registry
    sas = registry.create_device_with_sas("judge-sas", None, None, "enabled")
    sas_module = registry.create_module_with_sas("judge-sas", "judge-module", "", None, None)
    thumbprint = judge.thumbprint("devices/judge-thumbprint")
    registry.create_device_with_x509("judge-thumbprint", thumbprint, "0" * 64, "enabled")
    registry.create_device_with_certificate_authority("judge-ca", "enabled")
    thumbprint = judge.thumbprint("modules/judge-sas/judge-thumbprint")
    registry.create_module_with_x509("judge-sas", "judge-thumbprint", "", thumbprint, "0" * 64)
    registry.create_module_with_certificate_authority("judge-sas", "judge-ca", "")
    return sas.authentication.symmetric_key.primary_key, sas_module.authentication.symmetric_key.primary_key


def judge_all(judge):
    device_key, module_key = create(judge)
    for websockets in [False, True] if "websockets" in sys.argv else [False]:
        suffix = " over WebSocket" if websockets else ""
        options = judge.options(websockets)

        def by_key(key, **ids):
            kind = IoTHubModuleClient if "module_id" in ids else IoTHubDeviceClient
            if kind is IoTHubDeviceClient:
                return kind.create_from_symmetric_key(key, judge.host, ids["device_id"], **options)
            text = f"HostName={judge.host};DeviceId={ids['device_id']};ModuleId={ids['module_id']};SharedAccessKey={key}"
            return kind.create_from_connection_string(text, **options)

        def by_certificate(folder, *ids):
            kind = IoTHubModuleClient if len(ids) == 2 else IoTHubDeviceClient
            return kind.create_from_x509_certificate(judge.x509(folder), judge.host, *ids, **options)

        device = by_key(device_key, device_id="judge-sas")
        exercise(judge, f"SAS device{suffix}", device, "judge-sas")
        module = by_key(module_key, device_id="judge-sas", module_id="judge-module")
        exercise(judge, f"SAS module{suffix}", module, "judge-sas", "judge-module")
        for name in ["thumbprint", "ca"]:
            title = {"thumbprint": "X.509 thumbprint", "ca": "X.509 CA"}[name]
            device = by_certificate(f"devices/judge-{name}", f"judge-{name}")
            exercise(judge, f"{title} device{suffix}", device, f"judge-{name}")
            module = by_certificate(f"modules/judge-sas/judge-{name}", "judge-sas", f"judge-{name}")
            exercise(judge, f"{title} module{suffix}", module, "judge-sas", f"judge-{name}")

        wrong = by_certificate("devices/judge-ca", "judge-thumbprint")
        refused(judge, f"another's certificate{suffix}", wrong)
        wrong = by_certificate("stranger/devices/judge-ca", "judge-ca")
        refused(judge, f"a certificate of another CA{suffix}", wrong)
        wrong = by_certificate("devices/judge-ca", "judge-sas", "judge-ca")
        refused(judge, f"a device's certificate for a module{suffix}", wrong)
        wrong = by_key(module_key, device_id="judge-sas")
        refused(judge, f"another's key{suffix}", wrong)


def main():
    try:
        judge = Judge(os.environ["IOTHUB_CONNECTION_STRING"], os.environ["REQUESTS_CA_BUNDLE"], sys.argv[1])
    except (KeyError, IndexError, OSError) as error:
        print(f"cannot begin: {error!r}\n{__doc__}", file=sys.stderr)
        return 2
    try:
        judge_all(judge)
    finally:
        for device in ["judge-sas", "judge-thumbprint", "judge-ca"]:
            judge.registry.delete_device(device)
    print(f"{judge.passed} passed, {judge.failed} failed")
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
