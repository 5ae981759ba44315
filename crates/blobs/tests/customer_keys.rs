//! Customer-provided keys: what is under one is read with it alone, lies nowhere as it is, and neither does the key.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{ACCOUNT, Answer, Bench, KEY, PLANTED, Planted, bench, create_pages};
use content::read_bounded;
use http_semantics::Body;
use ledger::{Direction, KeyRange, Scan};

const MARKER: &[u8] = b"nobody may find this text ";
const SEGMENT: usize = 4 * 1024 * 1024;
const USES: &str = "BlobUsesCustomerSpecifiedEncryption";
const USES_NONE: &str = "BlobDoesNotUseCustomerSpecifiedEncryption";
const OTHER: &str = "BlobCustomerSpecifiedEncryptionMismatch";

/// A path, headers and a body.
type Try<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8]);

fn marked(length: usize) -> Vec<u8> {
    MARKER.iter().copied().cycle().take(length).collect()
}

/// A request with a key's headers and others.
async fn with(
    bench: &Bench,
    key: Option<&Planted>,
    (method, path): (&str, &str),
    others: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut headers = others.to_vec();
    if let Some(key) = key {
        headers.extend(key.headers());
    }
    bench.ask(method, path, &headers, body).await
}

async fn put(bench: &Bench, key: Option<&Planted>, path: &str, content: &[u8]) -> Answer {
    let kind = [("x-ms-blob-type", "BlockBlob")];
    with(bench, key, ("PUT", path), &kind, content).await
}

async fn ok(answer: Answer, status: u16, key: Option<&Planted>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let digest = key.map_or("", |key| key.sha256.as_str());
    assert_eq!(answer.header("x-ms-encryption-key-sha256"), digest);
}

async fn read(bench: &Bench, key: &Planted, path: &str) -> Vec<u8> {
    let got = with(bench, Some(key), ("GET", path), &[], b"").await;
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    assert_eq!(got.header("x-ms-server-encrypted"), "true");
    assert_eq!(got.header("x-ms-encryption-key-sha256"), key.sha256);
    got.body.to_vec()
}

/// Whether bytes lie anywhere: in values and keys of the ledger, in its log, in the content store.
async fn lies_anywhere(bench: &Bench, wanted: &[&[u8]]) -> bool {
    let has = |bytes: &[u8]| {
        wanted
            .iter()
            .any(|wanted| bytes.windows(wanted.len()).any(|part| part == *wanted))
    };
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    let mut found = false;
    while let Some(entry) = scan.next().await.unwrap() {
        found |= has(&entry.versioned.value) || has(entry.key.as_bytes());
    }
    let log = bench.ledger.log_page(0, 10_000, 64 << 20).await.unwrap();
    found |= log
        .entries
        .iter()
        .flat_map(|entry| &entry.records)
        .any(|record| has(&record.payload));
    for info in bench.content.list(None, 10_000).await.unwrap() {
        let bytes = read_bounded(&bench.content, info.id, 0..u64::MAX, 64 << 20).await;
        found |= has(&bytes.unwrap());
    }
    found
}

async fn put_block(bench: &Bench, key: Option<&Planted>, path: &str, id: &str, bytes: &[u8]) {
    let uri = format!("{path}?comp=block&blockid={id}");
    ok(with(bench, key, ("PUT", &uri), &[], bytes).await, 201, key).await;
}

async fn put_list(bench: &Bench, key: Option<&Planted>, path: &str, ids: &[&str]) -> Answer {
    let latest: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
    let list = format!("<BlockList>{latest}</BlockList>");
    let uri = format!("{path}?comp=blocklist");
    with(bench, key, ("PUT", &uri), &[], list.as_bytes()).await
}

async fn put_pages(bench: &Bench, key: Option<&Planted>, path: &str, at: usize, bytes: &[u8]) -> Answer {
    let range = format!("bytes={at}-{}", at + bytes.len() - 1);
    let headers = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
    with(bench, key, ("PUT", &format!("{path}?comp=page")), &headers, bytes).await
}

