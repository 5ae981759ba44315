//! `stabbur dev`: an estate of its own in one folder, for developers and CI.
//!
//! Invariant: the well-known keys are known to everybody, so only loopback is listened on.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use blobs::{Bearer, Blobs, Lifecycle};
use clap::Args;
use documents::{Documents, DocumentsService};
use encryption::AccountGeneration;
use gateway::tls::Tls;
use gateway::{AdminService, Gateway, Listener, ListenerLimits, Metrics, Transport};
use identity::{SharedKey, TokenIssuer, TokenVerifier, Trust, TrustedIssuer};
use ledger::{AdjustableClock, Clock, SystemClock};
use platform_storage::development::storage;
use platform_storage::{
    DecisionPoint, Development, EmbeddedDecisionPoint, Foundation, InternalService, Platform,
    PlatformService, PlatformTokens, Register, RegisterSource,
};
use registry::ContentReferences;
use tokio::sync::watch;
use vault::rules::roles::Role;

use crate::blob_jobs_config::{check_access_times, read_policy};
use crate::dev_vault;
use crate::encryption_config::open_keyring;
use crate::node::{self, BlobsWork, DocumentsUse, MessagesWaiting, Services, Stores, StoresHealth};
use crate::places::Places;
use crate::platform_config::{PlatformArguments, Sinks};
use crate::registry_config::{self, DevelopmentRegistry};

