//! Content that is encrypted at rest: nothing of it lies anywhere as it is, everything reads as before, and
//! what was plain stays readable beside it.
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

use bench::{
    ACCOUNT, Bench, INLINE, KEY, bench_over, contents, create_pages, put_pages, records, take_snapshot,
};
use blobs::Account;
use content::memory::MemoryContent;
use content::{ContentId, ContentStore, read_bounded};
use encryption::{AccountGeneration, KeyEncryptionKey, Keyring};
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock as _, Direction, KeyRange, Ledger, Scan, Transaction};

const MARKER: &[u8] = b"nobody may find this text ";
const OTHER: &str = "other";
const PIECES: u8 = 13;
const SEGMENT: usize = 4 * 1024 * 1024;

/// What outlives a process.
struct Estate {
    ledger: Arc<dyn Ledger>,
    content: Arc<dyn ContentStore>,
    clock: Arc<AdjustableClock>,
}

fn estate() -> Estate {
    let clock = Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ));
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

fn kek(byte: u8) -> KeyEncryptionKey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    std::fs::write(&path, format!("{byte:02x}").repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeyEncryptionKey::from_file(&path).unwrap()
}

impl Estate {
    fn open(&self, keyring: Option<Arc<Keyring>>) -> Bench {
        let stores = (self.ledger.clone(), self.content.clone());
        let seed = 10 + u64::from(keyring.is_some());
        bench_over(stores, self.clock.clone(), seed, |settings| {
            settings
                .accounts
                .push(Account::new(OTHER, vec![SharedKey::from_base64(KEY).unwrap()]));
            settings.accounts[0].allows_public_access = true;
            settings.accounts[1].allows_public_access = true;
            settings.keyring = keyring;
        })
    }

    async fn keyring(&self, generation: u32) -> Arc<Keyring> {
        let accounts = [ACCOUNT, OTHER].map(|account| AccountGeneration {
            scope: None,
            account: account.to_owned(),
            generation,
        });
        let random = Arc::new(SeededRandom::new(100 + u64::from(generation)));
        let keyring = Keyring::open(self.ledger.clone(), random, vec![kek(1)], &accounts).await;
        keyring.unwrap()
    }

    async fn plain(&self) -> Bench {
        self.open(None)
    }

    async fn encrypted(&self) -> Bench {
        self.open(Some(self.keyring(0).await))
    }

    /// Whether the marker lies anywhere, in the ledger or in the content store.
    async fn has_marker(&self) -> bool {
        let has = |bytes: &[u8]| bytes.windows(MARKER.len()).any(|part| part == MARKER);
        let snapshot = self.ledger.snapshot().await.unwrap();
        let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
        let mut found = false;
        while let Some(entry) = scan.next().await.unwrap() {
            found |= has(&entry.versioned.value);
        }
        for info in self.content.list(None, 10_000).await.unwrap() {
            let bytes = read_bounded(&self.content, info.id, 0..u64::MAX, 64 << 20)
                .await
                .unwrap();
            found |= has(&bytes);
        }
        found
    }
}

fn marked(length: usize) -> Vec<u8> {
    MARKER.iter().copied().cycle().take(length).collect()
}

