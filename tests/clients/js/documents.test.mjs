// @azure/cosmos against the documents endpoint.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CosmosClient } from "@azure/cosmos";
import { DOCUMENTS_KEY, startServer } from "./server.mjs";

let server, client, database, container;

before(async () => {
  server = await startServer();
  client = new CosmosClient({ endpoint: server.documents, key: DOCUMENTS_KEY });
  ({ database } = await client.databases.createIfNotExists({ id: "js" }));
  ({ container } = await database.containers.createIfNotExists({ id: "items", partitionKey: { paths: ["/owner"] } }));
  for (let number = 0; number < 12; number++) {
    await container.items.create({ id: `i${number}`, owner: `o${number % 2}`, number, tags: ["all", `t${number % 3}`] });
  }
});

after(async () => {
  client.dispose();
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

const query = (text, parameters = []) =>
  container.items.query({ query: text, parameters: parameters.map(([name, value]) => ({ name, value })) });

test("databases and containers are listed and read", async () => {
  const { resources } = await client.databases.readAll().fetchAll();
  assert.ok(resources.some((found) => found.id === "js"));
  const { resource } = await container.read();
  assert.deepEqual(resource.partitionKey.paths, ["/owner"]);
  await assert.rejects(database.containers.create({ id: "items", partitionKey: { paths: ["/x"] } }), { code: 409 });
  await assert.rejects(client.database("never").read(), { code: 404 });
});

test("what a container takes is told to who asks", async () => {
  const { container: counted } = await database.containers.create({ id: "counted", partitionKey: { paths: ["/pk"] } });
  for (let number = 0; number < 3; number++) await counted.items.create({ id: `${number}`, pk: "a" });
  const { headers } = await counted.read({ populateQuotaInfo: true });
  const names = (text) => text.split(";").map((pair) => pair.split("=")[0]);
  assert.match(headers["x-ms-resource-usage"], /;documentsCount=3;documentsSize=1;collectionSize=\d+;$/);
  assert.deepEqual(names(headers["x-ms-resource-quota"]), names(headers["x-ms-resource-usage"]));
  assert.equal((await counted.read()).headers["x-ms-resource-usage"], undefined);
});

test("an item is created, read, replaced and deleted", async () => {
  const { resource: made, statusCode } = await container.items.create({ id: "life", owner: "me", text: "æøå" });
  assert.equal(statusCode, 201);
  assert.ok(made._etag && made._rid && made._ts);
  const { resource: read } = await container.item("life", "me").read();
  assert.deepEqual(read, made);
  const { resource: replaced } = await container.item("life", "me").replace({ id: "life", owner: "me", text: "new" });
  assert.notEqual(replaced._etag, made._etag);
  await assert.rejects(
    container.item("life", "me").replace(
      { id: "life", owner: "me" },
      { accessCondition: { type: "IfMatch", condition: made._etag } },
    ),
    { code: 412 },
  );
  assert.equal((await container.item("life", "me").delete()).statusCode, 204);
  assert.equal((await container.item("life", "me").read()).statusCode, 404);
});

test("upsert and patch", async () => {
  assert.equal((await container.items.upsert({ id: "u", owner: "me", n: 1 })).statusCode, 201);
  assert.equal((await container.items.upsert({ id: "u", owner: "me", n: 2 })).statusCode, 200);
  const { resource } = await container.item("u", "me").patch([
    { op: "incr", path: "/n", value: 3 },
    { op: "add", path: "/list", value: [1] },
    { op: "add", path: "/list/-", value: 2 },
  ]);
  assert.equal(resource.n, 5);
  assert.deepEqual(resource.list, [1, 2]);
  await container.item("u", "me").delete();
});

test("a batch is all or nothing", async () => {
  const good = await container.items.batch([
    { operationType: "Create", resourceBody: { id: "b1", owner: "batch" } },
    { operationType: "Upsert", resourceBody: { id: "b2", owner: "batch", n: 1 } },
    { operationType: "Read", id: "b1" },
  ], "batch");
  assert.deepEqual(good.result.map((entry) => entry.statusCode), [201, 201, 200]);
  const bad = await container.items.batch([
    { operationType: "Create", resourceBody: { id: "b3", owner: "batch" } },
    { operationType: "Create", resourceBody: { id: "b1", owner: "batch" } },
  ], "batch");
  assert.deepEqual(bad.result.map((entry) => entry.statusCode), [424, 409]);
  assert.equal((await container.item("b3", "batch").read()).statusCode, 404);
  await container.items.batch([
    { operationType: "Delete", id: "b1" },
    { operationType: "Delete", id: "b2" },
  ], "batch");
});

test("bulk writes over several partitions", async () => {
  const operations = Array.from({ length: 20 }, (_, n) => ({
    operationType: "Create", partitionKey: `bulk-${n % 4}`, resourceBody: { id: `bulk-${n}`, owner: `bulk-${n % 4}` },
  }));
  const results = await container.items.executeBulkOperations(operations);
  assert.deepEqual(new Set(results.map((entry) => entry.response?.statusCode ?? entry.statusCode)), new Set([201]));
  const { resources } = await query("SELECT VALUE COUNT(1) FROM c WHERE STARTSWITH(c.owner, 'bulk-')").fetchAll();
  assert.deepEqual(resources, [20]);
  for (let n = 0; n < 20; n++) await container.item(`bulk-${n}`, `bulk-${n % 4}`).delete();
});

test("queries with parameters, order, join and aggregates", async () => {
  const { resources: some } = await query(
    "SELECT * FROM c WHERE c.number >= @low ORDER BY c.number DESC", [["@low", 9]]).fetchAll();
  assert.deepEqual(some.map((item) => item.id), ["i11", "i10", "i9"]);
  const { resources: joined } = await query("SELECT c.id FROM c JOIN t IN c.tags WHERE t = 't2'").fetchAll();
  assert.equal(joined.length, 4);
  const { resources: sums } = await query("SELECT VALUE SUM(c.number) FROM c WHERE IS_DEFINED(c.number)").fetchAll();
  assert.deepEqual(sums, [66]);
  const { resources: groups } = await query(
    "SELECT c.owner, COUNT(1) AS n FROM c WHERE IS_DEFINED(c.number) GROUP BY c.owner").fetchAll();
  assert.deepEqual(groups.map((row) => [row.owner, row.n]).sort(), [["o0", 6], ["o1", 6]]);
});

test("pages with a continuation", async () => {
  const seen = [];
  let continuationToken;
  do {
    const page = await container.items
      .query("SELECT * FROM c WHERE IS_DEFINED(c.number) ORDER BY c.number", { maxItemCount: 5, continuationToken })
      .fetchNext();
    assert.ok(page.resources.length <= 5);
    seen.push(...page.resources.map((item) => item.number));
    continuationToken = page.continuationToken;
  } while (continuationToken);
  assert.deepEqual(seen, Array.from({ length: 12 }, (_, n) => n));
});

test("one partition's feed", async () => {
  const { resources } = await container.items.query("SELECT * FROM c", { partitionKey: "o1" }).fetchAll();
  assert.deepEqual(resources.map((item) => item.number).sort((a, b) => a - b), [1, 3, 5, 7, 9, 11]);
});

test("errors carry the protocol's codes", async () => {
  await assert.rejects(container.items.create({ id: "i1", owner: "o1" }), { code: 409 });
  await assert.rejects(query("SELEC nothing").fetchAll(), { code: 400 });
  const stranger = new CosmosClient({ endpoint: server.documents, key: Buffer.from("wrong").toString("base64") });
  await assert.rejects(stranger.databases.readAll().fetchAll(), { code: 401 });
  stranger.dispose();
});

test("a resource token reads what its permission says, and no more", async () => {
  const { user } = await database.users.create({ id: "reader" });
  const { resource: permission } = await user.permissions.create({
    id: "own", permissionMode: "Read", resource: container.url, resourcePartitionKey: ["o1"],
  });
  assert.match(permission._token, /^type=resource&ver=1\.0&sig=/);
  const holder = new CosmosClient({ endpoint: server.documents, resourceTokens: { [container.url]: permission._token } });
  const held = holder.database("js").container("items");
  assert.equal((await held.item("i1", "o1").read()).resource.number, 1);
  await assert.rejects(held.item("i0", "o0").read(), { code: 403 });
  await assert.rejects(held.items.create({ id: "x", owner: "o1" }), { code: 403 });
  await user.permission("own").delete();
  await assert.rejects(held.item("i1", "o1").read(), { code: 403 });
  holder.dispose();
});
