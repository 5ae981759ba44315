//! Page blobs on memory, against plain arrays of bytes: what is written, cleared, resized, kept by snapshots
//! and copied, what differs, and that the sweep leaves what is in use and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::type_complexity,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{
    Bench, bytes, contents, create_pages as create, put_pages as put, records, take_snapshot as snapshot,
    with_container,
};
use ledger::Random as _;
use ledger::random::SeededRandom;

const PAGE: usize = 512;
const SEGMENT: usize = 4 * 1024 * 1024;

/// Kinds of keys: versions of segments, pieces, owners of maps, maps to be swept.
const SEGMENTS: u8 = 12;
const PIECES: u8 = 13;
const OWNERS: u8 = 14;

async fn clear(bench: &Bench, path: &str, at: usize, length: usize) {
    let range = format!("bytes={at}-{}", at + length - 1);
    let headers = [("x-ms-page-write", "clear"), ("x-ms-range", range.as_str())];
    let put = bench
        .ask("PUT", &format!("{path}?comp=page"), &headers, b"")
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
}

/// Each page's mark in a list of ranges: what the list says of it.
async fn marks(bench: &Bench, path: &str, query: &str, pages: usize) -> Vec<char> {
    let mut marks = vec!['.'; pages];
    let mut marker = String::new();
    loop {
        let uri = format!("{path}?comp=pagelist&maxresults=3{query}{marker}");
        let answer = bench.ask("GET", &uri, &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        for (tag, mark) in [("PageRange", 'w'), ("ClearRange", 'c')] {
            for part in text.split(&format!("<{tag}>")).skip(1) {
                let number = |tag: &str| -> usize {
                    let rest = part.split(&format!("<{tag}>")).nth(1).unwrap();
                    rest.split('<').next().unwrap().parse().unwrap()
                };
                let (start, end) = (number("Start"), number("End"));
                assert_eq!((start % PAGE, (end + 1) % PAGE), (0, 0));
                marks[start / PAGE..=end / PAGE].fill(mark);
            }
        }
        let next = bench::next_marker(&text);
        if next.is_empty() {
            return marks;
        }
        marker = format!("&marker={next}");
    }
}

/// A blob as the model has it: its bytes, and for each page the number of the write that made it.
#[derive(Clone, Default)]
struct Model {
    bytes: Vec<u8>,
    writes: Vec<u64>,
}

impl Model {
    fn resize(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.writes.resize(length / PAGE, 0);
    }

    fn marks(&self) -> Vec<char> {
        self.writes
            .iter()
            .map(|write| if *write == 0 { '.' } else { 'w' })
            .collect()
    }

    fn since(&self, before: &Self, at: u64) -> Vec<char> {
        let then = |page: usize| before.writes.get(page).copied().unwrap_or(0);
        let mark = |(page, write): (usize, &u64)| match *write {
            0 if then(page) != 0 => 'c',
            write if write > at => 'w',
            _ => '.',
        };
        self.writes.iter().enumerate().map(mark).collect()
    }
}

#[tokio::test]
async fn a_page_blob_is_what_a_plain_array_is() {
    for seed in 0..4 {
        let bench = with_container().await;
        let random = SeededRandom::new(seed);
        let below = |end: usize| usize::try_from(random.u64() % end as u64).unwrap();
        let length = 2 * SEGMENT + 16 * 1024;
        create(&bench, "/box/x", length).await;
        let mut model = Model::default();
        model.resize(length);
        let mut taken: Vec<(String, Model, u64)> = Vec::new();
        let mut written = 0;
        for step in 0..120 {
            let pages = model.bytes.len() / PAGE;
            // Mostly around a border of segments, where writes meet.
            let first = match below(3) {
                0 => below(pages),
                _ => (SEGMENT / PAGE - 20 + below(40)).min(pages - 1),
            };
            let most = if below(8) == 0 { 3_000 } else { 40 };
            let count = 1 + below((pages - first).min(most));
            let (at, long) = (first * PAGE, count * PAGE);
            match below(12) {
                0 | 1 => {
                    clear(&bench, "/box/x", at, long).await;
                    model.bytes[at..at + long].fill(0);
                    model.writes[first..first + count].fill(0);
                }
                2 if step > 10 => taken.push((snapshot(&bench, "/box/x").await, model.clone(), written)),
                3 if !taken.is_empty() => {
                    let (time, ..) = taken.remove(below(taken.len()));
                    let gone = format!("/box/x?snapshot={time}");
                    assert_eq!(bench.ask("DELETE", &gone, &[], b"").await.status, 202);
                }
                4 => {
                    let length = SEGMENT + PAGE * below(2 * SEGMENT / PAGE);
                    let text = length.to_string();
                    let headers = [("x-ms-blob-content-length", text.as_str())];
                    let resized = bench.ask("PUT", "/box/x?comp=properties", &headers, b"").await;
                    assert_eq!(resized.status, 200, "{}", resized.text());
                    model.resize(length);
                }
                _ => {
                    written += 1;
                    let fill = u8::try_from(1 + written % 250).unwrap();
                    let body: Vec<u8> = (0..long).map(|at| fill ^ u8::try_from(at % 7).unwrap()).collect();
                    put(&bench, "/box/x", at, &body).await;
                    model.bytes[at..at + long].copy_from_slice(&body);
                    model.writes[first..first + count].fill(written);
                }
            }
            if step % 20 == 19 {
                contents(&bench).await;
            }
        }
        let whole = bench.ask("GET", "/box/x", &[], b"").await;
        assert!(whole.body == model.bytes, "seed {seed}");
        for _ in 0..20 {
            let start = below(model.bytes.len());
            let end = start + below(model.bytes.len() - start);
            let range = format!("bytes={start}-{end}");
            let part = bench.ask("GET", "/box/x", &[("x-ms-range", &range)], b"").await;
            assert!(part.body == model.bytes[start..=end], "seed {seed}: {range}");
        }
        let pages = model.writes.len();
        assert_eq!(
            marks(&bench, "/box/x", "", pages).await,
            model.marks(),
            "seed {seed}"
        );
        for (at, (time, then, written)) in taken.iter().enumerate() {
            let kept = format!("/box/x?snapshot={time}");
            assert!(
                bench.ask("GET", &kept, &[], b"").await.body == then.bytes,
                "seed {seed}"
            );
            let found = marks(&bench, "/box/x", &format!("&prevsnapshot={time}"), pages).await;
            assert!(found == model.since(then, *written), "seed {seed}: since {time}");
            if let Some((later, at_later, _)) = taken.get(at + 1) {
                let query = format!("&prevsnapshot={time}&snapshot={later}");
                let found = marks(&bench, "/box/x", &query, at_later.writes.len()).await;
                assert!(
                    found == at_later.since(then, *written),
                    "seed {seed}: {time} to {later}"
                );
            }
        }
        // A copy is a blob of its own.
        let source = ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/x");
        let copied = bench.ask("PUT", "/box/y", &[source], b"").await;
        assert_eq!(copied.status, 202, "{}", copied.text());
        contents(&bench).await;
        let all = [("x-ms-delete-snapshots", "include")];
        assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
        contents(&bench).await;
        assert!(
            bench.ask("GET", "/box/y", &[], b"").await.body == model.bytes,
            "seed {seed}"
        );
        assert_eq!(bench.ask("DELETE", "/box/y", &[], b"").await.status, 202);
        assert_eq!(contents(&bench).await, (0, 0), "seed {seed}");
        for kind in [SEGMENTS, PIECES, OWNERS] {
            assert_eq!(records(&bench, kind).await, [], "seed {seed}: of kind {kind}");
        }
    }
}

#[tokio::test]
async fn small_writes_lie_in_the_ledger_until_there_are_many() {
    let bench = with_container().await;
    create(&bench, "/box/x", SEGMENT).await;
    let mut model = vec![0; SEGMENT];
    for at in 0..96 {
        let body = bytes(4096);
        put(&bench, "/box/x", at * 8192, &body).await;
        model[at * 8192..at * 8192 + 4096].copy_from_slice(&body);
    }
    assert_eq!(contents(&bench).await.0, 0);
    assert_eq!(records(&bench, PIECES).await.len(), 96);
    put(&bench, "/box/x", 4096, &[7; 512]).await;
    model[4096..4608].fill(7);
    assert_eq!(contents(&bench).await.0, 1);
    assert_eq!(records(&bench, PIECES).await.len(), 0);
    assert!(bench.ask("GET", "/box/x", &[], b"").await.body == model);
}

#[tokio::test]
async fn many_cleared_segments_are_read_as_zeros_and_end() {
    let bench = with_container().await;
    let segments = 19;
    create(&bench, "/box/x", segments * SEGMENT).await;
    for number in 0..segments {
        put(&bench, "/box/x", number * SEGMENT, &[7; PAGE]).await;
    }
    // The snapshot keeps the segments, so that clearing leaves versions with nothing in them.
    snapshot(&bench, "/box/x").await;
    clear(&bench, "/box/x", 0, (segments - 1) * SEGMENT).await;
    // More segments than a window has, and no more bytes than the bench takes.
    let (start, end) = (SEGMENT - PAGE, 16 * SEGMENT + PAGE);
    let range = format!("bytes={start}-{}", end - 1);
    let headers = [("x-ms-range", range.as_str())];
    let read = bench.ask("GET", "/box/x", &headers, b"");
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), read).await;
    let body = read.expect("the read ends").body;
    assert!(body == vec![0; end - start]);
}

