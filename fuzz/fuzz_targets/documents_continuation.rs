//! Continuation tokens: any text is refused or goes on somewhere in the query that it belongs to.
//!
//! The first byte chooses the query, and whether the rest is a token's text or the place inside a
//! token that bears the query's hash, which no text by chance would.
#![no_main]

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use documents::{Container, ContainerSpec, Documents, Settings};
use fuzz_requests::{Stores, block_on};
use identity::SharedKey;
use ledger::{Ledger, Transaction};
use libfuzzer_sys::fuzz_target;

/// In the order of documents, in that of an index, and by starting over.
const QUERIES: [&str; 5] = [
    "SELECT c.id FROM c",
    "SELECT c.id, t FROM c JOIN t IN c.tags WHERE c.n >= 1",
    "SELECT c.id FROM c ORDER BY c.s",
    "SELECT c.id FROM c ORDER BY c.n DESC",
    "SELECT DISTINCT VALUE c.n FROM c",
];
const DOCUMENTS: u64 = 12;
/// Format and hash, in front of the place.
const HEAD_BYTES: usize = 9;
/// More pages than the container has rows, for each query.
const PAGES_MAX: u64 = 3 * DOCUMENTS + 2;

struct Filled {
    documents: Arc<Documents>,
    container: Arc<Container>,
    /// A token's head for each query.
    heads: Vec<Vec<u8>>,
}

fn filled() -> &'static Filled {
    static FILLED: OnceLock<Filled> = OnceLock::new();
    FILLED.get_or_init(|| block_on(fill()))
}

async fn fill() -> Filled {
    let stores = Stores::new();
    let ledger: Arc<dyn Ledger> = stores.ledger.clone();
    let key = SharedKey::from_base64("c2VjcmV0LWtleQ==").expect("a key");
    let documents = Documents::new(
        stores.ledger,
        stores.clock,
        stores.random,
        Settings::single("dev", key),
    );
    let spec = ContainerSpec {
        account: "dev".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        partition_key_paths: vec!["/pk".to_owned()],
        default_ttl: None,
        indexing_policy: None,
    };
    let container = documents.ensure_container(&spec).await.expect("a container");
    for id in 0..DOCUMENTS {
        let long = "x".repeat(200);
        let s = if id % 3 == 0 {
            String::new()
        } else {
            format!(r#""s": "{long}{id}","#)
        };
        let text = format!(
            r#"{{"id": "{id}", "pk": "p", {s} "n": {}, "tags": [1, "a"]}}"#,
            id % 4
        );
        let mut tx = Transaction::new();
        let document = text.parse().expect("a document");
        documents
            .stage_create(&mut tx, &container, document)
            .await
            .expect("staged");
        ledger.commit(tx).await.expect("committed");
    }
    let mut heads = Vec::new();
    for sql in QUERIES {
        let page = documents
            .query(&container, sql, &[], None, 1, None)
            .await
            .expect("a page");
        let token = page.continuation.expect("more pages");
        let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("a token");
        bytes.truncate(HEAD_BYTES);
        heads.push(bytes);
    }
    Filled {
        documents,
        container,
        heads,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let filled = filled();
    let which = usize::from(first >> 1) % QUERIES.len();
    let token = if first & 1 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else {
            return;
        };
        text.to_owned()
    } else {
        URL_SAFE_NO_PAD.encode([&filled.heads[which], rest].concat())
    };
    block_on(async {
        let mut continuation = Some(token);
        for _ in 0..PAGES_MAX {
            let query = filled.documents.query(
                &filled.container,
                QUERIES[which],
                &[],
                None,
                1,
                continuation.as_deref(),
            );
            match query.await {
                Ok(page) => {
                    assert!(page.rows.len() <= 1);
                    continuation = page.continuation;
                }
                Err(error) => {
                    assert_eq!(error.status(), 400, "{error}");
                    return;
                }
            }
            if continuation.is_none() {
                return;
            }
        }
        panic!("the pages have no end");
    });
});
