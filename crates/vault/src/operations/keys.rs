//! Create Key, Import Key, Get Key, Update Key.

use std::sync::atomic::Ordering;

use ledger::{Snapshot, Transaction};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Vaults;
use crate::crypto::jwk::unknown_type;
use crate::crypto::{CryptoError, Curve, ImportedKey, KeySpec, MadeKey};
use crate::error::{ErrorCode, VaultError};
use crate::rules::names::Kind;
use crate::service::{Call, Outcome};
use crate::store::keys::State;
use crate::store::records::{KeyFacts, Meta};
use crate::wire::body::{AttributesBody, parse, tags};
use crate::wire::render::Json;

#[derive(Deserialize)]
struct CreateBody {
    kty: String,
    #[serde(default)]
    key_size: Option<u32>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    public_exponent: Option<u64>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct ImportBody {
    key: ImportedKey,
    #[serde(default, alias = "Hsm")]
    hsm: Option<bool>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Common {
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    attributes: Option<AttributesBody>,
    #[serde(default)]
    tags: Option<Map<String, Value>>,
    #[serde(default)]
    release_policy: Option<Value>,
}

impl Common {
    fn check(&self) -> Result<(), VaultError> {
        let exportable = self
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.exportable);
        if self.release_policy.is_some() || exportable == Some(true) {
            return Err(VaultError::bad(
                "Exportable keys and release policies are not supported by this vault.",
            ));
        }
        Ok(())
    }
}

impl From<CryptoError> for VaultError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Bad(text) => Self::bad(text),
            CryptoError::Library(doing) => {
                tracing::error!(doing, "the cryptographic library failed");
                Self::new(ErrorCode::InternalError, "The operation with the key failed.")
            }
        }
    }
}

impl Vaults {
    /// Runs what takes a processor for long on a thread that may, as many at once as there are places.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CryptoError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let failed = || VaultError::new(ErrorCode::InternalError, "The operation with the key failed.");
        let places = self.crypto_places.clone();
        let place = places.acquire_owned().await.map_err(|_| failed())?;
        self.key_works.fetch_add(1, Ordering::Relaxed);
        // The work goes on when the client goes away, so the place is the work's.
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        })
        .await;
        Ok(done.map_err(|_| failed())??)
    }
}

/// What a key of a spec may be used for, and is unless something is said.
fn possible_ops(spec: KeySpec) -> &'static [&'static str] {
    match spec {
        KeySpec::Rsa(_) => &["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
        KeySpec::Ec(_) => &["sign", "verify"],
    }
}

fn check_ops(spec: KeySpec, given: Option<Vec<String>>) -> Result<Vec<String>, VaultError> {
    let possible = possible_ops(spec);
    let Some(given) = given else {
        return Ok(possible.iter().map(|op| (*op).to_owned()).collect());
    };
    let mut ops: Vec<String> = Vec::new();
    for op in given {
        if !possible.contains(&op.as_str()) {
            return Err(VaultError::bad(format!(
                "key_ops of such a key are among {}.",
                possible.join(", ")
            )));
        }
        if !ops.contains(&op) {
            ops.push(op);
        }
    }
    Ok(ops)
}

/// What everybody may know of a key that was made.
pub(super) fn facts(made: &MadeKey, ops: Vec<String>) -> KeyFacts {
    let (kty, crv, bits) = match made.spec {
        KeySpec::Rsa(bits) => ("RSA", None, Some(bits)),
        KeySpec::Ec(curve) => ("EC", Some(curve.name().to_owned()), None),
    };
    KeyFacts {
        kty: kty.to_owned(),
        crv,
        bits,
        ops,
        public: made.public.clone(),
    }
}

/// What a stored key is.
pub(super) fn spec_of(facts: &KeyFacts) -> Result<KeySpec, VaultError> {
    let curve = facts.crv.as_deref().and_then(Curve::parse).map(KeySpec::Ec);
    curve
        .or(facts.bits.map(KeySpec::Rsa))
        .ok_or_else(|| crate::seal::SealError::Damaged.into())
}

fn spec(body: &CreateBody) -> Result<KeySpec, VaultError> {
    if body.public_exponent.is_some_and(|exponent| exponent != 65_537) {
        return Err(VaultError::bad("public_exponent is 65537."));
    }
    match body.kty.as_str() {
        "RSA" => match body.key_size.unwrap_or(2048) {
            bits @ (2048 | 3072 | 4096) => Ok(KeySpec::Rsa(bits)),
            _ => Err(VaultError::bad("key_size of an RSA key is 2048, 3072 or 4096.")),
        },
        "EC" => {
            let curve = body.crv.as_deref().map_or(Some(Curve::P256), Curve::parse);
            let curve = curve.ok_or_else(|| VaultError::bad("crv is P-256, P-384, P-521 or P-256K."))?;
            Ok(KeySpec::Ec(curve))
        }
        other => Err(unknown_type(other).into()),
    }
}

pub(super) async fn create(call: &Call<'_>, made: &mut Option<MadeKey>) -> Result<Outcome, VaultError> {
    let body: CreateBody = parse(&call.body)?;
    call.target.name()?;
    body.common.check()?;
    let spec = spec(&body)?;
    let ops = check_ops(spec, body.common.key_ops.clone())?;
    let made = match made {
        Some(made) => made,
        None => made.insert(call.vaults.compute(move || spec.make()).await?),
    };
    add(call, made, ops, body.common).await
}

pub(super) async fn import(call: &Call<'_>, made: &mut Option<MadeKey>) -> Result<Outcome, VaultError> {
    let body: ImportBody = parse(&call.body)?;
    call.target.name()?;
    body.common.check()?;
    if body.hsm == Some(true) {
        return Err(unknown_type("RSA-HSM").into());
    }
    let ops = body.common.key_ops.clone().or(body.key.key_ops.clone());
    let key = body.key;
    let made = match made {
        Some(made) => made,
        None => made.insert(call.vaults.compute(move || key.take()).await?),
    };
    let ops = check_ops(made.spec, ops)?;
    add(call, made, ops, body.common).await
}

async fn add(
    call: &Call<'_>,
    made: &MadeKey,
    ops: Vec<String>,
    common: Common,
) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let snapshot = call.vaults.ledger.snapshot().await?;
    let snapshot = snapshot.as_ref();
    let attributes = common.attributes.unwrap_or_default();
    let shelf = call.shelf();
    // A policy says when new versions expire, unless they say it themselves.
    let policy = shelf.find(snapshot, State::Live, name).await?;
    let policy = policy.and_then(|found| found.header.policy);
    let by_policy = policy.and_then(|policy| policy.expires(call.now));
    let meta = Meta {
        created: call.now,
        updated: call.now,
        enabled: attributes.enabled.unwrap_or(true),
        nbf: attributes.nbf,
        exp: attributes.exp.or(by_policy),
        content_type: None,
        tags: tags(common.tags)?.unwrap_or_default(),
        key: Some(facts(made, ops)),
    };
    let mut tx = Transaction::new();
    let private = made.private.clone();
    let (header, version) = shelf.add_version(snapshot, &mut tx, name, &meta, private).await?;
    let bundle = call.place().bundle(Kind::Key, &header, version, &meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(version))
}

