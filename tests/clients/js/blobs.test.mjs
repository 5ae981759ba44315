// @azure/storage-blob against the blobs endpoint.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import {
  BlobSASPermissions, BlobServiceClient, ContainerClient, StorageSharedKeyCredential, generateBlobSASQueryParameters,
} from "@azure/storage-blob";
import { BLOBS_ACCOUNT, BLOBS_KEY, startServer } from "./server.mjs";

const credential = new StorageSharedKeyCredential(BLOBS_ACCOUNT, BLOBS_KEY);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
let server, service, container;

before(async () => {
  server = await startServer();
  service = new BlobServiceClient(server.blobs, credential, { retryOptions: { maxTries: 1 } });
  container = service.getContainerClient("js-box");
  await container.create();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

test("containers are created, listed and deleted", async () => {
  const other = service.getContainerClient("js-box-other");
  await other.create({ metadata: { purpose: "test" } });
  const found = [];
  for await (const entry of service.listContainers({ prefix: "js-box", includeMetadata: true })) found.push(entry);
  assert.deepEqual(found.map((entry) => entry.name), ["js-box", "js-box-other"]);
  assert.deepEqual(found[1].metadata, { purpose: "test" });
  await assert.rejects(other.create(), { code: "ContainerAlreadyExists", statusCode: 409 });
  await other.delete();
  assert.equal(await other.exists(), false);
});

test("a container that was deleted comes back", async () => {
  const kept = service.getContainerClient("js-kept");
  await service.setProperties({ deleteRetentionPolicy: { enabled: true, days: 3 } });
  await kept.create();
  await kept.getBlockBlobClient("a").upload("abc", 3);
  await kept.delete();
  const found = [];
  for await (const entry of service.listContainers({ prefix: "js-kept", includeDeleted: true })) found.push(entry);
  assert.equal(found.length, 1);
  assert.equal(found[0].deleted, true);
  assert.ok(found[0].properties.deletedOn && found[0].properties.remainingRetentionDays <= 3);
  const { containerClient } = await service.undeleteContainer("js-kept", found[0].version);
  assert.equal((await containerClient.getBlobClient("a").downloadToBuffer()).toString(), "abc");
  await service.setProperties({ deleteRetentionPolicy: { enabled: false } });
  await containerClient.delete();
});

test("a small blob with properties and metadata", async () => {
  const blob = container.getBlockBlobClient("mappe/blåbær ø.txt");
  await blob.upload("hei på deg", Buffer.byteLength("hei på deg"), {
    metadata: { case: "42" }, blobHTTPHeaders: { blobContentType: "text/plain" },
  });
  const properties = await blob.getProperties();
  assert.equal(properties.contentType, "text/plain");
  assert.deepEqual(properties.metadata, { case: "42" });
  assert.equal((await blob.downloadToBuffer()).toString(), "hei på deg");
  await assert.rejects(blob.upload("x", 1, { conditions: { ifNoneMatch: "*" } }), { code: "BlobAlreadyExists" });
  await assert.rejects(blob.upload("x", 1, { conditions: { ifMatch: '"0x1"' } }), { code: "ConditionNotMet" });
  await blob.delete();
  await assert.rejects(blob.download(), { statusCode: 404 });
});

test("twenty mebibytes in parallel blocks", async () => {
  const content = randomBytes(20 * 1024 * 1024);
  const blob = container.getBlockBlobClient("large");
  await blob.uploadData(content, { blockSize: 4 * 1024 * 1024, maxSingleShotSize: 1024 * 1024, concurrency: 4 });
  const { committedBlocks } = await blob.getBlockList("committed");
  assert.equal(committedBlocks.length, 5);
  assert.equal(sha256(await blob.downloadToBuffer(0, undefined, { concurrency: 4 })), sha256(content));
  const part = await blob.downloadToBuffer(4 * 1024 * 1024 - 5, 10);
  assert.deepEqual(part, content.subarray(4 * 1024 * 1024 - 5, 4 * 1024 * 1024 + 5));
});

test("lists, flat and as a tree", async () => {
  for (const name of ["l/a", "l/b/1", "l/b/2", "l/c"]) await container.getBlockBlobClient(name).upload("x", 1);
  const flat = [];
  for await (const page of container.listBlobsFlat({ prefix: "l/" }).byPage({ maxPageSize: 3 })) {
    flat.push(page.segment.blobItems.map((item) => item.name));
  }
  assert.deepEqual(flat, [["l/a", "l/b/1", "l/b/2"], ["l/c"]]);
  const tree = [];
  for await (const entry of container.listBlobsByHierarchy("/", { prefix: "l/" })) tree.push(`${entry.kind} ${entry.name}`);
  assert.deepEqual(tree.sort(), ["blob l/a", "blob l/c", "prefix l/b/"]);
});

test("a copy within the account", async () => {
  const source = container.getBlockBlobClient("source");
  await source.upload("copied", 6, { metadata: { m: "1" } });
  const target = container.getBlockBlobClient("target");
  const result = await (await target.beginCopyFromURL(source.url)).pollUntilDone();
  assert.equal(result.copyStatus, "success");
  assert.equal((await target.downloadToBuffer()).toString(), "copied");
});

test("signed addresses: read, not write, and only in time", async () => {
  const blob = container.getBlockBlobClient("signed");
  await blob.upload("x", 1);
  const sign = (minutes) => generateBlobSASQueryParameters({
    containerName: "js-box", blobName: "signed", permissions: BlobSASPermissions.parse("r"),
    expiresOn: new Date(Date.now() + minutes * 60_000),
  }, credential).toString();
  const open = (sas) => new ContainerClient(`${server.blobs}/js-box?${sas}`, undefined, { retryOptions: { maxTries: 1 } })
    .getBlockBlobClient("signed");
  assert.equal((await open(sign(5)).downloadToBuffer()).toString(), "x");
  await assert.rejects(open(sign(5)).upload("y", 1), { code: "AuthorizationPermissionMismatch", statusCode: 403 });
  await assert.rejects(open(sign(-5)).download(), { code: "AuthenticationFailed", statusCode: 403 });
});

test("another key is refused", async () => {
  const wrong = new StorageSharedKeyCredential(BLOBS_ACCOUNT, Buffer.from("wrong").toString("base64"));
  const stranger = new BlobServiceClient(server.blobs, wrong, { retryOptions: { maxTries: 1 } });
  await assert.rejects(stranger.getContainerClient("js-box").getProperties(), { statusCode: 403 });
});

test("content goes and comes with its CRC64", async () => {
  // The CRC64 of "123456789" is AE8B14860A799888, sent with its lowest byte first.
  const crc64 = Uint8Array.from([0x88, 0x98, 0x79, 0x0a, 0x86, 0x14, 0x8b, 0xae]);
  const wrong = Uint8Array.from(crc64, (byte, at) => (at === 0 ? byte ^ 1 : byte));
  const blob = container.getBlockBlobClient("crc");
  const id = Buffer.from("a").toString("base64");
  await assert.rejects(
    blob.stageBlock(id, "123456789", 9, { transactionalContentCrc64: wrong }),
    { code: "Crc64Mismatch", statusCode: 400 },
  );
  const staged = await blob.stageBlock(id, "123456789", 9, { transactionalContentCrc64: crc64 });
  assert.deepEqual(Uint8Array.from(staged.xMsContentCrc64), crc64);
  await blob.commitBlockList([id]);
  const range = await blob.download(0, 9, { rangeGetContentCrc64: true });
  assert.deepEqual(Uint8Array.from(range.contentCrc64), crc64);
  const log = container.getAppendBlobClient("crc-log");
  await log.create();
  const append = (transactionalContentCrc64) => log.appendBlock("123456789", 9, { transactionalContentCrc64 });
  await assert.rejects(append(wrong), { code: "Crc64Mismatch", statusCode: 400 });
  await append(crc64);
  assert.equal((await log.downloadToBuffer()).toString(), "123456789");
});
