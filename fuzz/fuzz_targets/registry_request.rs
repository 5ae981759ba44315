//! Whole requests to the registry: names, references, ranges, chunks, scopes, forms, manifests. The stores are on
//! memory, a blob and an upload are there.
#![no_main]

use fuzz_requests::{Stores, block_on, request, serve};
use libfuzzer_sys::fuzz_target;
use registry::{Front, Registry, Settings};

fuzz_target!(|data: &[u8]| {
    let Some(request) = request(data) else { return };
    let stores = Stores::new();
    let mut open = Registry::new("dev");
    open.open = true;
    let settings = Settings {
        registries: vec![open],
        host_suffixes: vec!["cr.localhost".to_owned()],
        default_registry: Some("dev".to_owned()),
        bearer: None,
    };
    let front = Front::new(
        stores.ledger,
        stores.content,
        stores.clock,
        stores.random,
        settings,
    );
    block_on(async {
        // The blob "x", which the corpus' manifests refer to.
        let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let blob = format!("POST /v2/a/blobs/uploads/?digest={digest}\n\nx");
        if let Some(blob) = fuzz_requests::request(blob.as_bytes()) {
            serve(&front, blob).await;
        }
        serve(&front, request).await;
    });
});
