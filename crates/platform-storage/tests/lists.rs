//! Lists: pages neither lose nor repeat what stands still, whatever else is written meanwhile.
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

use std::collections::BTreeSet;

use bench::{Bench, ORG, PARTY, ended};
use ledger::VerifyReport;
use serde_json::{Value, json};

/// Ids of all pages, in order; `between` is done after each.
async fn walk(bench: &Bench, token: &str, query: &str, between: impl AsyncFn(usize)) -> Vec<String> {
    let mut path = format!("/instances?{query}");
    let mut found = Vec::new();
    for page in 0.. {
        let answer = bench.call("GET", &path, token, Value::Null).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let answer = answer.json();
        let instances = answer["instances"].as_array().unwrap();
        assert_eq!(answer["count"], instances.len());
        found.extend(
            instances
                .iter()
                .map(|instance| instance["id"].as_str().unwrap().to_owned()),
        );
        between(page).await;
        match answer["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
        assert!(page < 1_000, "the list doesn't end");
    }
    found
}

async fn texts(bench: &Bench, instance: &str, token: &str) {
    let body = json!({"label": "changed"});
    let answer = bench
        .call("PUT", &format!("{instance}/substatus"), token, body)
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

#[tokio::test]
async fn what_stands_still_is_seen_once_while_others_change() {
    let bench = Bench::new();
    bench.publish("list", json!({})).await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    let mut still = BTreeSet::new();
    let mut moving = Vec::new();
    for number in 0..40 {
        // Every second one changes in the same microsecond as the one before: ties.
        if number % 2 == 0 {
            bench.clock.advance_seconds(1);
        }
        let instance = bench.instance("list", &user).await;
        if number % 4 == 3 {
            moving.push(instance);
        } else {
            still.insert(instance.trim_start_matches("/instances/").to_owned());
        }
    }
    for order in ["", "&order=desc:lastChanged"] {
        for size in [1, 3, 7, 100] {
            let query = format!("appId={ORG}/list&size={size}{order}");
            let found = walk(&bench, &owner, &query, async |page| {
                // Between the first pages others change: they move to the list's newer end, which an
                // ascending list would chase for ever if they never stopped.
                if let Some(instance) = moving.get(page) {
                    bench.clock.advance_seconds(1);
                    texts(&bench, instance, &owner).await;
                }
            })
            .await;
            let seen: Vec<&String> = found.iter().filter(|id| still.contains(*id)).collect();
            assert_eq!(
                seen.iter().collect::<BTreeSet<_>>().len(),
                still.len(),
                "{query}: lost"
            );
            assert_eq!(seen.len(), still.len(), "{query}: repeated");
        }
    }
}

/// Each list, in both orders and by small pages, while instances enter it, leave it and move within it.
#[tokio::test]
async fn no_list_loses_or_repeats_what_stands_still_while_others_come_and_go() {
    let queries = [
        (format!("org={ORG}"), 0),
        (format!("appId={ORG}/list"), 0),
        (format!("org={ORG}&instanceOwner.partyId={PARTY}"), 0),
        (format!("appId={ORG}/list&process.currentTask=Task_1"), 1),
        (
            format!("org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}"),
            2,
        ),
        (
            format!("appId={ORG}/list&process.isComplete=true&excludeConfirmedBy={ORG}"),
            2,
        ),
    ];
    for (query, kind) in queries {
        for order in ["", "&order=desc:lastChanged"] {
            for size in [1, 4] {
                let bench = Bench::new();
                bench.platform.prepare().await.unwrap();
                bench.publish("list", json!({})).await;
                let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
                // By what becomes of them: 0 and 1 stand still, in the task and ended; 2 end, 3 are confirmed.
                let mut made: [Vec<String>; 4] = Default::default();
                for number in 0..36 {
                    // Six of each time: more ties than a page holds.
                    if number % 6 == 0 {
                        bench.clock.advance_seconds(1);
                    }
                    let instance = bench.instance("list", &user).await;
                    if number % 2 == 1 {
                        let path = format!("{instance}/process");
                        let answer = bench.call("PUT", &path, &user, ended()).await;
                        assert_eq!(answer.status, 200, "{:?}", answer.body);
                    }
                    made[number % 4].push(instance);
                }
                let still: BTreeSet<String> = match kind {
                    0 => made[0].iter().chain(&made[1]).cloned().collect(),
                    1 => made[0].iter().cloned().collect(),
                    _ => made[1].iter().cloned().collect(),
                };
                let query = format!("{query}&size={size}{order}");
                let found = walk(&bench, &owner, &query, async |page| {
                    if page % 2 == 1 {
                        bench.clock.advance_seconds(1);
                    }
                    if let Some(instance) = made[2].get(page) {
                        let path = format!("{instance}/process");
                        let answer = bench.call("PUT", &path, &user, ended()).await;
                        assert_eq!(answer.status, 200, "{:?}", answer.body);
                    }
                    if let Some(instance) = made[3].get(page) {
                        let path = format!("{instance}/complete");
                        let answer = bench.call("POST", &path, &owner, Value::Null).await;
                        assert_eq!(answer.status, 200, "{:?}", answer.body);
                    }
                })
                .await;
                let seen: Vec<String> = found
                    .iter()
                    .map(|id| format!("/instances/{id}"))
                    .filter(|id| still.contains(id))
                    .collect();
                assert_eq!(seen.len(), still.len(), "{query}: lost or repeated");
                assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), still, "{query}");
            }
        }
    }
}

