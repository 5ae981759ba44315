// Bearer tokens and user delegation SAS of all versions, with @azure/storage-blob over https, in a process of
// its own because node reads the variable that names the authority only once.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { BLOBS_ACCOUNT, startServer } from "./server.mjs";

const run = promisify(execFile);
let server;

before(async () => {
  server = await startServer();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

test("tokens and the signatures that they lead to", async () => {
  const text = `
    import assert from "node:assert/strict";
    import {
      BlobClient, BlobSASPermissions, BlobServiceClient, ContainerClient, ContainerSASPermissions,
      generateBlobSASQueryParameters,
    } from "@azure/storage-blob";
    const [blobs, platform] = process.argv.slice(1);
    const service = async (who) => {
      const token = await (await fetch(platform + "/Home/GetTestStorageToken/" + who)).text();
      const getToken = async () => ({ token, expiresOnTimestamp: Date.now() + 3600_000 });
      return new BlobServiceClient(blobs, { getToken }, { retryOptions: { maxTries: 1 } });
    };
    const contributor = await service("contributor");
    const container = contributor.getContainerClient("bearer");
    await container.create();
    await container.getBlockBlobClient("a").upload("content", 7);
    const reader = await service("reader");
    const read = async (blob) => (await blob.downloadToBuffer()).toString();
    assert.equal(await read(reader.getContainerClient("bearer").getBlobClient("a")), "content");
    await assert.rejects(reader.getContainerClient("bearer").delete(), { code: "AuthorizationPermissionMismatch" });
    const [startsOn, expiresOn] = [new Date(Date.now() - 3600_000), new Date(Date.now() + 3600_000)];
    const key = await reader.getUserDelegationKey(startsOn, expiresOn);
    for (const version of ["2018-11-09", "2020-02-10", "2020-12-06", "2025-07-05", "2026-04-06"]) {
      const common = { containerName: "bearer", startsOn, expiresOn, version };
      const blob = generateBlobSASQueryParameters(
        { ...common, blobName: "a", permissions: BlobSASPermissions.parse("rw") }, key, "${BLOBS_ACCOUNT}");
      const client = new BlobClient(blobs + "/bearer/a?" + blob);
      assert.equal(await read(client), "content", version);
      await assert.rejects(client.getBlockBlobClient().upload("x", 1), { code: "AuthorizationPermissionMismatch" });
      const list = generateBlobSASQueryParameters(
        { ...common, permissions: ContainerSASPermissions.parse("rl") }, key, "${BLOBS_ACCOUNT}");
      const names = [];
      for await (const found of new ContainerClient(blobs + "/bearer?" + list).listBlobsFlat()) names.push(found.name);
      assert.deepEqual(names, ["a"], version);
    }
    await container.delete();
  `;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: server.endpoints.ca };
  delete env.NODE_TEST_CONTEXT;
  await run(process.execPath, ["--input-type=module", "-e", text, server.tls("blobs"), server.endpoints.platform], {
    env, cwd: import.meta.dirname, timeout: 60_000,
  });
});
