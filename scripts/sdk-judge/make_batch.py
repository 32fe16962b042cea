"""Prints a batch of N devices with three modules each, thumbprints and twins given."""

import hashlib
import sys

MODULES = ["", "telemetry", "updater", "vibration"]

print("device_id,module_id,primary_thumbprint,tags.site,desired.interval,desired.conditions.temperature.warning")
for number in range(int(sys.argv[1])):
    device = f"pump-{number:07}"
    for module in MODULES:
        thumbprint = hashlib.sha256(f"{device}/{module}".encode()).hexdigest().upper()
        print(f"{device},{module},{thumbprint},Graz,{number % 60 + 1},75")
