//! Work on page blobs that goes in steps, while others write: sweeping, shrinking, copying.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bench::{Bench, contents, create_pages, over, put_pages, records, take_snapshot, with_container};
use ledger::{
    Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Snapshot, Transaction, VerifyReport,
};
use tokio::sync::watch;

const SEGMENT: usize = 4 * 1024 * 1024;

/// The kind of keys of segments' versions.
const SEGMENTS: u8 = 12;

#[tokio::test]
async fn a_segment_that_is_written_all_the_time_holds_up_none_behind_it() {
    let bench = with_container().await;
    create_pages(&bench, "/box/x", 3 * SEGMENT).await;
    let write = async |fill: u8| {
        for number in 0..3 {
            put_pages(&bench, "/box/x", number * SEGMENT, &[fill; 512]).await;
        }
    };
    write(1).await;
    let time = take_snapshot(&bench, "/box/x").await;
    write(2).await;
    let gone = format!("/box/x?snapshot={time}");
    assert_eq!(bench.ask("DELETE", &gone, &[], b"").await.status, 202);
    let before = records(&bench, SEGMENTS).await;
    assert_eq!(before.len(), 6);
    // The blob's own version of the first segment is written before each commit.
    let mut again = Transaction::new();
    again.put(before[1].key.clone(), before[1].versioned.value.clone());
    *bench.overtaking.each.lock().unwrap() = Some(again);
    bench.blobs.sweep_once().await.unwrap();
    let left = records(&bench, SEGMENTS).await;
    let left: Vec<_> = left.into_iter().map(|entry| entry.key).collect();
    let expected = [0, 1, 3, 5].map(|at: usize| before[at].key.clone());
    assert_eq!(left, expected);
    *bench.overtaking.each.lock().unwrap() = None;
    contents(&bench).await;
    assert_eq!(records(&bench, SEGMENTS).await.len(), 3);
    assert_eq!(
        bench
            .ask("GET", "/box/x", &[("x-ms-range", "bytes=0-511")], b"")
            .await
            .body,
        [2; 512][..]
    );
}

#[tokio::test]
async fn many_segments_that_are_written_all_the_time_hold_up_no_others() {
    let (hot, all) = (40, 60);
    let bench = with_container().await;
    create_pages(&bench, "/box/x", all * SEGMENT).await;
    let write = async |fill: u8| {
        for number in 0..all {
            put_pages(&bench, "/box/x", number * SEGMENT, &[fill; 512]).await;
        }
    };
    write(1).await;
    let time = take_snapshot(&bench, "/box/x").await;
    write(2).await;
    let gone = format!("/box/x?snapshot={time}");
    assert_eq!(bench.ask("DELETE", &gone, &[], b"").await.status, 202);
    let before = records(&bench, SEGMENTS).await;
    let mut again = Transaction::new();
    for entry in before.iter().skip(1).step_by(2).take(hot) {
        again.put(entry.key.clone(), entry.versioned.value.clone());
    }
    *bench.overtaking.each.lock().unwrap() = Some(again);
    for _ in 0..4 {
        bench.blobs.sweep_once().await.unwrap();
    }
    assert_eq!(records(&bench, SEGMENTS).await.len(), 2 * hot + (all - hot));
}

