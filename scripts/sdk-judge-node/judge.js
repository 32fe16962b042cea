/*
Judges a running hub with Microsoft's own Node clients, azure-iothub and azure-iot-device with
azure-iot-device-mqtt, unchanged.

Usage:
    npm install
    export IOTHUB_CONNECTION_STRING="$(local-hub connection-string --data DIR)"
    export NODE_EXTRA_CA_CERTS=DIR/ca.pem
    export JUDGE_CONTAINER=FOLDER
    node judge.js CERTIFICATES [websockets]

The clients know no other ports than 443 and 8883, so the hub must listen there. CERTIFICATES is a folder with
`chain.pem` and `key.pem` in `devices/judge-thumbprint`, `devices/judge-ca` and, from a CA that the hub does not
know, `stranger/devices/judge-ca`.

With `websockets` everything is done once more inside WebSockets.

JUDGE_CONTAINER is an empty folder that the hub takes for a container of blobs, see its --blob-folder.

Prints one line per check and a summary; ends with 1 if a check failed, with 2 if it could not begin.
Every device it makes has an id that begins with "judge-node-" or is one of the two above; it deletes them all.
*/
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

let hub, device, mqtt;
try {
  hub = require("azure-iothub");
  device = require("azure-iot-device");
  mqtt = require("azure-iot-device-mqtt");
} catch (error) {
  console.error(`cannot begin: ${error.message}; npm install`);
  process.exit(2);
}

const DEADLINE = 60_000;
const connectionString = process.env.IOTHUB_CONNECTION_STRING?.trim();
const certificates = process.argv[2];
if (!connectionString || !certificates || !process.env.NODE_EXTRA_CA_CERTS) {
  console.error("cannot begin: IOTHUB_CONNECTION_STRING, NODE_EXTRA_CA_CERTS and CERTIFICATES are needed");
  process.exit(2);
}
const host = /HostName=([^;]+)/.exec(connectionString)[1];
const registry = hub.Registry.fromConnectionString(connectionString);
const service = hub.Client.fromConnectionString(connectionString);
const score = { passed: 0, failed: 0 };

/** Rejects when something that must come does not. */
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function check(client, what, action) {
  try {
    await soon(Promise.resolve().then(action), what);
  } catch (error) {
    score.failed += 1;
    console.log(`FAILED ${client}: ${what}: ${error.stack}`);
    return;
  }
  score.passed += 1;
  console.log(`ok ${client}: ${what}`);
}

async function refused(errorName, action) {
  try {
    await action();
  } catch (error) {
    assert.strictEqual(error.name, errorName, error.message);
    return;
  }
  assert.fail("not refused");
}