/// Blobs of every kind and size under a key; the paths with what they hold.
async fn fill(bench: &Bench, key: &Planted) -> Vec<(String, Vec<u8>)> {
    let some = Some(key);
    let mut held = Vec::new();
    for length in [0, 1, 5_000, 16 * 1024 + 1, 65_520, 65_537, 300_000] {
        let (path, content) = (format!("/box/put-{length}"), marked(length));
        ok(put(bench, some, &path, &content).await, 201, some).await;
        held.push((path, content));
    }
    put_block(bench, some, "/box/blocks", "AAAA", &marked(40)).await;
    put_block(bench, some, "/box/blocks", "BBBB", &marked(100_000)).await;
    ok(
        put_list(bench, some, "/box/blocks", &["BBBB", "AAAA"]).await,
        201,
        some,
    )
    .await;
    held.push(("/box/blocks".to_owned(), [marked(100_000), marked(40)].concat()));
    let kind = [("x-ms-blob-type", "AppendBlob")];
    ok(
        with(bench, some, ("PUT", "/box/append"), &kind, b"").await,
        201,
        some,
    )
    .await;
    for length in [30, 70_000] {
        let append = ("PUT", "/box/append?comp=appendblock");
        let put = with(bench, some, append, &[], &marked(length)).await;
        ok(put, 201, some).await;
    }
    held.push(("/box/append".to_owned(), [marked(30), marked(70_000)].concat()));
    let length = SEGMENT.to_string();
    let kind = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", length.as_str()),
    ];
    ok(
        with(bench, some, ("PUT", "/box/pages"), &kind, b"").await,
        201,
        some,
    )
    .await;
    let mut pages = vec![0; SEGMENT];
    for (at, length) in [(512, 1_024), (65_536, 131_072)] {
        ok(
            put_pages(bench, some, "/box/pages", at, &marked(length)).await,
            201,
            some,
        )
        .await;
        pages[at..at + length].copy_from_slice(&marked(length));
    }
    // So many that they are gathered.
    for number in 0..120 {
        let at = 1_048_576 + number * 1_024;
        ok(
            put_pages(bench, some, "/box/pages", at, &marked(512)).await,
            201,
            some,
        )
        .await;
        pages[at..at + 512].copy_from_slice(&marked(512));
    }
    held.push(("/box/pages".to_owned(), pages));
    held
}

#[tokio::test]
async fn what_is_under_a_key_is_read_with_it_alone_and_lies_nowhere_as_it_is() {
    let bench = bench();
    let key = &PLANTED[0];
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let mut held = fill(&bench, key).await;
    for path in ["/box/put-5000", "/box/pages", "/box/append"] {
        let taken = with(
            &bench,
            Some(key),
            ("PUT", &format!("{path}?comp=snapshot")),
            &[],
            b"",
        )
        .await;
        let at = taken.header("x-ms-snapshot").to_owned();
        ok(taken, 201, Some(key)).await;
        let content = held.iter().find(|(held, _)| held == path).unwrap().1.clone();
        held.push((format!("{path}?snapshot={at}"), content));
    }
    for (path, content) in &held {
        assert!(read(&bench, key, path).await == *content, "{path}");
        for (other, code) in [(None, USES), (Some(&PLANTED[1]), OTHER)] {
            for method in ["GET", "HEAD"] {
                let refused = with(&bench, other, (method, path), &[], b"").await;
                assert_eq!(refused.status, 409, "{method} {path}");
                assert_eq!(refused.code(), code, "{method} {path}");
                if method == "GET" {
                    assert!(!refused.body.windows(8).any(|part| part == &MARKER[..8]));
                }
            }
        }
        if content.len() > 70_000 {
            let range = [("x-ms-range", "bytes=65000-66999")];
            let got = with(&bench, Some(key), ("GET", path), &range, b"").await;
            assert!(got.status == 206 && got.body == content[65_000..67_000], "{path}");
        }
    }
    assert!(!lies_anywhere(&bench, &[MARKER, &key.bytes, key.base64.as_bytes()]).await);
    let hex: String = key.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!lies_anywhere(&bench, &[hex.as_bytes()]).await);
    // What is kept is the digest: if the search couldn't find that, it would find nothing.
    assert!(lies_anywhere(&bench, &[key.sha256.as_bytes()]).await);
    let list = bench
        .ask(
            "GET",
            "/box?restype=container&comp=list&include=metadata,snapshots",
            &[],
            b"",
        )
        .await
        .text();
    let element = format!(
        "<CustomerProvidedKeySha256>{}</CustomerProvidedKeySha256>",
        key.sha256
    );
    assert_eq!(list.matches(&element).count(), held.len());
    assert_eq!(
        list.matches("<ServerEncrypted>true</ServerEncrypted>").count(),
        held.len()
    );
    assert!(!list.contains("<ServerEncrypted>false"));
    // Nobody needs the key to see that all is there, and undamaged.
    let report = bench.blobs.scrub(&|_, _| {}).await.unwrap();
    assert!(report.contents > 5 && report.damaged.is_empty() && report.broke_off.is_none());
    bench::contents(&bench).await;
}

