//! Copies between encryption scopes: under which key they are, whatever happens meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use bench::{ACCOUNT, Answer, Bench, KEY, account_sas, bench_over, bytes, records};
use blobs::{Account, EncryptionScope};
use content::memory::MemoryContent;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use encryption::{AccountGeneration, KeyEncryptionKey, Keyring};
use http_semantics::Body;
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock as _, Ledger};

const OTHER: &str = "other";
const SCOPES: [&str; 2] = ["one", "two"];
/// The kind of containers' keys.
const CONTAINERS: u8 = 1;

/// A store whose reads take as long as a test says.
struct Slow {
    inner: MemoryContent,
    clock: Arc<AdjustableClock>,
    seconds: AtomicI64,
}

#[async_trait]
impl ContentStore for Slow {
    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        self.clock.advance_seconds(self.seconds.load(Ordering::Relaxed));
        self.inner.reader(id, range).await
    }

    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.inner.writer().await
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.inner.info(id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.inner.list(after, entries_max).await
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.inner.stats().await
    }
}

/// Two accounts with two scopes each, of the same names; the keys are numbered in this order, each account's own
/// first.
async fn open() -> (Bench, Arc<Slow>) {
    let begin = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let clock = Arc::new(AdjustableClock::standing_at(begin));
    let (counter, now) = (AtomicU64::new(1), clock.clone());
    let inner = MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (ContentId::from_bytes(number.to_be_bytes()), now.now())
    }));
    let slow = Arc::new(Slow {
        inner,
        clock: clock.clone(),
        seconds: AtomicI64::new(0),
    });
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    std::fs::write(&path, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let kek = KeyEncryptionKey::from_file(&path).unwrap();
    let keys: Vec<_> = [ACCOUNT, OTHER]
        .into_iter()
        .flat_map(|account| {
            [None, Some(SCOPES[0]), Some(SCOPES[1])].map(|scope| AccountGeneration {
                account: account.to_owned(),
                scope: scope.map(str::to_owned),
                generation: 0,
            })
        })
        .collect();
    let random = Arc::new(SeededRandom::new(50));
    let keyring = Keyring::open(ledger.clone(), random, vec![kek], &keys).await;
    let bench = bench_over((ledger, slow.clone()), clock, 20, |settings| {
        let key = || vec![SharedKey::from_base64(KEY).unwrap()];
        settings.accounts.push(Account::new(OTHER, key()));
        for account in &mut settings.accounts {
            account.encryption_scopes = SCOPES
                .iter()
                .map(|name| EncryptionScope {
                    name: (*name).to_owned(),
                    enabled: true,
                })
                .collect();
        }
        settings.keyring = Some(keyring.unwrap());
    });
    (bench, slow)
}

async fn ask(bench: &Bench, account: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let uri = format!("/{account}{path}");
    let builder = bench.signed_for(account, "PUT", &uri, headers, 0, KEY);
    bench.send(builder.body(Body::empty()).unwrap()).await
}

