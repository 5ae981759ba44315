//! Encryption scopes: content in one is under its key alone, containers have defaults that may be binding, and a scope
//! that is disabled is out of reach.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bench::{ACCOUNT, Answer, Bench, KEY, PLANTED, bench_over, records};
use blobs::EncryptionScope;
use content::memory::MemoryContent;
use content::{ContentId, ContentStore};
use encryption::{AccountGeneration, KeyEncryptionKey, Keyring};
use http_semantics::Body;
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock as _, Ledger};

const MISMATCH: &str = "BlobCustomerSpecifiedEncryptionMismatch";
const FORBIDDEN: &str = "RequestForbiddenByContainerEncryptionPolicy";

fn kek() -> KeyEncryptionKey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    std::fs::write(&path, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeyEncryptionKey::from_file(&path).unwrap()
}

struct Estate {
    ledger: Arc<dyn Ledger>,
    content: Arc<dyn ContentStore>,
    clock: Arc<AdjustableClock>,
}

fn estate() -> Estate {
    let begin = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let clock = Arc::new(AdjustableClock::standing_at(begin));
    let (counter, now) = (AtomicU64::new(1), clock.clone());
    let content = MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (ContentId::from_bytes(number.to_be_bytes()), now.now())
    }));
    Estate {
        ledger: Arc::new(MemoryLedger::new(clock.clone())),
        content: Arc::new(content),
        clock,
    }
}

impl Estate {
    /// A process with these scopes, and whether they are enabled.
    async fn open(&self, scopes: &[(&str, bool)]) -> Bench {
        let named = scopes.iter().map(|(name, _)| Some((*name).to_owned()));
        let keys: Vec<_> = std::iter::once(None)
            .chain(named)
            .map(|scope| AccountGeneration {
                account: ACCOUNT.to_owned(),
                scope,
                generation: 0,
            })
            .collect();
        let random = Arc::new(SeededRandom::new(50));
        let keyring = Keyring::open(self.ledger.clone(), random, vec![kek()], &keys).await;
        let seed = 20 + *self.ledger.head().borrow();
        let stores = (self.ledger.clone(), self.content.clone());
        bench_over(stores, self.clock.clone(), seed, |settings| {
            let account = &mut settings.accounts[0];
            account.encryption_scopes = scopes
                .iter()
                .map(|(name, enabled)| EncryptionScope {
                    name: (*name).to_owned(),
                    enabled: *enabled,
                })
                .collect();
            settings.keyring = Some(keyring.unwrap());
        })
    }
}

async fn put(bench: &Bench, path: &str, scope: &str, content: &[u8]) -> Answer {
    let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
    if !scope.is_empty() {
        headers.push(("x-ms-encryption-scope", scope));
    }
    bench.ask("PUT", path, &headers, content).await
}

async fn make(bench: &Bench, container: &str, policy: Option<(&str, &str)>) -> Answer {
    let headers: Vec<_> = policy.map_or_else(Vec::new, |(scope, deny)| {
        vec![
            ("x-ms-default-encryption-scope", scope),
            ("x-ms-deny-encryption-scope-override", deny),
        ]
    });
    let uri = format!("/{container}?restype=container");
    bench.ask("PUT", &uri, &headers, b"").await
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (status, code),
        "{}",
        answer.text()
    );
}

/// The numbers of the keys that a blob's record names.
async fn keys_of(bench: &Bench, name: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for entry in records(bench, bench::BLOB).await {
        let record: serde_json::Value = serde_json::from_slice(&entry.versioned.value).unwrap();
        if record["name"] != name {
            continue;
        }
        for extent in record["extents"].as_array().unwrap() {
            let content = extent["content"].as_str().unwrap();
            keys.push(content.split('.').nth(1).unwrap().to_owned());
        }
    }
    keys
}