#[tokio::test]
async fn writes_to_a_blob_need_its_key() {
    let bench = bench();
    let (key, wrong) = (&PLANTED[0], &PLANTED[1]);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    for (name, own) in [("own", Some(key)), ("plain", None)] {
        let path = format!("/box/{name}-append");
        let kind = [("x-ms-blob-type", "AppendBlob")];
        ok(with(&bench, own, ("PUT", &path), &kind, b"").await, 201, own).await;
        let pages = format!("/box/{name}-pages");
        let kind = [
            ("x-ms-blob-type", "PageBlob"),
            ("x-ms-blob-content-length", "4096"),
        ];
        ok(with(&bench, own, ("PUT", &pages), &kind, b"").await, 201, own).await;
        let others: &[(Option<&Planted>, &str)] = match own {
            Some(_) => &[(None, USES), (Some(wrong), OTHER)],
            None => &[(Some(key), USES_NONE)],
        };
        for (other, code) in others {
            let page = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")];
            let clear = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")];
            let meta = [("x-ms-meta-a", "b")];
            let (append, pages_of) = (format!("{path}?comp=appendblock"), format!("{pages}?comp=page"));
            let (snapshot, metadata) = (format!("{path}?comp=snapshot"), format!("{path}?comp=metadata"));
            let tries: [Try<'_>; 5] = [
                (&append, &[], b"more"),
                (&pages_of, &page, &[1; 512]),
                (&pages_of, &clear, b""),
                (&snapshot, &[], b""),
                (&metadata, &meta, b""),
            ];
            for (uri, headers, body) in tries {
                let refused = with(&bench, *other, ("PUT", uri), headers, body).await;
                assert_eq!((refused.status.as_u16(), refused.code()), (409, *code), "{uri}");
            }
        }
        let append = format!("{path}?comp=appendblock");
        ok(with(&bench, own, ("PUT", &append), &[], b"more").await, 201, own).await;
        ok(put_pages(&bench, own, &pages, 0, &[1; 512]).await, 201, own).await;
        let meta = [("x-ms-meta-a", "secret")];
        let metadata = format!("{path}?comp=metadata");
        ok(with(&bench, own, ("PUT", &metadata), &meta, b"").await, 200, own).await;
    }
    // The metadata of a blob under a key is read with the key alone.
    let list = bench
        .ask(
            "GET",
            "/box?restype=container&comp=list&include=metadata",
            &[],
            b"",
        )
        .await
        .text();
    assert_eq!(list.matches("<Metadata Encrypted=\"true\" />").count(), 2);
    assert_eq!(list.matches("secret").count(), 1, "{list}");
    // Who deletes, leases or gives properties needs no key; who overwrites takes another one, or none.
    let leased = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    let path = "/box/own-append";
    let lease = bench
        .ask("PUT", &format!("{path}?comp=lease"), &leased, b"")
        .await;
    assert_eq!(lease.status, 201);
    let id = lease.header("x-ms-lease-id").to_owned();
    let with_lease = [("x-ms-lease-id", id.as_str())];
    let set = bench
        .ask("PUT", &format!("{path}?comp=properties"), &with_lease, b"")
        .await;
    assert_eq!(set.status, 200);
    assert_eq!(bench.ask("DELETE", path, &with_lease, b"").await.status, 202);
    ok(put(&bench, Some(key), "/box/again", b"one").await, 201, Some(key)).await;
    ok(
        put(&bench, Some(wrong), "/box/again", b"two").await,
        201,
        Some(wrong),
    )
    .await;
    assert_eq!(read(&bench, wrong, "/box/again").await, b"two");
    ok(put(&bench, None, "/box/again", b"three").await, 201, None).await;
    assert_eq!(bench.ask("GET", "/box/again", &[], b"").await.body, "three");
    bench::contents(&bench).await;
}

