/*
Judges a running DPS with Microsoft's own Node client, azure-iot-provisioning-service, unchanged.

Usage:
    npm install
    export IOTDPS_CONNECTION_STRING="$(local-hub connection-string --data DIR --dps)"
    export NODE_EXTRA_CA_CERTS=DIR/ca.pem
    node dps_service_judge.js CERTIFICATES

The client knows no other port than 443, so the DPS must listen there. CERTIFICATES is a folder with a
certificate in `devices/judge-dps/chain.pem`, the device's first.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin.
Every entry it makes has an id that begins with "judge-dps-service", and it deletes them all.
*/
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");

let provisioning;
try {
  provisioning = require("azure-iot-provisioning-service");
} catch (error) {
  console.error(`cannot begin: ${error.message}; npm install`);
  process.exit(2);
}

const PREFIX = "judge-dps-service";
const KEY = Buffer.alloc(32, 1).toString("base64");
const connectionString = process.env.IOTDPS_CONNECTION_STRING?.trim();
const certificates = process.argv[2];
if (!connectionString || !certificates || !process.env.NODE_EXTRA_CA_CERTS) {
  console.error("cannot begin: IOTDPS_CONNECTION_STRING, NODE_EXTRA_CA_CERTS and CERTIFICATES are needed");
  process.exit(2);
}
const dps = provisioning.ProvisioningServiceClient.fromConnectionString(connectionString);
const score = { passed: 0, failed: 0 };

async function check(what, action) {
  try {
    await action();
  } catch (error) {
    score.failed += 1;
    console.log(`FAILED Node azure-iot-provisioning-service: ${what}: ${error.stack}`);
    return;
  }
  score.passed += 1;
  console.log(`ok Node azure-iot-provisioning-service: ${what}`);
}

async function refused(status, code, action) {
  try {
    await action();
  } catch (error) {
    assert.strictEqual(error.response?.statusCode, status, error.message);
    assert.strictEqual(JSON.parse(error.responseBody).errorCode, code);
    return;
  }
  assert.fail("not refused");
}

/** The client's bulk operation answers to a callback only. */
function bulk(mode, enrollments) {
  return new Promise((resolve, reject) => {
    dps.runBulkEnrollmentOperation({ enrollments, mode }, (error, result) => {
      error ? reject(error) : resolve(result);
    });
  });
}

/** All rows of a query, page by page. Without an argument a promise of `next` begins anew. */
async function rows(query) {
  const found = [];
  do {
    const page = await query.next(query.continuationToken);
    found.push(...(page.responseBody ?? page));
  } while (query.hasMoreResults);
  return found;
}

function chain() {
  const text = fs.readFileSync(path.join(certificates, "devices/judge-dps/chain.pem"), "utf8");
  return text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n/g);
}

const symmetric = () => ({ type: "symmetricKey", symmetricKey: { primaryKey: KEY, secondaryKey: KEY } });
const all = { query: "*" };

