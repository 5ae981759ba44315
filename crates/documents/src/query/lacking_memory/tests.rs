//! The invariants of what is remembered, against histories of items and queries that run side by side.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ITEMS: u64 = 24;

/// What a commit did to an item.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Written {
    Lacking,
    Having,
    Deleted,
}

/// The commit that last wrote each item, and whether it lacks the property, in a snapshot.
type Items = BTreeMap<u64, (Sequence, bool)>;

#[derive(Debug, Clone, Copy)]
enum Act {
    Commit(u64, Written),
    /// A query of a snapshot so many commits ago.
    Begin(u64),
    /// A query catches up with at most so many changes.
    CatchUp(usize, usize),
    /// A query looks at so many numbers, or reads so many that are remembered, from one end.
    Walk(usize, u64, bool),
    /// A query goes on elsewhere, as if another node had made the page before.
    Skip(usize, u64),
    Wait,
}

fn act() -> impl Strategy<Value = Act> {
    let written = prop_oneof![
        3 => Just(Written::Lacking),
        3 => Just(Written::Having),
        1 => Just(Written::Deleted),
    ];
    prop_oneof![
        6 => (1..ITEMS, written).prop_map(|(number, written)| Act::Commit(number, written)),
        2 => (0u64..4).prop_map(Act::Begin),
        3 => (0usize..4, prop_oneof![Just(usize::MAX), 1usize..3]).prop_map(|(query, most)| Act::CatchUp(query, most)),
        4 => (0usize..4, 1u64..12, any::<bool>()).prop_map(|(query, count, down)| Act::Walk(query, count, down)),
        1 => (0usize..4, 0..ITEMS).prop_map(|(query, to)| Act::Skip(query, to)),
        1 => Just(Act::Wait),
    ]
}

/// A query under way.
struct Query {
    at: Sequence,
    view: Arc<Known>,
    left: Range<u64>,
}

#[derive(Default)]
struct World {
    /// The items as each commit left them; the first is the empty one.
    states: Vec<Items>,
    memory: LackingMemory,
    queries: Vec<Query>,
    now: Duration,
}

impl World {
    fn place() -> Place {
        (1, vec!["v".to_owned()])
    }

    fn head(&self) -> Sequence {
        self.states.len() as Sequence - 1
    }