#[tokio::test]
async fn a_blob_that_was_deleted_comes_back_with_its_pages() {
    let bench = with_container().await;
    let keep = b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
        </DeleteRetentionPolicy></StorageServiceProperties>";
    let set = bench
        .ask("PUT", "/?restype=service&comp=properties", &[], keep)
        .await;
    assert_eq!(set.status, 202, "{}", set.text());
    create(&bench, "/box/x", SEGMENT).await;
    put(&bench, "/box/x", 0, &bytes(4096)).await;
    let time = snapshot(&bench, "/box/x").await;
    put(&bench, "/box/x", 4096, &bytes(100 * 512)).await;
    let now = bench.ask("GET", "/box/x", &[], b"").await.body;
    let then = bench
        .ask("GET", &format!("/box/x?snapshot={time}"), &[], b"")
        .await
        .body;
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    contents(&bench).await;
    assert_eq!(
        bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await.status,
        200
    );
    contents(&bench).await;
    assert!(bench.ask("GET", "/box/x", &[], b"").await.body == now);
    // Overwritten, it comes back as a blob of its own.
    put(&bench, "/box/x", 8192, &[9; 512]).await;
    assert!(
        bench
            .ask("GET", &format!("/box/x?snapshot={time}"), &[], b"")
            .await
            .body
            == then
    );
    bench.clock.advance_seconds(8 * 24 * 3_600);
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    bench.clock.advance_seconds(8 * 24 * 3_600);
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(records(&bench, SEGMENTS).await, []);
    assert_eq!(records(&bench, PIECES).await, []);
}

