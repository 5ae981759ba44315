//! A set of item numbers in little memory, whose copies share what they have in common: a bit for each
//! number of a stretch where there are many, two bytes for each where there are few.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bits of a number that say where in its stretch it is.
const LOW_BITS: u32 = 16;
const WORDS: usize = 1 << (LOW_BITS - 6);
/// Above as many, bits take less.
const FEW_MAX: usize = WORDS * 4;
/// What a stretch takes beside its numbers.
const STRETCH_BYTES: usize = 64;

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(super) struct NumberSet {
    stretches: BTreeMap<u64, Arc<Stretch>>,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Stretch {
    /// In order.
    Few(Vec<u16>),
    Many(Box<[u64; WORDS]>),
}

fn split(number: u64) -> (u64, u16) {
    let [.., high, low] = number.to_be_bytes();
    (number >> LOW_BITS, u16::from_be_bytes([high, low]))
}

impl Stretch {
    fn bytes(&self) -> usize {
        STRETCH_BYTES
            + match self {
                Self::Few(lows) => 2 * lows.len(),
                Self::Many(_) => 8 * WORDS,
            }
    }

    fn insert(&mut self, low: u16) {
        match self {
            Self::Few(lows) => {
                if let Err(at) = lows.binary_search(&low) {
                    lows.insert(at, low);
                }
                if lows.len() > FEW_MAX {
                    let mut words = Box::new([0; WORDS]);
                    for low in lows {
                        set(&mut words, *low, true);
                    }
                    *self = Self::Many(words);
                }
            }
            Self::Many(words) => set(words, low, true),
        }
    }

    /// Whether none is left.
    fn remove(&mut self, low: u16) -> bool {
        match self {
            Self::Few(lows) => {
                if let Ok(at) = lows.binary_search(&low) {
                    lows.remove(at);
                }
                lows.is_empty()
            }
            Self::Many(words) => {
                set(words, low, false);
                words.iter().all(|word| *word == 0)
            }
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Few(lows) => lows.binary_search(&low).is_ok(),
            Self::Many(words) => {
                let word = words.get(usize::from(low >> 6));
                word.is_some_and(|word| word >> (low & 63) & 1 == 1)
            }
        }
    }

    /// The least from `low` on.
    fn first(&self, low: u16) -> Option<u16> {
        match self {
            Self::Few(lows) => lows.get(lows.partition_point(|known| *known < low)).copied(),
            Self::Many(words) => {
                let mut mask = u64::MAX << (low & 63);
                for (at, word) in (0u16..).zip(words.iter()).skip(usize::from(low >> 6)) {
                    let left = word & mask;
                    if left != 0 {
                        return Some(at << 6 | low_bits(left.trailing_zeros()));
                    }
                    mask = u64::MAX;
                }
                None
            }
        }
    }

    /// The greatest up to `low`.
    fn last(&self, low: u16) -> Option<u16> {
        match self {
            Self::Few(lows) => {
                let behind = lows.partition_point(|known| *known <= low);
                lows.get(behind.checked_sub(1)?).copied()
            }
            Self::Many(words) => {
                let mut mask = u64::MAX >> (63 - (low & 63));
                let words = (0u16..).zip(words.iter()).take(usize::from(low >> 6) + 1);
                for (at, word) in words.collect::<Vec<_>>().into_iter().rev() {
                    let left = word & mask;
                    if left != 0 {
                        return Some(at << 6 | low_bits(63 - left.leading_zeros()));
                    }
                    mask = u64::MAX;
                }
                None
            }
        }
    }
}

/// Of a place in a word.
fn low_bits(place: u32) -> u16 {
    u16::try_from(place).unwrap_or_default()
}

fn set(words: &mut [u64; WORDS], low: u16, on: bool) {
    if let Some(word) = words.get_mut(usize::from(low >> 6)) {
        let bit = 1 << (low & 63);
        if on {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }
}

impl NumberSet {
    pub(super) fn insert(&mut self, number: u64) {
        let (high, low) = split(number);
        let stretch = self.stretches.entry(high).or_insert_with(|| {
            self.bytes += STRETCH_BYTES;
            Arc::new(Stretch::Few(Vec::new()))
        });
        if !stretch.contains(low) {
            let before = stretch.bytes();
            let stretch = Arc::make_mut(stretch);
            stretch.insert(low);
            self.bytes = self.bytes.saturating_sub(before) + stretch.bytes();
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        let (high, low) = split(number);
        let Some(stretch) = self
            .stretches
            .get_mut(&high)
            .filter(|stretch| stretch.contains(low))
        else {
            return;
        };
        let before = stretch.bytes();
        let stretch = Arc::make_mut(stretch);
        let emptied = stretch.remove(low);
        self.bytes = self.bytes.saturating_sub(before);
        if emptied {
            self.stretches.remove(&high);
        } else {
            self.bytes += stretch.bytes();
        }
    }

    /// The least number in a range.
    pub(super) fn first(&self, range: &Range<u64>) -> Option<u64> {
        let (from, low) = split(range.start);
        let found = self.stretches.range(from..).find_map(|(high, stretch)| {
            let first = stretch.first(if *high == from { low } else { 0 })?;
            Some(high << LOW_BITS | u64::from(first))
        });
        found.filter(|number| range.contains(number))
    }

    /// The greatest number in a range.
    pub(super) fn last(&self, range: &Range<u64>) -> Option<u64> {
        let (to, low) = split(range.end.checked_sub(1)?);
        let found = self.stretches.range(..=to).rev().find_map(|(high, stretch)| {
            let last = stretch.last(if *high == to { low } else { u16::MAX })?;
            Some(high << LOW_BITS | u64::from(last))
        });
        found.filter(|number| range.contains(number))
    }

    /// About what it takes, if nothing is shared.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Close together, far apart, and around the ends of words and stretches.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0u64..300,
            2 => 65_500u64..65_600,
            1 => any::<u64>(),
            1 => (0u32..64).prop_map(|shift| u64::MAX >> shift),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_set(
            steps in prop::collection::vec((any::<bool>(), number()), 0..80),
            stretch in prop::option::of(0u64..2),
            ranges in prop::collection::vec((number(), number()), 8),
        ) {
            let (mut set, mut model) = (NumberSet::default(), BTreeSet::new());
            // So many that they are kept as bits.
            for number in stretch.into_iter().flat_map(|high| (0..14_000).map(move |low| (high << 16) | (low * 3))) {
                set.insert(number);
                model.insert(number);
            }
            let (before, as_it_was) = (set.clone(), model.clone());
            for (add, number) in steps {
                if add {
                    set.insert(number);
                    model.insert(number);
                } else {
                    set.remove(number);
                    model.remove(&number);
                }
            }
            for (set, model) in [(set, model), (before, as_it_was)] {
                let whole = set.stretches.values().map(|stretch| stretch.bytes()).sum::<usize>();
                prop_assert_eq!(set.bytes(), whole);
                for (a, b) in &ranges {
                    let range = *a.min(b)..*a.max(b);
                    let mut wanted = model.range(range.clone());
                    prop_assert_eq!(set.first(&range), wanted.next().copied());
                    let mut wanted = model.range(range.clone());
                    prop_assert_eq!(set.last(&range), wanted.next_back().copied());
                }
            }
        }
    }

    #[test]
    fn a_million_numbers_take_little() {
        let mut set = NumberSet::default();
        for number in 0..1_000_000 {
            set.insert(number);
        }
        assert!(set.bytes() < 256 * 1024, "{}", set.bytes());
        let mut sparse = NumberSet::default();
        for number in 0..10_000 {
            sparse.insert(number * 100);
        }
        assert!(sparse.bytes() < 64 * 1024, "{}", sparse.bytes());
    }
}