/// The storage emulators' account and key (Microsoft's documentation of Azurite).
pub(crate) const BLOBS_ACCOUNT: &str = "devstoreaccount1";
/// See [`BLOBS_ACCOUNT`].
pub(crate) const BLOBS_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// What the one account of documents is called; clients don't name it.
pub(crate) const DOCUMENTS_ACCOUNT: &str = "localhost";
/// The environment of Platform Storage, a part of its containers' names.
pub(crate) const ENVIRONMENT: &str = "dev";
/// The Cosmos DB emulators' key (Microsoft's documentation of the emulator).
pub(crate) const DOCUMENTS_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// Where everything is kept.
    #[arg(long, default_value = "stabbur-data")]
    data: PathBuf,
    /// A database for the ledger instead of the data folder: a PostgreSQL connection string.
    #[arg(long, value_name = "CONNECTION")]
    ledger_postgres: Option<String>,
    /// A file (TOML) that names an object store for the content, as a configuration's `[content]`.
    #[arg(long, value_name = "FILE")]
    content_config: Option<PathBuf>,
    /// The loopback address that is listened on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Azure Blob Storage; 0 takes a free port, here and below.
    #[arg(long, default_value_t = 10_000)]
    blobs_port: u16,
    /// Cosmos DB for NoSQL.
    #[arg(long, default_value_t = 8081)]
    documents_port: u16,
    /// Altinn's Platform Storage.
    #[arg(long, default_value_t = 5101)]
    platform_port: u16,
    /// Container registry of the organisation `dev`.
    #[arg(long, default_value_t = 5000)]
    registry_port: u16,
    /// Have clients of the registry log in; its user is `dev`, its password `dev`.
    #[arg(long)]
    registry_login: bool,
    /// Let clients of the registry pull without a login.
    #[arg(long, requires = "registry_login")]
    registry_anonymous_pull: bool,
    /// Delete manifests of the registry that have had no tag for so many days.
    #[arg(long, value_name = "DAYS", conflicts_with = "registry_soft_delete_days")]
    registry_retention_days: Option<u32>,
    /// Let what is deleted from the registry be restored for so many days.
    #[arg(long, value_name = "DAYS")]
    registry_soft_delete_days: Option<u32>,
    /// Post what happens in the registry there (an address of this machine's, or https).
    #[arg(long, value_name = "URL")]
    registry_webhook: Option<String>,
    /// Fetch repositories of the registry from another one as they are pulled: `hub/*=HOST/library/*`. `http://` is for
    /// this machine alone.
    #[arg(long, value_name = "TARGET=SOURCE")]
    registry_cache: Vec<String>,
    /// Bytes that the registry may hold.
    #[arg(long, value_name = "BYTES")]
    registry_quota: Option<u64>,
    /// Key Vault, over TLS alone.
    #[arg(long, default_value_t = 8443)]
    vault_port: u16,
    /// Where clients of the vault get tokens, over TLS alone.
    #[arg(long, default_value_t = 8444)]
    login_port: u16,
    /// A file with the vault's root key, instead of the one in the data folder. Given again, older keys: the first wraps,
    /// all unwrap.
    #[arg(long, value_name = "FILE")]
    vault_root_key: Vec<PathBuf>,
    /// Who is who and holds which roles, JSON; without it Altinn's test people.
    #[arg(long)]
    register: Option<PathBuf>,
    /// Health, metrics, the development clock, Platform Storage's internal routes.
    #[arg(long, default_value_t = 9090)]
    admin_port: u16,
    /// Answer requests to items beyond the provisioned throughput with 429, as in production.
    #[arg(long)]
    enforce_throughput: bool,
    /// Keep what is overwritten or deleted in the blob account as versions.
    #[arg(long)]
    blob_versioning: bool,
    /// Put changes of blobs into the blob account's change feed, within seconds.
    #[arg(long)]
    blob_change_feed: bool,
    /// Lifecycle rules (JSON) for the blob account.
    #[arg(long, value_name = "FILE")]
    blob_lifecycle: Option<PathBuf>,
    /// Keep when blobs were read last.
    #[arg(long)]
    blob_last_access: bool,
    /// Say in the log what lifecycle rules would do, and do nothing.
    #[arg(long, requires = "blob_lifecycle")]
    blob_lifecycle_dry_run: bool,
    /// Take immutability policies and legal holds in the blob account.
    #[arg(long, requires = "blob_versioning")]
    blob_immutability: bool,
    /// A file with a key-encryption key: content is encrypted at rest. Given again, older keys: the first wraps, all
    /// unwrap.
    #[arg(long, value_name = "FILE")]
    encryption_key: Vec<PathBuf>,
    /// Another number, larger than before, makes a new key, which new content is encrypted with.
    #[arg(long, value_name = "NUMBER", requires = "encryption_key")]
    encryption_generation: Option<u32>,
    /// An encryption scope of the blob account, which has a key of its own. Given again, more of them.
    #[arg(long, value_name = "NAME", requires = "encryption_key")]
    encryption_scope: Vec<String>,
    /// An encryption scope that is disabled.
    #[arg(long, value_name = "NAME", requires = "encryption_key")]
    encryption_scope_disabled: Vec<String>,
    #[command(flatten)]
    platform: PlatformArguments,
    /// Written when everything listens: the addresses, as JSON.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

impl DevArguments {
    fn registry(&self) -> DevelopmentRegistry {
        DevelopmentRegistry {
            needs_login: self.registry_login,
            anonymous_pull: self.registry_anonymous_pull,
            quota_bytes: self.registry_quota,
            retention_days: self.registry_retention_days,
            soft_delete_days: self.registry_soft_delete_days,
            webhook: self.registry_webhook.clone(),
            cache: self.registry_cache.clone(),
        }
    }
}

