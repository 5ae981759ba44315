// @azure/cosmos reads the change feed: both modes, over feed ranges, keys and from every start.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ChangeFeedMode,
  ChangeFeedPolicy,
  ChangeFeedRetentionTimeSpan,
  ChangeFeedStartFrom,
  CosmosClient,
} from "@azure/cosmos";
import { DOCUMENTS_KEY, startServer } from "./server.mjs";

let server, client, database;

before(async () => {
  server = await startServer();
  client = new CosmosClient({ endpoint: server.documents, key: DOCUMENTS_KEY });
  ({ database } = await client.databases.createIfNotExists({ id: "feed" }));
});

after(async () => {
  client.dispose();
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

const made = async (id, more = {}) =>
  (await database.containers.create({ id, partitionKey: { paths: ["/pk"] }, ...more })).container;

const keeping = (id) =>
  made(id, { changeFeedPolicy: new ChangeFeedPolicy(ChangeFeedRetentionTimeSpan.fromMinutes(10)) });

/** Reads until nothing is new: the changes, and where to go on. */
async function drain(iterator) {
  const changes = [];
  while (iterator.hasMoreResults) {
    const page = await iterator.readNext();
    if (page.statusCode === 304) return { changes, token: page.continuationToken };
    changes.push(...page.result);
  }
  return { changes };
}

const told = ({ changes }) =>
  changes.map(({ metadata, current, previous }) => {
    const image = metadata.operationType === "delete" ? previous : current;
    return `${metadata.operationType} ${image.id} ${image.n}`;
  });

test("the latest version, over feed ranges, a key, pages and times", async () => {
  const container = await made("latest");
  for (let n = 0; n < 6; n++) await container.items.create({ id: `i${n}`, pk: "ab"[n % 2], n });
  const numbers = ({ changes }) => changes.map(({ n }) => n);
  const read = (start, more = {}) =>
    drain(container.items.getChangeFeedIterator({ changeFeedStartFrom: start, ...more }));
  assert.deepEqual(numbers(await read(ChangeFeedStartFrom.Beginning())), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(numbers(await read(ChangeFeedStartFrom.Beginning("b"), { maxItemCount: 2 })), [1, 3, 5]);
  assert.deepEqual(numbers(await read(ChangeFeedStartFrom.Time(new Date(Date.now() - 60_000)))), [0, 1, 2, 3, 4, 5]);
  for (const range of await container.getFeedRanges()) {
    assert.deepEqual(numbers(await read(ChangeFeedStartFrom.Beginning(range))), [0, 1, 2, 3, 4, 5]);
  }
  const { changes, token } = await read(ChangeFeedStartFrom.Now());
  assert.deepEqual(changes, []);
  await container.items.upsert({ id: "i2", pk: "a", n: 22 });
  assert.deepEqual(numbers(await read(ChangeFeedStartFrom.Continuation(token))), [22]);
});

test("all versions and deletes", async () => {
  const container = await keeping("versions");
  const read = (start, more = {}) =>
    drain(
      container.items.getChangeFeedIterator({
        changeFeedStartFrom: start,
        changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes,
        ...more,
      }),
    );
  await container.items.create({ id: "before", pk: "a", n: 0 });
  const all = await read(ChangeFeedStartFrom.Now());
  const ofKey = await read(ChangeFeedStartFrom.Now("b"));
  const [range] = await container.getFeedRanges();
  const ofRange = await read(ChangeFeedStartFrom.Now(range));
  assert.deepEqual([all.changes, ofKey.changes, ofRange.changes], [[], [], []]);
  await container.items.create({ id: "1", pk: "a", n: 1 });
  await container.items.upsert({ id: "1", pk: "a", n: 2 });
  await container.items.batch(
    [
      { operationType: "Create", resourceBody: { id: "2", pk: "b", n: 3 } },
      { operationType: "Upsert", resourceBody: { id: "2", pk: "b", n: 4 } },
    ],
    "b",
  );
  await container.item("1", "a").delete();
  await container.item("2", "b").delete();
  const wanted = ["create 1 1", "replace 1 2", "create 2 3", "replace 2 4", "delete 1 2", "delete 2 4"];
  const found = await read(ChangeFeedStartFrom.Continuation(all.token), { maxItemCount: 1 });
  assert.deepEqual(told(found), wanted);
  assert.deepEqual(told(await read(ChangeFeedStartFrom.Continuation(ofRange.token))), wanted);
  assert.deepEqual(
    told(await read(ChangeFeedStartFrom.Continuation(ofKey.token))),
    wanted.filter((change) => change.includes(" 2 ")),
  );
  const { metadata, current } = found.changes[4];
  assert.deepEqual(current, {});
  assert.equal(metadata.id, "1");
  assert.deepEqual(metadata.partitionKey, { pk: "a" });
  assert.equal(metadata.timeToLiveExpired, false);
  assert.equal(metadata.previousImageLSN, found.changes[1].metadata.lsn);
  assert.deepEqual((await read(ChangeFeedStartFrom.Continuation(found.token))).changes, []);
  await assert.rejects(read(ChangeFeedStartFrom.Beginning()), { code: 400 });
});
