"""Runs the devices of a batch with Microsoft's own device client, azure-iot-device, unchanged.

Usage:
    pip install -r requirements.txt
    python line.py register DPS_HOST ID_SCOPE CA_FILE ISSUED [DEVICE…]
    python line.py connect HUB_HOST CA_FILE ISSUED
    python line.py refused DPS_HOST ID_SCOPE CA_FILE ISSUED DEVICE…

ISSUED is a folder that `cert-tool issue` or `provisioner apply --issue` wrote. `register` registers all its devices,
or those that are named, by their certificates. `connect` connects all its modules, which read their twins and send a
message. `refused` registers devices that must not be let in. The client knows no other ports than 8883 and 443.

Prints what went wrong and a summary; ends with 1 if anything did, with 2 if it could not begin.
"""

import csv
import pathlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

try:
    from azure.iot.device import IoTHubModuleClient, ProvisioningDeviceClient, X509
    from azure.iot.device.exceptions import ClientError
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

AT_ONCE = 12


def pem_at(folder, place):
    """The PEM block that `file#offset` leads to."""
    path, _, offset = place.partition("#")
    with open(folder / path, encoding="ascii") as file:
        file.seek(int(offset or 0))
        lines = []
        for line in file:
            lines.append(line)
            if line.startswith("-----END"):
                break
    return "".join(lines)


class Line:
    """The devices and modules of a folder, with files of their certificates and keys."""

    def __init__(self, folder, scratch):
        self.folder, self.scratch = pathlib.Path(folder), pathlib.Path(scratch)
        with open(self.folder / "issued.csv", newline="", encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))
        self.issuing = (self.folder / "issuing.pem").read_text()

    def devices(self, named):
        return [row for row in self.rows if not row["module_id"] and (not named or row["device_id"] in named)]

    def modules(self):
        return [row for row in self.rows if row["module_id"]]

    def x509(self, row):
        name = f"{row['device_id']}+{row['module_id']}"
        chain, key = self.scratch / f"{name}.chain.pem", self.scratch / f"{name}.key.pem"
        chain.write_text(pem_at(self.folder, row["certificate"]) + self.issuing)
        key.touch(mode=0o600)
        key.write_text(pem_at(self.folder, row["private_key"]))
        return X509(str(chain), str(key))


def register(line, row, host, scope, ca_pem):
    """Why a device is not assigned; nothing where it is."""
    client = ProvisioningDeviceClient.create_from_x509_certificate(
        host, row["device_id"], scope, line.x509(row), server_verification_cert=ca_pem
    )
    try:
        result = client.register()
    except ClientError as error:
        return f"{error!r} {error.__cause__!r}"
    return None if result.status == "assigned" else f"{result.status}: {result.registration_state}"


def connect(line, row, host, ca_pem):
    """Why a module is not let in; nothing where it is, and where its twin and its message are taken."""
    client = IoTHubModuleClient.create_from_x509_certificate(
        line.x509(row),
        host,
        row["device_id"],
        row["module_id"],
        server_verification_cert=ca_pem,
        connection_retry=False,
        auto_connect=False,
    )
    try:
        client.connect()
        twin = client.get_twin()
        client.send_message("connected")
        return None if "interval" in twin["desired"] else f"its twin is {twin}"
    except ClientError as error:
        return f"{error!r} {error.__cause__!r}"
    finally:
        client.shutdown()


def main():
    verb, host, *rest = sys.argv[1:]
    if verb == "connect":
        ca_file, folder = rest
    else:
        scope, ca_file, folder, *named = rest
    ca_pem = open(ca_file).read()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        line = Line(folder, scratch)
        if verb == "connect":
            rows = line.modules()
            faults = list(pool.map(lambda row: connect(line, row, host, ca_pem), rows))
        else:
            rows = line.devices(named)
            faults = list(pool.map(lambda row: register(line, row, host, scope, ca_pem), rows))
    if verb == "refused":
        faults = [None if fault and "401" in fault else f"not refused: {fault}" for fault in faults]
    failed = [(row, fault) for row, fault in zip(rows, faults) if fault]
    for row, fault in failed:
        print(f"FAILED {row['device_id']}/{row['module_id']}: {fault}")
    print(f"{len(rows) - len(failed)} as expected, {len(failed)} not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
