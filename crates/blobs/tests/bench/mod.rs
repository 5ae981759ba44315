//! The service on memory, and requests to it signed with its account's key.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    dead_code,
    reason = "test code, of which each test takes a part"
)]

pub(crate) mod guard;
pub(crate) mod immutable;
pub(crate) mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobs::{Account, Blobs, Settings};
use bytes::Bytes;
use content::memory::MemoryContent;
use content::{ContentId, ContentStore};
use http::{Request, Response, StatusCode};
use http_semantics::{Body, RequestContext, Service, date};
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{
    AdjustableClock, Clock, Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Snapshot,
    Transaction, VerifyReport,
};
use tokio::sync::watch;

pub(crate) mod versions;

/// A customer's key.
pub(crate) struct Planted {
    pub(crate) bytes: [u8; 32],
    pub(crate) base64: String,
    pub(crate) sha256: String,
}

impl Planted {
    fn new(bytes: [u8; 32], sha256: &str) -> Self {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        Self {
            bytes,
            base64,
            sha256: sha256.to_owned(),
        }
    }

    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        vec![
            ("x-ms-encryption-key", &self.base64),
            ("x-ms-encryption-key-sha256", &self.sha256),
            ("x-ms-encryption-algorithm", "AES256"),
        ]
    }
}

/// Two keys, with their SHA-256 as another implementation computes it.
pub(crate) static PLANTED: std::sync::LazyLock<[Planted; 2]> = std::sync::LazyLock::new(|| {
    [
        Planted::new(
            *b"a customer's key of 32 bytes, 1.",
            "MpblrE+ouLiJ4ovTFhQyx6TZjDhtl7fBjtotzVFBhns=",
        ),
        Planted::new(
            *b"a customer's key of 32 bytes, 2.",
            "GpMKoyji39YDyuP8e2cavs7MssJX5+kJc+MF41FI8so=",
        ),
    ]
});

pub(crate) const ACCOUNT: &str = "dev";
pub(crate) const KEY: &str = "c2VjcmV0LWtleQ==";

pub(crate) struct Bench {
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) clock: Arc<AdjustableClock>,
    pub(crate) content: Arc<dyn ContentStore>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) overtaking: Arc<Overtaking>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> &str {
        self.header("x-ms-error-code")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

pub(crate) fn bench() -> Bench {
    bench_with(true)
}

/// With an account that allows anonymous reads, or doesn't.
pub(crate) fn bench_with(allows_public_access: bool) -> Bench {
    bench_of(allows_public_access, Vec::new(), false)
}

/// Where `{account}.{suffix}` is a host, too.
pub(crate) fn bench_at(suffix: &str) -> Bench {
    bench_of(true, vec![suffix.to_owned()], false)
}

fn bench_of(allows_public_access: bool, host_suffixes: Vec<String>, versioning: bool) -> Bench {
    let clock = Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ));
    bench_with_clock(clock, |settings| {
        settings.accounts[0].allows_public_access = allows_public_access;
        settings.accounts[0].versioning = versioning;
        settings.host_suffixes = host_suffixes;
    })
}

/// With a clock and settings of the test's own.
pub(crate) fn bench_with_clock(clock: Arc<AdjustableClock>, set: impl FnOnce(&mut Settings)) -> Bench {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let counter = AtomicU64::new(1);
    let now = clock.clone();
    let content: Arc<dyn ContentStore> = Arc::new(MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (ContentId::from_bytes(number.to_be_bytes()), now.now())
    })));
    bench_over((ledger, content), clock, 1, set)
}

/// Over what others write to, too.
pub(crate) fn over(
    ledger: Arc<dyn Ledger>,
    content: Arc<dyn ContentStore>,
    clock: Arc<AdjustableClock>,
) -> Bench {
    bench_over((ledger, content), clock, 2, |settings| {
        settings.accounts[0].allows_public_access = true;
    })
}

pub(crate) fn bench_over(
    (ledger, content): (Arc<dyn Ledger>, Arc<dyn ContentStore>),
    clock: Arc<AdjustableClock>,
    seed: u64,
    set: impl FnOnce(&mut Settings),
) -> Bench {
    let mut settings = Settings {
        accounts: vec![Account::new(ACCOUNT, vec![SharedKey::from_base64(KEY).unwrap()])],
        host_suffixes: Vec::new(),
        web_host_suffixes: vec!["web.localhost".to_owned()],
        bearer: None,
        keyring: None,
        local_keys_in_clear: true,
    };
    set(&mut settings);
    let overtaking = Arc::new(Overtaking {
        ledger: ledger.clone(),
        first: Mutex::new(None),
        each: Mutex::new(None),
        left: AtomicU64::new(u64::MAX),
        writes: AtomicU64::new(0),
        takes: AtomicU64::new(0),
    });
    let random = Arc::new(SeededRandom::new(seed));
    let blobs = Blobs::new(
        overtaking.clone(),
        content.clone(),
        clock.clone(),
        random,
        settings,
    );
    Bench {
        blobs,
        clock,
        content,
        ledger,
        overtaking,
    }
}

