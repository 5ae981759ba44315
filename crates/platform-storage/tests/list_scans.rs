//! Which rows a list looks at: those of its own party, app or org alone, and of them no more than its page needs,
//! whatever else there is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;

use async_trait::async_trait;
use bench::{Bench, ORG, Options, PARTY, ended, in_task};
use ledger::limits::SCAN_PAGE_ENTRIES_FIRST;
use ledger::{
    Committed, Direction, Health, Key, KeyRange, KeyWriter, Keyspace, Ledger, LedgerError, LedgerStats,
    LogPage, ScanLimit, ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned,
};
use parking_lot::Mutex;
use platform_storage::Completion;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What was read.
#[derive(Default)]
struct Reads {
    /// Keys that scans gave.
    scanned: Vec<Key>,
    /// Keys that were asked for.
    asked: Vec<Key>,
}

/// A ledger that notes what is read of it.
struct Noting {
    inner: Arc<dyn Ledger>,
    reads: Arc<Mutex<Reads>>,
}

struct NotingSnapshot {
    inner: Arc<dyn Snapshot>,
    reads: Arc<Mutex<Reads>>,
}

#[async_trait]
impl Snapshot for NotingSnapshot {
    fn sequence(&self) -> Sequence {
        self.inner.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.reads.lock().asked.push(key.clone());
        self.inner.get(key).await
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let page = self.inner.scan_page(range, direction, limit).await?;
        let keys = page.entries.iter().map(|entry| entry.key.clone());
        self.reads.lock().scanned.extend(keys);
        Ok(page)
    }
}