#[tokio::test]
async fn blocks_of_a_list_are_all_under_its_key() {
    let bench = bench();
    let (key, wrong) = (&PLANTED[0], &PLANTED[1]);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    put_block(&bench, Some(key), "/box/x", "AAAA", b"one").await;
    put_block(&bench, None, "/box/x", "BBBB", b"two").await;
    put_block(&bench, Some(wrong), "/box/x", "CCCC", b"three").await;
    for (with, ids, code) in [
        (None, ["AAAA", "BBBB"], USES),
        (Some(key), ["AAAA", "BBBB"], USES_NONE),
        (Some(key), ["AAAA", "CCCC"], OTHER),
    ] {
        let refused = put_list(&bench, with, "/box/x", &ids).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, code));
    }
    ok(
        put_list(&bench, Some(key), "/box/x", &["AAAA"]).await,
        201,
        Some(key),
    )
    .await;
    assert_eq!(read(&bench, key, "/box/x").await, b"one");
    // What is committed counts as well.
    put_block(&bench, Some(wrong), "/box/x", "DDDD", b"four").await;
    let refused = put_list(&bench, Some(wrong), "/box/x", &["AAAA", "DDDD"]).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, OTHER));
    bench::contents(&bench).await;
}

#[tokio::test]
async fn copies_are_made_with_the_sources_key() {
    let bench = bench();
    let (key, other) = (&PLANTED[0], &PLANTED[1]);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let text = marked(70_000);
    put(&bench, Some(key), "/box/from", &text).await;
    let source = format!("http://127.0.0.1:10000/{ACCOUNT}/box/from");
    let from = ("x-ms-copy-source", source.as_str());
    let kind = ("x-ms-blob-type", "BlockBlob");
    let own: Vec<(&str, &str)> = key
        .headers()
        .iter()
        .map(|(name, value)| {
            let named = match *name {
                "x-ms-encryption-key" => "x-ms-source-encryption-key",
                "x-ms-encryption-key-sha256" => "x-ms-source-encryption-key-sha256",
                _ => "x-ms-source-encryption-algorithm",
            };
            (named, *value)
        })
        .collect();
    // Copy Blob has no place for a key.
    let refused = bench.ask("PUT", "/box/to", &[from], b"").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "CannotVerifyCopySource")
    );
    assert!(
        refused
            .text()
            .contains("encrypted with customer specified encryption"),
        "{}",
        refused.text()
    );
    let refused = bench
        .ask("PUT", "/box/to", &[vec![from], own.clone()].concat(), b"")
        .await;
    assert_eq!(refused.code(), "InvalidHeaderValue");
    for to in [None, Some(other), Some(key)] {
        let headers = [vec![from, kind], own.clone()].concat();
        ok(with(&bench, to, ("PUT", "/box/to"), &headers, b"").await, 201, to).await;
        let got = with(&bench, to, ("GET", "/box/to"), &[], b"").await;
        assert!(got.status == 200 && got.body == text);
    }
    let refused = with(&bench, Some(other), ("PUT", "/box/to"), &[from, kind], b"").await;
    assert_eq!(refused.code(), "CannotVerifyCopySource");
    // Parts.
    let headers = [vec![from, ("x-ms-source-range", "bytes=0-4")], own].concat();
    let block = ("PUT", "/box/parts?comp=block&blockid=AAAA");
    ok(
        with(&bench, Some(other), block, &headers, b"").await,
        201,
        Some(other),
    )
    .await;
    ok(
        put_list(&bench, Some(other), "/box/parts", &["AAAA"]).await,
        201,
        Some(other),
    )
    .await;
    assert_eq!(read(&bench, other, "/box/parts").await, text[..5]);
    create_pages(&bench, "/box/plain", 4_096).await;
    bench::contents(&bench).await;
}