#[tokio::test]
async fn what_lies_behind_many_newer_segments_is_found_in_bounded_pages() {
    let bench = with_container().await;
    // More segments than one walk reads.
    let segments = 70_000;
    let last = (segments - 1) * SEGMENT;
    create_pages(&bench, "/box/x", segments * SEGMENT).await;
    put_pages(&bench, "/box/x", last, &[1; 512]).await;
    let time = take_snapshot(&bench, "/box/x").await;
    put_pages(&bench, "/box/x", 0, &[2; 512]).await;
    // The others are written after the snapshot, too: as the first one was.
    let written = records(&bench, SEGMENTS).await;
    let (map, epoch) = (&written[0].key.as_bytes()[..18], &written[0].key.as_bytes()[26..]);
    let mut tx = Transaction::new();
    for number in 1..segments as u64 - 1 {
        let key = [map, &number.to_be_bytes(), epoch].concat();
        tx.put(
            ledger::Key::from_encoded(key.into()),
            written[0].versioned.value.clone(),
        );
    }
    bench.ledger.commit(tx).await.unwrap();
    let expected = format!(
        "<PageRange><Start>{last}</Start><End>{}</End></PageRange>",
        last + 511
    );
    let (mut marker, mut found, mut pages) = (String::new(), String::new(), 0);
    loop {
        let uri = format!("/box/x?comp=pagelist&snapshot={time}{marker}");
        let text = bench.ask("GET", &uri, &[], b"").await.text();
        found += text
            .split_once("<PageList>")
            .unwrap()
            .1
            .split_once("<NextMarker>")
            .unwrap()
            .0;
        pages += 1;
        match bench::next_marker(&text) {
            next if next.is_empty() => break,
            next => marker = format!("&marker={next}"),
        }
    }
    assert_eq!((found, pages), (expected, 2));
    let source = format!("http://127.0.0.1:10000/dev/box/x?snapshot={time}");
    let copied = bench
        .ask("PUT", "/box/y", &[("x-ms-copy-source", &source)], b"")
        .await;
    assert_eq!(copied.status, 202, "{}", copied.text());
    let range = format!("bytes={last}-{}", last + 511);
    let copy = bench.ask("GET", "/box/y", &[("x-ms-range", &range)], b"").await;
    assert_eq!(copy.body, [1; 512][..]);
}

/// Ends the node after a part of a copy; the entries of the copy's segments.
async fn begin_copy(bench: &Bench, commits: u64) -> BTreeSet<(ledger::Key, u64)> {
    let before: BTreeSet<_> = segments(bench).await;
    bench.overtaking.left.store(commits, Ordering::Relaxed);
    let source = ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/x");
    assert_eq!(bench.ask("PUT", "/box/y", &[source], b"").await.status, 503);
    &segments(bench).await - &before
}

async fn segments(bench: &Bench) -> BTreeSet<(ledger::Key, u64)> {
    let found = records(bench, SEGMENTS).await.into_iter();
    found.map(|entry| (entry.key, entry.versioned.version)).collect()
}

#[tokio::test]
async fn a_copy_that_a_node_didnt_finish_is_finished_by_another_one() {
    let bench = with_container().await;
    let count = 700;
    create_pages(&bench, "/box/x", count * SEGMENT).await;
    for number in 0..count {
        put_pages(&bench, "/box/x", number * SEGMENT, &bench::bytes(16 * 1024)).await;
    }
    let begun = begin_copy(&bench, 2).await;
    assert!((200..count).contains(&begun.len()), "{}", begun.len());
    let other = over(bench.ledger.clone(), bench.content.clone(), bench.clock.clone());
    // It is nobody's yet, and kept.
    contents(&other).await;
    // What leaves the source's pages as they are doesn't make it another source.
    let tags = b"<Tags><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tags>";
    let tagged = other.ask("PUT", "/box/x?comp=tags", &[], tags).await;
    assert_eq!(tagged.status, 204, "{}", tagged.text());
    let source = [("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/x")];
    assert_eq!(other.ask("PUT", "/box/y", &source, b"").await.status, 202);
    contents(&other).await;
    let all = segments(&other).await;
    assert!(
        all.is_superset(&begun) && all.len() == 2 * count,
        "{} segments",
        all.len()
    );
    for number in [0, begun.len(), count - 1] {
        let range = format!("bytes={}-{}", number * SEGMENT, number * SEGMENT + 16_383);
        let part = other.ask("GET", "/box/y", &[("x-ms-range", &range)], b"").await;
        assert_eq!(part.body, bench::bytes(16 * 1024));
    }
    // What is copied once more, or from another state, begins anew; what was begun before goes.
    let begun = begin_copy(&bench, 2).await;
    put_pages(&other, "/box/x", 0, &[9; 512]).await;
    assert_eq!(other.ask("PUT", "/box/y", &source, b"").await.status, 202);
    let first = [("x-ms-range", "bytes=0-511")];
    assert_eq!(other.ask("GET", "/box/y", &first, b"").await.body, [9; 512][..]);
    contents(&other).await;
    let all = segments(&other).await;
    assert!(
        all.is_disjoint(&begun) && all.len() == 2 * count,
        "{} segments",
        all.len()
    );
    // A copy that nobody asks for any more is given up.
    begin_copy(&bench, 1).await;
    assert!(segments(&other).await.len() > 2 * count);
    bench.clock.advance_seconds(25 * 3_600);
    contents(&other).await;
    assert_eq!(segments(&other).await.len(), 2 * count);
}