pub(crate) async fn run(arguments: DevArguments) -> Result<()> {
    let began = SystemClock.monotonic();
    if !arguments.host.is_loopback() {
        bail!(
            "--host {}: dev has well-known keys and listens on loopback only; use `stabbur serve` for other addresses",
            arguments.host
        );
    }
    let lifecycle = arguments.blob_lifecycle.as_deref().map(|path| {
        let dry_run = arguments.blob_lifecycle_dry_run;
        read_policy(path).map(|policy| Lifecycle { policy, dry_run })
    });
    let lifecycle = lifecycle.transpose()?;
    if let Some(lifecycle) = &lifecycle {
        check_access_times(&lifecycle.policy, arguments.blob_last_access)?;
    }
    let clock = Arc::new(AdjustableClock::over_system());
    let places = Places::of(
        arguments.ledger_postgres.as_ref(),
        arguments.content_config.as_ref(),
    )?;
    let mut stores = Stores::open(&arguments.data, &places, clock.clone()).await?;
    let generation = |scope: Option<&String>, generation: Option<u32>| AccountGeneration {
        account: BLOBS_ACCOUNT.to_owned(),
        scope: scope.cloned(),
        generation: generation.unwrap_or_default(),
    };
    let named = [
        (&arguments.encryption_scope, true),
        (&arguments.encryption_scope_disabled, false),
    ];
    let named = named.iter().flat_map(|(names, enabled)| {
        names.iter().map(|name| blobs::EncryptionScope {
            name: name.clone(),
            enabled: *enabled,
        })
    });
    let encryption_scopes: Vec<blobs::EncryptionScope> = named.collect();
    let mut generations = vec![generation(None, arguments.encryption_generation)];
    generations.extend(
        encryption_scopes
            .iter()
            .map(|scope| generation(Some(&scope.name), None)),
    );
    let keyring = open_keyring(&mut stores, &arguments.encryption_key, &generations).await?;
    let (tls, authority) = Tls::development(&arguments.data.join("tls"), clock.now())?;
    let tls = Arc::new(tls);
    let key = |text: &str| SharedKey::from_base64(text).context("a well-known key is malformed");
    let issuer = Arc::new(TokenIssuer::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        "development",
    ));
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        blobs::Settings {
            accounts: vec![blobs::Account {
                allows_public_access: true,
                versioning: arguments.blob_versioning,
                lifecycle,
                last_access_time_tracking: arguments.blob_last_access,
                change_feed: arguments.blob_change_feed.then(blobs::ChangeFeed::default),
                immutable_storage: arguments.blob_immutability,
                roles: storage::roles(),
                encryption_scopes,
                ..blobs::Account::new(BLOBS_ACCOUNT, vec![key(BLOBS_KEY)?])
            }],
            host_suffixes: vec!["blob.localhost".to_owned()],
            web_host_suffixes: vec!["web.localhost".to_owned()],
            bearer: Some(bearer(&stores, issuer.clone())),
            keyring,
            local_keys_in_clear: true,
        },
    );
    let mut settings = documents::Settings::single(DOCUMENTS_ACCOUNT, key(DOCUMENTS_KEY)?);
    settings.development_certificate_pem = std::fs::read_to_string(&authority).ok();
    settings.enforce_throughput = arguments.enforce_throughput;
    settings.script_worker = Some(node::script_worker());
    let documents = Documents::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        settings,
    );
    let registry = registry_config::development(&stores, &arguments.registry(), issuer.clone())?;
    let sinks = arguments.platform.sinks()?;
    let (platform, development) = platform(&stores, &documents, &blobs, &arguments, &sinks, issuer.clone())?;
    node::prepare(&platform).await?;
    let health = Arc::new(StoresHealth(stores.clone()));
    let metrics = Arc::new(Metrics::new(vec![
        health.clone(),
        Arc::new(DocumentsUse(documents.clone())),
        Arc::new(BlobsWork(blobs.clone())),
        Arc::new(MessagesWaiting(platform.clone())),
    ]));
    let admin = AdminService {
        metrics: metrics.clone(),
        health,
        clock: Some(clock.clone()),
        inner: Some(Arc::new(InternalService::new(platform.clone()))),
    };
    let gateway = Gateway {
        metrics,
        // Durations are real ones, however the development clock is moved.
        clock: Arc::new(SystemClock),
        random: stores.random.clone(),
        stop_max: Duration::from_secs(node::STOP_SECONDS_MAX),
    };
    let listener =
        |name: &str, port: u16, transport: Transport, service: Arc<dyn http_semantics::Service>| Listener {
            name: name.into(),
            address: SocketAddr::new(arguments.host, port),
            transport,
            service,
            limits: ListenerLimits::default(),
        };
    let both = || Transport::Both(tls.clone());
    let login = Arc::new(dev_vault::login(&stores, issuer.clone()));
    let only = || Transport::Tls(tls.clone());
    let login = gateway.bind(vec![listener("login", arguments.login_port, only(), login)])?;
    let login_at = login
        .addresses()
        .first()
        .copied()
        .context("a listener is missing")?;
    let root_keys = &arguments.vault_root_key;
    let vaults = dev_vault::vaults(&stores, &arguments.data, root_keys, login_at.port(), issuer).await?;
    let bound = gateway.bind(vec![
        listener("blobs", arguments.blobs_port, both(), blobs.clone()),
        listener(
            "documents",
            arguments.documents_port,
            both(),
            Arc::new(DocumentsService::new(documents.clone())),
        ),
        listener(
            "platform",
            arguments.platform_port,
            both(),
            Arc::new(PlatformService::new(platform.clone(), Some(development))),
        ),
        listener("admin", arguments.admin_port, Transport::Plain, Arc::new(admin)),
        Listener {
            limits: registry_config::limits(),
            ..listener(
                "registry",
                arguments.registry_port,
                both(),
                Arc::new(registry.clone()),
            )
        },
        listener("vault", arguments.vault_port, only(), vaults.clone()),
    ])?;
    let addresses = bound.addresses();
    let bound = bound.and(login);
    let [
        blobs_at,
        documents_at,
        platform_at,
        admin_at,
        registry_at,
        vault_at,
    ] = addresses.as_slice()
    else {
        bail!("a listener is missing")
    };
    let authority = std::fs::canonicalize(&authority).unwrap_or(authority);
    let ready = SystemClock.monotonic().saturating_sub(began).as_millis();
    say(&format!(
        "blobs      http://{blobs_at}/{BLOBS_ACCOUNT}  (https on the same port)\n\
         \x20          DefaultEndpointsProtocol=http;AccountName={BLOBS_ACCOUNT};AccountKey={BLOBS_KEY};\
         BlobEndpoint=http://{blobs_at}/{BLOBS_ACCOUNT};\n\
         \x20          tokens: GET http://{platform_at}/Home/GetTestStorageToken/contributor (for https alone)\n\
         documents  http://{documents_at}/  (https on the same port)\n\
         \x20          AccountEndpoint=https://{documents_at}/;AccountKey={DOCUMENTS_KEY};\n\
         platform   http://{platform_at}/storage/api/v1/  (https on the same port)\n\
         \x20          PlatformSettings__ApiStorageEndpoint=http://{platform_at}/storage/api/v1/\n\
         \x20          tokens: GET http://{platform_at}/Home/GetTestUserToken/1337, /Home/GetTestOrgToken/ttd\n\
         registry   http://{registry_at}/v2/  (https on the same port; docker push localhost:{registry_port}/app:1)\n\
         \x20          start page http://{platform_at}/  (choose a user and an app)\n\
         vault      https://{vault}:{0}/  (or https://localhost:{0}/, where clients don't check the challenge's host)\n\
         \x20          tokens: https://localhost:{1}/{tenant}, client {client}, secret {secret}\n\
         admin      http://{admin_at}/health/ready  /metrics  POST /dev/clock\n\
         trust      NODE_EXTRA_CA_CERTS={2}  REQUESTS_CA_BUNDLE={2}  SSL_CERT_FILE={2}\n\
         ready in {ready} ms",
        vault_at.port(),
        login_at.port(),
        authority.display(),
        registry_port = registry_at.port(),
        vault = dev_vault::host(),
        tenant = storage::TENANT,
        client = dev_vault::client_id(Role::Administrator),
        secret = dev_vault::CLIENT_SECRET,
    ));
    if let Some(path) = &arguments.ready_file {
        let text = serde_json::json!({
            "blobs": format!("http://{blobs_at}/{BLOBS_ACCOUNT}"),
            "documents": format!("http://{documents_at}"),
            "platform": format!("http://{platform_at}"),
            "admin": format!("http://{admin_at}"),
            "registry": format!("http://{registry_at}"),
            "blobs_port": blobs_at.port(),
            "documents_port": documents_at.port(),
            "platform_port": platform_at.port(),
            "admin_port": admin_at.port(),
            "registry_port": registry_at.port(),
            "vault": format!("https://{}:{}", dev_vault::host(), vault_at.port()),
            "vault_port": vault_at.port(),
            "login": format!("https://localhost:{}/{}", login_at.port(), storage::TENANT),
            "login_port": login_at.port(),
            "ca": authority,
            "ready_ms": u64::try_from(ready).unwrap_or(u64::MAX),
        });
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, text.to_string()).with_context(|| format!("{}", temporary.display()))?;
        std::fs::rename(&temporary, path).with_context(|| format!("{}", path.display()))?;
    }
    let (stop, stopped) = watch::channel(false);
    let services = Services {
        blobs,
        documents,
        platform: Some(platform),
        registry: Some(registry.service().clone()),
        registry_references: ContentReferences::new(stores.ledger.clone()),
        sinks,
        vaults: Some(vaults),
    };
    let work = node::background(&stores, services, stopped);
    node::run(bound, &stores, stop, work).await
}

