//! Under which key a request's content goes, and whether a request may have what is stored: a key that the customer
//! gives with it ("Provide an encryption key on a request to Blob Storage").
//!
//! Invariant: a customer's key lives as long as its request. What is kept is its SHA-256, and a blob's content is all
//! under one key.

use std::sync::Arc;

use encryption::{DataKey, KeyDigest, KeyName};
use http::HeaderMap;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::service::Call;
use crate::store::records::{BlobEncryption, BlobRecord};
use crate::wire::{headers, render};

/// The first version that knows customers' keys.
const VERSION_KEYS: &str = "2019-02-02";

/// The one algorithm there is.
const ALGORITHM: &str = "AES256";

/// Headers that a key comes in.
struct Names {
    key: &'static str,
    sha256: &'static str,
    algorithm: &'static str,
}

/// The key of the blob that a request is about.
const OWN: Names = Names {
    key: "x-ms-encryption-key",
    sha256: "x-ms-encryption-key-sha256",
    algorithm: "x-ms-encryption-algorithm",
};

/// The key of a copy's source.
const SOURCE: Names = Names {
    key: "x-ms-source-encryption-key",
    sha256: "x-ms-source-encryption-key-sha256",
    algorithm: "x-ms-source-encryption-algorithm",
};

impl Names {
    fn present(&self, headers: &HeaderMap) -> Option<&'static str> {
        let names = [self.key, self.sha256, self.algorithm];
        names.into_iter().find(|name| headers.contains_key(*name))
    }
}

/// What a request does with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// Writes need all three headers.
    Writes,
    /// Reads need the key alone.
    Reads,
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) enum KeyAsked {
    /// Nothing in particular.
    Nothing,
    /// The customer's own key.
    Customer(KeyDigest, Arc<DataKey>),
}

/// What a request's content is encrypted under.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// As the blob's record has it.
    pub(crate) kept: Option<BlobEncryption>,
    /// `None`: it isn't encrypted.
    pub(crate) key: Option<Arc<DataKey>>,
}

impl Chosen {
    /// Tells the client what its content was encrypted under.
    pub(crate) fn answer(&self, out: &mut HeaderMap) {
        let encrypted = render::flag(self.key.is_some());
        render::set(out, "x-ms-request-server-encrypted", encrypted);
        render::set_encryption(out, self.kept.as_ref());
    }

    /// Refuses a blob that isn't encrypted as it was when this was chosen.
    pub(crate) fn check(&self, record: &BlobRecord) -> Result<(), BlobsError> {
        match mismatch(record.encryption.as_ref(), self.kept.as_ref()) {
            Some(code) => Err(code.into()),
            None => Ok(()),
        }
    }
}

/// What is wrong where something is encrypted in another way than is asked for.
pub(crate) fn mismatch(has: Option<&BlobEncryption>, asked: Option<&BlobEncryption>) -> Option<ErrorCode> {
    if has == asked {
        return None;
    }
    match (has, asked) {
        (None, None) => None,
        (Some(_), None) => Some(ErrorCode::BlobUsesCustomerSpecifiedEncryption),
        (None, Some(_)) => Some(ErrorCode::BlobDoesNotUseCustomerSpecifiedEncryption),
        (Some(_), Some(_)) => Some(ErrorCode::BlobCustomerSpecifiedEncryptionMismatch),
    }
}