#[tokio::test]
async fn pages_go_with_their_container() {
    let bench = with_container().await;
    create(&bench, "/box/x", 2 * SEGMENT).await;
    put(&bench, "/box/x", SEGMENT - 512, &bytes(40 * 512)).await;
    snapshot(&bench, "/box/x").await;
    bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(records(&bench, SEGMENTS).await, []);
}

#[tokio::test]
async fn incremental_copies_share_the_sources_pages() {
    let bench = with_container().await;
    create(&bench, "/box/x", SEGMENT).await;
    put(&bench, "/box/x", 0, &bytes(512)).await;
    let first = snapshot(&bench, "/box/x").await;
    put(&bench, "/box/x", 512, &bytes(512)).await;
    let second = snapshot(&bench, "/box/x").await;
    let copy = async |time: &str| {
        let source = format!("http://127.0.0.1:10000/dev/box/x?snapshot={time}");
        let headers = [("x-ms-copy-source", source.as_str())];
        bench
            .ask("PUT", "/box/y?comp=incrementalcopy", &headers, b"")
            .await
    };
    let mut times = Vec::new();
    for time in [&first, &second] {
        assert_eq!(copy(time).await.status, 202);
        let properties = bench.ask("HEAD", "/box/y", &[], b"").await;
        assert_eq!(properties.header("x-ms-incremental-copy"), "true");
        times.push(properties.header("x-ms-copy-destination-snapshot").to_owned());
    }
    assert_eq!(
        copy(&first).await.code(),
        "IncrementalCopyOfEarlierSnapshotNotAllowed"
    );
    let refused = bench.ask("GET", "/box/y", &[], b"").await;
    assert_eq!(refused.code(), "OperationNotAllowedOnIncrementalCopyBlob");
    let kept = format!("/box/x?snapshot={second}");
    let expected = bench.ask("GET", &kept, &[], b"").await.body;
    let query = format!("&prevsnapshot={}&snapshot={}", times[0], times[1]);
    let found = marks(&bench, "/box/y", &query, 4).await;
    assert_eq!(found, ['.', 'w', '.', '.']);
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    contents(&bench).await;
    let copied = format!("/box/y?snapshot={}", times[1]);
    assert!(bench.ask("GET", &copied, &[], b"").await.body == expected);
    assert_eq!(bench.ask("DELETE", "/box/y", &all, b"").await.status, 202);
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(records(&bench, PIECES).await, []);
}

