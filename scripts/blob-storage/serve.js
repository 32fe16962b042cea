/*
Serves containers for blobs by Azurite, in memory, on a free port of 127.0.0.1.

Usage:
    npm install
    node serve.js

Prints one line of JSON, in which every URL is that of a container with a shared access signature:
    all      may do everything
    other    another one that may do everything
    expired  `all` with a signature whose time is over
    readOnly `all` for who may read only
Serves until its standard input ends.
*/
"use strict";

const { spawn } = require("node:child_process");
const crypto = require("node:crypto");
const readline = require("node:readline");

const {
  BlobServiceClient,
  ContainerSASPermissions,
  StorageSharedKeyCredential,
} = require("@azure/storage-blob");

const HOUR = 3_600_000;

/** Starts Azurite and returns the process and its address. */
async function start(account, key) {
  const azurite = spawn(
    process.execPath,
    [
      require.resolve("azurite/dist/src/blob/main.js"),
      ...["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--silent", "--disableTelemetry"],
    ],
    { env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${key}` }, stdio: ["ignore", "pipe", "inherit"] },
  );
  for await (const line of readline.createInterface({ input: azurite.stdout })) {
    const address = /successfully listens on (http:\S+)/.exec(line);
    if (address) {
      azurite.stdout.resume();
      return [azurite, address[1]];
    }
  }
  throw new Error("Azurite ended before it listened");
}

async function main() {
  const [account, key] = ["factory", crypto.randomBytes(64).toString("base64")];
  const [azurite, address] = await start(account, key);
  process.stdin.resume().on("end", () => azurite.kill());
  azurite.on("exit", () => process.exit());
  const service = new BlobServiceClient(`${address}/${account}`, new StorageSharedKeyCredential(account, key));
  const [all, other] = ["all", "other"].map((name) => service.getContainerClient(name));
  await Promise.all([all.create(), other.create()]);
  const signed = (container, permissions, lifetime) =>
    container.generateSasUrl({
      permissions: ContainerSASPermissions.parse(permissions),
      startsOn: new Date(Date.now() - 2 * HOUR),
      expiresOn: new Date(Date.now() + lifetime),
    });
  const containers = {
    all: await signed(all, "racwdl", HOUR),
    other: await signed(other, "racwdl", HOUR),
    expired: await signed(all, "racwdl", -HOUR),
    readOnly: await signed(all, "rl", HOUR),
  };
  console.log(JSON.stringify(containers));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