/// A ledger that another node writes to behind some of this one's commits.
struct Meddled {
    others: Bench,
    commits: AtomicU64,
    /// Behind which ones, and at which bytes of the blob.
    writes: Vec<(u64, usize)>,
}

#[async_trait]
impl Ledger for Meddled {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        self.others.ledger.snapshot().await
    }
    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let committed = self.others.ledger.commit(transaction).await?;
        let commit = 1 + self.commits.fetch_add(1, Ordering::Relaxed);
        for (_, at) in self.writes.iter().filter(|(behind, _)| *behind == commit) {
            put_pages(&self.others, "/box/x", *at, &[9; 512]).await;
        }
        Ok(committed)
    }
    async fn log_page(
        &self,
        after: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        self.others.ledger.log_page(after, entries_max, bytes_max).await
    }
    async fn trim_log(&self, through: u64) -> Result<u64, LedgerError> {
        self.others.ledger.trim_log(through).await
    }
    fn head(&self) -> watch::Receiver<u64> {
        self.others.ledger.head()
    }
    fn health(&self) -> Health {
        self.others.ledger.health()
    }
    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.others.ledger.stats().await
    }
    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.others.ledger.verify(progress).await
    }
    async fn close(&self) -> Result<(), LedgerError> {
        self.others.ledger.close().await
    }
}

#[tokio::test]
async fn what_another_node_writes_while_a_blob_shrinks_is_cleared_with_the_rest() {
    // More segments than one commit clears.
    let count = 600;
    for writes in [vec![(1, 2)], vec![(2, 300)], vec![(1, 599), (2, 1)]] {
        let others = with_container().await;
        create_pages(&others, "/box/x", count * SEGMENT).await;
        for number in 0..count {
            put_pages(&others, "/box/x", number * SEGMENT, &[1; 512]).await;
        }
        let (content, clock) = (others.content.clone(), others.clock.clone());
        let at: Vec<_> = writes.iter().map(|(_, number)| number * SEGMENT + 4096).collect();
        let meddled = Arc::new(Meddled {
            others,
            commits: AtomicU64::new(0),
            writes: writes.iter().map(|(commit, _)| *commit).zip(at.clone()).collect(),
        });
        let bench = over(meddled.clone(), content, clock);
        let resize = async |length: usize| {
            let text = length.to_string();
            let headers = [("x-ms-blob-content-length", text.as_str())];
            let resized = bench.ask("PUT", "/box/x?comp=properties", &headers, b"").await;
            assert_eq!(resized.status, 200, "{}", resized.text());
        };
        resize(SEGMENT).await;
        assert!(meddled.commits.load(Ordering::Relaxed) > 2, "it shrinks in steps");
        resize(count * SEGMENT).await;
        for at in at {
            let range = format!("bytes={at}-{}", at + 511);
            let read = bench.ask("GET", "/box/x", &[("x-ms-range", &range)], b"").await;
            assert!(read.body == [0; 512][..], "{writes:?}: what is at {at} came back");
        }
        let listed = bench.ask("GET", "/box/x?comp=pagelist", &[], b"").await.text();
        assert_eq!(listed.matches("<PageRange>").count(), 1, "{writes:?}: {listed}");
    }
}
