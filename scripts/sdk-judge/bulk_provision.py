"""Provisions a batch made by make_batch.py as one would with Microsoft's Python SDK: devices in bulk
of 100 with their twins inside, then modules in bulk of 100, then the modules' twins in bulk of 100.
A hub refuses two modules of one device in a bulk update of twins: each module name has bulks of its own."""

import csv
import os
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    AuthenticationMechanism,
    ExportImportDevice,
    PropertyContainer,
    X509Thumbprint,
)

manager = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])


def send(items):
    for start in range(0, len(items), 100):
        result = manager.bulk_create_or_update_devices(items[start : start + 100])
        assert result.is_successful, result.errors


def item(row, mode, **more):
    return ExportImportDevice(
        id=row["device_id"], module_id=row["module_id"] or None, import_mode=mode, status="enabled", **more
    )


def authentication(row):
    thumbprint = X509Thumbprint(primary_thumbprint=row["primary_thumbprint"])
    return AuthenticationMechanism(type="selfSigned", x509_thumbprint=thumbprint)


def twin(row):
    desired = {
        "interval": int(row["desired.interval"]),
        "conditions": {"temperature": {"warning": int(row["desired.conditions.temperature.warning"])}},
    }
    return {"tags": {"site": row["tags.site"]}, "properties": PropertyContainer(desired=desired)}


with open(sys.argv[1], newline="") as file:
    rows = list(csv.DictReader(file))
devices = [row for row in rows if not row["module_id"]]
modules = [row for row in rows if row["module_id"]]
send([item(row, "create", authentication=authentication(row), **twin(row)) for row in devices])
send([item(row, "create", authentication=authentication(row)) for row in modules])
for name in sorted({row["module_id"] for row in modules}):
    send([item(row, "updateTwin", **twin(row)) for row in modules if row["module_id"] == name])
print(f"{len(rows)} identities")