/// The ledger as the service has it: another commit may come before its next one, or before each.
pub(crate) struct Overtaking {
    ledger: Arc<dyn Ledger>,
    pub(crate) first: Mutex<Option<Transaction>>,
    pub(crate) each: Mutex<Option<Transaction>>,
    /// Commits until it can't be reached any more.
    pub(crate) left: AtomicU64,
    /// Writes of the newest commit.
    pub(crate) writes: AtomicU64,
    /// How long a commit takes, in milliseconds.
    pub(crate) takes: AtomicU64,
}

#[async_trait]
impl Ledger for Overtaking {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        self.ledger.snapshot().await
    }
    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(LedgerError::Unavailable("the node is going down".to_owned()));
        }
        self.left.store(left - 1, Ordering::Relaxed);
        self.writes
            .store(transaction.writes().len() as u64, Ordering::Relaxed);
        let takes = self.takes.load(Ordering::Relaxed);
        if takes > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(takes)).await;
        }
        let first = self.first.lock().unwrap().take();
        let each = self.each.lock().unwrap().clone();
        for before in first.into_iter().chain(each) {
            self.ledger.commit(before).await?;
        }
        self.ledger.commit(transaction).await
    }
    async fn log_page(
        &self,
        after: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        self.ledger.log_page(after, entries_max, bytes_max).await
    }
    async fn trim_log(&self, through: u64) -> Result<u64, LedgerError> {
        self.ledger.trim_log(through).await
    }
    fn head(&self) -> watch::Receiver<u64> {
        self.ledger.head()
    }
    fn health(&self) -> Health {
        self.ledger.health()
    }
    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.ledger.stats().await
    }
    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.ledger.verify(progress).await
    }
    async fn close(&self) -> Result<(), LedgerError> {
        self.ledger.close().await
    }
}

impl Bench {
    /// The same estate, served by a process in which the account's versioning is on, or off.
    pub(crate) fn restarted(&self, versioning: bool) -> Bench {
        let stores = (self.ledger.clone(), self.content.clone());
        bench_over(stores, self.clock.clone(), 3, |settings| {
            settings.accounts[0].allows_public_access = true;
            settings.accounts[0].versioning = versioning;
        })
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from("127.0.0.1", false, request).await
    }

    /// From an address, over TLS or not.
    pub(crate) async fn send_from(&self, peer: &str, secure: bool, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(RequestContext {
            request_id: uuid::Uuid::nil(),
            peer: std::net::SocketAddr::new(peer.parse().unwrap(), 1),
            secure,
            listener: "blobs".into(),
        });
        let response: Response<Body> = self.blobs.call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.read_bounded(64 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Signs for the bench's account.
    pub(crate) fn signed(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        length: usize,
        key: &str,
    ) -> http::request::Builder {
        self.signed_for(ACCOUNT, method, uri, headers, length, key)
    }

    /// Signs as the documentation says, written a second time.
    pub(crate) fn signed_for(
        &self,
        account: &str,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        length: usize,
        key: &str,
    ) -> http::request::Builder {
        let date = date::format(self.clock.now());
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.push(("x-ms-date".to_owned(), date));
        all.push(("x-ms-version".to_owned(), "2024-11-04".to_owned()));
        all.sort();
        let get = |name: &str| {
            all.iter()
                .find(|(n, _)| n == name)
                .map_or("", |(_, value)| value.as_str())
        };
        let length_text = if length == 0 {
            String::new()
        } else {
            length.to_string()
        };
        let mut text = format!(
            "{method}\n\n\n{length_text}\n{}\n{}\n\n{}\n{}\n{}\n{}\n{}\n",
            get("content-md5"),
            get("content-type"),
            get("if-modified-since"),
            get("if-match"),
            get("if-none-match"),
            get("if-unmodified-since"),
            get("range"),
        );
        for (name, value) in all.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text.push_str(&format!("{name}:{value}\n"));
        }
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        text.push_str(&format!("/{account}{path}"));
        let mut pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        pairs.sort_unstable();
        for (name, value) in pairs {
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            text.push_str(&format!("\n{name}:{value}"));
        }
        let signature = SharedKey::from_base64(key).unwrap().sign(&text);
        let mut builder = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "127.0.0.1:10000")
            .header("content-length", length)
            .header("authorization", format!("SharedKey {account}:{signature}"));
        for (name, value) in all {
            builder = builder.header(name, value);
        }
        builder
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let uri = format!("/{ACCOUNT}{path}");
        let builder = self.signed(method, &uri, headers, body.len(), KEY);
        self.send(builder.body(Body::full(body.to_vec())).unwrap()).await
    }

