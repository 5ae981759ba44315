// Starts the server on free ports for the tests of one file, and reads its log at the end.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { openSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

export const BLOBS_ACCOUNT = "devstoreaccount1";
// The emulators' own keys, published by Microsoft; `stabbur serve` refuses them.
export const BLOBS_KEY =
  "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
export const DOCUMENTS_KEY =
  "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

const EXPECTED = [/well-known/, /development/];

/** A database for one server's ledger, in the PostgreSQL server that STABBUR_POSTGRES names: a connection
 *  string without a database. */
async function newDatabase() {
  const at = process.env.STABBUR_POSTGRES;
  if (!at) return { arguments: [], drop: async () => {} };
  const name = `clients_${randomBytes(6).toString("hex")}`;
  const psql = (statement) =>
    promisify(execFile)("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", `${at} dbname=postgres`, "-c", statement]);
  await psql(`CREATE DATABASE ${name}`);
  return { arguments: ["--ledger-postgres", `${at} dbname=${name}`], drop: () => psql(`DROP DATABASE ${name} WITH (FORCE)`) };
}

/** Content in the object store that STABBUR_CONTENT names, below a prefix of this server's own: a file as
 *  `--content-config` takes it, without a prefix. */
async function contentArguments(folder) {
  const named = process.env.STABBUR_CONTENT;
  if (!named) return [];
  const config = path.join(folder, "content.toml");
  const prefix = `prefix = "clients-${randomBytes(6).toString("hex")}"\n`;
  await writeFile(config, (await readFile(named, "utf8")) + prefix);
  return ["--content-config", config];
}

export async function startServer(options = []) {
  const binary = process.env.STABBUR_BINARY;
  if (!binary) throw new Error("STABBUR_BINARY names no server; run `cargo xtask test`");
  const folder = await mkdtemp(path.join(tmpdir(), "stabbur-clients-"));
  const log = path.join(folder, "server.log");
  const out = openSync(log, "a");
  const ready = path.join(folder, "ready.json");
  const database = await newDatabase();
  const child = spawn(
    binary,
    ["dev", "--data", path.join(folder, "data"), "--blobs-port", "0", "--documents-port", "0",
      "--platform-port", "0", "--admin-port", "0",
      "--vault-port", "0", "--login-port", "0", "--registry-port", "0", "--ready-file", ready,
      ...database.arguments, ...(await contentArguments(folder)), ...options],
    { stdio: ["ignore", out, out] },
  );
  const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  let endpoints;
  for (let waited = 0; !endpoints; waited += 10) {
    if (child.exitCode !== null || waited > 20_000) {
      child.kill("SIGKILL");
      throw new Error(`the server isn't ready:\n${await readFile(log, "utf8")}`);
    }
    try {
      endpoints = JSON.parse(await readFile(ready, "utf8"));
    } catch {
      await sleep(10);
    }
  }
  return {
    data: path.join(folder, "data"),
    endpoints,
    blobs: blobsAccount(endpoints.blobs),
    documents: endpoints.documents,
    tls: (name) => {
      const base = endpoints[`${name}_tls`] ?? endpoints[name].replace("http://", "https://");
      return name === "blobs" ? blobsAccount(base) : base;
    },
    /** Stops the server and gives the lines of its log that no test expected. */
    async stop() {
      child.kill("SIGTERM");
      const code = await Promise.race([ended, sleep(20_000, "a time-out", { ref: false })]);
      if (code !== 0) {
        child.kill("SIGKILL");
        throw new Error(`the server stopped with ${code}`);
      }
      const lines = (await readFile(log, "utf8")).replace(/\x1b\[[0-9;]*m/g, "").split("\n");
      await rm(folder, { recursive: true });
      await database.drop();
      return lines.filter((line) => /\b(WARN|ERROR)\b|panicked/.test(line) && !EXPECTED.some((e) => e.test(line)));
    },
  };
}

function blobsAccount(base) {
  const trimmed = base.replace(/\/$/, "");
  return trimmed.endsWith(BLOBS_ACCOUNT) ? trimmed : `${trimmed}/${BLOBS_ACCOUNT}`;
}
