//! Keys made here, and keys brought in as JSON Web Keys (RFC 7517, RFC 7518).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{self, KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::CryptoError;
use super::algorithm::Curve;
use crate::wire::body::{SecretText, decode, encode};

/// What key is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA with a modulus of so many bits: 2048, 3072 or 4096.
    Rsa(u32),
    /// On a curve.
    Ec(Curve),
}

/// A key with its private half.
pub struct MadeKey {
    /// What it is.
    pub spec: KeySpec,
    /// `n` and `e`, or `x` and `y`, base64url.
    pub public: Vec<(String, String)>,
    /// PKCS#8.
    pub private: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeKey")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// A JSON Web Key as it is brought in. `Debug` shows nothing of its private parts.
#[derive(Debug, Clone, Deserialize)]
pub struct ImportedKey {
    pub(crate) kty: String,
    #[serde(default)]
    pub(crate) key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<SecretText>,
    p: Option<SecretText>,
    q: Option<SecretText>,
    dp: Option<SecretText>,
    dq: Option<SecretText>,
    qi: Option<SecretText>,
    #[serde(default)]
    key_hsm: Option<SecretText>,
}

impl KeySpec {
    /// Makes a key. Takes seconds for the largest ones.
    ///
    /// # Errors
    /// [`CryptoError::Library`].
    pub fn make(self) -> Result<MadeKey, CryptoError> {
        match self {
            Self::Rsa(bits) => {
                let size = match bits {
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    _ => KeySize::Rsa2048,
                };
                let pair = rsa::KeyPair::generate(size).map_err(|_| CryptoError::Library("making a key"))?;
                of_rsa(&pair, bits)
            }
            Self::Ec(curve) => {
                let pair = EcdsaKeyPair::generate(curve.signing());
                of_ec(&pair.map_err(|_| CryptoError::Library("making a key"))?, curve)
            }
        }
    }
}

fn of_rsa(pair: &rsa::KeyPair, bits: u32) -> Result<MadeKey, CryptoError> {
    let private = pair.as_der().map_err(|_| CryptoError::Library("writing a key"))?;
    let public = pair.public_key();
    Ok(MadeKey {
        spec: KeySpec::Rsa(bits),
        public: vec![
            (
                "n".to_owned(),
                encode(public.modulus().big_endian_without_leading_zero()),
            ),
            (
                "e".to_owned(),
                encode(public.exponent().big_endian_without_leading_zero()),
            ),
        ],
        private: Zeroizing::new(private.as_ref().to_vec()),
    })
}

fn of_ec(pair: &EcdsaKeyPair, curve: Curve) -> Result<MadeKey, CryptoError> {
    let private = pair
        .to_pkcs8v1()
        .map_err(|_| CryptoError::Library("writing a key"))?;
    let point = pair.public_key().as_ref();
    let coordinates = point.strip_prefix(&[4]).unwrap_or_default();
    let (x, y) = coordinates
        .split_at_checked(curve.coordinate_bytes())
        .filter(|(x, y)| x.len() == y.len())
        .ok_or(CryptoError::Library("writing a key"))?;
    Ok(MadeKey {
        spec: KeySpec::Ec(curve),
        public: vec![("x".to_owned(), encode(x)), ("y".to_owned(), encode(y))],
        private: Zeroizing::new(private.as_ref().to_vec()),
    })
}

fn public_part(text: Option<&String>, name: &str) -> Result<Vec<u8>, CryptoError> {
    let text = text.ok_or_else(|| CryptoError::bad(format!("The key lacks {name}.")))?;
    decode(text, name).map_err(|error| CryptoError::Bad(error.message))
}

fn private_part(text: Option<&SecretText>, name: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let text = text.ok_or_else(|| CryptoError::bad(format!("The key lacks {name}.")))?;
    text.decode(name).map_err(|error| CryptoError::Bad(error.message))
}

fn without_zeros(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(&[0]) {
        bytes = rest;
    }
    bytes
}

/// Fills up to `length` bytes with zeros in front: writers drop them, although RFC 7518 (section 6.2.1.2)
/// forbids it.
fn filled(bytes: &[u8], length: usize, name: &str) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let bytes = without_zeros(bytes);
    let missing = length
        .checked_sub(bytes.len())
        .ok_or_else(|| CryptoError::bad(format!("{name} is longer than the curve allows.")))?;
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    out.resize(missing, 0);
    out.extend_from_slice(bytes);
    Ok(out)
}