#[tokio::test]
async fn blobs_go_into_the_scope_that_they_or_their_container_name() {
    let estate = estate();
    let bench = estate.open(&[("one", true), ("two", true)]).await;
    make(&bench, "free", None).await;
    assert_eq!(make(&bench, "soft", Some(("one", "false"))).await.status, 201);
    assert_eq!(make(&bench, "hard", Some(("one", "true"))).await.status, 201);
    assert_eq!(
        make(&bench, "own", Some(("$account-encryption-key", "true")))
            .await
            .status,
        201
    );
    for (path, scope, wanted) in [
        ("/free/a", "", ""),
        ("/free/b", "two", "two"),
        ("/free/c", "$account-encryption-key", ""),
        ("/soft/d", "", "one"),
        ("/soft/e", "two", "two"),
        ("/hard/f", "", "one"),
        ("/hard/g", "one", "one"),
        ("/own/h", "", ""),
    ] {
        for length in [10, 100_000] {
            let made = put(&bench, path, scope, &vec![7; length]).await;
            assert_eq!(made.status, 201, "{path}: {}", made.text());
            assert_eq!(made.header("x-ms-encryption-scope"), wanted, "{path}");
            assert_eq!(made.header("x-ms-request-server-encrypted"), "true");
            let got = bench.ask("GET", path, &[], b"").await;
            assert_eq!((got.status.as_u16(), got.body.len()), (200, length));
            assert_eq!(got.header("x-ms-encryption-scope"), wanted, "{path}");
            // Account keys are numbered in the order of their making.
            let key = match wanted {
                "one" => "2",
                "two" => "3",
                _ => "1",
            };
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(keys_of(&bench, name).await, [key], "{path} of {length}");
        }
    }
    refused(&put(&bench, "/hard/x", "two", b"x").await, 403, FORBIDDEN);
    refused(
        &put(&bench, "/hard/x", "$account-encryption-key", b"x").await,
        403,
        FORBIDDEN,
    );
    refused(&put(&bench, "/own/x", "one", b"x").await, 403, FORBIDDEN);
    refused(
        &put(&bench, "/free/x", "none", b"x").await,
        400,
        "InvalidHeaderValue",
    );
    refused(
        &make(&bench, "bad", Some(("none", "true"))).await,
        400,
        "InvalidHeaderValue",
    );
    let half = [("x-ms-default-encryption-scope", "one")];
    let half = bench.ask("PUT", "/half?restype=container", &half, b"").await;
    refused(&half, 400, "MissingRequiredHeader");
    // A customer's key is another thing.
    let mut both = PLANTED[0].headers();
    both.push(("x-ms-blob-type", "BlockBlob"));
    refused(&bench.ask("PUT", "/hard/x", &both, b"x").await, 403, FORBIDDEN);
    both.push(("x-ms-encryption-scope", "one"));
    refused(
        &bench.ask("PUT", "/free/x", &both, b"x").await,
        400,
        "InvalidHeaderValue",
    );
    let properties = bench.ask("GET", "/hard?restype=container", &[], b"").await;
    assert_eq!(properties.header("x-ms-default-encryption-scope"), "one");
    assert_eq!(properties.header("x-ms-deny-encryption-scope-override"), "true");
    let list = bench.ask("GET", "/?comp=list", &[], b"").await.text();
    assert!(list.contains(
        "<DefaultEncryptionScope>one</DefaultEncryptionScope>\
         <DenyEncryptionScopeOverride>true</DenyEncryptionScopeOverride>"
    ));
    let list = bench
        .ask("GET", "/free?restype=container&comp=list", &[], b"")
        .await
        .text();
    assert_eq!(list.matches("<EncryptionScope>two</EncryptionScope>").count(), 1);
    bench::contents(&bench).await;
}

