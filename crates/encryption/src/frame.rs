//! One frame: AES-256-GCM under the content's own key. And how long encrypted content is.
//!
//! Invariant: the nonce is the frame's number and whether it is the last one, so a frame decrypts at its own
//! place alone, and only where the content ends with it, if it is the last.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{KeyType, Prk};
use bytes::BytesMut;
use content::frame::FRAME_BYTES;
use zeroize::Zeroizing;

/// Length of every key.
pub(crate) const KEY_BYTES: usize = 32;

/// Length of a frame's tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of content in a frame, but for the last: with its tag it fills one frame of the store below.
pub(crate) const PLAIN_FRAME_BYTES: usize = FRAME_BYTES - TAG_BYTES;

/// What a key is computed for. Others can't be computed of it, nor it of others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// A content in the content store.
    Content,
    /// What lies in the ledger: a small content, a piece of a page blob.
    Small,
    /// A wrapped account key.
    Wrapping,
    /// The name of a key-encryption key.
    Name,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Content => b"stabbur content 1",
            Self::Small => b"stabbur small content 1",
            Self::Wrapping => b"stabbur account key 1",
            Self::Name => b"stabbur key name 1",
        }
    }
}

/// A length for HKDF.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Computes bytes of a secret (RFC 5869, section 2.3: the secret is uniformly random, so nothing is extracted).
pub(crate) fn derive(secret: &Prk, purpose: Purpose, id: &[u8], out: &mut [u8]) -> Result<(), Unspecified> {
    let info = [purpose.label(), id];
    secret.expand(&info, Length(out.len()))?.fill(out)
}

/// The key of one content, or of one thing in the ledger.
pub(crate) struct FrameKey(LessSafeKey);

impl FrameKey {
    pub(crate) fn derive(secret: &Prk, purpose: Purpose, id: &[u8; 16]) -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        derive(secret, purpose, id, bytes.as_mut_slice())?;
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts a frame where it lies, and puts its tag behind it.
    pub(crate) fn encrypt(
        &self,
        (number, is_last): (u64, bool),
        bound: &[u8],
        frame: &mut BytesMut,
    ) -> Result<(), Unspecified> {
        let tag =
            self.0
                .seal_in_place_separate_tag(nonce(number, is_last), Aad::from(bound), frame.as_mut())?;
        frame.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts a frame where it lies, and takes its tag off.
    pub(crate) fn decrypt(
        &self,
        (number, is_last): (u64, bool),
        bound: &[u8],
        frame: &mut BytesMut,
    ) -> Result<(), Unspecified> {
        let length = self
            .0
            .open_in_place(nonce(number, is_last), Aad::from(bound), frame.as_mut())?
            .len();
        frame.truncate(length);
        Ok(())
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    Nonce::assume_unique_for_key([u8::from(is_last), 0, 0, 0, a, b, c, d, e, f, g, h])
}

/// How long a content of `plain` bytes is when it is encrypted. Without a byte it still has a frame.
#[must_use]
pub fn encrypted_bytes(plain: u64) -> u64 {
    let frames = plain.div_ceil(PLAIN_FRAME_BYTES as u64).max(1);
    plain.saturating_add(frames.saturating_mul(TAG_BYTES as u64))
}

/// How long the content is that takes `encrypted` bytes; `None` if none does.
#[must_use]
pub fn plain_bytes(encrypted: u64) -> Option<u64> {
    let frames = encrypted.div_ceil(FRAME_BYTES as u64);
    let plain = encrypted.checked_sub(frames.checked_mul(TAG_BYTES as u64)?)?;
    (encrypted_bytes(plain) == encrypted).then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aws_lc_rs::hkdf::HKDF_SHA256;
    use proptest::prelude::*;

    use super::*;

    fn secret(byte: u8) -> Prk {
        Prk::new_less_safe(HKDF_SHA256, &[byte; KEY_BYTES])
    }

    #[test]
    fn no_two_frames_have_the_same_nonce() {
        let mut seen = HashSet::new();
        for number in (0..1_000).chain([u64::from(u32::MAX), 1 << 40, u64::MAX]) {
            for is_last in [false, true] {
                assert!(
                    seen.insert(*nonce(number, is_last).as_ref()),
                    "{number} {is_last}"
                );
            }
        }
    }

    #[test]
    fn keys_differ_by_secret_purpose_and_id() {
        let mut seen = HashSet::new();
        for byte in [1, 2] {
            for purpose in [Purpose::Content, Purpose::Small, Purpose::Wrapping, Purpose::Name] {
                for id in [[3; 16], [4; 16]] {
                    let mut key = [0; KEY_BYTES];
                    derive(&secret(byte), purpose, &id, &mut key).unwrap();
                    assert!(seen.insert(key));
                }
            }
        }
    }

    /// Stored content depends on it. The bytes are one HMAC-SHA256 over label, id and 01 (RFC 5869, section
    /// 2.3), computed by another implementation, Python's.
    #[test]
    fn computed_keys_stay_what_they_are() {
        let mut key = [0; KEY_BYTES];
        derive(&secret(1), Purpose::Content, &[2; 16], &mut key).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPANDED);
    }

    const EXPANDED: &str = "cf420fa520baa88ee793179cb9ab1f1b090241ce82124a090199314653d0d7f5";

    #[test]
    fn a_frame_decrypts_at_its_own_place_alone() {
        let key = FrameKey::derive(&secret(1), Purpose::Content, &[2; 16]).unwrap();
        let encrypted = |place| {
            let mut frame = BytesMut::from(&b"content"[..]);
            key.encrypt(place, b"", &mut frame).unwrap();
            frame
        };
        let frame = encrypted((3, false));
        assert_eq!(frame.len(), 7 + TAG_BYTES);
        let tried = |place, bound: &[u8], mut frame: BytesMut| {
            let outcome = key.decrypt(place, bound, &mut frame);
            outcome.ok().map(|()| frame)
        };
        assert_eq!(tried((3, false), b"", frame.clone()).unwrap(), &b"content"[..]);
        assert!(tried((3, true), b"", frame.clone()).is_none());
        assert!(tried((4, false), b"", frame.clone()).is_none());
        assert!(tried((3, false), b"x", frame.clone()).is_none());
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(tried((3, false), b"", flipped).is_none(), "bit {bit}");
        }
        for length in 0..frame.len() {
            assert!(tried((3, false), b"", frame.clone().split_to(length)).is_none());
        }
    }

    proptest! {
        #[test]
        fn lengths_belong_together(plain in 0_u64..1 << 50) {
            prop_assert_eq!(plain_bytes(encrypted_bytes(plain)), Some(plain));
        }
    }

    #[test]
    fn lengths_around_frames() {
        let frame = FRAME_BYTES as u64;
        for plain in (0..40)
            .chain(frame - 40..frame + 40)
            .chain(7 * frame - 200..7 * frame + 40)
        {
            assert_eq!(plain_bytes(encrypted_bytes(plain)), Some(plain));
        }
        // No frame at all; a tag cut short; a tag without bytes behind other frames.
        for none in [0, 15, frame + 1, frame + 16, 3 * frame + 16] {
            assert_eq!(plain_bytes(none), None, "{none}");
        }
        assert_eq!(encrypted_bytes(PLAIN_FRAME_BYTES as u64), frame);
    }
}
