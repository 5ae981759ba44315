//! `stabbur serve`: accounts, keys and TLS from a file; nothing but loopback without TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use blobs::Blobs;
use documents::{Documents, DocumentsService};
use gateway::tls::Tls;
use gateway::{AdminService, Gateway, Listener, ListenerLimits, Metrics, Transport};
use http_semantics::Service;
use ledger::SystemClock;
use tokio::sync::watch;

use crate::config::{Config, TlsFiles};
use crate::node::{self, Stores, StoresHealth};

pub(crate) async fn run(path: &Path) -> Result<()> {
    let config = Config::read(path)?;
    let mut blob_accounts = Vec::new();
    for account in &config.blobs.accounts {
        blob_accounts.push(blobs::Account {
            name: account.name.clone(),
            keys: account.keys()?,
        });
    }
    let mut document_accounts = Vec::new();
    for account in &config.documents.accounts {
        let hosts = config
            .documents
            .host_suffixes
            .iter()
            .map(|suffix| format!("{}.{suffix}", account.name))
            .collect();
        document_accounts.push(documents::Account {
            name: account.name.clone(),
            keys: account.keys()?,
            hosts,
        });
    }
    let clock = Arc::new(SystemClock);
    let stores = Stores::open(&config.data_dir, clock.clone())?;
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        blobs::Settings {
            accounts: blob_accounts,
            host_suffixes: config.blobs.host_suffixes.clone(),
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
        },
    );
    let health = Arc::new(StoresHealth(stores.clone()));
    let metrics = Arc::new(Metrics::new(vec![health.clone()]));
    let admin = AdminService {
        metrics: metrics.clone(),
        health,
        clock: None,
        inner: None,
    };
    let gateway = Gateway {
        metrics,
        clock,
        random: stores.random.clone(),
        stop_max: Duration::from_secs(node::STOP_SECONDS_MAX),
    };
    let listeners = vec![
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
    for listener in &listeners {
        listener.check_plaintext()?;
    }
    let bound = gateway.bind(listeners)?;
    for (name, address) in ["blobs", "documents", "admin"].iter().zip(bound.addresses()) {
        tracing::info!(listener = name, %address, "listening");
    }
    let (stop, stopped) = watch::channel(false);
    let work = node::background(blobs, documents, stopped);
    node::run(bound, &stores, stop, work).await
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
