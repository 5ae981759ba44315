//! The vault of `dev`, and the login that gives its clients tokens.
//!
//! Invariant: the clients' secret is known to everybody, as the emulators' keys are; only loopback is listened
//! on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use identity::{LoginClient, LoginService, LoginSettings, Secret, TokenIssuer, Trust, TrustedIssuer};
use platform_storage::development::storage;
use vault::rules::roles::{Assignee, Assignment, Role};
use vault::{Bearer, Settings, Vault, Vaults};

use crate::node::Stores;
use crate::vault_config::{development_root, open_seal};

/// The one vault.
pub(crate) const VAULT: &str = "dev";

/// Behind the vault's name.
pub(crate) const HOST_SUFFIX: &str = "vault.localhost";

/// The vault's host.
pub(crate) fn host() -> String {
    format!("{VAULT}.{HOST_SUFFIX}")
}

/// The secret of all clients.
pub(crate) const CLIENT_SECRET: &str = "well-known-development-secret";

/// A client, which is its own principal, for each role.
pub(crate) fn client_id(role: Role) -> String {
    let number = Role::ALL
        .iter()
        .position(|known| *known == role)
        .unwrap_or_default()
        + 1;
    format!("00000000-0000-4000-8000-00000000010{number}")
}

/// The vault; it is for tokens of the login.
pub(crate) async fn vaults(
    stores: &Stores,
    data: &Path,
    root_keys: &[PathBuf],
    login_port: u16,
    issuer: Arc<TokenIssuer>,
) -> Result<Arc<Vaults>> {
    let mut vault = Vault::new(VAULT);
    vault.assignments = Role::ALL
        .into_iter()
        .map(|role| Assignment {
            role,
            assignee: Assignee::Principal(client_id(role)),
            object: None,
        })
        .collect();
    let root = development_root(stores, data, root_keys).await?;
    let seal = open_seal(stores, &root, std::slice::from_ref(&vault)).await?;
    let trusted = TrustedIssuer {
        issuer: storage::ISSUER.to_owned(),
        keys: issuer,
    };
    let settings = Settings {
        vaults: vec![vault],
        host_suffixes: vec![HOST_SUFFIX.to_owned()],
        ports: None,
        loopback_vault: Some(VAULT.to_owned()),
        bearer: Some(Bearer {
            trust: Trust::new(vec![trusted], &stores.clock, 0),
            tenant: storage::TENANT.to_owned(),
            authorization: format!("https://localhost:{login_port}/{}", storage::TENANT),
            audiences: vec!["https://vault.azure.net".to_owned()],
        }),
    };
    let (ledger, clock) = (stores.ledger.clone(), stores.clock.clone());
    Ok(Vaults::new(ledger, clock, stores.random.clone(), seal, settings))
}

/// The login, for the vault's audiences.
pub(crate) fn login(stores: &Stores, issuer: Arc<TokenIssuer>) -> LoginService {
    let clients = Role::ALL.map(|role| LoginClient {
        id: client_id(role),
        secret: Secret::new(CLIENT_SECRET.as_bytes().to_vec()),
        object_id: client_id(role),
    });
    let settings = LoginSettings {
        issuer: storage::ISSUER.to_owned(),
        tenant: storage::TENANT.to_owned(),
        clients: clients.into(),
        audience_hosts: vec![HOST_SUFFIX.to_owned(), "vault.azure.net".to_owned()],
    };
    LoginService::new(issuer, stores.clock.clone(), settings)
}
