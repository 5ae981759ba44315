//! Keys over the wire protocol: made, brought in, used, rotated, kept as secrets are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects may end it"
)]

mod world;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vault::crypto::{Curve, KeySpec};
use world::{START, World};

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn path_of(bundle: &Value) -> String {
    let kid = bundle["key"]["kid"].as_str().unwrap();
    kid.strip_prefix("https://acme.vault.example").unwrap().to_owned()
}

#[tokio::test]
async fn keys_are_made_and_show_their_public_half_alone() {
    let world = World::new().await;
    let made = world
        .call(
            "POST",
            "/keys/Signing/create",
            json!({"kty": "EC", "crv": "P-521", "tags": {"a": "b"}}),
        )
        .await
        .ok();
    let key = &made["key"];
    assert_eq!((&key["kty"], &key["crv"]), (&json!("EC"), &json!("P-521")));
    assert_eq!(key["key_ops"], json!(["sign", "verify"]));
    assert_eq!(key["x"].as_str().unwrap().len(), 88);
    assert_eq!(made["attributes"]["created"], START);
    assert!(key.get("d").is_none());
    assert_eq!(world.call("GET", "/keys/signing/", Value::Null).await.ok(), made);
    let rsa = world
        .call(
            "POST",
            "/keys/rsa/create",
            json!({"kty": "RSA", "key_size": 2048, "key_ops": ["sign", "wrapKey"], "attributes": {"enabled": true, "exp": START + 100}}),
        )
        .await
        .ok();
    assert_eq!(rsa["key"]["n"].as_str().unwrap().len(), 342);
    assert_eq!(rsa["key"]["e"], "AQAB");
    assert_eq!(rsa["key"]["key_ops"], json!(["sign", "wrapKey"]));
    let list = world.call("GET", "/keys", Value::Null).await.ok();
    assert_eq!(list["value"][1]["kid"], "https://acme.vault.example/keys/Signing");
    assert!(list["value"][1].get("key").is_none());
    for body in [
        json!({"kty": "RSA-HSM"}),
        json!({"kty": "EC-HSM"}),
        json!({"kty": "oct"}),
        json!({"kty": "oct-HSM", "key_size": 256}),
        json!({"kty": "DSA"}),
        json!({"kty": "RSA", "key_size": 1024}),
        json!({"kty": "RSA", "public_exponent": 3}),
        json!({"kty": "EC", "crv": "P-224"}),
        json!({"kty": "EC", "key_ops": ["encrypt"]}),
        json!({"kty": "EC", "attributes": {"exportable": true}}),
        json!({"kty": "EC", "release_policy": {}}),
        json!({}),
    ] {
        world
            .call("POST", "/keys/bad/create", body)
            .await
            .is(400, "BadParameter");
    }
    world
        .call("GET", "/keys/bad", Value::Null)
        .await
        .is(404, "KeyNotFound");
    world
        .call("POST", "/keys/signing/create", json!({"kty": "EC"}))
        .await
        .ok();
    let versions = world
        .call("GET", "/keys/signing/versions", Value::Null)
        .await
        .ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_does_what_it_is_for_and_nothing_else() {
    let world = World::new().await;
    let rsa = world
        .call("POST", "/keys/rsa/create", json!({"kty": "RSA"}))
        .await
        .ok();
    let path = path_of(&rsa);
    let digest = b64(&[7; 32]);
    for base in [path.as_str(), "/keys/rsa/", "/keys/rsa"] {
        let signed = world
            .call(
                "POST",
                &format!("{base}/sign"),
                json!({"alg": "PS256", "value": digest}),
            )
            .await
            .ok();
        assert_eq!(signed["kid"], rsa["key"]["kid"]);
        for (digest, good) in [(digest.clone(), true), (b64(&[8; 32]), false)] {
            let body = json!({"alg": "PS256", "digest": digest, "value": signed["value"]});
            let verified = world.call("POST", &format!("{base}/verify"), body).await.ok();
            assert_eq!(verified, json!({"value": good}));
        }
    }
    for (verb, back) in [("encrypt", "decrypt"), ("wrapKey", "unwrapKey")] {
        for alg in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"] {
            let body = json!({"alg": alg, "value": b64(b"a key, perhaps")});
            let block = world.call("POST", &format!("{path}/{verb}"), body).await.ok();
            let body = json!({"alg": alg, "value": block["value"]});
            let plain = world.call("POST", &format!("{path}/{back}"), body).await.ok();
            assert_eq!(
                plain,
                json!({"kid": rsa["key"]["kid"], "value": b64(b"a key, perhaps")})
            );
        }
    }
    for (verb, body) in [
        ("sign", json!({"alg": "RS256", "value": b64(&[7; 31])})),
        ("sign", json!({"alg": "ES256", "value": digest})),
        ("sign", json!({"alg": "RSNULL", "value": digest})),
        ("sign", json!({"alg": "RS256"})),
        ("sign", json!({"alg": "RS256", "value": "!"})),
        ("verify", json!({"alg": "RS256", "value": digest})),
        ("encrypt", json!({"alg": "A256GCM", "value": digest})),
        ("encrypt", json!({"alg": "RSA-OAEP", "value": b64(&[0; 215])})),
        ("decrypt", json!({"alg": "RSA-OAEP", "value": b64(&[0; 256])})),
    ] {
        world
            .call("POST", &format!("{path}/{verb}"), body)
            .await
            .is(400, "BadParameter");
    }
    let sign = json!({"alg": "RS256", "value": digest});
    world
        .call("PATCH", &path, json!({"key_ops": ["verify"]}))
        .await
        .ok();
    let refused = world.call("POST", &format!("{path}/sign"), sign.clone()).await;
    refused.is(403, "Forbidden/KeyOperationForbidden");
    let change = json!({"key_ops": ["sign", "verify", "decrypt"], "attributes": {"exp": START + 10}});
    world.call("PATCH", &path, change).await.ok();
    world.clock.advance_seconds(10);
    let late = world.call("POST", &format!("{path}/sign"), sign.clone()).await;
    late.is(403, "Forbidden/KeyDisabled");
    let body = json!({"alg": "RS256", "digest": digest, "value": digest});
    assert_eq!(
        world
            .call("POST", &format!("{path}/verify"), body.clone())
            .await
            .ok()["value"],
        false
    );
    world
        .call("PATCH", &path, json!({"attributes": {"enabled": false}}))
        .await
        .ok();
    world
        .call("POST", &format!("{path}/verify"), body)
        .await
        .is(403, "Forbidden/KeyDisabled");
}

