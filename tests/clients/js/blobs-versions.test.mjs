// @azure/storage-blob against a blob account that has versioning.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { BLOBS_ACCOUNT, BLOBS_KEY, startServer } from "./server.mjs";

const credential = new StorageSharedKeyCredential(BLOBS_ACCOUNT, BLOBS_KEY);
let server, container;

before(async () => {
  server = await startServer(["--blob-versioning"]);
  const service = new BlobServiceClient(server.blobs, credential, { retryOptions: { maxTries: 1 } });
  container = service.getContainerClient("js-versions");
  await container.create();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

async function versions(options = { includeVersions: true }) {
  const found = [];
  for await (const entry of container.listBlobsFlat(options)) found.push(entry);
  return found;
}

test("versions are made, read, deleted and promoted", async () => {
  const blob = container.getBlockBlobClient("a");
  const first = (await blob.upload("first", 5)).versionId;
  const second = (await blob.upload("second", 6)).versionId;
  assert.ok(first < second);
  const listed = await versions();
  assert.deepEqual(listed.map((entry) => [entry.versionId, entry.isCurrentVersion]), [[first, undefined], [second, true]]);
  assert.equal((await blob.withVersion(first).downloadToBuffer()).toString(), "first");
  const properties = await blob.withVersion(first).getProperties();
  assert.deepEqual([properties.versionId, properties.isCurrentVersion], [first, undefined]);
  assert.equal((await blob.getProperties()).isCurrentVersion, true);
  const third = (await blob.setMetadata({ m: "1" })).versionId;
  const taken = await blob.createSnapshot();
  assert.ok(second < third && third < taken.versionId);
  await assert.rejects(blob.withSnapshot(taken.snapshot).withVersion(first).download(),
    { statusCode: 400, code: "MutuallyExclusiveQueryParameters" });
  await assert.rejects(blob.withVersion(taken.versionId).delete(), { statusCode: 403, code: "OperationNotAllowedOnRootBlob" });
  await blob.delete({ deleteSnapshots: "include" });
  assert.equal(await blob.exists(), false);
  const [alone] = await versions({ includeDeletedWithVersions: true });
  assert.equal(alone.hasVersionsOnly, true);
  await blob.withVersion(second).delete();
  assert.equal(await blob.withVersion(second).exists(), false);
  const copied = await (await blob.beginCopyFromURL(blob.withVersion(first).url)).pollUntilDone();
  assert.equal((await blob.downloadToBuffer()).toString(), "first");
  const left = await versions();
  assert.deepEqual(left.map((entry) => entry.versionId), [first, third, taken.versionId, copied.versionId]);
  assert.equal(left.at(-1).isCurrentVersion, true);
});
