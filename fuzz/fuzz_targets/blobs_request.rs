//! Whole requests to the blob service: targets, queries, headers, signatures, XML, ranges. Those that
//! would be refused for their signature alone are signed first.
#![no_main]

use std::sync::Arc;

use blobs::{Account, Bearer, Blobs, Settings};
use fuzz_requests::{Stores, block_on, request, serve};
use identity::{KeptSecret, SharedKey, Trust};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A signature can't be guessed: an account without a key that would fit sees every parser
    // before it, and the parsers behind it are reached by the corpus' signed requests.
    let Some(request) = request(data) else { return };
    let Some(key) = SharedKey::from_base64("c2VjcmV0LWtleQ==") else {
        return;
    };
    let stores = Stores::new();
    // Without a secret no user delegation SAS is looked at.
    let secret = KeptSecret::new(
        stores.ledger.clone(),
        stores.random.clone(),
        "blobs delegation dev",
    );
    if block_on(async { secret.get().await.is_err() }) {
        return;
    }
    let clock: Arc<dyn ledger::Clock> = stores.clock.clone();
    let bearer = Bearer {
        trust: Trust::new(Vec::new(), &clock, 0),
        tenant: "tenant".to_owned(),
        authorization_uri: "https://login/tenant/oauth2/authorize".to_owned(),
        audiences: Vec::new(),
    };
    let blobs = Blobs::new(
        stores.ledger,
        stores.content,
        stores.clock,
        stores.random,
        Settings {
            accounts: vec![Account {
                allows_public_access: true,
                versioning: true,
                ..Account::new("dev", vec![key])
            }],
            host_suffixes: vec!["blob.localhost".to_owned()],
            bearer: Some(bearer),
            keyring: None,
        },
    );
    block_on(serve(blobs.as_ref(), request));
});
