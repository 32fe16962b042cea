"""Enrols the devices of a batch as one would with Microsoft's Python client of the service: in bulk of ten, the most
that a DPS takes, each with its initial twin. The DPS makes the symmetric keys.

Usage: IOTDPS_CONNECTION_STRING=… REQUESTS_CA_BUNDLE=… python bulk_enroll.py BATCH AT_ONCE
"""

import concurrent.futures
import csv
import os
import sys

from azure.iot.deviceprovisioning import DeviceProvisioningClient

BULK = 10
dps = DeviceProvisioningClient.from_connection_string(os.environ["IOTDPS_CONNECTION_STRING"].strip())


def enrollment(row):
    return {
        "registrationId": row["device_id"],
        "deviceId": row["device_id"],
        "attestation": {"type": "symmetricKey"},
        "initialTwin": {
            "tags": {"site": row["tags.site"]},
            "properties": {"desired": {"interval": int(row["desired.interval"])}},
        },
    }


def send(items):
    result = dps.enrollment.run_bulk_operation({"enrollments": items, "mode": "create"})
    assert result["isSuccessful"], result["errors"]


with open(sys.argv[1], newline="") as file:
    items = [enrollment(row) for row in csv.DictReader(file)]
calls = [items[start : start + BULK] for start in range(0, len(items), BULK)]
with concurrent.futures.ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(send, calls))
print(f"{len(items)} enrolments")
