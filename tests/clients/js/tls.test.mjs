// Both SDKs over https with the development authority, in a process of its own because node reads
// the variable that names the authority only once.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { BLOBS_ACCOUNT, BLOBS_KEY, DOCUMENTS_KEY, startServer } from "./server.mjs";

const run = promisify(execFile);
let server;

before(async () => {
  server = await startServer();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

async function authority() {
  if (server.endpoints.ca) return server.endpoints.ca;
  const files = await readdir(server.data, { recursive: true });
  const found = files.find((name) => /(^|\/)ca[^/]*\.pem$/.test(name));
  assert.ok(found, "the server writes its development authority into the data folder");
  return path.join(server.data, found);
}

async function script(text, address) {
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: await authority() };
  delete env.NODE_TEST_CONTEXT;
  await run(process.execPath, ["--input-type=module", "-e", text, address], { env, cwd: import.meta.dirname, timeout: 60_000 });
}

test("blobs over tls", async () => {
  await script(`
    import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
    const credential = new StorageSharedKeyCredential("${BLOBS_ACCOUNT}", "${BLOBS_KEY}");
    const container = new BlobServiceClient(process.argv[1], credential).getContainerClient("tls");
    await container.create();
    await container.getBlockBlobClient("a").upload("x", 1);
    if ((await container.getBlockBlobClient("a").downloadToBuffer()).toString() !== "x") process.exit(1);
  `, server.tls("blobs"));
});

test("documents over tls", async () => {
  await script(`
    import { CosmosClient } from "@azure/cosmos";
    const client = new CosmosClient({ endpoint: process.argv[1], key: "${DOCUMENTS_KEY}" });
    const { database } = await client.databases.create({ id: "tls" });
    const { container } = await database.containers.create({ id: "c", partitionKey: { paths: ["/pk"] } });
    await container.items.create({ id: "1", pk: "a" });
    const { resource } = await container.item("1", "a").read();
    client.dispose();
    process.exit(resource.id === "1" ? 0 : 1);
  `, server.tls("documents"));
});