/** The registry and the twins as a service uses them. */
async function judgeService() {
  const client = "Node azure-iothub";
  const id = "judge-node-service";
  const body = async (promise) => (await promise).responseBody;
  let created;
  await check(client, "creates a device", async () => {
    created = await body(registry.create({ deviceId: id }));
    assert.match(created.authentication.symmetricKey.primaryKey, /^[A-Za-z0-9+/]{43}=$/);
  });
  await check(client, "is told that it exists already", () =>
    refused("DeviceAlreadyExistsError", () => registry.create({ deviceId: id })));
  await check(client, "reads it", async () => {
    assert.strictEqual((await body(registry.get(id))).etag, created.etag);
  });
  await check(client, "is told that another does not exist", () =>
    refused("DeviceNotFoundError", () => registry.get("judge-node-missing")));
  await check(client, "disables it", async () => {
    const updated = await body(registry.update({ ...created, status: "disabled" }));
    assert.strictEqual(updated.status, "disabled");
    assert.strictEqual(updated.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.primaryKey);
  });
  await check(client, "enables it again", () => registry.update({ ...created, status: "enabled" }));
  await check(client, "lists devices", async () => {
    assert((await body(registry.list())).some((found) => found.deviceId === id));
  });
  await check(client, "adds a module", () => registry.addModule({ deviceId: id, moduleId: "m" }));
  await check(client, "reads it", async () => {
    assert.strictEqual((await body(registry.getModule(id, "m"))).moduleId, "m");
  });
  await check(client, "lists modules", async () => {
    assert.strictEqual((await body(registry.getModulesOnDevice(id))).length, 1);
  });
  await check(client, "reads a twin", async () => {
    const twin = await body(registry.getTwin(id));
    assert.strictEqual(twin.properties.desired.$version, 1);
  });
  await check(client, "patches a twin through its handle", async () => {
    const twin = await body(registry.getTwin(id));
    await twin.update({ tags: { site: "here" }, properties: { desired: { a: 1 } } });
    const updated = await body(registry.getTwin(id));
    assert.deepStrictEqual([updated.tags.site, updated.properties.desired.a], ["here", 1]);
  });
  await check(client, "is told that an etag is out of date", () =>
    refused("InvalidEtagError", () => registry.updateTwin(id, { tags: { a: 1 } }, '"AAAAAAAAAAE="')));
  await check(client, "patches a module's twin", async () => {
    const updated = await body(registry.updateModuleTwin(id, "m", { properties: { desired: { b: 2 } } }, "*"));
    assert.strictEqual(updated.properties.desired.b, 2);
  });
  await check(client, "queries page by page to the end", async () => {
    const query = registry.createQuery("SELECT * FROM devices WHERE tags.site = 'here'", 1);
    const found = [];
    while (query.hasMoreResults) {
      found.push(...(await query.nextAsTwin()).result.map((twin) => twin.deviceId));
    }
    assert.deepStrictEqual(found, [id]);
  });
  await check(client, "creates and deletes in bulk", async () => {
    const many = [{ deviceId: "judge-node-1" }, { deviceId: "judge-node-2" }];
    assert.strictEqual((await body(registry.addDevices(many))).isSuccessful, true);
    assert.strictEqual((await body(registry.removeDevices(many, true))).isSuccessful, true);
  });
  await check(client, "reads statistics", async () => {
    assert.strictEqual(typeof (await body(registry.getRegistryStatistics())).totalDeviceCount, "number");
  });
  await check(client, "is told that a device is not online", () =>
    refused("DeviceNotFoundError", () => service.invokeDeviceMethod("judge-node-missing", { methodName: "x" })));
  for (const transport of [hub.Amqp, hub.AmqpWs]) {
    await check(client, `is told at once that there is no AMQP (${transport.name})`, () =>
      refused("NotImplementedError", () => hub.Client.fromConnectionString(connectionString, transport).open()));
  }
  await check(client, "removes a module", () => registry.removeModule(id, "m"));
  await check(client, "deletes a device", () => registry.delete(id));
}

