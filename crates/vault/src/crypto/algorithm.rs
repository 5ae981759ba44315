//! Algorithms by the names that the protocol has for them (RFC 7518, and ES256K of RFC 8812).

use aws_lc_rs::digest;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaParameters,
};

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1.
    P256K,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::P256K];

    /// Its name (`crv`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    /// The curve of a name; older clients say `SECP256K1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("SECP256K1") {
            return Some(Self::P256K);
        }
        Self::ALL.into_iter().find(|curve| curve.name() == text)
    }

    /// Bytes of a coordinate.
    #[must_use]
    pub fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    pub(crate) fn verifying(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED,
        }
    }
}

/// A way of signing a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RSASSA-PKCS1-v1_5 with a hash of so many bits.
    Rs(u16),
    /// RSASSA-PSS, the salt as long as the hash.
    Ps(u16),
    /// ECDSA over a curve with its own hash.
    Es(Curve),
}

impl Signing {
    /// The way of a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "RS256" => Self::Rs(256),
            "RS384" => Self::Rs(384),
            "RS512" => Self::Rs(512),
            "PS256" => Self::Ps(256),
            "PS384" => Self::Ps(384),
            "PS512" => Self::Ps(512),
            "ES256" => Self::Es(Curve::P256),
            "ES384" => Self::Es(Curve::P384),
            "ES512" => Self::Es(Curve::P521),
            "ES256K" | "ECDSA256" => Self::Es(Curve::P256K),
            _ => return None,
        })
    }

    pub(crate) fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Rs(384) | Self::Ps(384) | Self::Es(Curve::P384) => &digest::SHA384,
            Self::Rs(512) | Self::Ps(512) | Self::Es(Curve::P521) => &digest::SHA512,
            Self::Rs(_) | Self::Ps(_) | Self::Es(Curve::P256 | Curve::P256K) => &digest::SHA256,
        }
    }

    /// How RSA signs and verifies; `None` for ECDSA.
    pub(crate) fn rsa(self) -> Option<(&'static dyn RsaEncoding, &'static RsaParameters)> {
        Some(match self {
            Self::Rs(384) => (&RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
            Self::Rs(512) => (&RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
            Self::Rs(_) => (&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
            Self::Ps(384) => (&RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
            Self::Ps(512) => (&RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
            Self::Ps(_) => (&RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
            Self::Es(_) => return None,
        })
    }
}

/// A way of encrypting one block with RSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// RSAES-PKCS1-v1_5.
    Rsa15,
    /// RSAES-OAEP with SHA-1.
    Oaep,
    /// RSAES-OAEP with SHA-256.
    Oaep256,
}

impl Encryption {
    /// The way of a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "RSA1_5" => Self::Rsa15,
            "RSA-OAEP" => Self::Oaep,
            "RSA-OAEP-256" => Self::Oaep256,
            _ => return None,
        })
    }

    /// How OAEP is done; `None` for PKCS #1 v1.5.
    pub(crate) fn oaep(self) -> Option<&'static OaepAlgorithm> {
        match self {
            Self::Rsa15 => None,
            Self::Oaep => Some(&OAEP_SHA1_MGF1SHA1),
            Self::Oaep256 => Some(&OAEP_SHA256_MGF1SHA256),
        }
    }
}
