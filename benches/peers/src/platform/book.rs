//! How long each kind of call took.

use std::time::Duration;

use crate::sample::Sample;

/// Durations by call, in the order in which the calls came first.
#[derive(Default)]
pub struct Book(Vec<(&'static str, Vec<Duration>)>);

impl Book {
    /// Notes a call.
    pub fn note(&mut self, call: &'static str, took: Duration) {
        match self.0.iter_mut().find(|(name, _)| *name == call) {
            Some((_, all)) => all.push(took),
            None => self.0.push((call, vec![took])),
        }
    }

    /// Takes over what another one noted.
    pub fn merge(&mut self, other: Self) {
        for (call, durations) in other.0 {
            match self.0.iter_mut().find(|(name, _)| *name == call) {
                Some((_, all)) => all.extend(durations),
                None => self.0.push((call, durations)),
            }
        }
    }

    /// All calls' durations.
    pub fn all(&self) -> Vec<Duration> {
        self.0.iter().flat_map(|(_, all)| all.iter().copied()).collect()
    }

    /// Prints a sample of each call. Processor time isn't known of single calls.
    pub fn print(self, elapsed: Duration) {
        for (call, latencies) in self.0 {
            Sample {
                latencies,
                elapsed,
                ..Sample::new(call)
            }
            .print();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_keep_their_order_and_add_up() {
        let second = Duration::from_secs(1);
        let (mut one, mut two) = (Book::default(), Book::default());
        one.note("b", second);
        one.note("a", second);
        two.note("a", 2 * second);
        two.note("c", second);
        one.merge(two);
        let names: Vec<&str> = one.0.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(one.0[1].1, [second, 2 * second]);
        assert_eq!(one.all().len(), 4);
    }
}
