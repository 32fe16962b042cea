/**
 * Judges a running DPS with Microsoft's own Node clients, unchanged: azure-iot-provisioning-service, and for devices
 * azure-iot-provisioning-device over MQTT, inside a WebSocket and over HTTPS.
 *
 * Usage:
 *     npm install
 *     export IOTDPS_CONNECTION_STRING="$(local-hub connection-string --data DIR --dps)"
 *     export IOTDPS_ID_SCOPE="$(cat DIR/dps-id-scope)" NODE_EXTRA_CA_CERTS=DIR/ca.pem
 *     node dps_judge.js CERTIFICATES
 *
 * The clients know no other ports than 8883 and 443, so the DPS must listen there. CERTIFICATES is a folder with
 * `chain.pem` and `key.pem` in `devices/judge-dps-node`, with `root.pem` of its CA, and in
 * `stranger/devices/judge-dps-node` from a different CA.
 *
 * Prints one line per check and a summary; ends with 1 if a check failed. It makes entries with ids that begin with
 * "judge-dps-node" and deletes them; their devices stay on the hub.
 */

"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { promisify } = require("node:util");
const { ProvisioningDeviceClient } = require("azure-iot-provisioning-device");
const { Http } = require("azure-iot-provisioning-device-http");
const { Mqtt, MqttWs } = require("azure-iot-provisioning-device-mqtt");
const { ProvisioningServiceClient } = require("azure-iot-provisioning-service");
const { SymmetricKeySecurityClient } = require("azure-iot-security-symmetric-key");
const { X509Security } = require("azure-iot-security-x509");

const [certificates] = process.argv.slice(2);
const { IOTDPS_CONNECTION_STRING: connectionString, IOTDPS_ID_SCOPE: scope } = process.env;
const host = /HostName=([^;]+)/.exec(connectionString)[1];
const service = ProvisioningServiceClient.fromConnectionString(connectionString.trim());
const ID = "judge-dps-node";
const score = { passed: 0, failed: 0 };

async function check(client, what, body) {
  try {
    const answer = await body();
    score.passed += 1;
    console.log(`ok ${client}: ${what}`);
    return answer;
  } catch (error) {
    score.failed += 1;
    console.log(`FAILED ${client}: ${what}: ${error.stack}`);
    return undefined;
  }
}

function withCertificate(id, folder) {
  const read = (name) => fs.readFileSync(path.join(certificates, folder, name), "utf8");
  return new X509Security(id, { cert: read("chain.pem"), key: read("key.pem") });
}

function register(security, Transport, payload) {
  const client = ProvisioningDeviceClient.create(host, scope.trim(), new Transport(), security);
  if (payload) {
    client.setProvisioningPayload(payload);
  }
  return promisify(client.register.bind(client))();
}

async function refused(security, Transport) {
  try {
    await register(security, Transport);
  } catch (error) {
    assert.strictEqual(error.name, "UnauthorizedError", `${error.name}: ${error.message}`);
    return;
  }
  assert.fail("not refused");
}

/** The entries of the devices, as a service makes them; answers the key of the individual one. */
async function judgeService() {
  const client = "Node azure-iot-provisioning-service";
  const root = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(
    fs.readFileSync(path.join(certificates, "root.pem"), "utf8"))[0];
  await check(client, "makes a group", () => service.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: `${ID}-ca`,
    attestation: { type: "x509", x509: { signingCertificates: { primary: { certificate: root } } } },
  }));
  return check(client, "makes an individual enrolment", async () => {
    const entry = { registrationId: `${ID}-key`, attestation: { type: "symmetricKey" } };
    const { responseBody } = await service.createOrUpdateIndividualEnrollment(entry);
    return responseBody.attestation.symmetricKey.primaryKey;
  });
}

async function judgeDevices(key) {
  const own = () => new SymmetricKeySecurityClient(`${ID}-key`, key);
  const different = () => new SymmetricKeySecurityClient(`${ID}-key`, Buffer.alloc(32, 7).toString("base64"));
  for (const [name, Transport] of [["mqtt", Mqtt], ["mqtt, WebSocket", MqttWs], ["http", Http]]) {
    const client = `Node azure-iot-provisioning-device-${name}`;
    await check(client, "registers with a certificate of a group", async () => {
      const state = await register(withCertificate(ID, `devices/${ID}`), Transport, { line: 4 });
      assert.strictEqual(state.deviceId, ID);
      assert(state.assignedHub);
    });
    await check(client, "registers with its own key", async () => {
      assert.strictEqual((await register(own(), Transport)).deviceId, `${ID}-key`);
    });
    await check(client, "is refused with a certificate of another CA", () =>
      refused(withCertificate(ID, `stranger/devices/${ID}`), Transport));
    await check(client, "is refused with a different key", () => refused(different(), Transport));
  }
}

async function main() {
  try {
    await judgeDevices(await judgeService());
  } finally {
    await service.deleteEnrollmentGroup(`${ID}-ca`).catch((error) => console.error(error.message));
    await service.deleteIndividualEnrollment(`${ID}-key`).catch((error) => console.error(error.message));
  }
  console.log(`${score.passed} passed, ${score.failed} failed`);
  process.exit(score.failed === 0 ? 0 : 1);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
