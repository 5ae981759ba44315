//! Names that have staged blocks and no blob, on memory: in listings, and until their week is over.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::versions::{DAY_SECONDS, LATER, listed, refused, versioning};
use bench::{Bench, account_sas, contents, next_marker, records, with_container};
use proptest::prelude::*;

/// Kinds of keys: staged blocks, names that have some, and the times at which they go.
const BLOCKS: u8 = 4;
const UPLOADS: u8 = 21;
const UPLOAD_EXPIRIES: u8 = 22;

async fn stage(bench: &Bench, name: &str, id: &str) {
    let path = format!("/box/{}?comp=block&blockid={id}", name.replace('/', "%2F"));
    let staged = bench.ask("PUT", &path, &[], b"1").await;
    assert_eq!(staged.status, 201, "{}", staged.text());
}

async fn commit(bench: &Bench, name: &str, id: &str) {
    let list = format!("<BlockList><Latest>{id}</Latest></BlockList>");
    let path = format!("/box/{name}?comp=blocklist");
    let put = bench.ask("PUT", &path, &[], list.as_bytes()).await;
    assert_eq!(put.status, 201, "{}", put.text());
}

/// The names and prefixes of a listing, page by page.
async fn names(bench: &Bench, query: &str, entries: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!(
            "/box?restype=container&comp=list&maxresults={entries}&marker={}{query}",
            marker.replace('!', "%21")
        );
        let page = bench.ask("GET", &path, &[], b"").await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.text();
        let found = page.split("<Name>").skip(1);
        names.extend(found.map(|rest| rest.split('<').next().unwrap().to_owned()));
        marker = next_marker(&page);
        if marker.is_empty() {
            return names;
        }
    }
}

async fn counts(bench: &Bench) -> [usize; 3] {
    [
        records(bench, BLOCKS).await.len(),
        records(bench, UPLOADS).await.len(),
        records(bench, UPLOAD_EXPIRIES).await.len(),
    ]
}