async function judgeEnrollments() {
  const id = `${PREFIX}-1`;
  let entry;
  await check("creates an enrolment", async () => {
    const request = { registrationId: id, attestation: symmetric(), deviceId: "pump" };
    entry = (await dps.createOrUpdateIndividualEnrollment(request)).responseBody;
    assert.strictEqual(entry.provisioningStatus, "enabled");
    assert.strictEqual(entry.attestation.symmetricKey.primaryKey, KEY);
  });
  await check("reads an enrolment without its keys", async () => {
    const read = (await dps.getIndividualEnrollment(id)).responseBody;
    assert.deepStrictEqual(read.attestation, { type: "symmetricKey" });
    assert.strictEqual(read.registrationState.status, "unassigned");
  });
  await check("reads the keys of an enrolment", async () => {
    const mechanism = (await dps.getIndividualEnrollmentAttestationMechanism(id)).responseBody;
    assert.deepStrictEqual(mechanism, symmetric());
  });
  await check("changes an enrolment by its etag, once", async () => {
    const changed = { ...entry, provisioningStatus: "disabled" };
    assert.strictEqual((await dps.createOrUpdateIndividualEnrollment(changed)).responseBody.provisioningStatus, "disabled");
    await refused(412, 412201, () => dps.createOrUpdateIndividualEnrollment(changed));
  });
  await check("is refused to create an enrolment twice", () =>
    refused(409, 409201, () =>
      dps.createOrUpdateIndividualEnrollment({ registrationId: id, attestation: symmetric() }),
    ));
  await check("enrols a certificate", async () => {
    const [leaf] = chain();
    const x509 = { clientCertificates: { primary: { certificate: leaf } } };
    const request = { registrationId: `${PREFIX}-x509`, attestation: { type: "x509", x509 } };
    const made = (await dps.createOrUpdateIndividualEnrollment(request)).responseBody;
    assert.strictEqual(made.attestation.x509.clientCertificates.primary.info.subjectName, "CN=judge-dps");
  });
  await check("creates, refuses and deletes in bulk", async () => {
    const items = Array.from({ length: 10 }, (_, number) => ({
      registrationId: `${PREFIX}-bulk-${number}`,
      attestation: symmetric(),
    }));
    assert.deepStrictEqual(await bulk("create", items), { errors: [], isSuccessful: true });
    const again = await bulk("create", items.slice(0, 1));
    assert.strictEqual(again.errors[0].errorCode, 409201);
    assert.strictEqual((await bulk("delete", items)).isSuccessful, true);
  });
  await check("queries page by page", async () => {
    const found = await rows(dps.createIndividualEnrollmentQuery(all, 1));
    const own = found.map((row) => row.registrationId).filter((name) => name.startsWith(PREFIX));
    assert.deepStrictEqual(own, [id, `${PREFIX}-x509`]);
  });
  await check("deletes an enrolment by its etag and without", async () => {
    await refused(412, 412201, () => dps.deleteIndividualEnrollment(id, entry.etag));
    await dps.deleteIndividualEnrollment(id);
    await dps.deleteIndividualEnrollment(`${PREFIX}-x509`);
    await refused(404, 404201, () => dps.getIndividualEnrollment(id));
  });
}

async function judgeGroups() {
  const id = `${PREFIX}-group`;
  let group;
  await check("creates a group with generated keys", async () => {
    const request = { enrollmentGroupId: id, attestation: { type: "symmetricKey" } };
    group = (await dps.createOrUpdateEnrollmentGroup(request)).responseBody;
    const mechanism = (await dps.getEnrollmentGroupAttestationMechanism(id)).responseBody;
    assert.deepStrictEqual(mechanism, group.attestation);
  });
  await check("creates a group with a CA, and changes it as it was read", async () => {
    const x509 = { signingCertificates: { primary: { certificate: chain().at(-1) } } };
    const request = { enrollmentGroupId: `${id}-ca`, attestation: { type: "x509", x509 } };
    await dps.createOrUpdateEnrollmentGroup(request);
    const read = (await dps.getEnrollmentGroup(`${id}-ca`)).responseBody;
    const changed = await dps.createOrUpdateEnrollmentGroup({ ...read, provisioningStatus: "disabled" });
    assert.deepStrictEqual(changed.responseBody.attestation, read.attestation);
  });
  await check("queries groups and their registrations", async () => {
    const found = await rows(dps.createEnrollmentGroupQuery(all, 10));
    const own = found.map((row) => row.enrollmentGroupId).filter((name) => name.startsWith(PREFIX));
    assert.deepStrictEqual(own, [id, `${id}-ca`]);
    assert.deepStrictEqual(await rows(dps.createEnrollmentGroupDeviceRegistrationStateQuery(all, id, 10)), []);
  });
  await check("is told of a registration that does not exist", async () => {
    await refused(404, 404203, () => dps.getDeviceRegistrationState(`${PREFIX}-none`));
    await refused(404, 404203, () => dps.deleteDeviceRegistrationState(`${PREFIX}-none`));
  });
  await check("deletes groups", async () => {
    await dps.deleteEnrollmentGroup(group);
    await dps.deleteEnrollmentGroup(`${id}-ca`);
    await refused(404, 404202, () => dps.getEnrollmentGroup(id));
  });
}

async function main() {
  await judgeEnrollments();
  await judgeGroups();
  console.log(`${score.passed} passed, ${score.failed} failed`);
  process.exit(score.failed === 0 ? 0 : 1);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
