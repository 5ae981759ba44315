//! Versions against a model: whatever is written, protected, deleted and brought back, with versioning and soft delete
//! on or off, listings say what the model says, every state has its content and its protection, and nothing else
//! is left.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::collections::{BTreeMap, BTreeSet};

use bench::guard::{Guard, How, Ticks, ask_protection, how, immutable};
use bench::versions::listed;
use bench::{Answer, Bench, bytes, contents, with_container};
use ledger::Clock as _;
use proptest::prelude::*;

const NAMES: [&str; 2] = ["a", "a/b"];
const DAY_SECONDS: i64 = 24 * 3_600;
const ALL: &str = "versions,snapshots,deleted,deletedwithversions";

/// What is done, to one of the names; numbers pick one of what is there.
#[derive(Debug, Clone)]
enum Act {
    Put { large: bool },
    Metadata,
    Properties,
    Snapshot,
    Promote(usize),
    Delete { snapshots: bool },
    DeleteState { which: usize, at_once: bool },
    Undelete,
    Protect { which: usize, how: How },
    Versioning(bool),
    Retention(bool),
    Wait,
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        5 => any::<bool>().prop_map(|large| Act::Put { large }),
        3 => Just(Act::Metadata),
        1 => Just(Act::Properties),
        3 => Just(Act::Snapshot),
        2 => any::<usize>().prop_map(Act::Promote),
        4 => any::<bool>().prop_map(|snapshots| Act::Delete { snapshots }),
        4 => (any::<usize>(), prop::bool::weighted(0.3))
            .prop_map(|(which, at_once)| Act::DeleteState { which, at_once }),
        3 => Just(Act::Undelete),
        3 => (any::<usize>(), how()).prop_map(|(which, how)| Act::Protect { which, how }),
        2 => any::<bool>().prop_map(Act::Versioning),
        2 => any::<bool>().prop_map(Act::Retention),
        1 => Just(Act::Wait),
    ];
    prop::collection::vec((0..NAMES.len(), act), 1..50)
}

#[derive(Debug, Clone, PartialEq)]
struct Content {
    /// No two puts have the same.
    number: usize,
    large: bool,
    metadata: usize,
    made: Ticks,
    guard: Guard,
}

#[derive(Debug, Clone)]
struct State {
    content: Content,
    is_version: bool,
    /// When its time is over, and whether it was the blob, if it is deleted.
    deleted: Option<(Ticks, bool)>,
}

#[derive(Debug, Default)]
struct Blob {
    current: Option<(Content, Option<Ticks>)>,
    below: BTreeMap<Ticks, State>,
}

impl Blob {
    fn next(&self, now: Ticks, above: Option<Ticks>) -> Ticks {
        let newest = self.below.keys().last().copied().max(above);
        newest.map_or(now, |newest| now.max(newest + 1))
    }

    fn live(&self, is_version: bool) -> Vec<Ticks> {
        let live = |state: &State| state.deleted.is_none() && state.is_version == is_version;
        self.below
            .iter()
            .filter(|(_, state)| live(state))
            .map(|(at, _)| *at)
            .collect()
    }

    /// Whether a write in the place of the current state would let go of what is protected.
    fn would_lose(&self, now: Ticks, makes: bool) -> bool {
        let loses = |(content, version): &(Content, Option<Ticks>)| {
            !makes && version.is_none() && content.guard.keeps(now)
        };
        self.current.as_ref().is_some_and(loses)
    }

    /// How a change of the current state in place is answered.
    fn changed(&self) -> u16 {
        match &self.current {
            None => 404,
            Some((content, _)) if content.guard.freezes() => 409,
            Some(_) => 200,
        }
    }

    /// The time that the current state has as a previous version.
    fn time_below(&self, now: Ticks) -> Option<Ticks> {
        let (content, version) = self.current.as_ref()?;
        let late = match self.below.contains_key(&content.made) {
            true => self.next(now, None),
            false => content.made,
        };
        Some(version.unwrap_or(late))
    }

