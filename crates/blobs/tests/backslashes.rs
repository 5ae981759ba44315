//! Blobs whose names have backslashes: from before those were taken for slashes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{ACCOUNT, Bench, KEY, records, with_container};
use bytes::Bytes;
use identity::SharedKey;

/// A service SAS for a blob of a name, to read it.
fn sas(name: &str) -> String {
    let text = format!("r\n\n2033-01-01\n/blob/{ACCOUNT}/box/{name}\n\n\n\n2021-12-02\nb\n\n\n\n\n\n\n");
    let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    format!("sv=2021-12-02&sr=b&sp=r&se=2033-01-01&sig={signature}")
}

fn replaced(bytes: &[u8]) -> Bytes {
    let bar = |byte: &u8| if *byte == b'|' { b'\\' } else { *byte };
    bytes.iter().map(bar).collect::<Vec<_>>().into()
}

/// A blob `a\b`, as releases of before made it.
async fn put_literally(bench: &Bench, content: &[u8]) {
    assert_eq!(bench.put("/box/a%7Cb", content).await.status, 201);
    let mut tx = ledger::Transaction::new();
    for kind in [bench::BLOB, bench::INLINE] {
        for entry in records(bench, kind).await {
            let key = ledger::Key::from_encoded(replaced(entry.key.as_bytes()));
            if key == entry.key {
                continue;
            }
            let value = match kind {
                bench::BLOB => {
                    let mut record: serde_json::Value =
                        serde_json::from_slice(&entry.versioned.value).unwrap();
                    record["name"] = "a\\b".into();
                    record.to_string().into_bytes().into()
                }
                _ => entry.versioned.value,
            };
            tx.put(key, value);
            tx.delete(entry.key);
        }
    }
    bench.ledger.commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_blob_of_such_a_name_stays_in_reach() {
    let bench = with_container().await;
    put_literally(&bench, b"literal").await;
    bench.put("/box/a/b", b"slashed").await;
    let get = async |path: &str| bench.ask("GET", path, &[], b"").await.text();
    assert_eq!(get("/box/a%5Cb").await, "literal");
    assert_eq!(get("/box/a/b").await, "slashed");
    let source = [("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/a%5Cb")];
    assert_eq!(bench.ask("PUT", "/box/c", &source, b"").await.status, 202);
    assert_eq!(get("/box/c").await, "literal");
    // What is signed for one isn't for the other.
    let read = async |name: &str| {
        let path = format!("/box/a%5Cb?{}", sas(name));
        bench.bare("GET", &path, &[]).await
    };
    assert_eq!(read("a\\b").await.text(), "literal");
    assert_eq!(read("a/b").await.status, 403);
    let gone = bench.ask("DELETE", "/box/a%5Cb", &[], b"").await;
    assert_eq!(gone.status, 202);
    assert_eq!(get("/box/a%5Cb").await, "slashed");
    for name in ["a\\b", "a/b"] {
        assert_eq!(read(name).await.text(), "slashed", "{name}");
    }
    assert_eq!(read("a/c").await.status, 403);
    bench.put("/box/a%5Cb", b"written").await;
    assert_eq!(get("/box/a/b").await, "written");
    bench::contents(&bench).await;
}