#[tokio::test]
async fn versions_and_what_is_deleted_keep_their_keys() {
    let bench = bench().restarted(true);
    let (first, second) = (&PLANTED[0], &PLANTED[1]);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let made = put(&bench, Some(first), "/box/x", b"first").await;
    let version = made.header("x-ms-version-id").to_owned();
    put(&bench, Some(second), "/box/x", b"second").await;
    assert_eq!(
        read(&bench, first, &format!("/box/x?versionid={version}")).await,
        b"first"
    );
    assert_eq!(read(&bench, second, "/box/x").await, b"second");
    let plain = bench.restarted(false);
    let retention = "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
                     </DeleteRetentionPolicy></StorageServiceProperties>";
    let set = plain
        .ask(
            "PUT",
            "/?restype=service&comp=properties",
            &[],
            retention.as_bytes(),
        )
        .await;
    assert_eq!(set.status, 202, "{}", set.text());
    plain.ask("PUT", "/bin?restype=container", &[], b"").await;
    put(&plain, Some(first), "/bin/y", &marked(20_000)).await;
    assert_eq!(plain.ask("DELETE", "/bin/y", &[], b"").await.status, 202);
    assert_eq!(
        plain.ask("PUT", "/bin/y?comp=undelete", &[], b"").await.status,
        200
    );
    assert_eq!(read(&plain, first, "/bin/y").await, marked(20_000));
    assert_eq!(plain.ask("GET", "/bin/y", &[], b"").await.code(), USES);
    bench::contents(&plain).await;
}

#[tokio::test]
async fn keys_that_are_none_are_refused_and_not_told_again() {
    let bench = bench();
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let key = &PLANTED[0];
    let (name, sha256, algorithm) = (
        "x-ms-encryption-key",
        "x-ms-encryption-key-sha256",
        "x-ms-encryption-algorithm",
    );
    let short = STANDARD.encode([7; 16]);
    let good = (key.base64.as_str(), key.sha256.as_str(), "AES256");
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[(name, good.0)], "MissingRequiredHeader"),
        (&[(name, good.0), (sha256, good.1)], "MissingRequiredHeader"),
        (&[(sha256, good.1), (algorithm, good.2)], "MissingRequiredHeader"),
        (
            &[(name, good.0), (sha256, good.1), (algorithm, "AES128")],
            "InvalidHeaderValue",
        ),
        (
            &[(name, "notakey!"), (sha256, good.1), (algorithm, good.2)],
            "InvalidHeaderValue",
        ),
        (
            &[(name, &short), (sha256, good.1), (algorithm, good.2)],
            "InvalidHeaderValue",
        ),
        (
            &[(name, good.0), (sha256, &PLANTED[1].sha256), (algorithm, good.2)],
            "InvalidHeaderValue",
        ),
        (
            &[(name, good.0), (sha256, "x"), (algorithm, good.2)],
            "InvalidHeaderValue",
        ),
    ];
    for (headers, code) in cases {
        let headers = [headers, &[("x-ms-blob-type", "BlockBlob")]].concat();
        let refused = bench.ask("PUT", "/box/x", &headers, b"text").await;
        assert_eq!((refused.status.as_u16(), refused.code()), (400, code));
        for secret in [key.base64.as_str(), "notakey!", &short] {
            assert!(!refused.text().contains(secret), "{}", refused.text());
        }
    }
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 404);
    // A read needs the key alone.
    put(&bench, Some(key), "/box/x", b"text").await;
    let got = bench.ask("GET", "/box/x", &[(name, good.0)], b"").await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"text"[..]));
    // Without TLS it is taken from this machine alone, and there in development alone.
    let ask = |peer: &'static str, secure: bool| {
        let headers = key.headers();
        let uri = format!("/{ACCOUNT}/box/x");
        let request = bench.signed("GET", &uri, &headers, 0, KEY);
        let request = request.body(Body::empty()).unwrap();
        let bench = &bench;
        async move { bench.send_from(peer, secure, request).await }
    };
    assert_eq!(ask("127.0.0.1", false).await.status, 200);
    assert_eq!(ask("192.0.2.1", true).await.status, 200);
    let refused = ask("192.0.2.1", false).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (400, "AccountRequiresHttps")
    );
}