#[tokio::test]
async fn what_is_added_stays_in_the_blobs_scope() {
    let estate = estate();
    let bench = estate.open(&[("one", true), ("two", true)]).await;
    make(&bench, "box", None).await;
    let (one, two) = (("x-ms-encryption-scope", "one"), ("x-ms-encryption-scope", "two"));
    let kind = ("x-ms-blob-type", "AppendBlob");
    bench.ask("PUT", "/box/log", &[kind, one], b"").await;
    let append = "/box/log?comp=appendblock";
    assert_eq!(bench.ask("PUT", append, &[one], b"a").await.status, 201);
    assert_eq!(bench.ask("PUT", append, &[], b"b").await.status, 201);
    refused(&bench.ask("PUT", append, &[two], b"c").await, 409, MISMATCH);
    assert_eq!(keys_of(&bench, "log").await, ["2", "2"]);
    refused(
        &bench.ask("PUT", "/box/log?comp=snapshot", &[two], b"").await,
        409,
        MISMATCH,
    );
    let taken = bench.ask("PUT", "/box/log?comp=snapshot", &[one], b"").await;
    assert_eq!((taken.status.as_u16(), taken.header(one.0)), (201, "one"));
    let meta = ("x-ms-meta-a", "b");
    let set = bench
        .ask("PUT", "/box/log?comp=metadata", &[one, meta], b"")
        .await;
    assert_eq!((set.status.as_u16(), set.header(one.0)), (200, "one"));
    // All blocks of a list are in its scope.
    for (id, scope) in [("AAAA", one), ("BBBB", two)] {
        let uri = format!("/box/blocks?comp=block&blockid={id}");
        assert_eq!(bench.ask("PUT", &uri, &[scope], b"x").await.status, 201);
    }
    let list = |ids: &[&str]| {
        let latest: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        format!("<BlockList>{latest}</BlockList>").into_bytes()
    };
    let uri = "/box/blocks?comp=blocklist";
    refused(
        &bench.ask("PUT", uri, &[one], &list(&["AAAA", "BBBB"])).await,
        409,
        MISMATCH,
    );
    assert_eq!(bench.ask("PUT", uri, &[one], &list(&["AAAA"])).await.status, 201);
    assert_eq!(keys_of(&bench, "blocks").await, ["2"]);
    bench::contents(&bench).await;
}

#[tokio::test]
async fn copies_are_under_the_key_of_where_they_go() {
    let estate = estate();
    let bench = estate.open(&[("one", true), ("two", true)]).await;
    make(&bench, "box", None).await;
    make(&bench, "hard", Some(("one", "true"))).await;
    put(&bench, "/box/small", "two", b"small").await;
    put(&bench, "/box/large", "", &vec![3; 100_000]).await;
    for id in ["AAAA", "BBBB"] {
        let uri = format!("/box/blocks?comp=block&blockid={id}");
        bench.ask("PUT", &uri, &[], id.as_bytes()).await;
    }
    let list = b"<BlockList><Latest>AAAA</Latest><Latest>BBBB</Latest><Latest>AAAA</Latest></BlockList>";
    bench.ask("PUT", "/box/blocks?comp=blocklist", &[], list).await;
    for (name, count) in [("small", 1), ("large", 1), ("blocks", 3)] {
        let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/{name}");
        let from = ("x-ms-copy-source", source.as_str());
        let before = bench.ask("GET", &format!("/box/{name}"), &[], b"").await;
        // Put from its address the blob is a whole, without blocks.
        for (headers, count) in [
            (vec![from], count),
            (vec![from, ("x-ms-blob-type", "BlockBlob")], 1),
        ] {
            let to = format!("/hard/to-{name}");
            let copied = bench.ask("PUT", &to, &headers, b"").await;
            assert!(copied.status.is_success(), "{}", copied.text());
            let got = bench.ask("GET", &to, &[], b"").await;
            assert!(got.status == 200 && got.body == before.body);
            assert_eq!(got.header("x-ms-encryption-scope"), "one");
            assert_eq!(keys_of(&bench, &format!("to-{name}")).await, vec!["2"; count]);
        }
        let scoped = [from, ("x-ms-encryption-scope", "two")];
        refused(&bench.ask("PUT", "/hard/x", &scoped, b"").await, 403, FORBIDDEN);
        // Under the same key it is shared.
        let back = format!("/hard/again-{name}");
        let source = format!("http://127.0.0.1:10000/{ACCOUNT}/hard/to-{name}");
        let contents = bench.content.stats().await.unwrap().contents;
        bench
            .ask("PUT", &back, &[("x-ms-copy-source", &source)], b"")
            .await;
        assert_eq!(bench.ask("GET", &back, &[], b"").await.body, before.body);
        assert_eq!(bench.content.stats().await.unwrap().contents, contents);
    }
    // The blocks keep their names.
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/blocks");
    bench
        .ask("PUT", "/hard/list", &[("x-ms-copy-source", &source)], b"")
        .await;
    let blocks = bench
        .ask("GET", "/hard/list?comp=blocklist", &[], b"")
        .await
        .text();
    assert_eq!(blocks.matches("<Name>AAAA</Name>").count(), 2, "{blocks}");
    bench::create_pages(&bench, "/box/pages", 4_096).await;
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/pages");
    let copied = bench
        .ask("PUT", "/hard/pages", &[("x-ms-copy-source", &source)], b"")
        .await;
    refused(&copied, 409, "InvalidOperation");
    bench::contents(&bench).await;
}

