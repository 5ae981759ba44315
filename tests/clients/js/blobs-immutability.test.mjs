// @azure/storage-blob against a blob account that takes immutability policies and legal holds.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { BLOBS_ACCOUNT, BLOBS_KEY, startServer } from "./server.mjs";

const credential = new StorageSharedKeyCredential(BLOBS_ACCOUNT, BLOBS_KEY);
let server, service, container;

before(async () => {
  server = await startServer(["--blob-versioning", "--blob-immutability"]);
  service = new BlobServiceClient(server.blobs, credential, { retryOptions: { maxTries: 1 } });
  container = service.getContainerClient("js-immutable");
  await container.create();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

function later(minutes) {
  const at = new Date(Date.now() + minutes * 60_000);
  at.setMilliseconds(0);
  return at;
}

async function listed(options) {
  const found = [];
  for await (const entry of container.listBlobsFlat(options)) found.push(entry);
  return found;
}

test("policies and holds are set, shown, refuse and are let go", async () => {
  const blob = container.getBlockBlobClient("a");
  await blob.upload("first", 5);
  const until = later(5);
  const set = await blob.setImmutabilityPolicy({ expiriesOn: until, policyMode: "Unlocked" });
  assert.deepEqual([set.immutabilityPolicyExpiry, set.immutabilityPolicyMode], [until, "unlocked"]);
  assert.equal((await blob.setLegalHold(true)).legalHold, true);
  const properties = await blob.getProperties();
  assert.deepEqual([properties.immutabilityPolicyExpiresOn, properties.immutabilityPolicyMode, properties.legalHold],
    [until, "unlocked", true]);
  const [entry] = await listed({ includeImmutabilityPolicy: true, includeLegalHold: true });
  assert.deepEqual(
    [entry.properties.immutabilityPolicyExpiresOn, entry.properties.immutabilityPolicyMode, entry.properties.legalHold],
    [until, "unlocked", true]);
  await assert.rejects(blob.delete(), { statusCode: 409, code: "BlobImmutableDueToLegalHold" });
  await blob.setLegalHold(false);
  await assert.rejects(blob.delete(), { statusCode: 409, code: "BlobImmutableDueToPolicy" });
  await blob.deleteImmutabilityPolicy();
  await blob.delete();
});

test("a write protects what it makes", async () => {
  const blob = container.getBlockBlobClient("b");
  const until = later(5);
  const { versionId } = await blob.upload("first", 5, {
    immutabilityPolicy: { expiriesOn: until, policyMode: "Locked" }, legalHold: true });
  await blob.upload("second", 6);
  const old = blob.withVersion(versionId);
  const properties = await old.getProperties();
  assert.deepEqual([properties.immutabilityPolicyMode, properties.legalHold], ["locked", true]);
  await assert.rejects(old.delete(), { statusCode: 409, code: "BlobImmutableDueToLegalHold" });
  assert.equal((await blob.getProperties()).legalHold, undefined);
  assert.equal((await container.getProperties()).isImmutableStorageWithVersioningEnabled, true);
  await assert.rejects(container.delete(), { statusCode: 409, code: "ContainerImmutableStorageWithVersioningEnabled" });
});

test("blobs that are staged alone are listed", async () => {
  const blob = container.getBlockBlobClient("c/staged");
  await blob.stageBlock("MDAx", "1", 1);
  const names = (await listed({ includeUncommitedBlobs: true, prefix: "c/" })).map((entry) =>
    [entry.name, entry.properties.contentLength]);
  assert.deepEqual(names, [["c/staged", 0]]);
  assert.deepEqual(await listed({ prefix: "c/" }), []);
});