impl ImportedKey {
    /// The key, if its parts fit together.
    ///
    /// # Errors
    /// [`CryptoError::Bad`] says what is missing or wrong.
    pub fn take(&self) -> Result<MadeKey, CryptoError> {
        if self.key_hsm.is_some() {
            return Err(CryptoError::bad(
                "key_hsm is for HSM keys, which this vault doesn't have.",
            ));
        }
        match self.kty.as_str() {
            "RSA" => self.rsa(),
            "EC" => self.ec(),
            _ => Err(unknown_type(&self.kty)),
        }
    }

    fn rsa(&self) -> Result<MadeKey, CryptoError> {
        let n = public_part(self.n.as_ref(), "n")?;
        let e = public_part(self.e.as_ref(), "e")?;
        let n = without_zeros(&n);
        // The library takes any even number of bytes; the service only these.
        let bits = match n.len() {
            256 => 2048,
            384 => 3072,
            512 => 4096,
            _ => return Err(CryptoError::bad("An RSA key has 2048, 3072 or 4096 bits.")),
        };
        if n.first().is_none_or(|first| first & 0x80 == 0) {
            return Err(CryptoError::bad("An RSA key has 2048, 3072 or 4096 bits."));
        }
        let d = private_part(self.d.as_ref(), "d")?;
        let p = private_part(self.p.as_ref(), "p")?;
        let q = private_part(self.q.as_ref(), "q")?;
        let dp = private_part(self.dp.as_ref(), "dp")?;
        let dq = private_part(self.dq.as_ref(), "dq")?;
        let qi = private_part(self.qi.as_ref(), "qi")?;
        let components: KeyPairComponents<&[u8], &[u8]> = KeyPairComponents {
            public_key: PublicKeyComponents {
                n,
                e: without_zeros(&e),
            },
            d: &d,
            p: &p,
            q: &q,
            dP: &dp,
            dQ: &dq,
            qInv: &qi,
        };
        let pair = rsa::KeyPair::from_components(&components);
        let pair = pair.map_err(|_| CryptoError::bad("The parts of the RSA key don't fit together."))?;
        of_rsa(&pair, bits)
    }

    fn ec(&self) -> Result<MadeKey, CryptoError> {
        let curve = self
            .crv
            .as_deref()
            .and_then(Curve::parse)
            .ok_or_else(|| CryptoError::bad("crv is P-256, P-384, P-521 or P-256K."))?;
        let length = curve.coordinate_bytes();
        let x = filled(&public_part(self.x.as_ref(), "x")?, length, "x")?;
        let y = filled(&public_part(self.y.as_ref(), "y")?, length, "y")?;
        let d = filled(&private_part(self.d.as_ref(), "d")?, length, "d")?;
        let mut point = Vec::with_capacity(1 + 2 * length);
        point.push(4);
        point.extend_from_slice(&x);
        point.extend_from_slice(&y);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &d, &point);
        of_ec(
            &pair.map_err(|_| CryptoError::bad("The parts of the EC key don't fit together."))?,
            curve,
        )
    }
}

/// Says why a type of key isn't there.
pub(crate) fn unknown_type(kty: &str) -> CryptoError {
    let known = ["RSA-HSM", "EC-HSM", "oct-HSM", "oct"];
    CryptoError::bad(if known.contains(&kty) {
        format!("Keys of type {kty} are kept in hardware, which this vault doesn't have; use RSA or EC.")
    } else {
        "kty is RSA or EC.".to_owned()
    })
}

/// Reads a JSON Web Key and takes it: what the network may send. For fuzzing.
#[must_use]
pub fn read(text: &[u8]) -> Option<MadeKey> {
    serde_json::from_slice::<ImportedKey>(text).ok()?.take().ok()
}
