//! Under which key a request's content goes, and whether a request may have what is stored: a key that the customer
//! gives with it ("Provide an encryption key on a request to Blob Storage"), that of an encryption scope
//! ("Encryption scopes for Blob storage"), or the account's.
//!
//! Invariant: a customer's key lives as long as its request. What is kept is its SHA-256. A blob's content is all under
//! one customer's key, or all in one scope.

use std::sync::Arc;

use encryption::{DataKey, KeyDigest, KeyName};
use http::HeaderMap;

use crate::Blobs;
use crate::auth::Access;
use crate::error::{BlobsError, ErrorCode};
use crate::service::Call;
use crate::store::containers::Container;
use crate::store::records::{BlobEncryption, BlobRecord, ContainerRecord, EncryptionPolicy};
use crate::wire::{headers, render};

/// The first version that knows customers' keys.
const VERSION_KEYS: &str = "2019-02-02";

/// How the protocol calls the account's own key.
const ACCOUNT_KEY: &str = "$account-encryption-key";

const SCOPE: &str = "x-ms-encryption-scope";

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
    /// An encryption scope; `None`: the account's key, by name.
    Scope(Option<String>),
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

    /// Refuses a container that isn't what it was when this was chosen for it: another one took its place.
    pub(crate) fn still(
        &self,
        blobs: &Blobs,
        container: &Container,
        asked: &KeyAsked,
    ) -> Result<(), BlobsError> {
        match blobs.choose(container, asked)?.kept == self.kept {
            true => Ok(()),
            false => Err(ErrorCode::ServerBusy.into()),
        }
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
        let Some(present) = names.present(&call.headers) else {
            return Ok(Self::Nothing);
        };
        let invalid = |text: String| BlobsError::with(ErrorCode::InvalidHeaderValue, text);
        // Before the key is looked at: who sent it this way has given it away.
        let is_here = blobs.settings.local_keys_in_clear && call.context.peer.ip().is_loopback();
        if !call.context.secure && !is_here {
            let text = format!(
                "{present} is taken over https alone. Take a key that was sent without it for known."
            );
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
            Self::Nothing | Self::Scope(None) => None,
            Self::Customer(digest, _) => Some(BlobEncryption::Customer(*digest)),
            Self::Scope(Some(scope)) => Some(BlobEncryption::Scope(scope.clone())),
        }
    }

    /// The key that came with the request.
    pub(crate) fn customer(&self) -> Option<Arc<DataKey>> {
        match self {
            Self::Nothing | Self::Scope(_) => None,
            Self::Customer(_, key) => Some(key.clone()),
        }
    }
}

/// What blobs of a container are encrypted under whose writers don't say, as the protocol tells it, and whether they
/// may say.
pub(crate) fn default_encryption(container: &ContainerRecord) -> (&str, bool) {
    let policy = container.encryption.as_ref();
    let scope = policy.and_then(|policy| policy.scope.as_deref());
    let deny_override = policy.is_some_and(|policy| policy.deny_override);
    (scope.unwrap_or(ACCOUNT_KEY), deny_override)
}

fn named(scope: &str) -> Option<String> {
    (scope != ACCOUNT_KEY).then(|| scope.to_owned())
}

impl Call {
    /// What the request says of the encryption of its blob.
    ///
    /// # Errors
    /// `AccountRequiresHttps`, `MissingRequiredHeader`, `InvalidHeaderValue`.
    pub(crate) fn encryption(&self, blobs: &Blobs, what: KeyUse) -> Result<KeyAsked, BlobsError> {
        let asked = KeyAsked::parse(blobs, self, &OWN, what)?;
        if what == KeyUse::Reads {
            return Ok(asked);
        }
        let in_header = headers::text(&self.headers, SCOPE);
        let in_signature = match &self.access {
            Access::Sas(grant) => grant.encryption_scope.as_deref(),
            Access::Key | Access::Bearer(..) | Access::Anonymous(_) => None,
        };
        let invalid = |text: &str| BlobsError::with(ErrorCode::InvalidHeaderValue, text);
        let scope = match (in_header, in_signature) {
            (Some(header), Some(signed)) if header != signed => {
                return Err(invalid(
                    "x-ms-encryption-scope isn't the one that the signature names.",
                ));
            }
            (header, signed) => header.or(signed),
        };
        match (scope, asked) {
            (None, asked) => Ok(asked),
            (Some(_), KeyAsked::Customer(..)) => Err(invalid(
                "A customer-provided key and an encryption scope exclude each other.",
            )),
            (Some(scope), _) => Ok(KeyAsked::Scope(named(scope))),
        }
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
                let text =
                    format!("{name} isn't taken here; Put Blob from URL takes customer-provided keys.");
                Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text))
            }
        }
    }
}

impl Blobs {
    /// The key of a scope that is used.
    ///
    /// # Errors
    /// `AuthorizationFailure` if the scope is disabled, or no scope of the account's settings.
    fn scope_key(&self, account: &str, scope: &str) -> Result<Arc<DataKey>, BlobsError> {
        self.check_scope(account, scope)?;
        Ok(self.contents.scope_key(account, scope)?)
    }

