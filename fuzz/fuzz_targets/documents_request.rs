//! Whole requests to the documents service: links, headers, session tokens, JSON, batches.
#![no_main]

use documents::{Documents, DocumentsService, Settings};
use fuzz_requests::{Stores, block_on, request, serve};
use identity::SharedKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(request) = request(data) else { return };
    let Some(key) = SharedKey::from_base64("c2VjcmV0LWtleQ==") else {
        return;
    };
    let stores = Stores::new();
    let settings = Settings::single("dev", key);
    let documents = Documents::new(stores.ledger, stores.clock, stores.random, settings);
    block_on(serve(&DocumentsService::new(documents), request));
});
