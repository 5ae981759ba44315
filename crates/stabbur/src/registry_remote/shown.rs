//! What a registry was shown last, by scope: bounded, and no longer than it is good.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::header::HeaderValue;

/// Most scopes of which that is remembered: clients of a cache name repositories.
const SCOPES_MAX: usize = 256;
/// How long a token is good whose answer doesn't say (distribution, "Token Authentication Specification").
const SECONDS_DEFAULT: u64 = 60;
/// Longest that one is used, whatever is said.
const SECONDS_MAX: u64 = 3_600;
/// So much earlier another one is asked for.
const EARLIER_SECONDS: u64 = 5;

/// What is shown. Times are a monotonic clock's.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Login,
    Token { value: HeaderValue, until: Duration },
}

impl Shown {
    /// A token that is good for `expires_in` seconds from `now` on.
    pub(super) fn token(value: HeaderValue, expires_in: Option<u64>, now: Duration) -> Self {
        let seconds = expires_in.unwrap_or(SECONDS_DEFAULT).min(SECONDS_MAX);
        Self::Token {
            value,
            until: now + Duration::from_secs(seconds.saturating_sub(EARLIER_SECONDS)),
        }
    }

    fn is_good(&self, now: Duration) -> bool {
        match self {
            Self::Login => true,
            Self::Token { until, .. } => *until > now,
        }
    }
}

/// What was shown, by scope.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<String, Shown>);

impl Known {
    pub(super) fn get(&self, scope: &str, now: Duration) -> Option<Shown> {
        self.0.get(scope).filter(|shown| shown.is_good(now)).cloned()
    }

    pub(super) fn put(&mut self, scope: &str, shown: Shown, now: Duration) {
        if self.0.len() >= SCOPES_MAX && !self.0.contains_key(scope) {
            self.0.retain(|_, shown| shown.is_good(now));
        }
        if self.0.len() >= SCOPES_MAX && !self.0.contains_key(scope) {
            // Any of them: it is asked for again.
            if let Some(other) = self.0.keys().next().cloned() {
                self.0.remove(&other);
            }
        }
        self.0.insert(scope.to_owned(), shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end_and_are_bounded() {
        let now = Duration::from_secs(1_000);
        let token = |expires_in| Shown::token(HeaderValue::from_static("Bearer x"), expires_in, now);
        let mut known = Known::default();
        known.put("a", token(Some(300)), now);
        known.put("b", token(None), now);
        known.put("c", token(Some(0)), now);
        known.put("d", token(Some(u64::MAX)), now);
        let there = |known: &Known, seconds| {
            let at = now + Duration::from_secs(seconds);
            ["a", "b", "c", "d"].map(|scope| known.get(scope, at).is_some())
        };
        assert_eq!(there(&known, 0), [true, true, false, true]);
        assert_eq!(there(&known, 60), [true, false, false, true]);
        assert_eq!(there(&known, 300), [false, false, false, true]);
        assert_eq!(there(&known, 3_600), [false; 4]);
        for number in 0..10 * SCOPES_MAX {
            known.put(&number.to_string(), token(Some(300)), now);
            assert!(known.0.len() <= SCOPES_MAX);
            assert!(known.get(&number.to_string(), now).is_some());
        }
    }
}