/** A job when it has come to its end. */
async function ended(read, jobId) {
  for (;;) {
    const job = await read(jobId);
    if (["completed", "failed", "cancelled"].includes(job.status)) {
      return job.status;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Jobs and configurations as a service uses them. */
async function judgeJobs() {
  const client = "Node azure-iothub";
  const jobs = hub.JobClient.fromConnectionString(connectionString);
  const container = process.env.JUDGE_CONTAINER;
  const body = async (promise) => (await promise).responseBody;
  const condition = "deviceId = 'judge-node-jobs'";
  // A hub forgets no job: each run has its own.
  const [first, second] = [1, 2].map((number) => `judge-node-${Date.now()}-${number}`);
  await registry.create({ deviceId: "judge-node-jobs", capabilities: { iotEdge: true } });
  await check(client, "changes twins by a job", async () => {
    await jobs.scheduleTwinUpdate(first, condition, { etag: "*", tags: { by: "job" } }, new Date(), 60);
    assert.strictEqual(await ended(async (id) => (await jobs.getJob(id)).jobStatus, first), "completed");
    assert.strictEqual((await body(registry.getTwin("judge-node-jobs"))).tags.by, "job");
  });
  await check(client, "cancels a job before it begins", async () => {
    const inAnHour = new Date(Date.now() + 3_600_000);
    await jobs.scheduleDeviceMethod(second, condition, { methodName: "x" }, inAnHour, 60);
    await jobs.cancelJob(second);
    assert.strictEqual(await ended(async (id) => (await jobs.getJob(id)).jobStatus, second), "cancelled");
  });
  await check(client, "finds jobs", async () => {
    const found = (await jobs.createQuery("scheduleUpdateTwin", "completed").next()).result;
    assert(found.some((job) => job.jobId === first));
  });
  await check(client, "exports devices and imports them", async () => {
    const exported = await registry.exportDevicesToBlob(container, false);
    assert.strictEqual(await ended((id) => registry.getJob(id), exported.jobId), "completed");
    const lines = fs.readFileSync(path.join(container, "devices.txt"), "utf8").trim().split("\n");
    assert(lines.map((line) => JSON.parse(line).id).includes("judge-node-jobs"));
    const item = { id: "judge-node-imported", importMode: "create", status: "enabled" };
    fs.writeFileSync(path.join(container, "devices.txt"), JSON.stringify(item));
    const imported = await registry.importDevicesFromBlob(container, container);
    assert.strictEqual(await ended((id) => registry.getJob(id), imported.jobId), "completed");
    assert((await body(registry.listJobs())).some((job) => job.jobId === imported.jobId));
    await registry.delete(item.id);
  });
  await check(client, "keeps, changes and removes a configuration", async () => {
    const id = "judge-node-configuration";
    const content = { deviceContent: { "properties.desired.wifi": { ssid: "line" } } };
    const made = await body(registry.addConfiguration({ id, content, targetCondition: "tags.site='here'", priority: 3 }));
    await registry.updateConfiguration({ ...made, priority: 4 });
    assert.strictEqual((await body(registry.getConfiguration(id))).priority, 4);
    assert.deepStrictEqual((await body(registry.getConfigurations())).map((found) => found.id), [id]);
    await registry.removeConfiguration(id);
  });
  await check(client, "applies content to an edge device", async () => {
    const modulesContent = { $edgeAgent: { "properties.desired": { schemaVersion: "1.1" } } };
    await registry.applyConfigurationContentOnDevice("judge-node-jobs", { modulesContent });
    const twin = await body(registry.getModuleTwin("judge-node-jobs", "$edgeAgent"));
    assert.strictEqual(twin.properties.desired.schemaVersion, "1.1");
  });
  await registry.delete("judge-node-jobs");
}

/** Everything that a device or module does, in the order in which it does it. */
async function exercise(name, client, deviceId, moduleId) {
  const kind = `Node azure-iot-device (${name})`;
  const serviceTwin = async () =>
    (await (moduleId ? registry.getModuleTwin(deviceId, moduleId) : registry.getTwin(deviceId))).responseBody;
  let twin;
  await check(kind, "connects and is seen to be connected", async () => {
    await client.open();
    assert.strictEqual((await serviceTwin()).connectionState, "Connected");
  });
  await check(kind, "reads its twin", async () => {
    twin = await client.getTwin();
    assert.strictEqual(typeof twin.properties.desired.$version, "number");
    assert.strictEqual(typeof twin.properties.reported.$version, "number");
  });
  await check(kind, "reports", async () => {
    await new Promise((done, fail) =>
      twin.properties.reported.update({ firmware: name }, (error) => (error ? fail(error) : done())));
    assert.strictEqual((await serviceTwin()).properties.reported.firmware, name);
  });
  await check(kind, "is told of desired properties", async () => {
    const patch = (desired) => {
      const body = { properties: { desired } };
      return moduleId
        ? registry.updateModuleTwin(deviceId, moduleId, body, "*")
        : registry.updateTwin(deviceId, body, "*");
    };
    const told = new Promise((done) =>
      twin.on("properties.desired", (delta) => delta.wanted?.round >= 1 && done(delta)));
    // The client subscribes without saying when it has: the patch is repeated until it is told of one.
    let round = 0;
    const timer = setInterval(() => patch({ wanted: { by: name, round: ++round } }).catch(() => {}), 200);
    const delta = await told.finally(() => clearInterval(timer));
    assert.strictEqual(delta.wanted.by, name);
    // Everything at once: the copy that the client keeps must be empty then.
    const cleared = new Promise((done) =>
      twin.on("properties.desired", () => twin.properties.desired.wanted === undefined && done()));
    await patch(null);
    await cleared;
  });
  await check(kind, "answers a direct method", async () => {
    client[moduleId ? "onMethod" : "onDeviceMethod"]("blink", (request, response) =>
      response.send(207, { did: request.methodName, times: request.payload.times }, () => {}));
    const call = { methodName: "blink", payload: { times: 2 }, connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 60 };
    const answer = moduleId
      ? await service.invokeDeviceMethod(deviceId, moduleId, call)
      : await service.invokeDeviceMethod(deviceId, call);
    assert.deepStrictEqual(answer.result, { status: 207, payload: { did: "blink", times: 2 } });
  });
  await check(kind, "sends a message to the cloud", async () => {
    const before = (await serviceTwin()).lastActivityTime;
    const message = new device.Message(JSON.stringify({ t: 21.5 }));
    message.properties.add("alarm", "a&b=c/d");
    await (moduleId ? client.sendOutputEvent("out", message) : client.sendEvent(message));
    assert((await serviceTwin()).lastActivityTime > before, "lastActivityTime stands still");
  });
  if (!moduleId) {
    await check(kind, "receives a message from the cloud", async () => {
      const received = new Promise((done) => client.on("message", (message) => {
        client.complete(message, () => done(message));
      }));
      await sendToDevice(deviceId, "hello");
      assert.strictEqual((await received).getData().toString(), "hello");
    });
  }
  await check(kind, "disconnects and is seen to have", async () => {
    await client.close();
    while ((await serviceTwin()).connectionState !== "Disconnected") {
      await new Promise((done) => setTimeout(done, 50));
    }
  });
}

/** Sends a message from the cloud as the hub takes them: over REST. */
async function sendToDevice(deviceId, body) {
  const { SharedAccessKeyName, SharedAccessKey } = Object.fromEntries(
    connectionString.split(";").map((part) => part.split(/=(.*)/s).slice(0, 2)));
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const token = require("azure-iot-common").SharedAccessSignature.create(host, SharedAccessKeyName, SharedAccessKey, expiry);
  const url = `https://${host}/devices/${deviceId}/messages/deviceBound?api-version=2021-04-12`;
  await new Promise((done, fail) => {
    const request = require("node:https").request(url, { method: "POST", headers: { Authorization: token.toString() } },
      (response) => {
        response.resume();
        response.on("end", () => (response.statusCode === 204 ? done() : fail(new Error(`${response.statusCode}`))));
      });
    request.on("error", fail);
    request.end(body);
  });
}

function x509(folder) {
  const read = (name) => fs.readFileSync(path.join(certificates, folder, name), "utf8");
  return { cert: read("chain.pem"), key: read("key.pem") };
}

async function withCertificate(deviceId, folder, transport) {
  const client = device.Client.fromConnectionString(`HostName=${host};DeviceId=${deviceId};x509=true`, transport);
  await client.setOptions(x509(folder));
  return client;
}

async function judgeDevices() {
  const leaf = new crypto.X509Certificate(x509("devices/judge-thumbprint").cert);
  const primaryThumbprint = leaf.fingerprint256.replaceAll(":", "");
  const sas = (await registry.create({ deviceId: "judge-node-sas" })).responseBody;
  const module = (await registry.addModule({ deviceId: "judge-node-sas", moduleId: "m" })).responseBody;
  await registry.create({
    deviceId: "judge-thumbprint",
    authentication: { x509Thumbprint: { primaryThumbprint, secondaryThumbprint: "0".repeat(64) } },
  });
  await registry.create({ deviceId: "judge-ca", authentication: { type: "certificateAuthority" } });

  const transports = [["", mqtt.Mqtt]];
  if (process.argv.includes("websockets")) {
    transports.push([" over WebSocket", mqtt.MqttWs]);
  }
  for (const [suffix, transport] of transports) {
    const key = sas.authentication.symmetricKey.primaryKey;
    const text = `HostName=${host};DeviceId=judge-node-sas;SharedAccessKey=${key}`;
    await exercise(`SAS device${suffix}`, device.Client.fromConnectionString(text, transport), "judge-node-sas");
    const moduleKey = module.authentication.symmetricKey.primaryKey;
    const ofModule = `HostName=${host};DeviceId=judge-node-sas;ModuleId=m;SharedAccessKey=${moduleKey}`;
    const client = device.ModuleClient.fromConnectionString(ofModule, transport);
    await exercise(`SAS module${suffix}`, client, "judge-node-sas", "m");
    for (const [title, id] of [["X.509 thumbprint", "judge-thumbprint"], ["X.509 CA", "judge-ca"]]) {
      await exercise(`${title} device${suffix}`, await withCertificate(id, `devices/${id}`, transport), id);
    }
    for (const [name, id, folder] of [
      ["another's certificate", "judge-thumbprint", "devices/judge-ca"],
      ["a certificate of another CA", "judge-ca", "stranger/devices/judge-ca"],
    ]) {
      await check(`Node azure-iot-device (${name}${suffix})`, "is refused", async () => {
        const client = await withCertificate(id, folder, transport);
        client.setRetryPolicy(new (require("azure-iot-common").NoRetry)());
        await refused("UnauthorizedError", () => client.open());
      });
    }
  }
}

async function main() {
  try {
    await judgeService();
    await judgeJobs();
    await judgeDevices();
  } finally {
    for (const id of ["judge-node-sas", "judge-thumbprint", "judge-ca"]) {
      await registry.delete(id).catch((error) => console.error(`${id} stays: ${error.message}`));
    }
  }
  console.log(`${score.passed} passed, ${score.failed} failed`);
  process.exit(score.failed === 0 ? 0 : 1);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
