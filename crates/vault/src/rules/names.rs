//! Names and versions of objects, and the kinds that there are.

use ledger::Random;

use crate::limits::NAME_CHARACTERS_MAX;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A secret.
    Secret = 1,
    /// A key.
    Key = 2,
    /// A certificate.
    Certificate = 3,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Secret, Self::Key, Self::Certificate];

    /// The collection's name in paths.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Key => "keys",
            Self::Certificate => "certificates",
        }
    }

    /// What errors and audit call it.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Key => "Key",
            Self::Certificate => "Certificate",
        }
    }

    /// The kind of a collection, compared without case.
    #[must_use]
    pub fn of_collection(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.collection().eq_ignore_ascii_case(text))
    }

    /// The kind of its number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Whether an object may be called so: `^[0-9a-zA-Z-]+$`, 1 to 127 characters.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_CHARACTERS_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A version: 16 random bytes, 32 hexadecimal digits on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

impl Version {
    /// A new one.
    pub fn random(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            for digit in digits {
                let digit = char::from(*digit).to_digit(16)?;
                *byte = (*byte << 4) | u8::try_from(digit).ok()?;
            }
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn versions_are_read_as_they_were_written(bytes: [u8; 16]) {
            let version = Version(bytes);
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version));
            prop_assert_eq!(Version::parse(&version.to_string().to_uppercase()), Some(version));
        }

        #[test]
        fn nothing_else_is_a_version(text: String) {
            prop_assert!(Version::parse(&text).is_none() || text.len() == 32);
        }
    }

    #[test]
    fn names_are_letters_digits_and_dashes() {
        for good in ["a", "A-1", &"x".repeat(127), "--"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a_b", "a.b", "å", "a/b", "a b", &"x".repeat(128)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(Kind::of_collection("SECRETS"), Some(Kind::Secret));
        assert_eq!(Kind::of_collection("secret"), None);
    }
}