#[tokio::test]
async fn keys_are_brought_in_whole_or_not_at_all() {
    let world = World::new().await;
    // A key with the private half that RFC 7515, appendix A.3 has.
    let ec = json!({"kty": "EC", "crv": "P-256", "key_ops": ["sign"],
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
    let imported = world
        .call("PUT", "/keys/mine", json!({"key": ec, "tags": {"a": "b"}}))
        .await
        .ok();
    for part in ["x", "y", "crv", "kty", "key_ops"] {
        assert_eq!(imported["key"][part], ec[part], "{part}");
    }
    assert!(!imported.to_string().contains("jpsQnn"));
    let signed = world
        .call(
            "POST",
            "/keys/mine/sign",
            json!({"alg": "ES256", "value": b64(&[1; 32])}),
        )
        .await
        .ok();
    assert_eq!(signed["value"].as_str().unwrap().len(), 86);
    let broken = |change: fn(&mut Value)| {
        let mut other = ec.clone();
        change(&mut other);
        json!({"key": other})
    };
    for body in [
        broken(|key| key["d"] = json!("AAAA")),
        broken(|key| key["d"] = Value::Null),
        broken(|key| key["x"] = key["y"].clone()),
        broken(|key| key["crv"] = json!("P-384")),
        broken(|key| key["kty"] = json!("RSA")),
        broken(|key| key["kty"] = json!("oct")),
        broken(|key| key["x"] = json!("!")),
        broken(|key| key["key_ops"] = json!(["burn"])),
        broken(|key| key["key_hsm"] = json!("AAAA")),
        json!({"key": ec, "Hsm": true}),
        json!({}),
    ] {
        let answer = world.call("PUT", "/keys/bad", body).await;
        assert!(!answer.text.contains("jpsQnn"));
        answer.is(400, "BadParameter");
    }
    world
        .call("GET", "/keys/bad", Value::Null)
        .await
        .is(404, "KeyNotFound");
    // Parts of two RSA keys.
    let made = KeySpec::Rsa(2048).make().unwrap();
    let part = |name: &str| {
        made.public
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    let rsa = json!({"kty": "RSA", "n": part("n"), "e": part("e"), "d": "AQAB", "p": "AQAB", "q": "AQAB",
        "dp": "AQAB", "dq": "AQAB", "qi": "AQAB"});
    world
        .call("PUT", "/keys/bad", json!({"key": rsa}))
        .await
        .is(400, "BadParameter");
    assert_eq!(Curve::parse("SECP256K1"), Some(Curve::P256K));
}

#[tokio::test]
async fn keys_are_deleted_and_backed_up_as_secrets_are() {
    let world = World::new().await;
    let made = world
        .call("POST", "/keys/k/create", json!({"kty": "EC", "crv": "P-256K"}))
        .await
        .ok();
    let signed = world
        .call(
            "POST",
            "/keys/k/sign",
            json!({"alg": "ES256K", "value": b64(&[1; 32])}),
        )
        .await
        .ok();
    let backup = world.call("POST", "/keys/k/backup", Value::Null).await.ok();
    let deleted = world.call("DELETE", "/keys/k", Value::Null).await.ok();
    assert_eq!(deleted["key"], made["key"]);
    assert_eq!(deleted["recoveryId"], "https://acme.vault.example/deletedkeys/k");
    world
        .call("POST", "/keys/k/create", json!({"kty": "EC"}))
        .await
        .is(409, "Conflict/ObjectIsDeletedButRecoverable");
    world
        .call(
            "POST",
            "/keys/k/sign",
            json!({"alg": "ES256K", "value": b64(&[1; 32])}),
        )
        .await
        .is(404, "KeyNotFound");
    let rows = world.call("GET", "/deletedkeys", Value::Null).await.ok();
    assert_eq!(rows["value"][0]["kid"], "https://acme.vault.example/keys/k");
    world
        .call("POST", "/deletedkeys/k/recover", Value::Null)
        .await
        .ok();
    world.call("DELETE", "/keys/k", Value::Null).await.ok();
    assert_eq!(
        world.call("DELETE", "/deletedkeys/k", Value::Null).await.status,
        204
    );
    let restored = world.call("POST", "/keys/restore", backup).await.ok();
    assert_eq!(restored["key"], made["key"]);
    let body = json!({"alg": "ES256K", "digest": b64(&[1; 32]), "value": signed["value"]});
    assert_eq!(
        world.call("POST", "/keys/k/verify", body).await.ok()["value"],
        true
    );
}

#[tokio::test]
async fn keys_rotate_when_asked_and_when_due() {
    let world = World::new().await;
    world
        .call(
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "key_ops": ["sign"]}),
        )
        .await
        .ok();
    let policy = world
        .call("GET", "/keys/k/rotationpolicy", Value::Null)
        .await
        .ok();
    assert_eq!(policy["lifetimeActions"][0]["action"]["type"], "Notify");
    assert_eq!(policy["id"], "https://acme.vault.example/keys/k/rotationpolicy");
    let wanted = json!({"lifetimeActions": [
            {"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}},
            {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
        "attributes": {"expiryTime": "P90D"}});
    let set = world
        .call("PUT", "/keys/k/rotationpolicy", wanted.clone())
        .await
        .ok();
    assert_eq!(set["lifetimeActions"], wanted["lifetimeActions"]);
    assert_eq!(
        set["attributes"],
        json!({"expiryTime": "P90D", "created": START, "updated": START})
    );
    let bad = json!({"attributes": {"expiryTime": "P1D"}});
    world
        .call("PUT", "/keys/k/rotationpolicy", bad)
        .await
        .is(400, "BadParameter");

    let rotated = world.call("POST", "/keys/k/rotate", Value::Null).await.ok();
    assert_eq!(rotated["attributes"]["exp"], START + 90 * 86_400);
    assert_eq!(rotated["key"]["key_ops"], json!(["sign"]));
    let versions = async || {
        let list = world.call("GET", "/keys/k/versions", Value::Null).await.ok();
        list["value"].as_array().unwrap().len()
    };
    assert_eq!(versions().await, 2);
    world.clock.advance_seconds(30 * 86_400 - 1);
    assert_eq!(world.vaults.sweep_once().await.unwrap().rotated, 0);
    world.clock.advance_seconds(1);
    assert_eq!(world.vaults.sweep_once().await.unwrap().rotated, 1);
    assert_eq!(world.vaults.sweep_once().await.unwrap().rotated, 0);
    assert_eq!(versions().await, 3);
    // Deleted it rests; recovered it goes on.
    world.call("DELETE", "/keys/k", Value::Null).await.ok();
    world.clock.advance_seconds(40 * 86_400);
    assert_eq!(world.vaults.sweep_once().await.unwrap().rotated, 0);
    world
        .call("POST", "/deletedkeys/k/recover", Value::Null)
        .await
        .ok();
    assert_eq!(world.vaults.sweep_once().await.unwrap().rotated, 1);
    assert_eq!(versions().await, 4);
}