    /// Asks with the signature that the address has, or as nobody, in a version that challenges unless the
    /// headers name one.
    pub(crate) async fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/{ACCOUNT}{path}"))
            .header("host", "127.0.0.1:10000")
            .header("content-length", 0);
        if !headers.iter().any(|(name, _)| *name == "x-ms-version") {
            request = request.header("x-ms-version", "2024-11-04");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, &[("x-ms-blob-type", "BlockBlob")], body)
            .await
    }
}

pub(crate) async fn with_container() -> Bench {
    let bench = bench();
    assert_eq!(
        bench.ask("PUT", "/box?restype=container", &[], b"").await.status,
        StatusCode::CREATED
    );
    bench
}

/// A blob whose record is almost as large as the ledger takes, put together from one block.
pub(crate) async fn put_large(bench: &Bench, path: &str) {
    let id = "MDAx".repeat(20);
    let block = format!("{path}?comp=block&blockid={id}");
    assert_eq!(bench.ask("PUT", &block, &[], b"1").await.status, 201);
    let list = format!(
        "<BlockList>{}</BlockList>",
        format!("<Latest>{id}</Latest>").repeat(LARGE_BLOCKS)
    );
    let put = bench
        .ask("PUT", &format!("{path}?comp=blocklist"), &[], list.as_bytes())
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

/// The records of a kind, by its number, with their versions.
pub(crate) async fn records(bench: &Bench, kind: u8) -> Vec<ledger::Entry> {
    let range = ledger::KeyRange::prefix(&ledger::KeyWriter::new(ledger::Keyspace::Blobs).u8(kind).finish());
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut scan = ledger::Scan::new(snapshot.as_ref(), range, ledger::Direction::Forward);
    let mut entries = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        entries.push(entry);
    }
    entries
}

/// Sweeps and verifies; how many contents are left in the store, and how many in the ledger.
pub(crate) async fn contents(bench: &Bench) -> (u64, usize) {
    for _ in 0..3 {
        bench.blobs.sweep_once().await.unwrap();
    }
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut report = ledger::VerifyReport::default();
    bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    let stored = bench.content.stats().await.unwrap().contents;
    (stored, records(bench, INLINE).await.len())
}

/// Blocks of a large blob.
pub(crate) const LARGE_BLOCKS: usize = 25_000;

/// Kinds of keys: of blobs' records, of small contents.
pub(crate) const BLOB: u8 = 2;
pub(crate) const INLINE: u8 = 3;

pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at * 7 % 251).unwrap())
        .collect()
}

/// An account SAS, signed as the documentation says.
pub(crate) fn account_sas(permissions: &str, types: &str, expiry: &str) -> String {
    let text = format!("{ACCOUNT}\n{permissions}\nb\n{types}\n\n{expiry}\n\n\n2021-12-02\n\n");
    let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    format!("sv=2021-12-02&ss=b&srt={types}&sp={permissions}&se={expiry}&sig={signature}")
}

/// A service SAS for a container.
pub(crate) fn container_sas(permissions: &str, expiry: &str) -> String {
    let text = format!("{permissions}\n\n{expiry}\n/blob/{ACCOUNT}/box\n\n\n\n2021-12-02\nc\n\n\n\n\n\n\n");
    let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    format!("sv=2021-12-02&sr=c&sp={permissions}&se={expiry}&sig={signature}")
}

/// Where a listing goes on behind this page; empty at its end.
pub(crate) fn next_marker(page: &str) -> String {
    let marker = page
        .split("<NextMarker>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    marker.expect("a page has a marker").to_owned()
}

/// Makes a page blob.
pub(crate) async fn create_pages(bench: &Bench, path: &str, length: usize) {
    let length = length.to_string();
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", length.as_str()),
    ];
    let made = bench.ask("PUT", path, &headers, b"").await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// Puts pages.
pub(crate) async fn put_pages(bench: &Bench, path: &str, at: usize, body: &[u8]) {
    let range = format!("bytes={at}-{}", at + body.len() - 1);
    let headers = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
    let put = bench
        .ask("PUT", &format!("{path}?comp=page"), &headers, body)
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

/// Takes a snapshot of a blob; its time.
pub(crate) async fn take_snapshot(bench: &Bench, path: &str) -> String {
    let taken = bench.ask("PUT", &format!("{path}?comp=snapshot"), &[], b"").await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    taken.header("x-ms-snapshot").to_owned()
}
