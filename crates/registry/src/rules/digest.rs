//! Digests (image-spec, descriptor.md "Digests") and the hashing that yields them.
//!
//! The state of a hash can be saved and taken up again, so an upload that goes on after a restart
//! isn't read from its beginning.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered algorithm that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256, which everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name before a digest's colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A well-formed digest of a served algorithm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest {
    text: String,
    algorithm: Algorithm,
}

impl Digest {
    /// Reads `algorithm:hex`, lower case; `None` if it isn't that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        let algorithm = Algorithm::parse(name)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == algorithm.digits() && hex.bytes().all(is_hex)).then(|| Self {
            text: text.to_owned(),
            algorithm,
        })
    }

    /// Of bytes in memory.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// As clients write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The tag under which clients of registries without referrers keep them (distribution-spec,
    /// "Referrers Tag Schema").
    #[must_use]
    pub fn fallback_tag(&self) -> String {
        let hex = self.text.split_once(':').map_or("", |(_, hex)| hex);
        let end = hex.len().min(64);
        format!("{}-{}", self.algorithm.name(), hex.get(..end).unwrap_or_default())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no digest"))
    }
}

/// A hash in progress.
#[derive(Clone)]
pub enum Hasher {
    /// See [`Algorithm::Sha256`].
    Sha256(Sha256),
    /// See [`Algorithm::Sha512`].
    Sha512(Sha512),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm().name())
    }
}

impl Hasher {
    /// Over nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes `bytes` in.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hash = match self {
            Self::Sha256(state) => state.finalize().to_vec(),
            Self::Sha512(state) => state.finalize().to_vec(),
        };
        Digest {
            text: format!("{}:{}", algorithm.name(), hex(&hash)),
            algorithm,
        }
    }

    /// The state, for [`Hasher::restore`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha256(state) => state.serialize().to_vec(),
            Self::Sha512(state) => state.serialize().to_vec(),
        }
    }

    /// Goes on from a saved state; `None` if it is none.
    #[must_use]
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => {
                let state = SerializedState::<Sha256>::try_from(saved).ok()?;
                Sha256::deserialize(&state).ok().map(Self::Sha256)
            }
            Algorithm::Sha512 => {
                let state = SerializedState::<Sha512>::try_from(saved).ok()?;
                Sha512::deserialize(&state).ok().map(Self::Sha512)
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_well_formed_digests_are_read() {
        let sha256 = format!("sha256:{}", "a".repeat(64));
        let sha512 = format!("sha512:{}", "0".repeat(128));
        for good in [&sha256, &sha512] {
            assert_eq!(Digest::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            "sha512:abc",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &sha256.to_uppercase(),
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}g", "a".repeat(63)),
            &format!("{sha256}a"),
            &format!("sha512:{}", "a".repeat(64)),
            &format!("blake3:{}", "a".repeat(64)),
        ] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(Algorithm::Sha256, b"").as_str(), empty);
        let tag = Digest::parse(empty).unwrap().fallback_tag();
        assert_eq!(tag, empty.replace(':', "-"));
        let tag = Digest::parse(&sha512).unwrap().fallback_tag();
        assert_eq!(tag, format!("sha512-{}", "0".repeat(64)));
    }

    proptest! {
        #[test]
        fn a_hash_goes_on_from_its_saved_state(
            bytes in proptest::collection::vec(any::<u8>(), 0..700), cut in 0..700_usize
        ) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let cut = cut.min(bytes.len());
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..cut]);
                let mut second = Hasher::restore(algorithm, &first.save()).unwrap();
                second.update(&bytes[cut..]);
                prop_assert_eq!(second.finish(), Digest::of(algorithm, &bytes));
            }
        }

        #[test]
        fn what_is_no_state_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                if let Some(hasher) = Hasher::restore(algorithm, &bytes) {
                    prop_assert_eq!(hasher.save().len(), bytes.len());
                }
            }
        }
    }
}
