//! `stabbur serve`: accounts, keys and TLS from a file; nothing but loopback without TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use blobs::Blobs;
use documents::{Documents, DocumentsService};
use gateway::tls::Tls;
use gateway::{AdminService, Gateway, Listener, ListenerLimits, Metrics, StatsSource, Transport};
use http_semantics::Service;
use identity::{FileKeys, TokenVerifier};
use ledger::{Clock, SystemClock};
use platform_storage::{
    DecisionPoint, EmbeddedDecisionPoint, Foundation, InternalService, Platform, PlatformService, Register,
    RegisterSource,
};
use registry::ContentReferences;
use tokio::sync::watch;
use vault::Vaults;

use crate::config::{Config, PlatformConfig, TlsFiles};
use crate::encryption_config::{generations, key_files, open_keyring};
use crate::node::{self, BlobsWork, DocumentsUse, MessagesWaiting, Services, Stores, StoresHealth};
use crate::platform_config::{Sinks, platform_tokens};
use crate::registry_config;
use crate::vault_config::{VaultsState, open_seal};

/// Whether hosts below one suffix are below another one, too. Both in lower case.
fn is_below(suffix: &str, parent: &str) -> bool {
    suffix
        .strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The suffixes of websites' hosts. One that is the protocol's as well, or that the protocol's is below, would hide it.
fn web_host_suffixes(blobs: &crate::config::Service) -> Result<Vec<String>> {
    let suffixes: Vec<String> = blobs
        .web_host_suffixes
        .iter()
        .map(|suffix| suffix.to_ascii_lowercase())
        .collect();
    for suffix in &suffixes {
        anyhow::ensure!(
            !blobs
                .host_suffixes
                .iter()
                .any(|other| is_below(&other.to_ascii_lowercase(), suffix)),
            "[blobs]: {suffix} of web_host_suffixes is one of host_suffixes, or one of them is below it; websites \
             have a suffix of their own"
        );
    }
    Ok(suffixes)
}

pub(crate) async fn run(path: &Path) -> Result<()> {
    let mut config = Config::read(path)?;
    let mut blob_accounts = Vec::new();
    for account in &config.blobs.accounts {
        blob_accounts.push(account.of_blobs()?);
    }
    anyhow::ensure!(
        !config.blobs.enforce_throughput,
        "[blobs]: enforce_throughput is for documents; blobs have no provisioned throughput"
    );
    anyhow::ensure!(
        config.blobs.run_scripts.is_none(),
        "[blobs]: run_scripts is for documents; blobs have no scripts"
    );
    for account in &blob_accounts {
        anyhow::ensure!(
            config.bearer.is_some() || account.roles.is_empty(),
            "account {}: roles are for principals with bearer tokens; say in [bearer] whose tokens are taken",
            account.name
        );
    }
    anyhow::ensure!(
        config.documents.web_host_suffixes.is_empty(),
        "[documents]: web_host_suffixes is for the websites of [blobs]; remove it here"
    );
    let mut document_accounts = Vec::new();
    for account in &config.documents.accounts {
        account.check_documents()?;
        let hosts = config
            .documents
            .host_suffixes
            .iter()
            .map(|suffix| format!("{}.{suffix}", account.name))
            .collect();
        document_accounts.push(documents::Account {
            name: account.name.clone(),
            keys: account.keys()?,
            read_only_keys: account.read_only_keys()?,
            hosts,
        });
    }
    let clock = Arc::new(SystemClock);
    let shared_clock: Arc<dyn Clock> = clock.clone();
    let bearer = config.bearer.as_ref();
    let bearer = bearer.map(|bearer| bearer.bearer(&shared_clock)).transpose()?;
    let registry_settings = config.registry.as_ref();
    let registry_settings = registry_settings
        .map(|registry| registry.settings(bearer.as_ref()))
        .transpose()?;
    let vault_settings = config.vault.as_ref().map(|vault| vault.settings(bearer.as_ref()));
    let vault_settings = vault_settings.transpose()?;
    let places = config.places();
    let encryption = config.encryption.as_ref();
    let of_platform = config.platform.as_ref().map(|platform| &platform.blobs_account);
    let generations = generations(&config.blobs.accounts, of_platform, encryption)?;
    let key_files = key_files(encryption)?;
    let mut stores = Stores::open(&config.data_dir, &places, clock.clone()).await?;
    let keyring = open_keyring(&mut stores, key_files, &generations).await?;
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        blobs::Settings {
            accounts: blob_accounts,
            host_suffixes: config.blobs.host_suffixes.clone(),
            web_host_suffixes: web_host_suffixes(&config.blobs)?,
            bearer,
            keyring,
            local_keys_in_clear: false,
        },
    );
    let documents = Documents::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        documents::Settings {
            accounts: document_accounts,
            region: "Norway East".to_owned(),
            development_certificate_pem: None,
            enforce_throughput: config.documents.enforce_throughput,
            script_worker: config
                .documents
                .run_scripts
                .unwrap_or(true)
                .then(node::script_worker),
        },
    );
    let sinks = match &config.platform {
        Some(config) => Sinks::new(config.scan.as_ref(), config.portal.as_ref())?,
        None => Sinks::default(),
    };
    let vaults = match (&config.vault, vault_settings) {
        (Some(config), Some(mut settings)) => {
            for name in vault::keep_protection(stores.ledger.as_ref(), &mut settings).await? {
                tracing::warn!(
                    vault = name,
                    "purge protection stays on: it can't be turned off again"
                );
            }
            let seal = open_seal(&stores, &config.root, &settings.vaults).await?;
            let (ledger, clock) = (stores.ledger.clone(), stores.clock.clone());
            Some(Vaults::new(ledger, clock, stores.random.clone(), seal, settings))
        }
        _ => None,
    };
    let platform = config
        .platform
        .as_ref()
        .map(|config| platform(&stores, &documents, &blobs, config))
        .transpose()?;
    if let Some(platform) = &platform {
        node::prepare(platform).await?;
    }
    let registry = registry_settings.map(|settings| {
        registry::Front::new(
            stores.ledger.clone(),
            stores.content.clone(),
            stores.clock.clone(),
            stores.random.clone(),
            settings,
        )
    });
    let health = Arc::new(StoresHealth(stores.clone()));
    let mut sources: Vec<Arc<dyn StatsSource>> = vec![
        health.clone(),
        Arc::new(DocumentsUse(documents.clone())),
        Arc::new(BlobsWork(blobs.clone())),
    ];
    if let Some(platform) = &platform {
        sources.push(Arc::new(MessagesWaiting(platform.clone())));
    }
    if let Some(vaults) = &vaults {
        sources.push(Arc::new(VaultsState(vaults.clone())));
    }
    let metrics = Arc::new(Metrics::new(sources));
    let admin = AdminService {
        metrics: metrics.clone(),
        health,
        clock: None,
        inner: platform
            .as_ref()
            .map(|platform| -> Arc<dyn Service> { Arc::new(InternalService::new(platform.clone())) }),
    };
    let gateway = Gateway {
        metrics,
        clock,
        random: stores.random.clone(),
        stop_max: Duration::from_secs(node::STOP_SECONDS_MAX),
    };
    let mut listeners = vec![
        listener(
            "blobs",
            config.blobs.listen,
            config.blobs.tls.as_ref(),
            blobs.clone(),
        )?,
        listener(
            "documents",
            config.documents.listen,
            config.documents.tls.as_ref(),
            Arc::new(DocumentsService::new(documents.clone())),
        )?,
        listener(
            "admin",
            config.admin.listen,
            config.admin.tls.as_ref(),
            Arc::new(admin),
        )?,
    ];
    let mut names = vec!["blobs", "documents", "admin"];
    if let (Some(config), Some(platform)) = (&config.platform, &platform) {
        names.push("platform");
        listeners.push(listener(
            "platform",
            config.listen,
            config.tls.as_ref(),
            Arc::new(PlatformService::new(platform.clone(), None)),
        )?);
    }
    if let (Some(config), Some(registry)) = (&config.registry, &registry) {
        names.push("registry");
        let mut listener = listener(
            "registry",
            config.listen,
            config.tls.as_ref(),
            Arc::new(registry.clone()),
        )?;
        listener.limits = registry_config::limits();
        listeners.push(listener);
    }
    if let (Some(config), Some(vaults)) = (&config.vault, &vaults) {
        names.push("vault");
        listeners.push(listener(
            "vault",
            config.listen,
            Some(&config.tls),
            vaults.clone(),
        )?);
    }
    for listener in &listeners {
        listener.check_plaintext()?;
    }
    let bound = gateway.bind(listeners)?;
    for (name, address) in names.iter().zip(bound.addresses()) {
        tracing::info!(listener = name, %address, "listening");
    }
    let (stop, stopped) = watch::channel(false);
    let services = Services {
        blobs,
        documents,
        platform,
        registry: registry.map(|registry| registry.service().clone()),
        registry_references: ContentReferences::new(stores.ledger.clone()),
        sinks,
        vaults,
    };
    let work = node::background(&stores, services, stopped);
    node::run(bound, &stores, stop, work).await
}