    fn items(&self, at: Sequence) -> &Items {
        &self.states[usize::try_from(at).unwrap()]
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Commit(number, written) => {
                let mut items = self.items(self.head()).clone();
                let at = self.head() + 1;
                match written {
                    Written::Deleted => drop(items.remove(&number)),
                    written => drop(items.insert(number, (at, written == Written::Lacking))),
                }
                self.states.push(items);
            }
            Act::Begin(ago) => {
                let at = self.head().saturating_sub(ago);
                if let Some(view) = self.memory.view(&Self::place(), at, self.now) {
                    assert!(view.usable_from <= at);
                    self.queries.push(Query {
                        at,
                        view,
                        left: 0..u64::MAX,
                    });
                }
            }
            Act::CatchUp(which, most) => self.with_query(which, |world, query| {
                let after = query.view.through;
                let items = world.items(query.at);
                let mut feed: Vec<_> = items
                    .iter()
                    .filter(|(_, (version, _))| *version > after)
                    .collect();
                feed.sort_by_key(|(_, (version, _))| *version);
                let cut = feed.get(most).map(|(_, (version, _))| version - 1);
                let through = cut.unwrap_or(query.at);
                let items = feed.into_iter().take(most);
                let changes = Learnt::Changes {
                    after,
                    through,
                    items: items.map(|(number, (_, lacks))| (*number, *lacks)).collect(),
                };
                world
                    .memory
                    .learn(&Self::place(), query.at, &changes, &mut query.view, world.now);
            }),
            Act::Walk(which, count, down) => self.with_query(which, |world, query| {
                if query.view.through < query.at || query.left.is_empty() {
                    return;
                }
                let items = world.items(query.at);
                let lacks = |number: u64| items.get(&number).is_some_and(|(_, lacks)| *lacks);
                let part = |range: &Range<u64>| {
                    // There is nothing behind the last item.
                    let (first, last) = (range.start, range.end.min(ITEMS));
                    if down {
                        last.saturating_sub(count).max(first)..range.end
                    } else if first + count >= ITEMS {
                        first..range.end
                    } else {
                        first..range.end.min(first + count)
                    }
                };
                let (walked, learnt) = match query.view.stretch(&query.left, down) {
                    Stretch::Unknown(range) => {
                        let at = part(&range);
                        let lacking = items
                            .keys()
                            .copied()
                            .filter(|number| at.contains(number) && lacks(*number))
                            .collect();
                        (at.clone(), Learnt::Looked { at, lacking })
                    }
                    Stretch::Remembered(range) => {
                        let mut left = range.clone();
                        let mut known = Vec::new();
                        while let Some(number) = query.view.numbers.first(&left) {
                            known.push(number);
                            left.start = number + 1;
                        }
                        for number in items.keys().copied().filter(|number| range.contains(number)) {
                            assert!(
                                !lacks(number) || known.contains(&number),
                                "{number} was forgotten"
                            );
                        }
                        known.retain(|number| !lacks(*number));
                        (range, Learnt::Dropped(known))
                    }
                };
                world
                    .memory
                    .learn(&Self::place(), query.at, &learnt, &mut query.view, world.now);
                if down {
                    query.left.end = walked.start;
                } else {
                    query.left.start = walked.end;
                }
            }),
            Act::Skip(which, to) => self.with_query(which, |_, query| {
                query.left.start = to.clamp(query.left.start, query.left.end);
            }),
            Act::Wait => self.now += GENERATION_TIME,
        }
    }

    fn with_query(&mut self, which: usize, step: impl FnOnce(&Self, &mut Query)) {
        if self.queries.is_empty() {
            return;
        }
        let mut query = self.queries.remove(which % self.queries.len());
        step(self, &mut query);
        self.queries.push(query);
    }

    fn check(&self) {
        let paths = self.memory.0.lock();
        let kept = paths
            .by_place
            .values()
            .flat_map(|remembered| &remembered.generations);
        let views = self.queries.iter().map(|query| &query.view);
        for known in kept.map(|generation| &generation.known).chain(views) {
            for at in known.usable_from..=self.head() {
                for (number, (version, lacks)) in self.items(at) {
                    let mut looked_at = known.looked_at.iter();
                    let wanted =
                        *lacks && *version <= known.through && looked_at.any(|range| range.contains(number));
                    let has = known.numbers.first(&(*number..number + 1)).is_some();
                    assert!(has || !wanted, "{number} at {at} is missing in {known:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nothing_is_missing_in_any_snapshot_that_may_use_it(acts in prop::collection::vec(act(), 1..120)) {
        let mut world = World {
            states: vec![Items::new()],
            ..World::default()
        };
        for act in acts {
            world.act(act);
            world.check();
        }
    }
}

#[test]
fn what_does_not_fit_what_is_known_is_refused() {
    let mut known = Known::blank(1);
    let looked = Learnt::Looked {
        at: 0..u64::MAX,
        lacking: vec![5],
    };
    assert!(known.learn(1, &looked));
    let changes = |after, through, lacks| Learnt::Changes {
        after,
        through,
        items: vec![(5, lacks)],
    };
    let has = |known: &Known| known.numbers.first(&(0..9)) == Some(5);
    assert!(
        !known.learn(4, &changes(2, 4, false)),
        "what commit 2 did is missing"
    );
    assert!(has(&known) && known.through == 1);
    // Commit 2 gave item 5 the property, commit 3 took it away again.
    assert!(known.learn(3, &changes(1, 3, true)));
    assert!(!known.learn(2, &Learnt::Dropped(vec![5])));
    assert!(
        !known.learn(2, &changes(1, 2, false)),
        "it is known already what became of that"
    );
    assert!(has(&known) && known.through == 3);
    assert!(known.learn(4, &Learnt::Dropped(vec![5])));
    assert!(!has(&known) && known.usable_from == 4);
}

#[test]
fn stretches_grow_together_and_are_bounded() {
    let mut known = Known::blank(1);
    let look = |known: &mut Known, at: Range<u64>| {
        known.learn(
            1,
            &Learnt::Looked {
                at,
                lacking: Vec::new(),
            },
        )
    };
    assert!(look(&mut known, 10..20));
    assert!(!look(&mut known, 12..20), "nothing new");
    assert!(look(&mut known, 30..40));
    assert!(look(&mut known, 20..25));
    assert_eq!(known.looked_at, [10..25, 30..40]);
    for (range, descending, wanted) in [
        (0..50, false, Stretch::Unknown(0..10)),
        (10..50, false, Stretch::Remembered(10..25)),
        (25..50, false, Stretch::Unknown(25..30)),
        (40..50, false, Stretch::Unknown(40..50)),
        (0..50, true, Stretch::Unknown(40..50)),
        (0..40, true, Stretch::Remembered(30..40)),
        (0..28, true, Stretch::Unknown(25..28)),
        (0..9, true, Stretch::Unknown(0..9)),
    ] {
        assert_eq!(known.stretch(&range, descending), wanted, "{range:?}");
    }
    assert!(look(&mut known, 24..31));
    assert!(known.looked_at.iter().eq([&(10..40)]));
    let more = (100..200)
        .filter(|at| look(&mut known, at * 10..at * 10 + 1))
        .count();
    assert_eq!(more, STRETCHES_MAX - 1);
    assert!(look(&mut known, 0..u64::MAX));
    assert!(known.looked_at.iter().eq([&(0..u64::MAX)]));
}

#[test]
fn it_can_begin_anew_at_a_snapshot() {
    let memory = LackingMemory::default();
    let place: Place = (1, vec!["v".to_owned()]);
    let now = Duration::ZERO;
    let mut view = memory.view(&place, 5, now).unwrap();
    let looked = Learnt::Looked {
        at: 0..10,
        lacking: vec![3],
    };
    memory.learn(&place, 5, &looked, &mut view, now);
    assert!(!memory.peek(&place, 9).unwrap().is_blank());
    let anew = memory.begin_anew(&place, 9, now);
    assert!(anew.is_blank() && anew.through() == 9);
    assert!(Arc::ptr_eq(&memory.peek(&place, 9).unwrap(), &anew));
    assert!(
        memory.peek(&place, 8).is_none(),
        "an earlier snapshot has other items"
    );
}

#[test]
fn it_is_bounded() {
    let memory = LackingMemory::default();
    let place = |at: usize| (1, vec![at.to_string()]);
    let sparse = |count: u64| Learnt::Looked {
        at: 0..u64::MAX,
        lacking: (0..count).map(|number| number << 16).collect(),
    };
    let learn = |at: usize, count: u64| {
        let mut view = memory.view(&place(at), 1, Duration::ZERO).unwrap();
        memory.learn(&place(at), 1, &sparse(count), &mut view, Duration::ZERO);
    };
    for at in 0..2 * LACKING_PATHS_MAX {
        learn(at, 10);
    }
    assert_eq!(memory.0.lock().by_place.len(), LACKING_PATHS_MAX);
    assert!(
        memory.peek(&place(0), 1).is_none(),
        "what wasn't used for longest is gone"
    );
    for at in 0..10 {
        learn(at, 100_000);
    }
    let bytes = |memory: &LackingMemory| {
        let paths = memory.0.lock();
        let bytes = paths
            .by_place
            .iter()
            .map(|(place, remembered)| remembered.bytes(place));
        bytes.sum::<usize>()
    };
    assert!(bytes(&memory) <= LACKING_BYTES_MAX);
    assert!(memory.peek(&place(9), 1).is_some());
    learn(20, 1_000_000);
    assert!(
        memory.view(&place(20), 2, Duration::ZERO).is_none(),
        "too many, and it is known that they are"
    );
    assert!(bytes(&memory) <= LACKING_BYTES_MAX);
}