#[tokio::test]
async fn what_is_refused() {
    let bench = with_container().await;
    bench.put("/box/b", b"1").await;
    create(&bench, "/box/x", 4096).await;
    let update = ("x-ms-page-write", "update");
    let table: [(&str, &[(&str, &str)], usize, u16, &str); 11] = [
        (
            "/box/x",
            &[update, ("x-ms-range", "bytes=0-510")],
            511,
            416,
            "InvalidPageRange",
        ),
        (
            "/box/x",
            &[update, ("x-ms-range", "bytes=4096-4607")],
            512,
            416,
            "InvalidPageRange",
        ),
        (
            "/box/x",
            &[update, ("x-ms-range", "bytes=0-1023")],
            512,
            400,
            "InvalidHeaderValue",
        ),
        ("/box/x", &[update], 512, 400, "MissingRequiredHeader"),
        (
            "/box/x",
            &[("x-ms-range", "bytes=0-511")],
            512,
            400,
            "MissingRequiredHeader",
        ),
        (
            "/box/x",
            &[("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")],
            512,
            400,
            "InvalidHeaderValue",
        ),
        (
            "/box/x",
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("x-ms-if-sequence-number-lt", "0"),
            ],
            512,
            412,
            "SequenceNumberConditionNotMet",
        ),
        (
            "/box/x",
            &[update, ("x-ms-range", "bytes=0-511"), ("if-match", "\"other\"")],
            512,
            412,
            "ConditionNotMet",
        ),
        (
            "/box/b",
            &[update, ("x-ms-range", "bytes=0-511")],
            512,
            409,
            "InvalidBlobType",
        ),
        (
            "/box/none",
            &[update, ("x-ms-range", "bytes=0-511")],
            512,
            404,
            "BlobNotFound",
        ),
        (
            "/box/x",
            &[update, ("x-ms-range", "bytes=0-4194815")],
            4_194_816,
            413,
            "RequestBodyTooLarge",
        ),
    ];
    for (path, headers, length, status, code) in table {
        let refused = bench
            .ask("PUT", &format!("{path}?comp=page"), headers, &vec![1; length])
            .await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (status, code),
            "{path} {headers:?}"
        );
    }
    let odd = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", "100"),
    ];
    assert_eq!(
        bench.ask("PUT", "/box/y", &odd, b"").await.code(),
        "InvalidHeaderValue"
    );
    assert_eq!(
        bench.ask("GET", "/box/b?comp=pagelist", &[], b"").await.code(),
        "InvalidBlobType"
    );
    let missing = "/box/x?comp=pagelist&prevsnapshot=2024-01-01T00:00:00.0000000Z";
    assert_eq!(
        bench.ask("GET", missing, &[], b"").await.code(),
        "PreviousSnapshotNotFound"
    );
    let time = snapshot(&bench, "/box/x").await;
    let all = [("x-ms-delete-snapshots", "include")];
    create(&bench, "/box/x", 4096).await;
    let overwritten = format!("/box/x?comp=pagelist&prevsnapshot={time}");
    assert_eq!(
        bench.ask("GET", &overwritten, &[], b"").await.code(),
        "BlobOverwritten"
    );
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    assert_eq!(contents(&bench).await, (0, 1));
}
