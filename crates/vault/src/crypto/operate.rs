//! One operation with one key.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::rsa::{
    self, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::algorithm::{Encryption, Signing};
use super::{CryptoError, KeySpec};

fn library<E>(doing: &'static str) -> impl FnOnce(E) -> CryptoError {
    move |_| CryptoError::Library(doing)
}

fn digest(way: Signing, bytes: &[u8]) -> Result<Digest, CryptoError> {
    let hash = way.hash();
    Digest::import_less_safe(bytes, hash).map_err(|_| {
        CryptoError::bad(format!(
            "The digest has {} bytes; this algorithm signs digests of {} bytes.",
            bytes.len(),
            hash.output_len()
        ))
    })
}

fn refuse_misfit(spec: KeySpec, way: Signing) -> Result<(), CryptoError> {
    let fits = match (spec, way) {
        (KeySpec::Rsa(_), Signing::Rs(_) | Signing::Ps(_)) => true,
        (KeySpec::Ec(curve), Signing::Es(wanted)) => curve == wanted,
        _ => false,
    };
    fits.then_some(())
        .ok_or_else(|| CryptoError::bad("Key and signing algorithm are incompatible."))
}

/// Signs a digest. It isn't hashed again.
///
/// # Errors
/// [`CryptoError`].
pub fn sign(spec: KeySpec, private: &[u8], way: Signing, value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    refuse_misfit(spec, way)?;
    let digest = digest(way, value)?;
    match (spec, way.rsa()) {
        (KeySpec::Rsa(_), Some((encoding, _))) => {
            let pair = rsa::KeyPair::from_pkcs8(private).map_err(library("opening a key"))?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign_digest(encoding, &digest, &mut signature)
                .map_err(library("signing"))?;
            Ok(signature)
        }
        (KeySpec::Ec(curve), _) => {
            let pair =
                EcdsaKeyPair::from_pkcs8(curve.signing(), private).map_err(library("opening a key"))?;
            let signature = pair.sign_digest(&digest).map_err(library("signing"))?;
            Ok(signature.as_ref().to_vec())
        }
        _ => Err(CryptoError::bad("Key and signing algorithm are incompatible.")),
    }
}

