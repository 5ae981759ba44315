// Secrets and keys with @azure/keyvault-secrets, @azure/keyvault-keys and @azure/identity, all of their checks
// on, in a process of its own because node reads the variable that names the authority only once.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startServer } from "./server.mjs";

const run = promisify(execFile);
let server;

before(async () => {
  server = await startServer();
});

after(async () => {
  assert.deepEqual(await server.stop(), [], "the server's log has lines that no test expected");
});

test("secrets and keys", async () => {
  const text = `
    import assert from "node:assert/strict";
    import { createHash, createPublicKey, verify } from "node:crypto";
    import dns from "node:dns";
    // Names below localhost are this machine (RFC 6761), which not every resolver knows.
    const lookup = dns.lookup;
    dns.lookup = (host, ...rest) => lookup(host.endsWith(".localhost") ? "127.0.0.1" : host, ...rest);
    const { ClientSecretCredential } = await import("@azure/identity");
    const { SecretClient } = await import("@azure/keyvault-secrets");
    const { CryptographyClient, KeyClient } = await import("@azure/keyvault-keys");
    const [vault, login] = process.argv.slice(1);
    const [, authorityHost, tenant] = /^(.*)\\/([^/]*)$/.exec(login);
    const credential = (role) => new ClientSecretCredential(
      tenant, "00000000-0000-4000-8000-00000000010" + role, "well-known-development-secret",
      { authorityHost, disableInstanceDiscovery: true });
    const client = new SecretClient(vault, credential(1));
    const set = await client.setSecret("Js-Secret", "v\\u00e5lue", { tags: { a: "b" }, contentType: "text/plain" });
    assert.equal((await client.getSecret("js-secret")).value, "v\\u00e5lue");
    assert.equal((await client.getSecret("Js-Secret", { version: set.properties.version })).properties.tags.a, "b");
    await client.updateSecretProperties("Js-Secret", set.properties.version, { enabled: false });
    await assert.rejects(client.getSecret("Js-Secret"), { statusCode: 403 });
    for (let at = 0; at < 27; at++) await client.setSecret("many-" + at, "");
    const names = [];
    for await (const row of client.listPropertiesOfSecrets()) names.push(row.name);
    assert.equal(names.filter((name) => name.startsWith("many-")).length, 27);
    await (await client.beginDeleteSecret("Js-Secret")).pollUntilDone();
    await assert.rejects(client.getSecret("Js-Secret"), { statusCode: 404, code: "SecretNotFound" });
    await (await client.beginRecoverDeletedSecret("Js-Secret")).pollUntilDone();
    await (await client.beginDeleteSecret("Js-Secret")).pollUntilDone();
    await client.purgeDeletedSecret("Js-Secret");
    const backup = await client.backupSecret("many-1");
    await (await client.beginDeleteSecret("many-1")).pollUntilDone();
    await client.purgeDeletedSecret("many-1");
    await client.restoreSecretBackup(backup);
    assert.equal((await client.getSecret("many-1")).value, "");
    await assert.rejects(new SecretClient(vault, credential(9)).getSecret("many-1"), { statusCode: 403 });

    const keys = new KeyClient(vault, credential(5));
    const key = await keys.createEcKey("js-ec", { curve: "P-256" });
    const crypto = new CryptographyClient(key, credential(5));
    const digest = createHash("sha256").update("text").digest();
    const { result } = await crypto.sign("ES256", digest);
    const part = (bytes) => Buffer.from(bytes).toString("base64url");
    const jwk = { kty: "EC", crv: "P-256", x: part(key.key.x), y: part(key.key.y) };
    const elsewhere = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
    assert.ok(verify("sha256", "text", elsewhere, result));
    assert.ok(!verify("sha256", "other", elsewhere, result));
    const rsa = new CryptographyClient(await keys.createRsaKey("js-rsa", { keySize: 2048 }), credential(5));
    const closed = await rsa.encrypt({ algorithm: "RSA-OAEP", plaintext: Buffer.from("text") });
    const opened = await rsa.decrypt({ algorithm: "RSA-OAEP", ciphertext: closed.result });
    assert.equal(Buffer.from(opened.result).toString(), "text");
    await assert.rejects(keys.createKey("js-hsm", "RSA-HSM"), { statusCode: 400 });
  `;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: server.endpoints.ca };
  delete env.NODE_TEST_CONTEXT;
  const { vault, login } = server.endpoints;
  await run(process.execPath, ["--input-type=module", "-e", text, vault, login], {
    env, cwd: import.meta.dirname, timeout: 120_000,
  });
});