/// Platform Storage: tokens by the keys in a file, decisions by policies (an app without one is closed), or by a
/// decision point elsewhere.
fn platform(
    stores: &Stores,
    documents: &Arc<Documents>,
    blobs: &Arc<Blobs>,
    config: &PlatformConfig,
) -> Result<Arc<Platform>> {
    let keys = Arc::new(FileKeys::new(config.token_keys.clone()));
    let register = Arc::new(RegisterSource::file(config.register.clone(), Register::default()));
    let policies = config.policies.clone();
    let decision: Arc<dyn DecisionPoint> = match &config.pdp {
        Some(pdp) => pdp.decision(stores.clock.clone())?,
        None => Arc::new(EmbeddedDecisionPoint::new(policies, register.clone(), false)),
    };
    let foundation = Foundation {
        ledger: stores.ledger.clone(),
        documents: documents.clone(),
        blobs: blobs.clone(),
        clock: stores.clock.clone(),
        random: stores.random.clone(),
        verifier: TokenVerifier::new(keys, stores.clock.clone()),
        platform_tokens: platform_tokens(&config.access_tokens, &stores.clock),
        decision,
        register,
    };
    let settings = platform_storage::Settings {
        documents_account: config.documents_account.clone(),
        blobs_account: config.blobs_account.clone(),
        environment: config.environment.clone(),
        platform_url: config.platform_url.clone(),
        apps_url: config.apps_url.clone(),
        scans: config.scan.is_some(),
        refuse_infected: config.refuse_infected,
        portal_sync: config.portal.is_some(),
    };
    Ok(Platform::new(foundation, settings))
}

fn listener(
    name: &str,
    address: SocketAddr,
    tls: Option<&TlsFiles>,
    service: Arc<dyn Service>,
) -> Result<Listener> {
    let transport = match tls {
        Some(files) => Transport::Tls(Arc::new(Tls::from_files(&files.certificate, &files.key)?)),
        None => Transport::Plain,
    };
    Ok(Listener {
        name: name.into(),
        address,
        transport,
        service,
        limits: ListenerLimits::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn suffixes_of_websites_hide_what_is_below_them() {
        for (suffix, parent, hidden) in [
            ("blob.acme.no", "acme.no", true),
            ("blob.acme.no", "blob.acme.no", true),
            ("blob.acme.no", "web.acme.no", false),
            ("acme.no", "web.acme.no", false),
            ("blobacme.no", "acme.no", false),
        ] {
            assert_eq!(is_below(suffix, parent), hidden, "{suffix} below {parent}");
        }
    }
}
