//! Passwords as they are kept: their PBKDF2 hash (RFC 8018), never themselves.
//!
//! Invariant: a hash is compared in constant time, and whoever asks for an unknown name waits as long as for a
//! known one ([`PasswordHash::nobody`]).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ledger::Random;

/// Rounds of a new hash (OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256).
const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};

/// Fewest rounds that a kept hash may have: SHA-256's recommendation of 2017.
const ROUNDS_MIN: u32 = 100_000;

/// Most: a comparison must not take minutes.
const ROUNDS_MAX: u32 = 10_000_000;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const NAME: &str = "pbkdf2-sha256";

/// Longest password that is looked at: a token may be given as one.
pub const PASSWORD_BYTES_MAX: usize = 16 * 1024;

/// A password's hash: `pbkdf2-sha256$rounds$salt$hash`, salt and hash in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl fmt::Display for PasswordHash {
    /// As it is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.hash),
        );
        write!(f, "{NAME}${}${salt}${hash}", self.rounds)
    }
}

impl PasswordHash {
    /// Hashes a new password; takes about a tenth of a second.
    #[must_use]
    pub fn make(password: &[u8], random: &dyn Random) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        random.fill(&mut salt);
        Self::derive(password, salt, ROUNDS)
    }

    fn derive(password: &[u8], salt: Vec<u8>, rounds: NonZeroU32) -> Self {
        let mut hash = vec![0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut hash);
        Self { rounds, salt, hash }
    }

    /// Reads what [`fmt::Display`] writes; `None` if it isn't that, or its rounds are out of bounds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('$');
        if parts.next()? != NAME {
            return None;
        }
        let rounds: u32 = parts.next()?.parse().ok()?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let sound = parts.next().is_none()
            && (ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds)
            && salt.len() >= SALT_BYTES
            && hash.len() == HASH_BYTES;
        let rounds = NonZeroU32::new(rounds).filter(|_| sound)?;
        Some(Self { rounds, salt, hash })
    }

    /// A hash that no password has: to compare with where there is no name.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            rounds: ROUNDS,
            salt: vec![0; SALT_BYTES],
            hash: vec![0; HASH_BYTES],
        }
    }

    /// Whether `password` is the one; takes about a tenth of a second of a processor.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        password.len() <= PASSWORD_BYTES_MAX
            && pbkdf2::verify(
                pbkdf2::PBKDF2_HMAC_SHA256,
                self.rounds,
                &self.salt,
                password,
                &self.hash,
            )
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use ledger::random::SeededRandom;

    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let random = SeededRandom::new(3);
        let hash = PasswordHash::make(b"correct horse", &random);
        let text = hash.to_string();
        assert!(text.starts_with("pbkdf2-sha256$600000$") && !text.contains("horse"));
        let kept = PasswordHash::parse(&format!(" {text}\n")).unwrap();
        assert_eq!(kept, hash);
        assert!(kept.verify(b"correct horse") && !kept.verify(b"correct horsf") && !kept.verify(b""));
        assert_ne!(PasswordHash::make(b"correct horse", &random), hash);
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
        assert!(!PasswordHash::nobody().verify(b""));
    }

    #[test]
    fn the_function_is_the_standard_s() {
        // RFC 7914, section 11: PBKDF2-HMAC-SHA256 of "Password" and "NaCl", 80,000 rounds, its first half.
        let rounds = NonZeroU32::new(80_000).unwrap();
        let made = PasswordHash::derive(b"Password", b"NaCl".to_vec(), rounds);
        let expected = [
            0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21, 0x83, 0x0c, 0xee, 0x5e, 0xf2, 0x27, 0x01, 0xf9,
            0x64, 0x1a, 0x44, 0x18, 0xd0, 0x4c, 0x04, 0x14, 0xae, 0xff, 0x08, 0x87, 0x6b, 0x34, 0xab, 0x56,
        ];
        assert_eq!(made.hash, expected);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let salt = STANDARD_NO_PAD.encode([1; 16]);
        let hash = STANDARD_NO_PAD.encode([2; 32]);
        assert!(PasswordHash::parse(&format!("pbkdf2-sha256$600000${salt}${hash}")).is_some());
        for bad in [
            String::new(),
            "secret".to_owned(),
            format!("pbkdf2-sha256$1${salt}${hash}"),
            format!("pbkdf2-sha256$4000000000${salt}${hash}"),
            format!("pbkdf2-sha1$600000${salt}${hash}"),
            format!("pbkdf2-sha256$600000${salt}${salt}"),
            format!("pbkdf2-sha256$600000$AA${hash}"),
            format!("pbkdf2-sha256$600000${salt}${hash}$"),
        ] {
            assert_eq!(PasswordHash::parse(&bad), None, "{bad}");
        }
    }
}
