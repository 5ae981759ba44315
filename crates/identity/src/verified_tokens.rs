//! Tokens whose signature was checked, so that it isn't checked again with each request: a client shows the same one for
//! minutes or hours.
//!
//! Invariant: what is remembered is that a key of one very set signed a token. Under another set, read anew, the token
//! is checked anew, so a key that was replaced opens nothing; and a token's lifetime is never remembered.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::jwk::JwkSet;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Claims;

/// Bytes of tokens that are remembered: their claims take about twice as much.
const TOKENS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Tokens that are expected; Altinn's have about 1.5 KiB.
const TOKENS_EXPECTED: usize = 10_000;

/// What a token is remembered by: nobody makes another one of the same digest.
type Digest = [u8; 32];

#[derive(Clone)]
struct Verified {
    keys: Arc<JwkSet>,
    claims: Claims,
    token_bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Digest, Verified> for ByBytes {
    fn weight(&self, _: &Digest, verified: &Verified) -> u64 {
        // Neither may be free, or a flood of short tokens would have no end.
        verified.token_bytes.max(512)
    }
}

/// The newest and most used of them.
pub(crate) struct VerifiedTokens(Cache<Digest, Verified, ByBytes>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::with_weighter(TOKENS_EXPECTED, TOKENS_BYTES_MAX, ByBytes))
    }
}

fn digest_of(token: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

impl VerifiedTokens {
    /// The claims of a token that a key of this very set has signed, as far as it is known.
    pub(crate) fn find(&self, token: &str, keys: &Arc<JwkSet>) -> Option<Claims> {
        let verified = self.0.get(&digest_of(token))?;
        Arc::ptr_eq(&verified.keys, keys).then_some(verified.claims)
    }

    /// Remembers that a key of this set signed a token.
    pub(crate) fn keep(&self, token: &str, keys: Arc<JwkSet>, claims: Claims) {
        let token_bytes = token.len() as u64;
        let verified = Verified {
            keys,
            claims,
            token_bytes,
        };
        self.0.insert(digest_of(token), verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_under_the_set_that_it_was_verified_with_alone() {
        let tokens = VerifiedTokens::default();
        let set = || Arc::new(JwkSet { keys: Vec::new() });
        let (keys, others) = (set(), set());
        tokens.keep("a.b.c", keys.clone(), Claims::default());
        assert_eq!(tokens.find("a.b.c", &keys), Some(Claims::default()));
        assert_eq!(tokens.find("a.b.c", &others), None);
        assert_eq!(tokens.find("a.b.d", &keys), None);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let tokens = VerifiedTokens::default();
        let keys = Arc::new(JwkSet { keys: Vec::new() });
        for number in 0..3 * TOKENS_BYTES_MAX / 512 {
            tokens.keep(&number.to_string(), keys.clone(), Claims::default());
        }
        assert!(tokens.0.weight() <= TOKENS_BYTES_MAX);
    }
}