#[tokio::test]
async fn lists_by_org_app_and_party_agree_with_the_instances() {
    let bench = Bench::new();
    bench.publish("one", json!({})).await;
    bench.publish("two", json!({})).await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    let mut ended_ones = Vec::new();
    for number in 0..12 {
        bench.clock.advance_seconds(1);
        let app = if number % 3 == 0 { "one" } else { "two" };
        let instance = bench.instance(app, &user).await;
        if number % 2 == 0 {
            let answer = bench
                .call("PUT", &format!("{instance}/process"), &user, ended())
                .await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            ended_ones.push(instance);
        }
    }
    let nothing = async |_: usize| {};
    for (query, expected) in [
        (format!("org={ORG}"), 12),
        (format!("appId={ORG}/one"), 4),
        (format!("org={ORG}&instanceOwner.partyId={PARTY}"), 12),
        (format!("org={ORG}&process.isComplete=true"), 6),
        (
            format!("org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}"),
            6,
        ),
        (format!("org={ORG}&status.isHardDeleted=true"), 0),
    ] {
        assert_eq!(
            walk(&bench, &owner, &query, nothing).await.len(),
            expected,
            "{query}"
        );
    }
    for instance in ended_ones.iter().take(2) {
        let answer = bench
            .call("POST", &format!("{instance}/complete"), &owner, Value::Null)
            .await;
        assert_eq!(answer.status, 200);
    }
    let query = format!("org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}&size=1");
    assert_eq!(walk(&bench, &owner, &query, nothing).await.len(), 4);
    let answer = bench
        .call(
            "DELETE",
            &format!("{}?hard=true", ended_ones[2]),
            &user,
            Value::Null,
        )
        .await;
    assert_eq!(answer.status, 200);
    let query = format!("org={ORG}&status.isHardDeleted=true");
    assert_eq!(walk(&bench, &owner, &query, nothing).await.len(), 1);
    let query = format!("instanceOwner.partyId={PARTY}");
    assert_eq!(
        walk(&bench, &user, &query, nothing).await.len(),
        11,
        "hidden from the user"
    );
    let mut report = VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert!(report.records > 12);
}

#[tokio::test]
async fn a_document_changed_past_the_server_is_left_out_and_named_by_verify() {
    let bench = Bench::new();
    bench.publish("list", json!({})).await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.instance("list", &user).await;
    let all = ledger::KeyRange::prefix(&ledger::KeyWriter::new(ledger::Keyspace::Platform).u8(2).finish());
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut scan = ledger::Scan::new(snapshot.as_ref(), all, ledger::Direction::Forward);
    let mut tx = ledger::Transaction::new();
    while let Some(entry) = scan.next().await.unwrap() {
        let mut row: Value = serde_json::from_slice(&entry.versioned.value).unwrap();
        row["t"] = json!("Task_9");
        tx.put(entry.key, row.to_string().into_bytes());
    }
    bench.ledger.commit(tx).await.unwrap();
    let nothing = async |_: usize| {};
    assert_eq!(
        walk(&bench, &owner, &format!("org={ORG}"), nothing).await,
        Vec::<String>::new()
    );
    let mut report = VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults.len(), 3, "{:?}", report.faults);
}