/// Blobs take the tokens that are given to whoever asks (`/Home/GetTestStorageToken`), over TLS as anywhere.
fn bearer(stores: &Stores, keys: Arc<TokenIssuer>) -> Bearer {
    let issuer = storage::ISSUER.to_owned();
    Bearer {
        trust: Trust::new(vec![TrustedIssuer { issuer, keys }], &stores.clock, 0),
        tenant: storage::TENANT.to_owned(),
        authorization_uri: format!("https://localhost/{}/oauth2/authorize", storage::TENANT),
        audiences: Vec::new(),
    }
}

/// Platform Storage as developers use it: tokens for whoever asks, apps without a policy open to
/// those whom they concern.
fn platform(
    stores: &Stores,
    documents: &Arc<Documents>,
    blobs: &Arc<Blobs>,
    arguments: &DevArguments,
    sinks: &Sinks,
    issuer: Arc<TokenIssuer>,
) -> Result<(Arc<Platform>, Development)> {
    let register = Arc::new(match &arguments.register {
        Some(path) => RegisterSource::file(path.clone(), Register::default()),
        None => RegisterSource::fixed(Register::development()),
    });
    let policies = arguments.data.join("policies");
    let inside: Arc<dyn DecisionPoint> =
        Arc::new(EmbeddedDecisionPoint::new(policies, register.clone(), true));
    let decision = match arguments.platform.pdp() {
        Some(pdp) => pdp.decision(stores.clock.clone())?,
        None => inside.clone(),
    };
    let verifier = TokenVerifier::new(issuer.clone(), stores.clock.clone());
    let own = (Development::PLATFORM_ISSUER.to_owned(), verifier.clone());
    let foundation = Foundation {
        ledger: stores.ledger.clone(),
        documents: documents.clone(),
        blobs: blobs.clone(),
        clock: stores.clock.clone(),
        random: stores.random.clone(),
        verifier,
        platform_tokens: PlatformTokens::new([own].into()),
        decision,
        register: register.clone(),
    };
    let settings = platform_storage::Settings {
        documents_account: DOCUMENTS_ACCOUNT.to_owned(),
        blobs_account: BLOBS_ACCOUNT.to_owned(),
        environment: ENVIRONMENT.to_owned(),
        platform_url: None,
        apps_url: None,
        scans: sinks.scan.is_some(),
        refuse_infected: arguments.platform.platform_refuse_infected,
        portal_sync: sinks.portal.is_some(),
    };
    Ok((
        Platform::new(foundation, settings),
        Development::new(issuer, register, stores.clock.clone(), inside),
    ))
}

#[allow(clippy::print_stdout, reason = "this is what the command prints for people")]
fn say(text: &str) {
    println!("{text}");
}
