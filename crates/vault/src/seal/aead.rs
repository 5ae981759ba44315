//! AES-256-GCM under keys that are used once, and how those are computed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::{Zeroize as _, Zeroizing};

use super::SealError;

/// Bytes of every key here.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of a sealing's id.
pub(crate) const ID_BYTES: usize = 16;

/// Bytes that encryption adds.
pub(crate) const TAG_BYTES: usize = 16;

/// A key, wiped when it is dropped.
pub(crate) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Computes a key or a name from `key` (HKDF-SHA256, RFC 5869); `label` says what for.
pub(crate) fn derive(key: &[u8; KEY_BYTES], label: &str, id: &[u8], out: &mut [u8]) -> Result<(), SealError> {
    let info = [label.as_bytes(), &[0], id];
    Prk::new_less_safe(HKDF_SHA256, key)
        .expand(&info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| SealError::Library("computing a key"))
}

/// Encrypts in place, and puts the tag behind. The key computed from `id` must encrypt nothing else.
pub(crate) fn encrypt(
    key: &[u8; KEY_BYTES],
    label: &str,
    id: &[u8; ID_BYTES],
    bound: &[u8],
    in_out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let sealed = once(key, label, id).and_then(|once| {
        // So that the plain text isn't left behind where it grew.
        if in_out.capacity() < in_out.len() + TAG_BYTES {
            let mut grown = Vec::with_capacity(in_out.len() + TAG_BYTES);
            grown.extend_from_slice(in_out);
            in_out.zeroize();
            *in_out = grown;
        }
        once.seal_in_place_append_tag(nonce(), Aad::from(bound), in_out)
            .map_err(|_| SealError::Library("encrypting"))
    });
    if sealed.is_err() {
        in_out.zeroize();
    }
    sealed
}

/// Decrypts in place what [`encrypt`] made, and cuts the tag off.
pub(crate) fn decrypt(
    key: &[u8; KEY_BYTES],
    label: &str,
    id: &[u8; ID_BYTES],
    bound: &[u8],
    in_out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let length = once(key, label, id)?
        .open_in_place(nonce(), Aad::from(bound), in_out)
        .map_err(|_| SealError::Damaged)?
        .len();
    in_out.truncate(length);
    Ok(())
}

fn once(key: &[u8; KEY_BYTES], label: &str, id: &[u8; ID_BYTES]) -> Result<LessSafeKey, SealError> {
    let mut bytes: KeyBytes = Zeroizing::new([0; KEY_BYTES]);
    derive(key, label, id, bytes.as_mut_slice())?;
    UnboundKey::new(&AES_256_GCM, bytes.as_slice())
        .map(LessSafeKey::new)
        .map_err(|_| SealError::Library("taking a key"))
}

/// Always the same: a key here encrypts one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