#[tokio::test]
async fn a_disabled_scope_is_out_of_reach() {
    let estate = estate();
    let bench = estate.open(&[("one", true), ("two", true)]).await;
    make(&bench, "box", None).await;
    make(&bench, "soft", Some(("one", "false"))).await;
    put(&bench, "/box/in", "one", b"in").await;
    put(&bench, "/box/out", "", b"out").await;
    let off = estate.open(&[("one", false), ("two", true)]).await;
    let gone = estate.open(&[("two", true)]).await;
    for bench in [&off, &gone] {
        for method in ["GET", "HEAD"] {
            let answer = bench.ask(method, "/box/in", &[], b"").await;
            refused(&answer, 403, "AuthorizationFailure");
        }
        refused(
            &put(bench, "/soft/x", "", b"x").await,
            403,
            "AuthorizationFailure",
        );
        refused(
            &bench.ask("PUT", "/box/in?comp=metadata", &[], b"").await,
            403,
            "AuthorizationFailure",
        );
        assert_eq!(put(bench, "/soft/x", "two", b"x").await.status, 201);
        assert_eq!(bench.ask("GET", "/box/out", &[], b"").await.status, 200);
        let list = bench
            .ask("GET", "/box?restype=container&comp=list", &[], b"")
            .await;
        assert_eq!(list.status, 200);
    }
    refused(
        &put(&off, "/box/x", "one", b"x").await,
        403,
        "AuthorizationFailure",
    );
    // Enabled again, all is as it was; and what is disabled can be deleted.
    let on = estate.open(&[("one", true), ("two", true)]).await;
    assert_eq!(on.ask("GET", "/box/in", &[], b"").await.body, "in");
    assert_eq!(off.ask("DELETE", "/box/in", &[], b"").await.status, 202);
    bench::contents(&on).await;
}

#[tokio::test]
async fn a_signature_may_name_the_scope() {
    let estate = estate();
    let bench = estate.open(&[("one", true), ("two", true)]).await;
    make(&bench, "box", None).await;
    let sas = |scope: &str| {
        let text = format!("{ACCOUNT}\nrcw\nb\no\n\n2033-01-01\n\n\n2021-12-02\n{scope}\n");
        let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
        let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
        format!("sv=2021-12-02&ss=b&srt=o&sp=rcw&se=2033-01-01&ses={scope}&sig={signature}")
    };
    let send = async |scope: &str, header: Option<&str>| {
        let uri = format!("/{ACCOUNT}/box/x?{}", sas(scope));
        let mut request = http::Request::builder()
            .method("PUT")
            .uri(uri)
            .header("host", "127.0.0.1:10000")
            .header("content-length", 1)
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-blob-type", "BlockBlob");
        if let Some(header) = header {
            request = request.header("x-ms-encryption-scope", header);
        }
        bench.send(request.body(Body::full("x")).unwrap()).await
    };
    let made = send("one", None).await;
    assert_eq!(
        (made.status.as_u16(), made.header("x-ms-encryption-scope")),
        (201, "one")
    );
    assert_eq!(keys_of(&bench, "x").await, ["2"]);
    assert_eq!(send("one", Some("one")).await.status, 201);
    refused(&send("one", Some("two")).await, 400, "InvalidHeaderValue");
    refused(&send("none", None).await, 400, "InvalidHeaderValue");
}
