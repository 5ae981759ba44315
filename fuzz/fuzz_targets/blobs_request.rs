//! Whole requests to the blob service: targets, queries, headers, signatures, XML, ranges. Those that
//! would be refused for their signature alone are signed first.
#![no_main]

use blobs::{Account, Blobs, Settings};
use fuzz_requests::{Stores, block_on, request, serve};
use identity::SharedKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A signature can't be guessed: an account without a key that would fit sees every parser
    // before it, and the parsers behind it are reached by the corpus' signed requests.
    let Some(request) = request(data) else { return };
    let Some(key) = SharedKey::from_base64("c2VjcmV0LWtleQ==") else {
        return;
    };
    let stores = Stores::new();
    let blobs = Blobs::new(
        stores.ledger,
        stores.content,
        stores.clock,
        stores.random,
        Settings {
            accounts: vec![Account {
                name: "dev".to_owned(),
                keys: vec![key],
                allows_public_access: true,
                versioning: true,
            }],
            host_suffixes: vec!["blob.localhost".to_owned()],
        },
    );
    block_on(serve(blobs.as_ref(), request));
});