async fn ok(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let answer = bench.ask(method, path, headers, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
    answer
}

/// The numbers of the keys that a blob's record names.
async fn keys_of(bench: &Bench, name: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for entry in records(bench, bench::BLOB).await {
        let record: serde_json::Value = serde_json::from_slice(&entry.versioned.value).unwrap();
        let extents = record["extents"].as_array().filter(|_| record["name"] == name);
        for extent in extents.into_iter().flatten() {
            let content = extent["content"].as_str().unwrap();
            keys.push(content.split('.').nth(1).unwrap().to_owned());
        }
    }
    keys
}

const KIND: (&str, &str) = ("x-ms-blob-type", "BlockBlob");
const ONE: (&str, &str) = ("x-ms-encryption-scope", "one");
const TWO: (&str, &str) = ("x-ms-encryption-scope", "two");

#[tokio::test]
async fn another_accounts_scope_of_the_same_name_is_another_key() {
    let (bench, _) = open().await;
    ok(&bench, "PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(
        ask(&bench, OTHER, "/box?restype=container", &[]).await.status,
        201
    );
    ok(&bench, "PUT", "/box/from", &[KIND, ONE], &bytes(100_000)).await;
    let sas = account_sas("r", "o", "2033-01-01");
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/from?{sas}");
    let from = ("x-ms-copy-source", source.as_str());
    for headers in [&[from, ONE][..], &[from, ONE, KIND]] {
        let copied = ask(&bench, OTHER, "/box/to", headers).await;
        assert!(copied.status.is_success(), "{}", copied.text());
        assert_eq!(copied.header(ONE.0), "one");
        assert_eq!(keys_of(&bench, "to").await, ["5"]);
    }
    assert_eq!(keys_of(&bench, "from").await, ["2"]);
    bench::contents(&bench).await;
}

#[tokio::test]
async fn incremental_copies_stay_in_their_sources_scope() {
    let (bench, _) = open().await;
    ok(&bench, "PUT", "/box?restype=container", &[], b"").await;
    let policy = [
        ("x-ms-default-encryption-scope", "two"),
        ("x-ms-deny-encryption-scope-override", "true"),
    ];
    ok(&bench, "PUT", "/hard?restype=container", &policy, b"").await;
    let pages = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", "4096"),
        ONE,
    ];
    ok(&bench, "PUT", "/box/pages", &pages, b"").await;
    let time = bench::take_snapshot(&bench, "/box/pages").await;
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/pages?snapshot={time}");
    let from = ("x-ms-copy-source", source.as_str());
    for (to, headers, code) in [
        ("/box/to", &[from][..], "InvalidOperation"),
        ("/box/to", &[from, TWO], "InvalidOperation"),
        ("/hard/to", &[from], "InvalidOperation"),
        (
            "/hard/to",
            &[from, ONE],
            "RequestForbiddenByContainerEncryptionPolicy",
        ),
    ] {
        let path = format!("{to}?comp=incrementalcopy");
        let refused = bench.ask("PUT", &path, headers, b"").await;
        assert_eq!(refused.code(), code, "{headers:?}");
    }
    let copied = ok(&bench, "PUT", "/box/to?comp=incrementalcopy", &[from, ONE], b"").await;
    assert_eq!(copied.status, 202);
    let head = ok(&bench, "HEAD", "/box/to", &[], b"").await;
    assert_eq!(head.header(ONE.0), "one");
    assert_eq!(
        ask(&bench, OTHER, "/box?restype=container", &[]).await.status,
        201
    );
    let sas = account_sas("r", "o", "2033-01-01");
    let source = format!("{source}&{sas}");
    let from = ("x-ms-copy-source", source.as_str());
    let refused = ask(&bench, OTHER, "/box/to?comp=incrementalcopy", &[from, ONE]).await;
    assert_eq!(refused.code(), "InvalidOperation", "{}", refused.text());
    bench::contents(&bench).await;
}

#[tokio::test]
async fn a_container_that_wants_another_key_meanwhile_gets_it() {
    for kind in [None, Some(KIND)] {
        let (bench, _) = open().await;
        let policy = [
            ("x-ms-default-encryption-scope", "one"),
            ("x-ms-deny-encryption-scope-override", "true"),
        ];
        ok(&bench, "PUT", "/hard?restype=container", &policy, b"").await;
        let record = records(&bench, CONTAINERS).await.remove(0);
        ok(&bench, "PUT", "/box?restype=container", &[], b"").await;
        ok(&bench, "PUT", "/box/from", &[KIND], &bytes(100_000)).await;
        let mut value: serde_json::Value = serde_json::from_slice(&record.versioned.value).unwrap();
        assert_eq!(value["encryption"]["scope"], "one");
        value["encryption"]["scope"] = "two".into();
        let mut tx = ledger::Transaction::new();
        tx.put(record.key, value.to_string().into_bytes());
        *bench.overtaking.first.lock().unwrap() = Some(tx);
        let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/from");
        let mut headers = vec![("x-ms-copy-source", source.as_str())];
        headers.extend(kind);
        let copied = ok(&bench, "PUT", "/hard/to", &headers, b"").await;
        assert_eq!(copied.header(ONE.0), "two");
        assert_eq!(keys_of(&bench, "to").await, ["3"], "{kind:?}");
        assert!(ok(&bench, "GET", "/hard/to", &[], b"").await.body == bytes(100_000));
    }
}

#[tokio::test]
async fn a_copy_that_takes_too_long_is_given_up_before_a_sweep_takes_it() {
    for (hours, is_made) in [(11, true), (12, false), (30, false)] {
        let (bench, slow) = open().await;
        ok(&bench, "PUT", "/box?restype=container", &[], b"").await;
        ok(&bench, "PUT", "/box/from", &[KIND], &bytes(100_000)).await;
        slow.seconds.store(hours * 3_600, Ordering::Relaxed);
        let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/from");
        let headers = [("x-ms-copy-source", source.as_str()), ONE];
        let copied = bench.ask("PUT", "/box/to", &headers, b"").await;
        match is_made {
            true => assert!(copied.status.is_success(), "{}", copied.text()),
            false => assert_eq!((copied.status.as_u16(), copied.code()), (503, "ServerBusy")),
        }
        slow.seconds.store(0, Ordering::Relaxed);
        let head = bench.ask("HEAD", "/box/to", &[], b"").await;
        assert_eq!(head.status == 200, is_made, "{hours}");
    }
}