/// Whether `signature` is one of the digest.
///
/// # Errors
/// [`CryptoError`]; a wrong signature is none.
pub fn verify(
    spec: KeySpec,
    private: &[u8],
    way: Signing,
    value: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoError> {
    refuse_misfit(spec, way)?;
    let digest = digest(way, value)?;
    match (spec, way.rsa()) {
        (KeySpec::Rsa(_), Some((_, parameters))) => {
            let pair = rsa::KeyPair::from_pkcs8(private).map_err(library("opening a key"))?;
            let public = UnparsedPublicKey::new(parameters, pair.public_key().as_ref());
            Ok(public.verify_digest(&digest, signature).is_ok())
        }
        (KeySpec::Ec(curve), _) => {
            let pair =
                EcdsaKeyPair::from_pkcs8(curve.signing(), private).map_err(library("opening a key"))?;
            let public = UnparsedPublicKey::new(curve.verifying(), pair.public_key().as_ref());
            Ok(public.verify_digest(&digest, signature).is_ok())
        }
        _ => Err(CryptoError::bad("Key and signing algorithm are incompatible.")),
    }
}

fn decrypting(spec: KeySpec, private: &[u8]) -> Result<PrivateDecryptingKey, CryptoError> {
    if !matches!(spec, KeySpec::Rsa(_)) {
        return Err(CryptoError::bad("Key and encryption algorithm are incompatible."));
    }
    PrivateDecryptingKey::from_pkcs8(private).map_err(library("opening a key"))
}

/// Encrypts one block.
///
/// # Errors
/// [`CryptoError`].
pub fn encrypt(spec: KeySpec, private: &[u8], way: Encryption, value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let public = decrypting(spec, private)?.public_key();
    let too_long = |max: usize| {
        (value.len() > max)
            .then(|| {
                CryptoError::bad(format!(
                    "The value has {} bytes; at most {max} fit in.",
                    value.len()
                ))
            })
            .map_or(Ok(()), Err)
    };
    let mut out = vec![0; public.key_size_bytes()];
    let length = match way.oaep() {
        Some(oaep) => {
            let key = OaepPublicEncryptingKey::new(public).map_err(library("opening a key"))?;
            too_long(key.max_plaintext_size(oaep))?;
            key.encrypt(oaep, value, &mut out, None)
                .map_err(library("encrypting"))?
                .len()
        }
        None => {
            let key = Pkcs1PublicEncryptingKey::new(public).map_err(library("opening a key"))?;
            too_long(key.max_plaintext_size())?;
            key.encrypt(value, &mut out).map_err(library("encrypting"))?.len()
        }
    };
    out.truncate(length);
    Ok(out)
}

/// Decrypts one block.
///
/// # Errors
/// [`CryptoError::Bad`], the same for whatever is wrong with the block.
pub fn decrypt(
    spec: KeySpec,
    private: &[u8],
    way: Encryption,
    value: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let key = decrypting(spec, private)?;
    let mut out = Zeroizing::new(vec![0; key.key_size_bytes()]);
    let wrong = |_| CryptoError::bad("The value can't be decrypted with this key and algorithm.");
    let length = match way.oaep() {
        Some(oaep) => {
            let key = OaepPrivateDecryptingKey::new(key).map_err(library("opening a key"))?;
            key.decrypt(oaep, value, &mut out, None).map_err(wrong)?.len()
        }
        None => {
            let key = Pkcs1PrivateDecryptingKey::new(key).map_err(library("opening a key"))?;
            key.decrypt(value, &mut out).map_err(wrong)?.len()
        }
    };
    out.truncate(length);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Curve, MadeKey};

    fn made(spec: KeySpec) -> MadeKey {
        spec.make().unwrap()
    }

    #[test]
    fn signatures_have_their_lengths_and_fit_their_keys_alone() {
        for (curve, name, hash, length) in [
            (Curve::P256, "ES256", 32, 64),
            (Curve::P384, "ES384", 48, 96),
            (Curve::P521, "ES512", 64, 132),
            (Curve::P256K, "ES256K", 32, 64),
        ] {
            let spec = KeySpec::Ec(curve);
            let (key, other) = (made(spec), made(spec));
            let way = Signing::parse(name).unwrap();
            let signature = sign(spec, &key.private, way, &vec![7; hash]).unwrap();
            assert_eq!(signature.len(), length);
            assert_eq!(
                verify(spec, &key.private, way, &vec![7; hash], &signature),
                Ok(true)
            );
            assert_eq!(
                verify(spec, &key.private, way, &vec![8; hash], &signature),
                Ok(false)
            );
            assert_eq!(
                verify(spec, &other.private, way, &vec![7; hash], &signature),
                Ok(false)
            );
            assert_eq!(
                verify(spec, &key.private, way, &vec![7; hash], b"short"),
                Ok(false)
            );
            assert!(sign(spec, &key.private, way, &vec![7; hash - 1]).is_err());
            assert!(sign(spec, &key.private, Signing::Rs(256), &[7; 32]).is_err());
            for (_, value) in &key.public {
                assert_eq!(
                    crate::wire::body::decode(value, "").unwrap().len(),
                    curve.coordinate_bytes()
                );
            }
        }
    }

    #[test]
    fn rsa_signs_and_encrypts() {
        let spec = KeySpec::Rsa(2048);
        let key = made(spec);
        for (name, hash) in [
            ("RS256", 32),
            ("RS384", 48),
            ("RS512", 64),
            ("PS256", 32),
            ("PS384", 48),
            ("PS512", 64),
        ] {
            let way = Signing::parse(name).unwrap();
            let signature = sign(spec, &key.private, way, &vec![7; hash]).unwrap();
            assert_eq!(signature.len(), 256);
            assert_eq!(
                verify(spec, &key.private, way, &vec![7; hash], &signature),
                Ok(true),
                "{name}"
            );
            assert_eq!(
                verify(spec, &key.private, way, &vec![8; hash], &signature),
                Ok(false),
                "{name}"
            );
        }
        assert!(sign(spec, &key.private, Signing::Es(Curve::P256), &[7; 32]).is_err());
        for (name, max) in [("RSA1_5", 245), ("RSA-OAEP", 214), ("RSA-OAEP-256", 190)] {
            let way = Encryption::parse(name).unwrap();
            let block = encrypt(spec, &key.private, way, &vec![7; max]).unwrap();
            assert_eq!(*decrypt(spec, &key.private, way, &block).unwrap(), vec![7; max]);
            assert!(
                encrypt(spec, &key.private, way, &vec![7; max + 1]).is_err(),
                "{name}"
            );
            let mut bent = block.clone();
            bent[9] ^= 1;
            let errors = [bent, Vec::new(), vec![0; 256], vec![1; 255]];
            for wrong in errors {
                let error = decrypt(spec, &key.private, way, &wrong).unwrap_err();
                assert!(matches!(error, CryptoError::Bad(_)), "{name}");
            }
        }
        assert!(!format!("{key:?}").contains("private"));
    }
}