    /// Refuses what is under a scope that isn't used: neither reads nor writes reach it.
    fn check_scope(&self, account: &str, scope: &str) -> Result<(), BlobsError> {
        let mut scopes = self
            .account(account)
            .into_iter()
            .flat_map(|account| &account.encryption_scopes);
        let text = match scopes.find(|known| known.name == scope) {
            Some(known) if known.enabled => return Ok(()),
            Some(_) => format!("The encryption scope {scope} is disabled."),
            None => format!("The encryption scope {scope} isn't in the account's settings."),
        };
        Err(BlobsError::with(ErrorCode::AuthorizationFailure, text))
    }

    /// What a request demands of the blobs of a container that it makes.
    ///
    /// # Errors
    /// `MissingRequiredHeader` if it says half of it; as [`Self::scope_key`].
    pub(crate) fn encryption_policy(&self, call: &Call) -> Result<Option<EncryptionPolicy>, BlobsError> {
        let (scope, deny) = (
            "x-ms-default-encryption-scope",
            "x-ms-deny-encryption-scope-override",
        );
        if ![scope, deny].iter().any(|name| call.headers.contains_key(*name)) {
            return Ok(None);
        }
        let scope = named(headers::required(&call.headers, scope)?);
        let deny_override = match headers::required(&call.headers, deny)? {
            text if text.eq_ignore_ascii_case("true") => true,
            text if text.eq_ignore_ascii_case("false") => false,
            _ => {
                let text = format!("{deny} is true or false.");
                return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
            }
        };
        if let Some(scope) = &scope {
            self.check_asked(&call.target.account, scope)?;
        }
        Ok(Some(EncryptionPolicy { scope, deny_override }))
    }

    /// Refuses a scope that a request names and that isn't one, or is disabled.
    fn check_asked(&self, account: &str, scope: &str) -> Result<(), BlobsError> {
        let known = self
            .account(account)
            .is_some_and(|account| account.encryption_scopes.iter().any(|known| known.name == scope));
        if !known {
            let text = "There is no such encryption scope in the account.";
            return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
        }
        self.check_scope(account, scope)
    }

    /// What a blob that a request makes in a container is encrypted under.
    ///
    /// # Errors
    /// `RequestForbiddenByContainerEncryptionPolicy`; `InvalidHeaderValue` if there is no such scope,
    /// `AuthorizationFailure` if it is disabled; as the content store.
    pub(crate) fn choose(&self, container: &Container, asked: &KeyAsked) -> Result<Chosen, BlobsError> {
        let account = container.account.as_str();
        let policy = container.record.encryption.clone().unwrap_or_default();
        let by_default = policy.scope.map(BlobEncryption::Scope);
        let kept = match asked {
            KeyAsked::Nothing => by_default.clone(),
            asked => asked.kept(),
        };
        if policy.deny_override && kept != by_default {
            return Err(ErrorCode::RequestForbiddenByContainerEncryptionPolicy.into());
        }
        if let KeyAsked::Scope(Some(scope)) = asked {
            self.check_asked(account, scope)?;
        }
        self.chosen(account, kept, asked)
    }

    /// What a request adds to a blob is encrypted under.
    ///
    /// # Errors
    /// As [`Self::opens`].
    pub(crate) fn choose_for(
        &self,
        account: &str,
        record: &BlobRecord,
        asked: &KeyAsked,
    ) -> Result<Chosen, BlobsError> {
        self.opens(account, record, asked)?;
        self.chosen(account, record.encryption.clone(), asked)
    }

    fn chosen(
        &self,
        account: &str,
        kept: Option<BlobEncryption>,
        asked: &KeyAsked,
    ) -> Result<Chosen, BlobsError> {
        let key = match &kept {
            None => self.contents.account_key(account)?,
            Some(BlobEncryption::Scope(scope)) => Some(self.scope_key(account, scope)?),
            Some(BlobEncryption::Customer(_)) => asked.customer(),
        };
        Ok(Chosen { kept, key })
    }

    /// Refuses a request that may not have what it reads or changes: one without the blob's key, with another one,
    /// or with one where the blob has none; one that names another scope than the blob's; and any where the blob's
    /// scope isn't used. One that names no scope takes the blob's.
    ///
    /// # Errors
    /// `BlobUsesCustomerSpecifiedEncryption`, `BlobDoesNotUseCustomerSpecifiedEncryption`,
    /// `BlobCustomerSpecifiedEncryptionMismatch`; `AuthorizationFailure`.
    pub(crate) fn opens(
        &self,
        account: &str,
        record: &BlobRecord,
        asked: &KeyAsked,
    ) -> Result<(), BlobsError> {
        let has = record.encryption.as_ref();
        let wrong = match (has, asked) {
            (Some(BlobEncryption::Scope(_)), KeyAsked::Nothing) => None,
            _ => mismatch(has, asked.kept().as_ref()),
        };
        if let Some(code) = wrong {
            return Err(code.into());
        }
        match has {
            Some(BlobEncryption::Scope(scope)) => self.check_scope(account, scope),
            _ => Ok(()),
        }
    }
}
