/*
Provisions a batch made by make_batch.py as one would with Microsoft's Node SDK: devices in bulk of 100 with their
twins inside, then modules in bulk of 100, then the modules' twins one by one, 16 at a time: it has no bulk call
for these.

Usage: IOTHUB_CONNECTION_STRING=… NODE_EXTRA_CA_CERTS=… node bulk_provision.js BATCH

The SDK knows no other port than 443, so the hub must listen there.
*/
"use strict";

const fs = require("node:fs");
const { Registry } = require("azure-iothub");

const registry = Registry.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);
const [header, ...lines] = fs.readFileSync(process.argv[2], "utf8").trim().split(/\r?\n/);
const names = header.split(",");
const rows = lines.map((line) => Object.fromEntries(line.split(",").map((cell, index) => [names[index], cell])));
const AT_ONCE = 16;

function twin(row) {
  const warning = Number(row["desired.conditions.temperature.warning"]);
  const desired = { interval: Number(row["desired.interval"]), conditions: { temperature: { warning } } };
  return { tags: { site: row["tags.site"] }, properties: { desired } };
}

function identity(row) {
  const x509Thumbprint = { primaryThumbprint: row.primary_thumbprint };
  const own = row.module_id ? { moduleId: row.module_id } : {};
  return { deviceId: row.device_id, ...own, status: "enabled", authentication: { type: "selfSigned", x509Thumbprint } };
}

async function create(items) {
  for (let start = 0; start < items.length; start += 100) {
    const answer = await registry.addDevices(items.slice(start, start + 100));
    const result = answer.responseBody ?? answer;
    if (!result.isSuccessful) throw new Error(JSON.stringify(result.errors));
  }
}

async function main() {
  const devices = rows.filter((row) => !row.module_id);
  const modules = rows.filter((row) => row.module_id);
  await create(devices.map((row) => ({ ...identity(row), ...twin(row) })));
  await create(modules.map(identity));
  const left = modules.values();
  const work = async () => {
    for (const row of left) await registry.updateModuleTwin(row.device_id, row.module_id, twin(row), "*");
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  console.log(`${rows.length} identities`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