    /// The current state becomes a previous version.
    fn step_down(&mut self, now: Ticks) -> Option<Ticks> {
        let at = self.time_below(now)?;
        self.step_down_at(at)
    }

    fn step_down_at(&mut self, at: Ticks) -> Option<Ticks> {
        let (content, _) = self.current.take()?;
        let state = State {
            content,
            is_version: true,
            deleted: None,
        };
        assert!(self.below.insert(at, state).is_none(), "two states have one time");
        Some(at)
    }

    /// What was there before is a version, or kept for a while.
    fn replace(&mut self, content: Content, now: Ticks, (makes, keeps): (bool, bool)) {
        let before = self.current.clone();
        let version = match &before {
            Some((_, version)) if makes || version.is_some() => {
                let at = self.step_down(now);
                makes.then(|| self.next(now, at))
            }
            Some((old, _)) => {
                if keeps {
                    self.keep(old.clone(), now, false);
                }
                None
            }
            None => makes.then(|| self.next(now, None)),
        };
        self.current = Some((content, version));
    }

    fn keep(&mut self, content: Content, now: Ticks, was_current: bool) {
        let at = self.next(now, None);
        let until = now + i128::from(DAY_SECONDS) * 10_000_000;
        self.below.insert(
            at,
            State {
                content,
                is_version: false,
                deleted: Some((until, was_current)),
            },
        );
    }

    fn delete_state(&mut self, at: Ticks, now: Ticks, keeps: bool) {
        let until = now + i128::from(DAY_SECONDS) * 10_000_000;
        match keeps {
            true => self.below.get_mut(&at).unwrap().deleted = Some((until, false)),
            false => {
                self.below.remove(&at);
            }
        }
    }

    /// As a listing of everything has it.
    fn lines(&self, name: &str) -> Vec<(String, String, String)> {
        let last = self.below.keys().last();
        let mut lines: Vec<_> = self
            .below
            .iter()
            .map(|(at, state)| {
                let nothing_followed = self.current.is_none() && Some(at) == last;
                let (kind, shown) = match state.deleted {
                    Some((_, true)) if nothing_followed => ("blob", String::new()),
                    _ if state.is_version => ("version", text(*at)),
                    _ => ("snapshot", text(*at)),
                };
                let deleted = if state.deleted.is_some() { "deleted " } else { "" };
                (name.to_owned(), format!("{deleted}{kind}"), shown)
            })
            .collect();
        match &self.current {
            Some((_, Some(version))) => lines.push((name.to_owned(), "current".to_owned(), text(*version))),
            Some((_, None)) => lines.push((name.to_owned(), "blob".to_owned(), String::new())),
            None if self.below.values().any(|state| state.is_version) => {
                lines.push((name.to_owned(), "versions only".to_owned(), String::new()));
            }
            None => {}
        }
        lines
    }
}

