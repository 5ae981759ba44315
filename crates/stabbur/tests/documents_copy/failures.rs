//! Sources that refuse, fail, throttle, hang up or split.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scripted::{Asked, Reply, Scripted, end, page, ranges, reply};
use crate::server::{KEY, Server, Target};

fn container(path: &str) -> Value {
    json!({"id": "c", "partitionKey": {"paths": [path], "kind": "Hash", "version": 2}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_nothing_made() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start(&folder.path().join("source"));
    source.make("d", &[container("/pk")]).await;
    let target = Target::new(folder.path());
    let began = Instant::now();
    let wrong = "d3Jvbmcgc2VjcmV0IGtleQ==";
    target.key(wrong);
    let said = target.refused(&source.http, "d", &["--log", "trace"]);
    assert!(
        said.contains("401") && said.contains("that of the account in --from?"),
        "{said}"
    );
    assert!(
        !said.contains(wrong) && !said.contains("wrong secret key"),
        "{said}"
    );
    target.key("?");
    let said = target.refused(&source.http, "d", &[]);
    assert!(said.contains("holds no base64 key"), "{said}");
    target.key(KEY);
    let said = target.refused(&source.http, "elsewhere", &[]);
    assert!(
        said.contains("404") && said.contains("database \"elsewhere\""),
        "{said}"
    );
    let said = target.refused(&source.http, "d", &["--container", "e"]);
    assert!(said.contains("no container [\"e\"]; it has [\"c\"]"), "{said}");
    let said = target.refused(&source.https(), "d", &[]);
    assert!(
        said.contains("isn't trusted") && said.contains("--authority"),
        "{said}"
    );
    let said = target.refused("http://example.org/", "d", &[]);
    assert!(said.contains("http is for this machine only"), "{said}");
    // None of this is worth asking again.
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(!target.data.exists());

    let printed = target.copy(&source.http, "d", &[]);
    assert!(printed.contains("c: 0 items brought"), "{printed}");
    // The key is nowhere in what was made, nor in what is said.
    let said = target
        .command(&source.http, "d", &["--log", "trace"])
        .output()
        .unwrap();
    assert!(said.status.success());
    let said = [said.stdout, said.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(KEY));

    // Another account at another address, and another partition key.
    let other = Server::start(&folder.path().join("other"));
    other.make("d", &[container("/pk")]).await;
    let said = target.refused(&other.http, "d", &[]);
    assert!(
        said.contains("it was copied from") && said.contains("--anew"),
        "{said}"
    );
    target.copy(&other.http, "d", &["--anew"]);
    other
        .done(
            reqwest::Method::DELETE,
            &["dbs", "d", "colls", "c"],
            &[],
            Value::Null,
        )
        .await;
    other.make("d", &[container("/other")]).await;
    let said = target.refused(&other.http, "d", &["--anew"]);
    assert!(said.contains("partitioned otherwise"), "{said}");
    // The right one, but deleted and made again.
    other
        .done(
            reqwest::Method::DELETE,
            &["dbs", "d", "colls", "c"],
            &[],
            Value::Null,
        )
        .await;
    other.make("d", &[container("/pk")]).await;
    let said = target.refused(&other.http, "d", &[]);
    assert!(said.contains("deleted and made again"), "{said}");
}

/// An item that was deleted at the source still holds its unique key here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_of_a_deleted_item_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start(&folder.path().join("source"));
    let mut unique = container("/pk");
    unique["uniqueKeyPolicy"] = json!({"uniqueKeys": [{"paths": ["/email"]}]});
    source.make("d", &[unique]).await;
    let key = json!(["p"]);
    let item = |id: &str| json!({"id": id, "pk": "p", "email": "x"});
    source.upsert("d", "c", &key, item("first")).await;
    let target = Target::new(folder.path());
    target.copy(&source.http, "d", &[]);
    source.delete("d", "c", &key, "first").await;
    assert_eq!(source.upsert("d", "c", &key, item("second")).await.0, 201);
    let said = target.refused(&source.http, "d", &[]);
    assert!(
        said.contains("item \"second\"") && said.contains("deleted at the source"),
        "{said}"
    );
    let here = Server::start(&target.data);
    here.delete("d", "c", &key, "first").await;
    drop(here);
    let printed = target.copy(&source.http, "d", &["--verify"]);
    assert!(printed.contains("1 here, 1 the same"), "{printed}");
}

const ONE: &[(&str, &str, &str, &[&str])] = &[("0", "", "FF", &[])];

fn cut(mut whole: Reply) -> Reply {
    whole.is_cut = true;
    whole
}

fn asked(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(range, after)| ((*range).to_owned(), (*after).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_asked_again_and_ranges_may_split() {
    let folder = tempfile::tempdir().unwrap();
    let has_split = Arc::new(AtomicBool::new(false));
    let split = has_split.clone();
    let source = Scripted::start(move |asked: &Asked, count: usize| {
        if asked.path.ends_with("/pkranges") {
            return if split.load(Ordering::Relaxed) {
                ranges(&[("1", "", "80", &["0"]), ("2", "80", "FF", &["0"])])
            } else {
                ranges(ONE)
            };
        }
        match (asked.range.as_str(), asked.after.as_str(), count) {
            ("0", "", 0) => reply(429, &[("x-ms-retry-after-ms", "30")], &json!({"message": "slow"})),
            ("0", "", 1) => reply(500, &[], &json!({"message": "broken"})),
            ("0", "", 2) => cut(page("\"10\"", 0..10)),
            ("0", "", 3) => page("\"10\"", 0..10),
            ("0", "\"10\"", 0) => reply(503, &[("x-ms-retry-after-ms", "1")], &Value::Null),
            ("0", "\"10\"", 1) => page("\"20\"", 10..20),
            ("0", _, _) => {
                split.store(true, Ordering::Relaxed);
                reply(410, &[("x-ms-substatus", "1002")], &json!({"message": "gone"}))
            }
            ("1", "\"20\"", 0) => page("\"21\"", 20..25),
            ("2", "\"20\"", 0) => page("\"31\"", 25..31),
            (_, after, _) => end(after),
        }
    })
    .await;
    let target = Target::new(folder.path());
    let printed = target.copy(&source.http, "d", &[]);
    assert!(printed.contains("c: 31 items brought"), "{printed}");
    let first = asked(&[
        ("0", ""),
        ("0", ""),
        ("0", ""),
        ("0", ""),
        ("0", "\"10\""),
        ("0", "\"10\""),
        ("0", "\"20\""),
        ("1", "\"20\""),
        ("1", "\"21\""),
        ("2", "\"20\""),
        ("2", "\"31\""),
    ]);
    assert_eq!(source.asked_items(), first);
    let printed = target.copy(&source.http, "d", &[]);
    assert!(printed.contains("c: 0 items brought"), "{printed}");
    assert_eq!(source.asked_items(), asked(&[("1", "\"21\""), ("2", "\"31\"")]));
    drop(source);
    let here = Server::start(&target.data);
    let (_, items) = here.everything("d", "c").await;
    assert_eq!(items.len(), 31);
    assert!(items.contains(&json!({"id": "30", "pk": "p"}).to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_has_an_end_and_what_was_copied_stays() {
    let folder = tempfile::tempdir().unwrap();
    let is_well = Arc::new(AtomicBool::new(false));
    let well = is_well.clone();
    let source = Scripted::start(move |asked: &Asked, _| {
        if asked.path.ends_with("/pkranges") {
            return ranges(ONE);
        }
        match asked.after.as_str() {
            "" => page("\"1\"", 0..5),
            "\"1\"" if well.load(Ordering::Relaxed) => page("\"2\"", 5..8),
            "\"1\"" => reply(500, &[], &json!({"message": "no luck today"})),
            after => end(after),
        }
    })
    .await;
    let target = Target::new(folder.path());
    let began = Instant::now();
    let said = target.refused(&source.http, "d", &["--patience", "1"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    for part in ["no luck today", "within 1 s", "run the same command again"] {
        assert!(said.contains(part), "{said}");
    }
    source.asked_items();
    is_well.store(true, Ordering::Relaxed);
    let printed = target.copy(&source.http, "d", &[]);
    assert!(printed.contains("c: 3 items brought"), "{printed}");
    assert_eq!(source.asked_items(), asked(&[("0", "\"1\""), ("0", "\"2\"")]));
    let printed = target.copy(&source.http, "d", &["--verify"]);
    assert!(
        printed.contains("c: 8 items at the source, 8 here, 8 the same"),
        "{printed}"
    );
}
