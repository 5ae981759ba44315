// @azure/cosmos against the documents endpoint: stored procedures.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CosmosClient } from "@azure/cosmos";
import { DOCUMENTS_KEY, startServer } from "./server.mjs";

let server, client, container;

before(async () => {
  server = await startServer();
  client = new CosmosClient({ endpoint: server.documents, key: DOCUMENTS_KEY });
  const { database } = await client.databases.createIfNotExists({ id: "scripts" });
  ({ container } = await database.containers.createIfNotExists({ id: "items", partitionKey: { paths: ["/owner"] } }));
});

after(async () => {
  client.dispose();
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

test("a stored procedure is created, listed, read, replaced and deleted", async () => {
  const { scripts } = container;
  const { resource: made } = await scripts.storedProcedures.create({ id: "s", body: "function () {}" });
  const { resources } = await scripts.storedProcedures.readAll().fetchAll();
  assert.deepEqual(resources, [made]);
  const one = scripts.storedProcedure("s");
  assert.deepEqual((await one.read()).resource, made);
  assert.equal((await one.replace({ id: "s", body: "() => 1" })).resource.body, "() => 1");
  await assert.rejects(scripts.storedProcedures.create({ id: "bad", body: "function (" }), { code: 400 });
  await one.delete();
  await assert.rejects(async () => {
    const { resource, statusCode } = await one.read();
    if (!resource) throw Object.assign(new Error("gone"), { code: statusCode });
  }, { code: 404 });
});

test("a stored procedure given as a function writes all or nothing", async () => {
  const { scripts } = container;
  await scripts.storedProcedures.create({
    id: "write",
    body: function (count, fails) {
      const collection = getContext().getCollection();
      for (let number = 0; number < count; number++) {
        collection.createDocument(collection.getSelfLink(), { id: `n${number}`, owner: "me", number });
      }
      console.log("wrote", count);
      collection.queryDocuments(collection.getSelfLink(), "SELECT VALUE SUM(c.number) FROM c", (error, rows) => {
        if (error || fails) throw error || new Error(418, "as asked");
        getContext().getResponse().setBody({ sum: rows[0] });
      });
    },
  });
  const write = scripts.storedProcedure("write");
  await assert.rejects(write.execute("me", [5, true]), (error) => {
    assert.equal(error.code, 400);
    assert.match(String(error.body?.message ?? error.message), /as asked/);
    return true;
  });
  const { resources } = await container.items.readAll().fetchAll();
  assert.deepEqual(resources, []);
  const { resource, headers } = await write.execute("me", [5], { enableScriptLogging: true });
  assert.deepEqual(resource, { sum: 10 });
  assert.match(decodeURIComponent(headers["x-ms-documentdb-script-log-results"]), /wrote 5/);
});