fn text(at: Ticks) -> String {
    let at = jiff::Timestamp::from_nanosecond(at * 100).unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

struct World {
    bench: Bench,
    blobs: [Blob; 2],
    makes: bool,
    keeps: bool,
    puts: usize,
    /// Whether anything was ever protected.
    marked: bool,
}

fn sent(content: &Content) -> Vec<u8> {
    let mut sent = content.number.to_string().into_bytes();
    sent.extend(bytes(if content.large { 20_000 } else { 20 }));
    sent
}

fn check(answer: &Answer, expected: u16) {
    assert_eq!(answer.status.as_u16(), expected, "{}", answer.text());
}

impl World {
    fn now(&self) -> Ticks {
        self.bench.clock.now().as_nanosecond() / 100
    }

    async fn act(&mut self, at: usize, act: &Act) {
        self.bench.clock.advance_seconds(1);
        let now = self.now();
        let path = format!("/box/{}", NAMES[at]);
        let settings = (self.makes, self.keeps);
        let blob = &mut self.blobs[at];
        match act {
            Act::Put { large } => {
                self.puts += 1;
                let content = Content {
                    number: self.puts,
                    large: *large,
                    metadata: 0,
                    made: now,
                    guard: Guard::default(),
                };
                let loses = blob.would_lose(now, self.makes);
                let answer = self.bench.put(&path, &sent(&content)).await;
                check(&answer, if loses { 409 } else { 201 });
                if !loses {
                    blob.replace(content, now, settings);
                }
            }
            Act::Metadata => {
                self.puts += 1;
                let value = self.puts.to_string();
                let headers = [("x-ms-meta-m", value.as_str())];
                let answer = self
                    .bench
                    .ask("PUT", &format!("{path}?comp=metadata"), &headers, b"")
                    .await;
                check(&answer, blob.changed());
                if let Some((content, _)) = &blob.current
                    && !content.guard.freezes()
                {
                    let content = Content {
                        metadata: self.puts,
                        made: now,
                        ..content.clone()
                    };
                    // What it says before isn't kept where there are no versions.
                    blob.replace(content, now, (self.makes, false));
                }
            }
            Act::Properties => {
                let answer = self
                    .bench
                    .ask("PUT", &format!("{path}?comp=properties"), &[], b"")
                    .await;
                check(&answer, blob.changed());
                if let Some((content, _)) = &mut blob.current
                    && !content.guard.freezes()
                {
                    content.made = now;
                }
            }
            Act::Snapshot => {
                let answer = self
                    .bench
                    .ask("PUT", &format!("{path}?comp=snapshot"), &[], b"")
                    .await;
                check(&answer, if blob.current.is_some() { 201 } else { 404 });
                if let Some((content, version)) = blob.current.clone() {
                    let above = if self.makes { blob.step_down(now) } else { version };
                    let taken = blob.next(now, above);
                    let state = State {
                        content: Content {
                            guard: Guard::default(),
                            ..content.clone()
                        },
                        is_version: false,
                        deleted: None,
                    };
                    blob.below.insert(taken, state);
                    let version = if self.makes { Some(taken + 1) } else { version };
                    blob.current = Some((content, version));
                }
            }
            Act::Promote(which) => {
                let live = blob.live(true);
                let Some(version) = live.get(which % live.len().max(1)) else {
                    return;
                };
                let source = format!("http://127.0.0.1:10000/dev{path}?versionid={}", text(*version));
                let loses = blob.would_lose(now, self.makes);
                let headers = [("x-ms-copy-source", source.as_str())];
                let answer = self.bench.ask("PUT", &path, &headers, b"").await;
                check(&answer, if loses { 409 } else { 202 });
                if loses {
                    return;
                }
                let content = Content {
                    made: now,
                    guard: Guard::default(),
                    ..blob.below[version].content.clone()
                };
                blob.replace(content, now, settings);
            }
            Act::Delete { snapshots } => {
                let headers: &[_] = if *snapshots {
                    &[("x-ms-delete-snapshots", "include")]
                } else {
                    &[]
                };
                let answer = self.bench.ask("DELETE", &path, headers, b"").await;
                let taken = blob.live(false);
                let Some((content, version)) = blob.current.clone() else {
                    return check(&answer, 404);
                };
                let stays = |at: &Ticks| blob.below[at].content.guard.keeps(now);
                let protected = content.guard.keeps(now) || taken.iter().any(stays);
                if !snapshots && !taken.is_empty() || protected {
                    return check(&answer, 409);
                }
                check(&answer, 202);
                // What goes with the same request has its time still.
                let below = blob.time_below(now);
                for at in taken {
                    blob.delete_state(at, now, self.keeps);
                }
                if self.makes || version.is_some() {
                    below.and_then(|at| blob.step_down_at(at));
                } else if self.keeps {
                    blob.keep(content, now, true);
                }
                blob.current = None;
            }
            Act::DeleteState { which, at_once } => {
                let all: Vec<_> = blob
                    .below
                    .iter()
                    .map(|(at, state)| (*at, state.clone()))
                    .collect();
                let Some((at, state)) = all.get(which % all.len().max(1)) else {
                    return;
                };
                let parameter = if state.is_version { "versionid" } else { "snapshot" };
                let rest = if *at_once { "&deletetype=permanent" } else { "" };
                let path = format!("{path}?{parameter}={}{rest}", text(*at).replace(':', "%3A"));
                let answer = self.bench.ask("DELETE", &path, &[], b"").await;
                match (&state.deleted, at_once) {
                    (Some(_), true) => {
                        check(&answer, if self.keeps { 202 } else { 409 });
                        if self.keeps {
                            blob.below.remove(at);
                        }
                    }
                    (Some(_), false) => check(&answer, 404),
                    (None, true) => check(&answer, 409),
                    (None, false) if state.content.guard.keeps(now) => check(&answer, 409),
                    (None, false) => {
                        check(&answer, 202);
                        blob.delete_state(*at, now, self.keeps);
                    }
                }
            }
            Act::Undelete => {
                let answer = self
                    .bench
                    .ask("PUT", &format!("{path}?comp=undelete"), &[], b"")
                    .await;
                let has_version = blob.below.values().any(|state| state.is_version);
                let deleted: Vec<_> = blob
                    .below
                    .iter()
                    .filter(|(_, state)| state.deleted.is_some())
                    .map(|(at, state)| (*at, state.clone()))
                    .collect();
                let there = blob.current.is_some() || has_version || !deleted.is_empty();
                check(&answer, if there { 200 } else { 404 });
                let newest = deleted.iter().rfind(|(_, state)| !state.is_version);
                let version = blob.below.iter().rfind(|(_, state)| state.is_version);
                if let Some((at, state)) = newest
                    && blob.current.is_none()
                    // What came behind it isn't undone.
                    && version.is_none_or(|(version, _)| version < at)
                    && (state.deleted.is_some_and(|(_, was_current)| was_current)
                        || !(has_version || self.makes))
                {
                    blob.below.remove(at);
                    blob.current = Some((state.content.clone(), None));
                }
                for state in blob.below.values_mut() {
                    state.deleted = None;
                }
            }
            Act::Protect { which, how } => {
                let enabled = self.makes;
                let current = blob.current.is_some();
                let mut all: Vec<_> = blob.below.keys().map(|at| Some(*at)).collect();
                all.extend(current.then_some(None));
                let Some(at) = all.get(which % all.len().max(1)) else {
                    return;
                };
                let (named, guard, deleted) = match at {
                    None => (String::new(), &mut blob.current.as_mut().unwrap().0.guard, false),
                    Some(at) => {
                        let state = blob.below.get_mut(at).unwrap();
                        let parameter = if state.is_version { "versionid" } else { "snapshot" };
                        let named = format!("&{parameter}={}", text(*at).replace(':', "%3A"));
                        (named, &mut state.content.guard, state.deleted.is_some())
                    }
                };
                let answer = ask_protection(&self.bench, &path, &named, *how).await;
                if deleted {
                    return check(&answer, 404);
                }
                let lets_go = matches!(how, How::NoPolicy | How::Hold(false));
                if !(enabled || lets_go && *guard != Guard::default()) {
                    return check(&answer, 409);
                }
                let next = guard.after(*how, now);
                check(&answer, if next.is_some() { 200 } else { 409 });
                if let Some(next) = next {
                    *guard = next;
                    self.marked |= next != Guard::default();
                }
            }
            Act::Versioning(on) => {
                self.makes = *on;
                self.bench = immutable(&self.bench, *on);
            }
            Act::Retention(on) => self.retain(*on).await,
            Act::Wait => self.bench.clock.advance_seconds(DAY_SECONDS),
        }
    }

    async fn retain(&mut self, on: bool) {
        self.keeps = on;
        let policy = match on {
            true => "<Enabled>true</Enabled><Days>1</Days><AllowPermanentDelete>true</AllowPermanentDelete>",
            false => "<Enabled>false</Enabled>",
        };
        let body = format!(
            "<StorageServiceProperties><DeleteRetentionPolicy>{policy}</DeleteRetentionPolicy></StorageServiceProperties>"
        );
        let path = "/?restype=service&comp=properties";
        check(&self.bench.ask("PUT", path, &[], body.as_bytes()).await, 202);
    }

    async fn read(&self, path: &str, content: &Content) {
        let got = self.bench.ask("GET", path, &[], b"").await;
        assert_eq!(got.status.as_u16(), 200, "{path}: {}", got.text());
        assert!(got.body == sent(content), "{path}");
        let metadata = if content.metadata == 0 {
            String::new()
        } else {
            content.metadata.to_string()
        };
        assert_eq!(got.header("x-ms-meta-m"), metadata, "{path}");
        assert_eq!(Guard::shown(&got), content.guard, "{path}");
    }

    /// Listings and contents are the model's.
    async fn compare(&self) {
        let expected: Vec<_> = self
            .blobs
            .iter()
            .zip(NAMES)
            .flat_map(|(blob, name)| blob.lines(name))
            .collect();
        assert_eq!(listed(&self.bench, ALL).await, expected);
        assert_eq!(
            listed(&self.bench, &format!("{ALL}&maxresults=1")).await,
            expected,
            "one by one"
        );
        for (blob, name) in self.blobs.iter().zip(NAMES) {
            if let Some((content, version)) = &blob.current {
                self.read(&format!("/box/{name}"), content).await;
                if let Some(version) = version {
                    self.read(
                        &format!("/box/{name}?versionid={}", text(*version).replace(':', "%3A")),
                        content,
                    )
                    .await;
                }
            }
            for (at, state) in &blob.below {
                let parameter = if state.is_version { "versionid" } else { "snapshot" };
                let path = format!("/box/{name}?{parameter}={}", text(*at).replace(':', "%3A"));
                match state.deleted {
                    None => self.read(&path, &state.content).await,
                    Some(_) => check(&self.bench.ask("GET", &path, &[], b"").await, 404),
                }
            }
        }
    }

    /// What the sweep leaves is what the states have, and the records agree with each other.
    async fn sweep(&mut self) {
        let now = self.now();
        let mut stored = BTreeSet::new();
        let mut inline = 0;
        for blob in &mut self.blobs {
            blob.below
                .retain(|_, state| state.deleted.is_none_or(|(until, _)| until >= now));
            let current = blob.current.iter().map(|(content, _)| content);
            for content in current.chain(blob.below.values().map(|state| &state.content)) {
                match content.large {
                    true => {
                        stored.insert(content.number);
                    }
                    false => inline += 1,
                }
            }
        }
        assert_eq!(contents(&self.bench).await, (stored.len() as u64, inline));
    }
}

async fn run(acts: &[(usize, Act)]) {
    let bench = with_container().await;
    let mut world = World {
        bench: immutable(&bench, true),
        blobs: Default::default(),
        makes: true,
        keeps: false,
        puts: 0,
        marked: false,
    };
    for (number, (at, act)) in acts.iter().enumerate() {
        world.act(*at, act).await;
        world.compare().await;
        if number % 8 == 7 || matches!(act, Act::Wait) {
            world.sweep().await;
            world.compare().await;
        }
    }
    world.sweep().await;
    let is_empty = world
        .blobs
        .iter()
        .all(|blob| blob.current.is_none() && blob.below.is_empty());
    let container = "/box?restype=container";
    let removed = world.bench.ask("DELETE", container, &[], b"").await;
    let stays = (world.makes || world.marked) && !is_empty;
    check(&removed, if stays { 409 } else { 202 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn versions_are_what_the_model_says(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&acts));
    }
}