#[async_trait]
impl Ledger for Noting {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        Ok(Arc::new(NotingSnapshot {
            inner: self.inner.snapshot().await?,
            reads: self.reads.clone(),
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        self.inner.commit(transaction).await
    }

    async fn log_page(&self, after: Sequence, entries: usize, bytes: usize) -> Result<LogPage, LedgerError> {
        self.inner.log_page(after, entries, bytes).await
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        self.inner.trim_log(through).await
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.inner.head()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.inner.stats().await
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.inner.verify(progress).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.inner.close().await
    }
}

/// The kinds of lists, as their keys number them.
const BY_ORG: u8 = 1;
const BY_APP: u8 = 2;
const BY_PARTY: u8 = 3;
const BY_ORG_UNCONFIRMED: u8 = 4;
const BY_APP_UNCONFIRMED: u8 = 5;
const BY_APP_AND_TASK: u8 = 6;

fn list(kind: u8, name: &str) -> KeyRange {
    let key = KeyWriter::new(Keyspace::Platform).u8(2).u8(kind);
    KeyRange::prefix(&key.str_bounded(name, 512).finish())
}

/// All lists.
fn lists() -> KeyRange {
    KeyRange::prefix(&KeyWriter::new(Keyspace::Platform).u8(2).finish())
}

/// The app with few instances; the others have many.
const RARE: &str = "rare";
/// Instances of it, by stage: in the first task, in the second, ended, confirmed.
const STAGES: [usize; 4] = [8, 6, 7, 5];
/// Instances of each other app.
const MANY: usize = 150;

/// The party that has some of each app's instances; the others have the rest.
const FEW_PARTY: &str = "512345";
const FEW: usize = 9;

struct Store {
    bench: Bench,
    reads: Arc<Mutex<Reads>>,
    owner: String,
    user: String,
    /// Times between which the rare app's instances were changed, as queries have them.
    between: (String, String),
}

impl Store {
    async fn filled() -> Self {
        Self::of_a_ledger_that_is(true).await
    }

    /// New: such that it is known from the start that no list lacks rows.
    async fn of_a_ledger_that_is(new: bool) -> Self {
        let reads = Arc::new(Mutex::new(Reads::default()));
        let noted = reads.clone();
        let bench = Bench::with(Options {
            before_ledger: Some(Box::new(move |inner| Arc::new(Noting { inner, reads: noted }))),
            ..Options::default()
        });
        if new {
            bench.platform.prepare().await.unwrap();
        }
        for app in [RARE, "many", "more"] {
            bench.publish(app, json!({})).await;
        }
        let (owner, user) = (bench.org(ORG).await, bench.user(12_345).await);
        let mut store = Self {
            bench,
            reads,
            owner,
            user,
            between: (String::new(), String::new()),
        };
        // Others before, others behind.
        store.fill("many", PARTY, [MANY / 4; 4]).await;
        store.fill("more", FEW_PARTY, [FEW, 0, 0, 0]).await;
        let from = store.now();
        store.fill(RARE, PARTY, STAGES).await;
        store.between = (from, store.now());
        store.fill("more", PARTY, [MANY / 4; 4]).await;
        store
    }

    fn now(&self) -> String {
        use ledger::Clock as _;
        self.bench.clock.advance_seconds(1);
        self.bench.clock.now().to_string()
    }

    /// Makes so many instances of each stage, two at a time.
    async fn fill(&mut self, app: &str, party: &str, stages: [usize; 4]) {
        let bench = &self.bench;
        for (stage, count) in stages.into_iter().enumerate() {
            for number in 0..count {
                if number % 2 == 0 {
                    bench.clock.advance_seconds(1);
                }
                let process = match stage {
                    0 => in_task("Task_1", "data"),
                    1 => in_task("Task_2", "confirmation"),
                    _ => ended(),
                };
                let body = json!({"instanceOwner": {"partyId": party}, "process": process,
                    "status": {"isArchived": stage > 1}});
                let path = format!("/instances?appId={ORG}/{app}");
                let made = bench.call("POST", &path, &self.owner, body).await;
                assert_eq!(made.status, 201, "{:?}", made.body);
                if stage == 3 {
                    let id = made.json()["id"].as_str().unwrap().to_owned();
                    let path = format!("/instances/{id}/complete");
                    let done = bench.call("POST", &path, &self.owner, Value::Null).await;
                    assert_eq!(done.status, 200, "{:?}", done.body);
                }
            }
        }
    }

    /// Asks for a page; how many instances it has, its `next`, and what was read for it.
    async fn page(&self, path: &str, token: &str) -> (usize, Option<String>, Reads) {
        *self.reads.lock() = Reads::default();
        let answer = self.bench.call("GET", path, token, Value::Null).await;
        let reads = std::mem::take(&mut *self.reads.lock());
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        let answer = answer.json();
        let count = answer["instances"].as_array().unwrap().len();
        (count, answer["next"].as_str().map(str::to_owned), reads)
    }
}

impl Reads {
    /// Rows of lists that were looked at; all of them must be of `within`.
    fn rows(&self, within: &KeyRange, what: &str) -> usize {
        let rows = self.scanned.iter().filter(|key| lists().contains(key));
        rows.inspect(|key| assert!(within.contains(key), "{what} looks at {key:?}"))
            .count()
    }

    /// Documents that were asked for.
    fn documents(&self) -> usize {
        let documents = KeyRange::prefix(&KeyWriter::new(Keyspace::Documents).finish());
        self.asked.iter().filter(|key| documents.contains(key)).count()
    }
}

#[tokio::test]
async fn each_filter_looks_at_the_rows_of_its_own_list_alone() {
    let store = Store::filled().await;
    let [first, second, ended, confirmed] = STAGES;
    let all = first + second + ended + confirmed;
    let app = format!("{ORG}/{RARE}");
    let (from, to) = store.between.clone();
    let by_app = || list(BY_APP, &app);
    let task = |name: &str| list(BY_APP_AND_TASK, &format!("{app} {name}"));
    // What is asked beside the app, what is found, which list is looked at, how many rows it has.
    for (filter, found, within, rows) in [
        ("", all, by_app(), all),
        ("&process.isComplete=true", ended + confirmed, by_app(), all),
        ("&process.isComplete=false", first + second, by_app(), all),
        ("&process.currentTask=Task_1", first, task("Task_1"), first),
        ("&process.currentTask=Task_2", second, task("Task_2"), second),
        ("&process.currentTask=Task_3", 0, task("Task_3"), 0),
        (
            "&process.isComplete=true&excludeConfirmedBy=ttd",
            ended,
            list(BY_APP_UNCONFIRMED, &app),
            ended,
        ),
        (
            "&process.isComplete=true&confirmed=false",
            ended,
            list(BY_APP_UNCONFIRMED, &app),
            ended,
        ),
        ("&excludeConfirmedBy=ttd", all - confirmed, by_app(), all),
        ("&confirmed=true", confirmed, by_app(), all),
        ("&status.isArchived=false", all - ended - confirmed, by_app(), all),
        ("&status.isArchived=true", ended + confirmed, by_app(), all),
        ("&status.isSoftDeleted=true", 0, by_app(), all),
        ("&status.isHardDeleted=true", 0, by_app(), all),
        ("&created=gte:2020-01-01", all, by_app(), all),
        ("&created=lt:2020-01-01", 0, by_app(), all),
        ("&dueBefore=gt:2020-01-01", 0, by_app(), all),
        ("&visibleAfter=gt:2020-01-01", all, by_app(), all),
        ("&process.ended=gt:2020-01-01", ended + confirmed, by_app(), all),
        ("&lastChanged=lt:2020-01-01", 0, by_app(), 0),
        ("&searchString=nothing", 0, by_app(), all),
        ("&A3Ref=ffffffffffff", 0, by_app(), all),
        ("&dataValues.A2ArchRef=x", 0, by_app(), all),
        ("&mainVersionExclude=3", 0, by_app(), all),
    ] {
        for order in ["", "&order=desc:lastChanged"] {
            let path = format!("/instances?appId={app}{filter}{order}");
            let (count, next, reads) = store.page(&path, &store.owner).await;
            assert_eq!((count, next), (found, None), "{path}");
            assert_eq!(reads.rows(&within, &path), rows, "{path}");
        }
    }
    // The last change alone, among all of the org's.
    for order in ["", "&order=desc:lastChanged"] {
        let path = format!("/instances?org={ORG}&lastChanged=gt:{from}&lastChanged=lt:{to}{order}");
        let (count, _, reads) = store.page(&path, &store.owner).await;
        assert_eq!(count, all, "{path}");
        assert_eq!(reads.rows(&list(BY_ORG, ORG), &path), all, "{path}");
        let path = format!("/instances?org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}{order}");
        let (count, _, reads) = store.page(&path, &store.owner).await;
        assert_eq!(count, ended + 2 * (MANY / 4), "{path}");
        assert_eq!(reads.rows(&list(BY_ORG_UNCONFIRMED, ORG), &path), count, "{path}");
    }
}

#[tokio::test]
async fn a_party_is_served_by_its_own_list_for_its_user_and_for_owners() {
    let store = Store::filled().await;
    let within = list(BY_PARTY, FEW_PARTY);
    for order in ["", "&order=desc:lastChanged"] {
        for filter in [
            "",
            "&appId=ttd/more",
            "&process.currentTask=Task_1",
            "&status.isArchived=true",
        ] {
            for token in [&store.user, &store.owner] {
                let org = if *token == store.owner { "&org=ttd" } else { "" };
                let path = format!("/instances?instanceOwner.partyId={FEW_PARTY}{org}{filter}{order}");
                let (count, _, reads) = store.page(&path, token).await;
                assert_eq!(count, if filter.contains("Archived") { 0 } else { FEW }, "{path}");
                assert_eq!(reads.rows(&within, &path), FEW, "{path}");
            }
        }
    }
    *store.reads.lock() = Reads::default();
    let party: i64 = FEW_PARTY.parse().unwrap();
    let search = json!({"instanceOwnerPartyIdList": [party], "includeActive": true});
    let found = store
        .bench
        .call("POST", "/sbl/instances/search", &store.user, search)
        .await;
    assert_eq!(found.json().as_array().unwrap().len(), FEW);
    assert_eq!(store.reads.lock().rows(&within, "the message box"), FEW);
}

#[tokio::test]
async fn a_page_looks_at_no_more_rows_than_it_needs_wherever_it_begins() {
    let store = Store::filled().await;
    for order in ["", "&order=desc:lastChanged"] {
        let mut path = format!("/instances?org={ORG}&size=5{order}");
        let mut pages = 0;
        loop {
            let (count, next, reads) = store.page(&path, &store.owner).await;
            let rows = reads.rows(&list(BY_ORG, ORG), &path);
            assert!(rows <= SCAN_PAGE_ENTRIES_FIRST, "page {pages}: {rows} rows");
            // An instance is found by its id and read; its elements are a scan.
            assert!(
                reads.documents() <= 2 * count,
                "page {pages}: {} documents",
                reads.documents()
            );
            pages += 1;
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
        assert!(pages > 50, "{pages}");
    }
}

#[tokio::test]
async fn what_a_row_says_no_to_is_not_read() {
    let store = Store::filled().await;
    for filter in [
        "status.isSoftDeleted=true",
        "created=lt:2020-01-01",
        "dueBefore=gt:2020-01-01",
        "dataValues.A2ArchRef=x",
        "process.currentTask=Task_9",
    ] {
        let path = format!("/instances?org={ORG}&{filter}");
        let (count, _, reads) = store.page(&path, &store.owner).await;
        assert_eq!((count, reads.documents()), (0, 0), "{path}");
    }
}

/// A ledger from before the lists were added is served by what it has, and completed in the background.
#[tokio::test]
async fn lists_that_were_added_are_completed_before_they_are_used() {
    let old = Store::of_a_ledger_that_is(false).await;
    let snapshot = old.bench.ledger.snapshot().await.unwrap();
    let mut tx = Transaction::new();
    for kind in [BY_APP_UNCONFIRMED, BY_APP_AND_TASK] {
        let all = KeyRange::prefix(&KeyWriter::new(Keyspace::Platform).u8(2).u8(kind).finish());
        let mut scan = ledger::Scan::new(snapshot.as_ref(), all, Direction::Forward);
        while let Some(entry) = scan.next().await.unwrap() {
            tx.delete(entry.key);
        }
    }
    assert!(!tx.is_empty());
    old.bench.ledger.commit(tx).await.unwrap();
    let app = format!("{ORG}/{RARE}");
    let waiting = format!("/instances?appId={app}&process.currentTask=Task_1");
    let unconfirmed = format!("/instances?appId={app}&process.isComplete=true&excludeConfirmedBy={ORG}");
    let (count, _, reads) = old.page(&waiting, &old.owner).await;
    assert_eq!(count, STAGES[0]);
    reads.rows(&list(BY_APP, &app), "before");
    let (count, _, reads) = old.page(&unconfirmed, &old.owner).await;
    assert_eq!(count, STAGES[2]);
    reads.rows(&list(BY_ORG_UNCONFIRMED, ORG), "before");
    let mut report = VerifyReport::default();
    old.bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    old.bench.platform.run_due_jobs().await.unwrap();
    for (path, found, within) in [
        (
            &waiting,
            STAGES[0],
            list(BY_APP_AND_TASK, &format!("{app} Task_1")),
        ),
        (&unconfirmed, STAGES[2], list(BY_APP_UNCONFIRMED, &app)),
    ] {
        let (count, _, reads) = old.page(path, &old.owner).await;
        assert_eq!(count, found, "{path}");
        assert_eq!(reads.rows(&within, path), found, "{path}");
    }
    let mut report = VerifyReport::default();
    old.bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
}

/// Behind a release that didn't write them, added rows are missing or too many, and it says that they are complete.
#[tokio::test]
async fn lists_are_made_anew_behind_a_release_that_did_not_know_them() {
    let store = Store::filled().await;
    let snapshot = store.bench.ledger.snapshot().await.unwrap();
    let mut tx = Transaction::new();
    for kind in [BY_APP_UNCONFIRMED, BY_APP_AND_TASK] {
        let all = KeyRange::prefix(&KeyWriter::new(Keyspace::Platform).u8(2).u8(kind).finish());
        let mut scan = ledger::Scan::new(snapshot.as_ref(), all, Direction::Forward);
        let first = scan.next().await.unwrap().unwrap();
        tx.delete(first.key);
        let second = scan.next().await.unwrap().unwrap();
        // Under another last change, as before the instance was changed.
        let mut stale = second.key.as_bytes().to_vec();
        let at = stale.len() - 20;
        stale[at] ^= 1;
        tx.put(ledger::Key::from_encoded(stale.into()), second.versioned.value);
    }
    store.bench.ledger.commit(tx).await.unwrap();
    let mut report = VerifyReport::default();
    store.bench.platform.verify(&mut report).await.unwrap();
    assert_ne!(report.faults, Vec::<String>::new());
    store.bench.platform.begin_lists_anew().await.unwrap();
    let completion = store.bench.platform.complete_lists().await.unwrap();
    assert_eq!(completion, Completion::Complete);
    let mut report = VerifyReport::default();
    store.bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
}

#[tokio::test]
async fn a_malformed_row_stops_no_job_and_no_list_is_called_complete() {
    let store = Store::filled().await;
    let snapshot = store.bench.ledger.snapshot().await.unwrap();
    let all = KeyRange::prefix(&KeyWriter::new(Keyspace::Platform).u8(2).u8(BY_APP).finish());
    let mut scan = ledger::Scan::new(snapshot.as_ref(), all, Direction::Forward);
    let first = scan.next().await.unwrap().unwrap();
    let mut tx = Transaction::new();
    tx.put(first.key, b"{".to_vec());
    store.bench.ledger.commit(tx).await.unwrap();
    store.bench.platform.begin_lists_anew().await.unwrap();
    for _ in 0..2 {
        store.bench.platform.run_due_jobs().await.unwrap();
        let completion = store.bench.platform.complete_lists().await.unwrap();
        assert_eq!(completion, Completion::Damaged(1));
    }
}