async fn make_container(bench: &Bench) {
    let made = bench
        .ask(
            "PUT",
            "/box?restype=container",
            &[("x-ms-blob-public-access", "container")],
            b"",
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
}

async fn get(bench: &Bench, path: &str) -> Vec<u8> {
    let got = bench.ask("GET", path, &[], b"").await;
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    got.body.to_vec()
}

async fn put_block(bench: &Bench, path: &str, id: &str, bytes: &[u8]) {
    let put = bench
        .ask("PUT", &format!("{path}?comp=block&blockid={id}"), &[], bytes)
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

async fn put_list(bench: &Bench, path: &str, ids: &[&str]) {
    let latest: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
    let list = format!("<BlockList>{latest}</BlockList>");
    let put = bench
        .ask("PUT", &format!("{path}?comp=blocklist"), &[], list.as_bytes())
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

async fn append(bench: &Bench, path: &str, bytes: &[u8]) {
    let put = bench
        .ask("PUT", &format!("{path}?comp=appendblock"), &[], bytes)
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

async fn copy(bench: &Bench, from: &str, to: &str) {
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}{from}");
    let put = bench.ask("PUT", to, &[("x-ms-copy-source", &source)], b"").await;
    assert_eq!(put.status, 202, "{}", put.text());
}

/// Blobs of every kind and size; the paths with what they hold.
async fn fill(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let mut held = Vec::new();
    for length in [
        0,
        1,
        5_000,
        16 * 1024,
        16 * 1024 + 1,
        65_520,
        65_536,
        65_537,
        300_000,
    ] {
        let (path, content) = (format!("/box/put-{length}"), marked(length));
        assert_eq!(bench.put(&path, &content).await.status, 201);
        held.push((path, content));
    }
    put_block(bench, "/box/blocks", "AAAA", &marked(40)).await;
    put_block(bench, "/box/blocks", "BBBB", &marked(100_000)).await;
    put_list(bench, "/box/blocks", &["BBBB", "AAAA", "BBBB"]).await;
    held.push((
        "/box/blocks".to_owned(),
        [marked(100_000), marked(40), marked(100_000)].concat(),
    ));
    let made = bench
        .ask("PUT", "/box/append", &[("x-ms-blob-type", "AppendBlob")], b"")
        .await;
    assert_eq!(made.status, 201);
    for length in [30, 70_000, 1] {
        append(bench, "/box/append", &marked(length)).await;
    }
    held.push((
        "/box/append".to_owned(),
        [marked(30), marked(70_000), marked(1)].concat(),
    ));
    create_pages(bench, "/box/pages", 2 * SEGMENT).await;
    let mut pages = vec![0; 2 * SEGMENT];
    // In the ledger, across two segments as well, and in the content store.
    for (at, length) in [
        (512, 1_024),
        (SEGMENT - 1_024, 4_096),
        (SEGMENT + 65_536, 131_072),
    ] {
        put_pages(bench, "/box/pages", at, &marked(length)).await;
        pages[at..at + length].copy_from_slice(&marked(length));
    }
    held.push(("/box/pages".to_owned(), pages.clone()));
    let taken = take_snapshot(bench, "/box/pages").await;
    held.push((format!("/box/pages?snapshot={taken}"), pages.clone()));
    put_pages(bench, "/box/pages", 512, &[7; 512]).await;
    let mut newer = pages.clone();
    newer[512..1_024].fill(7);
    held.retain(|(path, _)| path != "/box/pages");
    held.push(("/box/pages".to_owned(), newer.clone()));
    let taken = take_snapshot(bench, "/box/put-5000").await;
    assert_eq!(bench.put("/box/put-5000", b"new").await.status, 201);
    held.retain(|(path, _)| path != "/box/put-5000");
    held.push((format!("/box/put-5000?snapshot={taken}"), marked(5_000)));
    for (from, content) in [
        ("put-1", marked(1)),
        ("put-300000", marked(300_000)),
        ("pages", newer),
    ] {
        copy(bench, &format!("/box/{from}"), &format!("/box/copy-of-{from}")).await;
        held.push((format!("/box/copy-of-{from}"), content));
    }
    held
}

async fn assert_held(bench: &Bench, held: &[(String, Vec<u8>)]) {
    for (path, content) in held {
        assert!(get(bench, path).await == *content, "{path}");
        let length = content.len();
        for (from, to) in [
            (0, 0),
            (1, 40),
            (length / 2, length / 2 + 70_000),
            (length.saturating_sub(3), length),
        ] {
            if from >= length {
                continue;
            }
            let to = to.min(length - 1);
            let range = format!("bytes={from}-{to}");
            let got = bench.ask("GET", path, &[("x-ms-range", &range)], b"").await;
            assert_eq!(got.status, 206, "{path} {range}: {}", got.text());
            assert!(got.body == content[from..=to], "{path} {range}");
        }
    }
}

/// What the answers say: of reads, of the listing.
async fn says_encrypted(bench: &Bench, path: &str) -> bool {
    let got = bench.ask("HEAD", path, &[], b"").await;
    let said = got.header("x-ms-server-encrypted").to_owned();
    let list = bench
        .ask("GET", "/box?restype=container&comp=list", &[], b"")
        .await
        .text();
    let name = path.strip_prefix("/box/").unwrap();
    let element = list.split(&format!("<Name>{name}</Name>")).nth(1).unwrap();
    let listed = element.split("<ServerEncrypted>").nth(1).unwrap();
    assert!(
        listed.starts_with(&format!("{said}<")),
        "{path}: {said}, but {listed}"
    );
    said == "true"
}

#[tokio::test]
async fn nothing_that_is_stored_holds_the_content() {
    for encrypted in [true, false] {
        let estate = estate();
        let bench = match encrypted {
            true => estate.encrypted().await,
            false => estate.plain().await,
        };
        make_container(&bench).await;
        let held = fill(&bench).await;
        assert_held(&bench, &held).await;
        assert_eq!(estate.has_marker().await, !encrypted);
        for path in [
            "/box/put-0",
            "/box/put-300000",
            "/box/blocks",
            "/box/append",
            "/box/pages",
            "/box/copy-of-pages",
        ] {
            assert_eq!(says_encrypted(&bench, path).await, encrypted, "{path}");
        }
        let put = bench.put("/box/more", b"x").await;
        assert_eq!(put.header("x-ms-request-server-encrypted"), encrypted.to_string());
        contents(&bench).await;
        // Another process over the same stores, which has the keys from the ledger alone.
        let again = match encrypted {
            true => estate.encrypted().await,
            false => estate.plain().await,
        };
        assert_held(&again, &held).await;
    }
}

#[tokio::test]
async fn pages_that_are_gathered_stay_encrypted() {
    let estate = estate();
    let bench = estate.encrypted().await;
    make_container(&bench).await;
    create_pages(&bench, "/box/x", SEGMENT).await;
    let mut wanted = vec![0; SEGMENT];
    for number in 0..120 {
        let at = number * 1_024;
        put_pages(&bench, "/box/x", at, &marked(512)).await;
        wanted[at..at + 512].copy_from_slice(&marked(512));
    }
    assert!(records(&bench, PIECES).await.len() < 120, "nothing was gathered");
    assert!(get(&bench, "/box/x").await == wanted);
    assert!(!estate.has_marker().await);
    contents(&bench).await;
}

#[tokio::test]
async fn what_was_plain_stays_readable_and_is_added_to() {
    let estate = estate();
    let before = estate.plain().await;
    make_container(&before).await;
    let mut held = fill(&before).await;
    let bench = estate.encrypted().await;
    assert_held(&bench, &held).await;
    assert!(!says_encrypted(&bench, "/box/append").await && !says_encrypted(&bench, "/box/pages").await);
    append(&bench, "/box/append", b"and more").await;
    put_pages(&bench, "/box/pages", 2_048, &[9; 512]).await;
    for (path, content) in &mut held {
        match path.as_str() {
            "/box/append" => content.extend_from_slice(b"and more"),
            "/box/pages" => content[2_048..2_560].fill(9),
            _ => {}
        }
    }
    for (from, to) in [("/box/append", "/box/mixed"), ("/box/pages", "/box/mixed-pages")] {
        copy(&bench, from, to).await;
        let content = held.iter().find(|(found, _)| found == from).unwrap().1.clone();
        held.push((to.to_owned(), content));
    }
    assert_held(&bench, &held).await;
    // A part of each is plain still, and nobody says otherwise.
    for path in [
        "/box/append",
        "/box/mixed",
        "/box/pages",
        "/box/mixed-pages",
        "/box/put-1",
    ] {
        assert!(!says_encrypted(&bench, path).await, "{path}");
    }
    assert_eq!(bench.put("/box/put-1", b"x").await.status, 201);
    assert!(says_encrypted(&bench, "/box/put-1").await);
    contents(&bench).await;
}

#[tokio::test]
async fn a_new_account_key_leaves_what_there_is() {
    let estate = estate();
    let bench = estate.encrypted().await;
    make_container(&bench).await;
    let mut held = fill(&bench).await;
    let stored_before: Vec<_> = estate.content.list(None, 1_000).await.unwrap();
    let rotated = estate.open(Some(estate.keyring(1).await));
    assert_held(&rotated, &held).await;
    for (path, length) in [("/box/small", 100), ("/box/large", 100_000)] {
        assert_eq!(rotated.put(path, &marked(length)).await.status, 201);
        held.push((path.to_owned(), marked(length)));
    }
    append(&rotated, "/box/append", b"under the new key").await;
    let at = held.iter().position(|(path, _)| path == "/box/append").unwrap();
    held[at].1.extend_from_slice(b"under the new key");
    copy(&rotated, "/box/append", "/box/both").await;
    held.push(("/box/both".to_owned(), held[at].1.clone()));
    assert_held(&rotated, &held).await;
    // The process that was there before finds the other one's key.
    assert_held(&bench, &held).await;
    let key_of = |name: &str, blobs: &[ledger::Entry]| -> String {
        let mut texts = blobs
            .iter()
            .map(|entry| String::from_utf8(entry.versioned.value.to_vec()).unwrap());
        let text = texts
            .find(|text| text.contains(&format!("\"name\":\"{name}\"")))
            .unwrap();
        text.split("\"content\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    };
    let blobs = records(&bench, bench::BLOB).await;
    let (old, new) = (key_of("put-300000", &blobs), key_of("large", &blobs));
    assert!(old.ends_with(".1") && new.ends_with(".3"), "{old} {new}");
    // Nothing was written anew.
    let stored_now = estate.content.list(None, 1_000).await.unwrap();
    assert!(stored_before.iter().all(|info| stored_now.contains(info)));
    contents(&bench).await;
}

#[tokio::test]
async fn copies_into_another_account_share_the_content() {
    let estate = estate();
    let bench = estate.encrypted().await;
    make_container(&bench).await;
    let held = fill(&bench).await;
    // The other account's service, asked as nobody may write there: in process.
    let other = format!("/{OTHER}/box");
    let uri = format!("{other}?restype=container");
    let sign = |method: &str, uri: &str, headers: &[(&str, &str)]| {
        bench.signed_for(OTHER, method, uri, headers, 0, KEY)
    };
    let made = bench
        .send(
            sign("PUT", &uri, &[])
                .body(http_semantics::Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let stored = estate.content.stats().await.unwrap().contents;
    for name in ["put-1", "put-300000", "append", "pages"] {
        let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/{name}");
        let uri = format!("{other}/{name}");
        let request = sign("PUT", &uri, &[("x-ms-copy-source", &source)]);
        let copied = bench
            .send(request.body(http_semantics::Body::empty()).unwrap())
            .await;
        assert_eq!(copied.status, 202, "{}", copied.text());
        let got = bench
            .send(
                sign("GET", &uri, &[])
                    .body(http_semantics::Body::empty())
                    .unwrap(),
            )
            .await;
        let wanted = &held
            .iter()
            .find(|(path, _)| path == &format!("/box/{name}"))
            .unwrap()
            .1;
        assert!(got.status == 200 && got.body == wanted, "{name}");
    }
    assert_eq!(estate.content.stats().await.unwrap().contents, stored);
    contents(&bench).await;
}

#[tokio::test]
async fn without_the_keys_nothing_is_served() {
    let estate = estate();
    let bench = estate.encrypted().await;
    make_container(&bench).await;
    let held = fill(&bench).await;
    let blind = estate.plain().await;
    for (path, content) in held.iter().filter(|(_, content)| !content.is_empty()) {
        let length = content.len();
        if path.contains("pages") {
            let got = blind
                .ask("GET", path, &[("x-ms-range", "bytes=512-1000")], b"")
                .await;
            assert_eq!(got.status, 500, "{path}");
            continue;
        }
        let got = blind.ask("GET", path, &[], b"").await;
        assert_eq!(
            (got.status.as_u16(), got.code()),
            (500, "InternalError"),
            "{path} of {length} bytes"
        );
    }
    // Checking needs no keys.
    contents(&blind).await;
}

#[tokio::test]
async fn small_contents_that_were_exchanged_are_found() {
    let estate = estate();
    let keyring = estate.keyring(0).await;
    let bench = estate.open(Some(keyring.clone()));
    make_container(&bench).await;
    for name in ["a", "b"] {
        assert_eq!(
            bench
                .put(&format!("/box/{name}"), name.repeat(100).as_bytes())
                .await
                .status,
            201
        );
        create_pages(&bench, &format!("/box/pages-{name}"), 4_096).await;
        put_pages(
            &bench,
            &format!("/box/pages-{name}"),
            0,
            name.repeat(512).as_bytes(),
        )
        .await;
    }
    let mut damaged = 0;
    for (kind, path) in [(INLINE, "/box/"), (PIECES, "/box/pages-")] {
        let entries = records(&bench, kind).await;
        assert_eq!(entries.len(), 2);
        let mut tx = Transaction::new();
        tx.put(entries[0].key.clone(), entries[1].versioned.value.clone());
        tx.put(entries[1].key.clone(), entries[0].versioned.value.clone());
        estate.ledger.commit(tx).await.unwrap();
        for name in ["a", "b"] {
            let got = bench.ask("GET", &format!("{path}{name}"), &[], b"").await;
            assert_eq!(
                (got.status.as_u16(), got.code()),
                (500, "InternalError"),
                "{path}{name}"
            );
            damaged += 1;
        }
    }
    assert_eq!(keyring.damaged_frames(), damaged);
}

#[tokio::test]
async fn a_content_that_was_cut_is_an_error_of_its_own() {
    let estate = estate();
    let bench = estate.encrypted().await;
    make_container(&bench).await;
    assert_eq!(bench.put("/box/x", &marked(200_000)).await.status, 201);
    let mut report = ledger::VerifyReport::default();
    let info = estate.content.list(None, 10).await.unwrap()[0];
    assert_eq!(info.length_bytes, encryption::encrypted_bytes(200_000));
    estate.content.delete(info.id).await.unwrap();
    let snapshot = estate.ledger.snapshot().await.unwrap();
    bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 500);
}
