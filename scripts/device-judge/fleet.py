"""Connects a fleet of devices with Microsoft's own device client, azure-iot-device, unchanged.

Usage:
    pip install -r requirements.txt
    python fleet.py HOST CA_FILE < devices.csv

Each line of the input is `device,chain,key` or `device,chain,key,refused`: a device that connects with a chain and a
key and sends one message, or one that must not be let in. The client knows no other ports than 8883 and 443.

Prints what went wrong and a summary; ends with 1 if anything did, with 2 if it could not begin.
"""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor

try:
    from azure.iot.device import IoTHubDeviceClient, X509
    from azure.iot.device.exceptions import ClientError
except ImportError as error:
    print(f"cannot begin: {error}; pip install -r requirements.txt", file=sys.stderr)
    sys.exit(2)

AT_ONCE = 8


def connect(host, ca_pem, device, chain, key):
    """Why a device is not let in; nothing where it is, and where its message is taken."""
    client = IoTHubDeviceClient.create_from_x509_certificate(
        X509(chain, key),
        host,
        device,
        server_verification_cert=ca_pem,
        connection_retry=False,
        auto_connect=False,
    )
    try:
        client.connect()
        client.send_message("moved")
        return None
    except ClientError as error:
        return f"{error!r} {error.__cause__!r}"
    finally:
        client.shutdown()


def main():
    host, ca_file = sys.argv[1:]
    ca_pem = open(ca_file).read()
    rows = [row for row in csv.reader(sys.stdin) if row]

    def judge(row):
        device, chain, key, *expected = row
        fault = connect(host, ca_pem, device, chain, key)
        if expected:
            return None if fault else f"{device}: it was let in with {chain}"
        return fault and f"{device} with {chain}: {fault}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        faults = [fault for fault in pool.map(judge, rows) if fault]
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"{len(rows) - len(faults)} as expected, {len(faults)} not")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
