//! Faults by a seed and a rate.

use std::sync::Arc;

use crate::proxy::{Fault, Plan};

/// How often things break, and how.
#[derive(Debug, Clone, Copy)]
pub struct SeededFaults {
    /// The same seed breaks the same requests, by their number, in the same way.
    pub seed: u64,
    /// How many of a hundred requests are broken.
    pub rate_percent: u64,
    /// Longest that a slow request is held up.
    pub slow_milliseconds_max: u64,
}

impl SeededFaults {
    /// Each kind of fault is as frequent as any other. What a Stabbur asks for at its start is
    /// spared: it would be right to stop there, and then there is nothing to test.
    #[must_use]
    pub fn plan(self) -> Plan {
        Arc::new(move |number, line| {
            let draw = mixed(self.seed << 32 | number);
            if draw % 100 >= self.rate_percent || line.contains("/FORMAT ") {
                return Fault::None;
            }
            let chance = mixed(draw);
            let place = usize::try_from(chance >> 8).unwrap_or(usize::MAX);
            match chance % 5 {
                0 => Fault::Answer(500),
                1 => Fault::Answer(503),
                2 => Fault::Slow((chance >> 8) % self.slow_milliseconds_max.max(1) + 1),
                3 => Fault::CutRequest(place),
                _ => Fault::CutAnswer(place),
            }
        })
    }
}

/// A number in no order: a well-mixed function of another one.
#[must_use]
pub fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_breaks_as_many_as_its_rate_says_and_all_kinds_alike() {
        let faults = SeededFaults {
            seed: 7,
            rate_percent: 40,
            slow_milliseconds_max: 100,
        };
        let (plan, again) = (faults.plan(), faults.plan());
        let mut kinds = std::collections::BTreeMap::<_, u32>::new();
        for number in 0..10_000 {
            let fault = plan(number, "GET /contents/a HTTP/1.1");
            assert_eq!(fault, again(number, "GET /contents/b HTTP/1.1"));
            if let Fault::Slow(milliseconds) = fault {
                assert!((1..=100).contains(&milliseconds));
            }
            *kinds.entry(fault.kind()).or_default() += 1;
            assert_eq!(plan(number, "GET /contents/here/FORMAT HTTP/1.1"), Fault::None);
        }
        let broken = kinds.iter().filter_map(|(kind, number)| kind.map(|_| *number));
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        assert!(
            broken.clone().all(|number| (700..900).contains(&number)),
            "{kinds:?}"
        );
    }
}