impl KeyAsked {
    fn parse(blobs: &Blobs, call: &Call, names: &Names, what: KeyUse) -> Result<Self, BlobsError> {
        if call.headers.contains_key("x-ms-encryption-scope") {
            let text = "x-ms-encryption-scope is not served.";
            return Err(BlobsError::with(ErrorCode::NotImplemented, text));
        }
        let Some(present) = names.present(&call.headers) else {
            return Ok(Self::Nothing);
        };
        let invalid = |text: String| BlobsError::with(ErrorCode::InvalidHeaderValue, text);
        // Before the key is looked at: who sent it this way has given it away.
        let is_here = blobs.settings.local_keys_in_clear && call.context.peer.ip().is_loopback();
        if !call.context.secure && !is_here {
            let text = format!("{present} is taken over https alone. Take a key that was sent without it for known.");
            return Err(BlobsError::with(ErrorCode::AccountRequiresHttps, text));
        }
        let version = headers::text(&call.headers, "x-ms-version");
        if version.is_some_and(|version| version < VERSION_KEYS) {
            return Err(invalid(format!(
                "{present} needs x-ms-version {VERSION_KEYS} or later."
            )));
        }
        let key = headers::required(&call.headers, names.key)?;
        let (algorithm, sha256) = match what {
            KeyUse::Writes => (
                Some(headers::required(&call.headers, names.algorithm)?),
                Some(headers::required(&call.headers, names.sha256)?),
            ),
            KeyUse::Reads => (
                headers::text(&call.headers, names.algorithm),
                headers::text(&call.headers, names.sha256),
            ),
        };
        if algorithm.is_some_and(|algorithm| algorithm != ALGORITHM) {
            return Err(invalid(format!("{} is {ALGORITHM}.", names.algorithm)));
        }
        let key = DataKey::of_customer(key, blobs.random.clone(), blobs.contents.damaged_counter());
        let key = key.ok_or_else(|| invalid(format!("{} is 32 bytes in base64.", names.key)))?;
        let KeyName::Customer(digest) = key.name() else {
            return Err(ErrorCode::InternalError.into());
        };
        if sha256.is_some_and(|sha256| KeyDigest::parse(sha256) != Some(digest)) {
            return Err(invalid(format!(
                "{} isn't the SHA-256 of the key, in base64.",
                names.sha256
            )));
        }
        Ok(Self::Customer(digest, Arc::new(key)))
    }

    /// As a record has it.
    fn kept(&self) -> Option<BlobEncryption> {
        match self {
            Self::Nothing => None,
            Self::Customer(digest, _) => Some(BlobEncryption::Customer(*digest)),
        }
    }

    /// The key that came with the request.
    pub(crate) fn customer(&self) -> Option<Arc<DataKey>> {
        match self {
            Self::Nothing => None,
            Self::Customer(_, key) => Some(key.clone()),
        }
    }

    /// Refuses a request that may not have what it reads or changes: one without the blob's key, with another one,
    /// or with one where the blob has none.
    ///
    /// # Errors
    /// `BlobUsesCustomerSpecifiedEncryption`, `BlobDoesNotUseCustomerSpecifiedEncryption`,
    /// `BlobCustomerSpecifiedEncryptionMismatch`.
    pub(crate) fn opens(&self, record: &BlobRecord) -> Result<(), BlobsError> {
        match mismatch(record.encryption.as_ref(), self.kept().as_ref()) {
            Some(code) => Err(code.into()),
            None => Ok(()),
        }
    }
}

impl Call {
    /// What the request says of the encryption of its blob.
    ///
    /// # Errors
    /// `AccountRequiresHttps`, `MissingRequiredHeader`, `InvalidHeaderValue`.
    pub(crate) fn encryption(&self, blobs: &Blobs, what: KeyUse) -> Result<KeyAsked, BlobsError> {
        KeyAsked::parse(blobs, self, &OWN, what)
    }

    /// What it says of the encryption of a copy's source.
    ///
    /// # Errors
    /// As [`Self::encryption`].
    pub(crate) fn source_encryption(&self, blobs: &Blobs) -> Result<KeyAsked, BlobsError> {
        KeyAsked::parse(blobs, self, &SOURCE, KeyUse::Reads)
    }

    /// Refuses keys where the operation shares a source's content as it is stored: they would be ignored.
    ///
    /// # Errors
    /// `InvalidHeaderValue`.
    pub(crate) fn refuse_keys(&self) -> Result<(), BlobsError> {
        match OWN
            .present(&self.headers)
            .or_else(|| SOURCE.present(&self.headers))
        {
            None => Ok(()),
            Some(name) => {
                let text = format!("{name} isn't taken here; Put Blob from URL takes customer-provided keys.");
                Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text))
            }
        }
    }
}

impl Blobs {
    /// What a blob that a request makes in an account is encrypted under.
    ///
    /// # Errors
    /// As the content store.
    pub(crate) fn choose(&self, account: &str, asked: &KeyAsked) -> Result<Chosen, BlobsError> {
        Ok(Chosen {
            kept: asked.kept(),
            key: match asked.customer() {
                Some(key) => Some(key),
                None => self.contents.account_key(account)?,
            },
        })
    }

    /// What a request adds to a blob is encrypted under.
    ///
    /// # Errors
    /// As [`KeyAsked::opens`].
    pub(crate) fn choose_for(
        &self,
        account: &str,
        record: &BlobRecord,
        asked: &KeyAsked,
    ) -> Result<Chosen, BlobsError> {
        asked.opens(record)?;
        self.choose(account, asked)
    }
}