#[tokio::test]
async fn they_are_listed_in_their_place() {
    let bench = with_container().await;
    for name in ["b", "d", "d/x"] {
        bench.put(&format!("/box/{name}"), b"1").await;
    }
    for name in ["a", "b", "c", "d/w", "d/y", "e"] {
        stage(&bench, name, "MDAx").await;
        stage(&bench, name, "MDAy").await;
    }
    let uncommitted = "&include=uncommittedblobs";
    for entries in [1, 2, 5_000] {
        let listed = names(&bench, uncommitted, entries).await;
        assert_eq!(
            listed,
            ["a", "b", "c", "d", "d/w", "d/x", "d/y", "e"],
            "{entries}"
        );
        assert_eq!(names(&bench, "", entries).await, ["b", "d", "d/x"]);
        let within = format!("{uncommitted}&prefix=d");
        assert_eq!(names(&bench, &within, entries).await, ["d", "d/w", "d/x", "d/y"]);
        let folders = format!("{uncommitted}&delimiter=%2F");
        assert_eq!(
            names(&bench, &folders, entries).await,
            ["a", "b", "c", "d", "d/", "e"]
        );
    }
    let path = "/box?restype=container&comp=list&include=uncommittedblobs,metadata&prefix=a";
    let page = bench.ask("GET", path, &[], b"").await.text();
    assert!(page.contains("<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>"));
    for none in ["Last-Modified", "Etag", "Content-Type", "Metadata"] {
        assert!(!page.contains(none), "{none}: {page}");
    }
    // What somebody is about to write is nobody else's business.
    let policy = "/box?restype=container&comp=acl";
    let open = [("x-ms-blob-public-access", "container")];
    assert_eq!(bench.ask("PUT", policy, &open, b"").await.status, 200);
    assert_eq!(
        bench
            .bare("GET", "/box?restype=container&comp=list", &[])
            .await
            .status,
        200
    );
    let answer = bench.bare("GET", path, &[]).await;
    assert_eq!(refused(&answer), (401, "NoAuthenticationInformation"));
    let signed = format!("{path}&{}", account_sas("l", "c", LATER));
    assert_eq!(bench.bare("GET", &signed, &[]).await.status, 200);
    // Committed, written over, and deleted they are no more.
    commit(&bench, "a", "MDAx").await;
    bench.put("/box/c", b"whole").await;
    assert_eq!(
        names(&bench, uncommitted, 2).await,
        ["a", "b", "c", "d", "d/w", "d/x", "d/y", "e"]
    );
    for name in ["a", "b", "c"] {
        assert_eq!(
            bench
                .ask("DELETE", &format!("/box/{name}"), &[], b"")
                .await
                .status,
            202
        );
    }
    // Blocks were staged for b, which outlast it.
    let listed = names(&bench, uncommitted, 2).await;
    assert_eq!(listed, ["b", "d", "d/w", "d/x", "d/y", "e"]);
    assert_eq!(counts(&bench).await, [8, 4, 4]);
    assert_eq!(
        bench
            .ask("DELETE", "/box?restype=container", &[], b"")
            .await
            .status,
        202
    );
    contents(&bench).await;
    assert_eq!(counts(&bench).await, [0, 0, 4]);
    bench.clock.advance_seconds(7 * DAY_SECONDS + 1);
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(counts(&bench).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_name_with_versions_has_a_line_of_its_own_before() {
    let bench = versioning().await;
    bench.put("/box/x", b"1").await;
    assert_eq!(bench.ask("DELETE", "/box/x", &[], b"").await.status, 202);
    stage(&bench, "x", "MDAx").await;
    bench.put("/box/y", b"1").await;
    let include = "versions,deletedwithversions,uncommittedblobs";
    for entries in ["", "&maxresults=1", "&maxresults=2"] {
        let lines = listed(&bench, &format!("{include}{entries}")).await;
        let lines: Vec<_> = lines.iter().map(|(name, state, _)| (&**name, &**state)).collect();
        let expected = [
            ("x", "version"),
            ("x", "versions only"),
            ("x", "blob"),
            ("y", "current"),
        ];
        assert_eq!(lines, expected, "{entries}");
    }
}

#[tokio::test]
async fn they_go_a_week_after_their_last_block() {
    let bench = with_container().await;
    bench.put("/box/b", b"1").await;
    for number in 0..600 {
        stage(&bench, "a", &format!("{number:04}")).await;
    }
    stage(&bench, "b", "MDAx").await;
    assert_eq!(contents(&bench).await, (601, 1));
    bench.clock.advance_seconds(6 * DAY_SECONDS);
    stage(&bench, "b", "MDAy").await;
    bench.clock.advance_seconds(DAY_SECONDS);
    assert_eq!(contents(&bench).await, (602, 1), "not before");
    bench.clock.advance_seconds(1);
    assert_eq!(contents(&bench).await, (2, 1));
    assert_eq!(counts(&bench).await, [2, 1, 1]);
    let list = b"<BlockList><Latest>0001</Latest></BlockList>";
    let answer = bench.ask("PUT", "/box/a?comp=blocklist", &[], list).await;
    assert_eq!(refused(&answer), (400, "InvalidBlockList"));
    bench.clock.advance_seconds(6 * DAY_SECONDS);
    assert_eq!(contents(&bench).await, (0, 1));
    assert_eq!(counts(&bench).await, [0, 0, 0]);
    assert_eq!(bench.ask("GET", "/box/b", &[], b"").await.body, "1");
}

#[tokio::test]
async fn a_block_that_comes_while_the_others_go_keeps_them() {
    let bench = with_container().await;
    stage(&bench, "a", "MDAx").await;
    bench.clock.advance_seconds(7 * DAY_SECONDS + 1);
    // Another node's block is committed just before the sweep's removal.
    let other = bench::over(bench.ledger.clone(), bench.content.clone(), bench.clock.clone());
    let before = bench.ledger.head().borrow().to_owned();
    stage(&other, "a", "MDAy").await;
    assert!(*bench.ledger.head().borrow() > before);
    assert_eq!(contents(&bench).await.0, 2, "both are there");
    // The sweep had read them before.
    let bench = with_container().await;
    stage(&bench, "a", "MDAx").await;
    bench.clock.advance_seconds(7 * DAY_SECONDS + 1);
    let uploads = records(&bench, UPLOADS).await;
    let mut touched = ledger::Transaction::new();
    touched.put(uploads[0].key.clone(), uploads[0].versioned.value.clone());
    *bench.overtaking.first.lock().unwrap() = Some(touched);
    bench.blobs.sweep_once().await.unwrap();
    assert_eq!(
        counts(&bench).await,
        [1, 1, 1],
        "the commit that overtook it counts"
    );
    bench.blobs.sweep_once().await.unwrap();
    assert_eq!(counts(&bench).await, [0, 0, 0]);
}

/// What is done to one of three names.
#[derive(Debug, Clone, Copy)]
enum Act {
    Stage,
    Commit,
    Put,
    Delete,
    Hours(i64),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn listings_and_sweeps_are_what_a_model_says(
        acts in prop::collection::vec(
            (0..3_usize, prop_oneof![
                3 => Just(Act::Stage), 1 => Just(Act::Commit), 1 => Just(Act::Put), 1 => Just(Act::Delete),
                2 => (1..100_i64).prop_map(Act::Hours),
            ]),
            1..40,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = with_container().await;
            // Whether there is a blob; when a block was staged last, in hours.
            let mut model = [(false, None::<i64>); 3];
            let mut now = 0;
            for (at, act) in acts {
                let name = ["a", "a/b", "b"][at];
                let path = format!("/box/{name}");
                match act {
                    Act::Stage => {
                        stage(&bench, name, "MDAx").await;
                        model[at].1 = Some(now);
                    }
                    Act::Commit if model[at].1.is_some() => {
                        commit(&bench, name, "MDAx").await;
                        model[at] = (true, None);
                    }
                    Act::Commit => {}
                    Act::Put => {
                        bench.put(&path, b"1").await;
                        model[at] = (true, None);
                    }
                    Act::Delete => {
                        bench.ask("DELETE", &path, &[], b"").await;
                        model[at].0 = false;
                    }
                    Act::Hours(hours) => {
                        bench.clock.advance_seconds(hours * 3_600);
                        now += hours;
                        contents(&bench).await;
                        for (_, staged) in &mut model {
                            *staged = staged.filter(|staged| now - staged <= 7 * 24);
                        }
                    }
                }
                let expected: Vec<_> = ["a", "a/b", "b"].iter().zip(&model)
                    .filter(|(_, (is_blob, staged))| *is_blob || staged.is_some())
                    .map(|(name, _)| (*name).to_owned())
                    .collect();
                assert_eq!(names(&bench, "&include=uncommittedblobs", 1).await, expected);
                let staged = model.iter().filter(|(_, staged)| staged.is_some()).count();
                assert_eq!(counts(&bench).await, [staged, staged, staged]);
            }
        });
    }
}
