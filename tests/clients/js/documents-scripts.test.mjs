// @azure/cosmos against the documents endpoint: stored procedures, triggers, user-defined functions.

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

test("triggers given as functions change a write and go with it", async () => {
  const { items, scripts } = container;
  await scripts.triggers.create({
    id: "stamp",
    triggerType: "Pre",
    triggerOperation: "All",
    body: function () {
      const request = getContext().getRequest();
      const item = request.getBody();
      item.stamp = request.getOperationType();
      request.setBody(item);
    },
  });
  await scripts.triggers.create({
    id: "log",
    triggerType: "Post",
    triggerOperation: "Create",
    body: function () {
      const context = getContext();
      const collection = context.getCollection();
      const made = context.getResponse().getBody();
      collection.createDocument(collection.getSelfLink(), { id: `log-${made.id}`, owner: made.owner }, (error) => {
        if (error) throw error;
        if (made.fails) throw new Error("as asked");
      });
    },
  });
  const options = { preTriggerInclude: ["stamp"], postTriggerInclude: "log" };
  const { resource } = await items.create({ id: "t1", owner: "them" }, options);
  assert.equal(resource.stamp, "Create");
  assert.equal((await container.item("log-t1", "them").read()).statusCode, 200);
  await assert.rejects(items.create({ id: "t2", owner: "them", fails: true }, options), (error) => {
    assert.equal(error.code, 400);
    assert.match(String(error.body?.message ?? error.message), /as asked/);
    return true;
  });
  for (const id of ["t2", "log-t2"]) assert.equal((await container.item(id, "them").read()).statusCode, 404);
  const replaced = await container.item("t1", "them").replace({ id: "t1", owner: "them" }, { preTriggerInclude: "stamp" });
  assert.equal(replaced.resource.stamp, "Replace");
  await assert.rejects(items.create({ id: "t3", owner: "them" }, { preTriggerInclude: ["stamp", "log"] }), { code: 400 });
  await assert.rejects(items.upsert({ id: "t3", owner: "them" }, { postTriggerInclude: "log" }), { code: 400 });
});

test("user-defined functions are called in queries over all partitions", async () => {
  const { items, scripts } = container;
  await scripts.userDefinedFunctions.create({ id: "cube", body: function (x) { return x === undefined ? undefined : x * x * x; } });
  for (let n = 0; n < 40; n++) await items.create({ id: `u${n}`, owner: `o${n % 4}`, u: n });
  const ask = async (query, options) => (await items.query(query, options).fetchAll()).resources;
  const wanted = Array.from({ length: 40 }, (_, n) => n ** 3);
  const found = await ask("SELECT VALUE udf.cube(c.u) FROM c WHERE IS_DEFINED(udf.cube(c.u))", { maxItemCount: 7 });
  assert.deepEqual(found.sort((a, b) => a - b), wanted);
  assert.deepEqual(await ask("SELECT VALUE MAX(udf.cube(c.u)) FROM c"), [39 ** 3]);
  assert.deepEqual(await ask("SELECT VALUE c.u FROM c WHERE udf.cube(c.u) > 50000 ORDER BY c.u DESC"), [39, 38, 37]);
  assert.deepEqual(await ask("SELECT VALUE udf.cube(c.u) FROM c WHERE c.u = 5", { partitionKey: "o1" }), [125]);
  await assert.rejects(ask("SELECT VALUE udf.nowhere(c.u) FROM c"), { code: 400 });
  await scripts.userDefinedFunctions.create({ id: "fails", body: function () { throw new Error("as asked"); } });
  await assert.rejects(ask("SELECT VALUE udf.fails(c.u) FROM c"), (error) => {
    assert.equal(error.code, 400);
    assert.match(String(error.body?.message ?? error.message), /as asked/);
    return true;
  });
});
