/*
Enrols the devices of a batch as one would with Microsoft's Node client of the service: in bulk of ten, the most that
a DPS takes, each with its initial twin. The DPS makes the symmetric keys.

Usage: IOTDPS_CONNECTION_STRING=… NODE_EXTRA_CA_CERTS=… node bulk_enroll.js BATCH AT_ONCE

The client knows no other port than 443, so the DPS must listen there.
*/
"use strict";

const fs = require("node:fs");
const { ProvisioningServiceClient } = require("azure-iot-provisioning-service");

const BULK = 10;
const dps = ProvisioningServiceClient.fromConnectionString(process.env.IOTDPS_CONNECTION_STRING.trim());
const [header, ...lines] = fs.readFileSync(process.argv[2], "utf8").trim().split(/\r?\n/);
const names = header.split(",");
const rows = lines.map((line) => Object.fromEntries(line.split(",").map((cell, index) => [names[index], cell])));

function enrollment(row) {
  return {
    registrationId: row.device_id,
    deviceId: row.device_id,
    attestation: { type: "symmetricKey" },
    initialTwin: {
      tags: { site: row["tags.site"] },
      properties: { desired: { interval: Number(row["desired.interval"]) } },
    },
  };
}

/** The client's bulk operation answers to a callback only. */
function send(enrollments) {
  return new Promise((resolve, reject) => {
    dps.runBulkEnrollmentOperation({ enrollments, mode: "create" }, (error, result) => {
      if (error) reject(error);
      else if (!result.isSuccessful) reject(new Error(JSON.stringify(result.errors)));
      else resolve();
    });
  });
}

async function main() {
  const items = rows.map(enrollment);
  const calls = [];
  for (let start = 0; start < items.length; start += BULK) calls.push(items.slice(start, start + BULK));
  const left = calls.values();
  const work = async () => {
    for (const call of left) await send(call);
  };
  await Promise.all(Array.from({ length: Number(process.argv[3]) }, work));
  console.log(`${items.length} enrolments`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
