//! Who calls: the account's key, a shared access signature, or nobody.

pub(crate) mod sas;
pub(crate) mod shared_key;

use http::HeaderMap;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::wire::target::Target;

/// What the caller may do.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Signed with the account's key: everything.
    Key,
    /// A shared access signature.
    Sas(sas::Grant),
}

/// What an operation needs of a shared access signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// The resource type: `s`, `c` or `o`.
    pub(crate) resource: char,
    /// Any one of these permissions.
    pub(crate) any_of: &'static str,
}

impl Access {
    /// Refuses what the signature doesn't grant.
    pub(crate) fn permit(&self, needs: Needs) -> Result<(), BlobsError> {
        match self {
            Self::Key => Ok(()),
            Self::Sas(grant) => grant.permit(needs),
        }
    }
}

/// What authentication looks at.
pub(crate) struct Evidence<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(String, String)],
    pub(crate) headers: &'a HeaderMap,
    pub(crate) secure: bool,
    pub(crate) peer: std::net::IpAddr,
}

impl Blobs {
    /// Finds out who calls.
    pub(crate) fn authenticate(
        &self,
        target: &Target,
        evidence: &Evidence<'_>,
    ) -> Result<Access, BlobsError> {
        let account = self
            .account(&target.account)
            .ok_or_else(|| BlobsError::with(ErrorCode::AuthenticationFailed, "There is no such account."))?;
        let now = self.clock.now();
        if let Some(authorization) = evidence.headers.get("authorization") {
            let authorization = authorization
                .to_str()
                .map_err(|_| ErrorCode::InvalidAuthenticationInfo)?;
            shared_key::verify(account, authorization, evidence, now)?;
            return Ok(Access::Key);
        }
        if evidence.query.iter().any(|(name, _)| name == "sig") {
            return Ok(Access::Sas(sas::verify(account, target, evidence, now)?));
        }
        Err(ErrorCode::NoAuthenticationInformation.into())
    }
}
