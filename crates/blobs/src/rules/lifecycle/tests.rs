//! What is refused of a policy, and what its rules decide.

use super::*;

fn policy(definition: &str) -> Result<Policy, String> {
    Policy::parse(&format!(
        r#"{{"rules":[{{"enabled":true,"name":"r","type":"Lifecycle","definition":{definition}}}]}}"#
    ))
}

fn with(actions: &str, filters: &str) -> Result<Policy, String> {
    policy(&format!(
        r#"{{"actions":{actions},"filters":{{"blobTypes":["blockBlob"]{filters}}}}}"#
    ))
}

fn day(number: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + number * 86_400).unwrap()
}

static NO_TAGS: Tags = Tags::new();

fn base<'a>(tags: &'a Tags) -> Facts<'a> {
    Facts {
        state: State::Base,
        is_block: true,
        is_append: false,
        container: "box",
        name: "logs/a",
        created: day(0),
        modified: day(10),
        accessed: day(20),
        tier: Tier::Hot,
        tier_changed: None,
        tags,
    }
}

const DELETE_AFTER_5: &str = r#"{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":5}}}"#;

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |text: &str| Policy::parse(&format!(r#"{{"rules":[{text}]}}"#));
    for (read, cause) in [
        (Policy::parse("{"), "EOF"),
        (Policy::parse(r#"{"rules":[]}"#), "1 to 100 rules"),
        (Policy::parse(r#"{"rules":[],"more":1}"#), "more"),
        (
            rule(
                r#"{"name":"r","type":"Other","definition":{"actions":{},"filters":{"blobTypes":["blockBlob"]}}}"#,
            ),
            "type is Lifecycle",
        ),
        (with("{}", ""), "actions has none"),
        (with(r#"{"baseBlob":{"tierToHot":{}}}"#, ""), "tierToHot"),
        (
            with(
                r#"{"baseBlob":{"enableAutoTierToHotFromCool":{"daysAfterLastAccessTimeGreaterThan":1}}}"#,
                "",
            ),
            "enableAutoTierToHotFromCool isn't",
        ),
        (
            with(
                r#"{"snapshot":{"delete":{"daysAfterLastAccessTimeGreaterThan":1}}}"#,
                "",
            ),
            "snapshot.delete: snapshots and versions",
        ),
        (
            with(r#"{"baseBlob":{"delete":{}}}"#, ""),
            "baseBlob.delete: give one of",
        ),
        (
            with(
                r#"{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1,"daysAfterCreationGreaterThan":1}}}"#,
                "",
            ),
            "give one of",
        ),
        (
            with(
                r#"{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1.5}}}"#,
                "",
            ),
            "1.5 days",
        ),
        (
            with(
                r#"{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":-1}}}"#,
                "",
            ),
            "-1 days",
        ),
        (
            with(
                r#"{"snapshot":{"delete":{"daysAfterModificationGreaterThan":1}}}"#,
                "",
            ),
            "snapshot.delete: snapshots and versions",
        ),
        (
            with(
                r#"{"baseBlob":{"tierToCool":{"daysAfterCreationGreaterThan":1,"daysAfterLastTierChangeGreaterThan":1}}}"#,
                "",
            ),
            "is for tierToArchive",
        ),
        (
            with(DELETE_AFTER_5, r#","prefixMatch":["/a"]"#),
            "begins with a container's name",
        ),
        (
            with(
                DELETE_AFTER_5,
                r#","blobIndexMatch":[{"name":"a","op":">","value":"b"}]"#,
            ),
            "op is ==",
        ),
        (
            policy(&format!(
                r#"{{"actions":{DELETE_AFTER_5},"filters":{{"blobTypes":["pageBlob"]}}}}"#
            )),
            "pageBlob",
        ),
        (
            policy(
                r#"{"actions":{"baseBlob":{"tierToCool":{"daysAfterCreationGreaterThan":1}}},"filters":{"blobTypes":["appendBlob"]}}"#,
            ),
            "append blobs have no tiers",
        ),
    ] {
        let error = read.unwrap_err();
        assert!(error.contains(cause), "{cause}: {error}");
    }
    let twice = format!(
        r#"{{"name":"A","type":"Lifecycle","definition":{{"actions":{DELETE_AFTER_5},"filters":{{"blobTypes":["blockBlob"]}}}}}}"#
    );
    let twice = rule(&format!("{twice},{}", twice.replace("\"A\"", "\"a\"")));
    assert!(twice.unwrap_err().contains("two of that name"));
}

#[test]
fn a_blob_goes_when_it_is_older_than_the_days() {
    let policy = with(DELETE_AFTER_5, "").unwrap();
    let facts = base(&NO_TAGS);
    assert_eq!(policy.decide(&facts, day(15)), None, "as old, not older");
    let later = day(15) + SignedDuration::from_secs(1);
    assert_eq!(policy.decide(&facts, later), Some((Action::Delete, "r")));
    let page = Facts {
        is_block: false,
        ..facts
    };
    assert_eq!(policy.decide(&page, later), None);
}

#[test]
fn of_several_actions_the_one_that_costs_least_then_is_done_and_none_twice() {
    let actions = r#"{"baseBlob":{
        "tierToCool":{"daysAfterModificationGreaterThan":1},
        "tierToCold":{"daysAfterModificationGreaterThan":2},
        "tierToArchive":{"daysAfterModificationGreaterThan":3,"daysAfterLastTierChangeGreaterThan":7},
        "delete":{"daysAfterModificationGreaterThan":100}}}"#;
    let policy = with(actions, "").unwrap();
    let hot = base(&NO_TAGS);
    let of = |tier, changed: Option<Timestamp>| Facts {
        tier,
        tier_changed: changed,
        ..hot
    };
    for (facts, now, expected) in [
        (hot, 11, None),
        (hot, 12, Some(Action::Cool)),
        (hot, 13, Some(Action::Cold)),
        (hot, 14, Some(Action::Archive)),
        (of(Tier::Hot, Some(day(10))), 14, Some(Action::Cold)),
        (of(Tier::Cold, Some(day(10))), 14, None),
        (of(Tier::Cold, Some(day(10))), 18, Some(Action::Archive)),
        (of(Tier::Archive, Some(day(1))), 50, None),
        (of(Tier::Archive, Some(day(1))), 111, Some(Action::Delete)),
    ] {
        let found = policy.decide(&facts, day(now)).map(|(action, _)| action);
        assert_eq!(found, expected, "{facts:?} on day {now}");
    }
}

#[test]
fn filters_choose_by_container_prefix_and_tags() {
    let policy = with(
        DELETE_AFTER_5,
        r#","prefixMatch":["box/logs/","arch"],"blobIndexMatch":[{"name":"k","op":"==","value":"v"}]"#,
    )
    .unwrap();
    let (tagged, other) = (
        Tags::from([("k".to_owned(), "v".to_owned())]),
        Tags::from([("k".to_owned(), "w".to_owned())]),
    );
    for (container, name, tags, expected) in [
        ("box", "logs/a", &tagged, true),
        ("box", "logs/a", &other, false),
        ("box", "logs/a", &NO_TAGS, false),
        ("box", "log", &tagged, false),
        ("boxes", "logs/a", &tagged, false),
        ("archive", "x", &tagged, true),
    ] {
        let facts = Facts {
            container,
            name,
            ..base(tags)
        };
        assert_eq!(
            policy.decide(&facts, day(20)).is_some(),
            expected,
            "{container}/{name} {tags:?}"
        );
    }
    assert_eq!(policy.prefixes("box"), ["logs/"]);
    assert_eq!(policy.prefixes("archive"), [""]);
    assert!(policy.prefixes("boxes").is_empty());
}

#[test]
fn prefixes_within_others_are_looked_at_once() {
    let policy = with(
        DELETE_AFTER_5,
        r#","prefixMatch":["box/b/c","box/b","box/a","box/b/d"]"#,
    )
    .unwrap();
    assert_eq!(policy.prefixes("box"), ["a", "b"]);
    assert_eq!(with(DELETE_AFTER_5, "").unwrap().prefixes("box"), [""]);
}

#[test]
fn snapshots_and_versions_have_rules_of_their_own() {
    let actions = r#"{"snapshot":{"delete":{"daysAfterCreationGreaterThan":5}},
        "version":{"tierToCool":{"daysAfterCreationGreaterThan":5}}}"#;
    let policy = with(actions, "").unwrap();
    assert_eq!(policy.states(), (true, true));
    let of = |state| Facts {
        state,
        ..base(&NO_TAGS)
    };
    let decide = |state| policy.decide(&of(state), day(6)).map(|(action, _)| action);
    assert_eq!(decide(State::Base), None);
    assert_eq!(decide(State::Snapshot), Some(Action::Delete));
    assert_eq!(decide(State::Version), Some(Action::Cool));
}

#[test]
fn a_rule_that_is_not_enabled_does_nothing_but_is_checked() {
    let text = format!(
        r#"{{"rules":[{{"enabled":false,"name":"r","type":"Lifecycle","definition":{{"actions":{DELETE_AFTER_5},"filters":{{"blobTypes":["blockBlob"]}}}}}}]}}"#
    );
    assert_eq!(
        Policy::parse(&text).unwrap().decide(&base(&NO_TAGS), day(50)),
        None
    );
    assert!(Policy::parse(&text.replace("blockBlob", "x")).is_err());
}

#[test]
fn the_last_access_counts_where_a_rule_says_so() {
    let rule = r#"{"baseBlob":{"delete":{"daysAfterLastAccessTimeGreaterThan":5}}}"#;
    let policy = with(rule, "").unwrap();
    assert!(policy.needs_access_times());
    let facts = base(&NO_TAGS);
    let decided = |at| policy.decide(&facts, at).map(|(action, _)| action);
    assert_eq!(decided(day(25)), None);
    assert_eq!(decided(day(26)), Some(Action::Delete));
    assert!(!with(DELETE_AFTER_5, "").unwrap().needs_access_times());
}