pub(super) async fn get(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let (name, version) = (call.target.name()?, call.target.version()?);
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let opened = shelf.open(snapshot, &found.header, version).await?;
    let bundle = call
        .place()
        .bundle(Kind::Key, &found.header, opened.version, &opened.meta);
    Ok(Outcome::ok(Transaction::new(), Json::of(&Value::Object(bundle))).about(opened.version))
}

pub(super) async fn update(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let (name, version) = (call.target.name()?, call.target.version()?);
    let body: Common = parse(&call.body)?;
    body.check()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let mut opened = shelf.open(snapshot, &found.header, version).await?;
    let meta = &mut opened.meta;
    if let Some(attributes) = body.attributes {
        meta.enabled = attributes.enabled.unwrap_or(meta.enabled);
        meta.nbf = attributes.nbf.or(meta.nbf);
        meta.exp = attributes.exp.or(meta.exp);
    }
    if let (Some(facts), Some(ops)) = (&mut meta.key, body.key_ops) {
        facts.ops = check_ops(spec_of(facts)?, Some(ops))?;
    }
    if let Some(tags) = tags(body.tags)? {
        meta.tags = tags;
    }
    meta.updated = call.now;
    let mut tx = Transaction::new();
    shelf.replace_version(&mut tx, &found, &opened)?;
    let bundle = call
        .place()
        .bundle(Kind::Key, &found.header, opened.version, &opened.meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(opened.version))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;
    use ledger::{Ledger, SystemClock};

    use crate::limits::CRYPTO_CONCURRENT_MAX;
    use crate::seal::Seal;
    use crate::{Settings, Vaults};

    #[tokio::test]
    async fn a_work_keeps_its_place_when_nobody_waits_for_it() {
        let clock = Arc::new(SystemClock);
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let seal = Arc::new(Seal::sealed(ledger.clone(), "none"));
        let random = Arc::new(SeededRandom::new(1));
        let vaults = Vaults::new(ledger, clock, random, seal, Settings::default());
        let (began, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel::<()>();
        let shared = vaults.clone();
        let waiting = tokio::spawn(async move {
            let work = move || {
                let _ = began.send(());
                let _ = may_end.recv();
                Ok(())
            };
            shared.compute(work).await
        });
        while has_begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        let places = &vaults.crypto_places;
        assert_eq!(places.available_permits(), CRYPTO_CONCURRENT_MAX - 1);
        drop(end);
        while places.available_permits() < CRYPTO_CONCURRENT_MAX {
            tokio::task::yield_now().await;
        }
    }
}
