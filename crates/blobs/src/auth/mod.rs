//! Who calls: the account's key, a shared access signature, or nobody.

pub(crate) mod sas;
pub(crate) mod shared_key;

use http::HeaderMap;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::rules::access_policy::{Policy, PublicAccess};
use crate::store::records::ContainerRecord;
use crate::wire::target::Target;

/// What the caller may do.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Signed with the account's key: everything.
    Key,
    /// A shared access signature.
    Sas(sas::Grant),
    /// Nobody in particular, in a container that lets anybody read.
    Anonymous(PublicAccess),
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
            Self::Anonymous(access) if access.grants(needs.resource, needs.any_of) => Ok(()),
            Self::Anonymous(_) => Err(ErrorCode::NoAuthenticationInformation.into()),
        }
    }

    /// As [`Self::permit`], for what no anonymous access reaches.
    pub(crate) fn permit_signed(&self, needs: Needs) -> Result<(), BlobsError> {
        match self {
            Self::Anonymous(_) => Err(ErrorCode::NoAuthenticationInformation.into()),
            Self::Key | Self::Sas(_) => self.permit(needs),
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

impl Evidence<'_> {
    /// A query parameter; `None` if it is absent or empty.
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

impl Blobs {
    /// Finds out who calls.
    pub(crate) async fn authenticate(
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
        if let Some(id) = evidence
            .parameter("si")
            .filter(|_| evidence.parameter("sig").is_some())
        {
            let container = self.addressed_container(target).await?;
            let policy =
                container.and_then(|record| record.policies.into_iter().find(|policy| policy.id == id));
            let policy = policy.ok_or_else(|| {
                let text = "The stored access policy that si names does not exist.";
                BlobsError::with(ErrorCode::AuthenticationFailed, text)
            })?;
            return Ok(Access::Sas(sas::verify(account, target, evidence, &policy, now)?));
        }
        if evidence.parameter("sig").is_some() {
            let none = Policy::default();
            return Ok(Access::Sas(sas::verify(account, target, evidence, &none, now)?));
        }
        if !matches!(evidence.method, "GET" | "HEAD") || target.container.is_none() {
            return Err(ErrorCode::NoAuthenticationInformation.into());
        }
        if !account.allows_public_access {
            return Err(ErrorCode::PublicAccessNotPermitted.into());
        }
        // Whether a closed container exists is nobody's business.
        let container = self.addressed_container(target).await?;
        container
            .and_then(|record| record.public_access)
            .map(Access::Anonymous)
            .ok_or_else(|| ErrorCode::NoAuthenticationInformation.into())
    }

    /// The record of the container that a request is about, if there is one.
    async fn addressed_container(&self, target: &Target) -> Result<Option<ContainerRecord>, BlobsError> {
        let Some(name) = &target.container else {
            return Ok(None);
        };
        let snapshot = self.ledger.snapshot().await?;
        match self.container(snapshot.as_ref(), &target.account, name).await {
            Ok(container) => Ok(Some(container.record)),
            Err(error) if error.code == ErrorCode::ContainerNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
