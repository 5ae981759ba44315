//! Who calls: the account's key, a principal with a bearer token, a shared access signature, or nobody.

pub(crate) mod bearer;
pub(crate) mod delegation;
pub(crate) mod sas;
pub(crate) mod shared_key;

use http::HeaderMap;

use crate::error::{BlobsError, ErrorCode};
use crate::rules::access_policy::{Policy, PublicAccess};
use crate::rules::roles::{Action, Principal, Rights};
use crate::store::records::ContainerRecord;
use crate::wire::target::Target;
use crate::{Account, Blobs};

/// What the caller may do.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Signed with the account's key: everything.
    Key,
    /// A principal with a bearer token, and what it may do where it calls.
    Bearer(Principal, Rights),
    /// A shared access signature.
    Sas(sas::Grant),
    /// Nobody in particular, in a container that lets anybody read.
    Anonymous(PublicAccess),
}

/// What an operation needs of a shared access signature, or of a role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// The resource type: `s`, `c` or `o`.
    pub(crate) resource: char,
    /// Any one of these permissions.
    pub(crate) any_of: &'static str,
    /// The role's action; `None` for one that no role has.
    pub(crate) action: Option<Action>,
}

impl Needs {
    /// Permissions, and the action that they stand for.
    pub(crate) fn new(resource: char, any_of: &'static str) -> Self {
        Self {
            resource,
            any_of,
            action: Action::of(resource, any_of),
        }
    }

    /// Permissions, and another action than the one that they stand for elsewhere.
    pub(crate) fn action(self, action: Action) -> Self {
        Self {
            action: Some(action),
            ..self
        }
    }
}

/// Refuses what roles don't have.
pub(crate) fn permit_rights(rights: &Rights, needs: Needs) -> Result<(), BlobsError> {
    match needs.action {
        Some(action) if rights.allow(action) => Ok(()),
        _ => Err(ErrorCode::AuthorizationPermissionMismatch.into()),
    }
}

impl Access {
    /// Refuses what the caller may not do.
    pub(crate) fn permit(&self, needs: Needs) -> Result<(), BlobsError> {
        match self {
            Self::Key => Ok(()),
            Self::Bearer(_, rights) => permit_rights(rights, needs),
            Self::Sas(grant) => grant.permit(needs),
            Self::Anonymous(access) if access.grants(needs.resource, needs.any_of) => Ok(()),
            Self::Anonymous(_) => Err(ErrorCode::NoAuthenticationInformation.into()),
        }
    }

    /// As [`Self::permit`], for what no anonymous access reaches.
    pub(crate) fn permit_signed(&self, needs: Needs) -> Result<(), BlobsError> {
        match self {
            Self::Anonymous(_) => Err(ErrorCode::NoAuthenticationInformation.into()),
            Self::Key | Self::Bearer(..) | Self::Sas(_) => self.permit(needs),
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
    /// `x-ms-version`; a part of a batch has the batch's.
    pub(crate) version: Option<&'a str>,
}

impl Evidence<'_> {
    /// A query parameter; `None` if it is absent or empty.
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A query parameter; empty if it is absent.
    fn value(&self, name: &str) -> &str {
        self.parameter(name).unwrap_or("")
    }

    /// The `Authorization` header, if there is one.
    fn authorization(&self) -> Result<Option<&str>, BlobsError> {
        let Some(authorization) = self.headers.get("authorization") else {
            return Ok(None);
        };
        let text = authorization.to_str();
        text.map(Some)
            .map_err(|_| ErrorCode::InvalidAuthenticationInfo.into())
    }

    /// The bearer token in the `Authorization` header, if that is what it holds.
    fn bearer_token(&self) -> Result<Option<&str>, BlobsError> {
        Ok(self.authorization()?.and_then(bearer_token))
    }
}

/// What stands behind `Bearer`. The scheme's case doesn't matter (RFC 9110, section 11.1).
pub(crate) fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl Account {
    /// Refuses what the account takes from nobody.
    pub(crate) fn check_connection(&self, evidence: &Evidence<'_>) -> Result<(), BlobsError> {
        if self.https_only && !evidence.secure {
            return Err(ErrorCode::AccountRequiresHttps.into());
        }
        let is_open = self.networks.is_empty();
        if is_open
            || self
                .networks
                .iter()
                .any(|network| network.contains(evidence.peer))
        {
            Ok(())
        } else {
            Err(ErrorCode::AuthorizationFailure.into())
        }
    }

    /// Refuses what is signed with the account's key where that doesn't count.
    fn check_key_counts(&self) -> Result<(), BlobsError> {
        if self.allows_shared_key {
            Ok(())
        } else {
            Err(ErrorCode::KeyBasedAuthenticationNotPermitted.into())
        }
    }
}

impl Blobs {
    /// A principal's access to what `target` names.
    pub(crate) fn access_of(&self, principal: Principal, target: &Target) -> Access {
        let assignments = self.account(&target.account).map(|account| &*account.roles);
        let container = target.container.as_deref();
        let rights = Rights::of(assignments.unwrap_or_default(), &principal, container);
        Access::Bearer(principal, rights)
    }

    /// Finds out who calls.
    pub(crate) async fn authenticate(
        &self,
        target: &Target,
        evidence: &Evidence<'_>,
    ) -> Result<Access, BlobsError> {
        let account = self
            .account(&target.account)
            .ok_or_else(|| BlobsError::with(ErrorCode::AuthenticationFailed, "There is no such account."))?;
        account.check_connection(evidence)?;
        let now = self.clock.now();
        let signed = evidence.parameter("sig").is_some();
        // A signature for one user comes with that user's token.
        let for_one_user = signed && evidence.parameter("sduoid").is_some();
        if let Some(authorization) = evidence.authorization()?.filter(|_| !for_one_user) {
            if let Some(token) = bearer_token(authorization) {
                let principal = bearer::verify(self, &account.name, token, evidence).await?;
                return Ok(self.access_of(principal, target));
            }
            account.check_key_counts()?;
            shared_key::verify(account, authorization, evidence, now)?;
            return Ok(Access::Key);
        }
        if signed {
            return self.authenticate_sas(account, target, evidence).await;
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

    async fn authenticate_sas(
        &self,
        account: &Account,
        target: &Target,
        evidence: &Evidence<'_>,
    ) -> Result<Access, BlobsError> {
        let now = self.clock.now();
        let mut policy = Policy::default();
        let delegated = if evidence.parameter("skoid").is_some() {
            Some(self.delegated(account, target, evidence, now).await?)
        } else {
            account.check_key_counts()?;
            if let Some(id) = evidence.parameter("si") {
                let container = self.addressed_container(target).await?;
                let found =
                    container.and_then(|record| record.policies.into_iter().find(|policy| policy.id == id));
                policy = found.ok_or_else(|| {
                    let text = "The stored access policy that si names does not exist.";
                    BlobsError::with(ErrorCode::AuthenticationFailed, text)
                })?;
            }
            None
        };
        sas::verify(account, target, evidence, (&policy, delegated), now).map(Access::Sas)
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
