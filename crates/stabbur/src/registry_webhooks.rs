//! Webhooks of registries: what the configuration says of them, and the task that delivers their messages.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ledger::{Clock as _, Lease, SystemClock};
use registry::limits::WEBHOOKS_MAX;
use registry::rules::webhook::{WebhookAction, WebhookScope};
use registry::{RegistryService, Webhook};
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http_post::HttpPost;
use crate::node::Stores;

/// Pause between two looks for messages that are due.
const PAUSE_MILLISECONDS: u64 = 500;

/// How long the lease of the deliveries is taken for: a round takes less.
const LEASE_SECONDS: u64 = 120;

/// A webhook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookConfig {
    name: String,
    /// Where its messages are posted to.
    url: String,
    /// `push` and `delete`; both without it.
    actions: Option<Vec<String>>,
    /// `NAME:TAG`, `NAME:*`, or empty for the whole registry.
    #[serde(default)]
    scope: String,
    /// Headers that are sent along.
    #[serde(default)]
    headers: Vec<HeaderConfig>,
    /// Certificates (PEM) that are trusted beside the system's.
    authorities: Option<PathBuf>,
}

/// A header of a webhook's requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderConfig {
    name: String,
    /// A file with its value, which may be secret.
    value_file: PathBuf,
}

impl HeaderConfig {
    fn header(&self) -> Result<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_bytes(self.name.as_bytes())
            .ok()
            .with_context(|| format!("{:?} is no name of a header", self.name))?;
        let path = self.value_file.display();
        let text = std::fs::read_to_string(&self.value_file).with_context(|| format!("{path}"))?;
        let text = text.trim();
        ensure!(!text.is_empty(), "{path}: is empty");
        // The library's error would quote the value.
        let value = HeaderValue::from_str(text).ok();
        let mut value = value.with_context(|| format!("{path}: holds what can't be in a header"))?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

impl WebhookConfig {
    /// One that is told everything, at an address without headers: for development.
    pub(crate) fn plain(url: String) -> Self {
        Self {
            name: "development".to_owned(),
            url,
            actions: None,
            scope: String::new(),
            headers: Vec::new(),
            authorities: None,
        }
    }

    fn webhook(&self) -> Result<Webhook> {
        let all = || {
            WebhookAction::ALL
                .iter()
                .map(|action| action.name().to_owned())
                .collect()
        };
        let names: Vec<String> = self.actions.clone().unwrap_or_else(all);
        let action = |name: &String| {
            WebhookAction::parse(name).with_context(|| format!("{name:?} is neither push nor delete"))
        };
        let actions = names.iter().map(action).collect::<Result<Vec<_>>>()?;
        let headers = self.headers.iter().map(HeaderConfig::header);
        let headers = headers.collect::<Result<Vec<_>>>()?;
        let post = HttpPost::with_headers(&self.url, headers, self.authorities.as_deref())?;
        Ok(Webhook {
            name: self.name.clone(),
            actions,
            scope: WebhookScope::parse(&self.scope)
                .with_context(|| format!("{:?} is no scope: NAME:TAG, NAME:*, or nothing", self.scope))?,
            receiver: Arc::new(post),
        })
    }
}

/// The webhooks of a registry.
pub(crate) fn webhooks(configs: &[WebhookConfig]) -> Result<Vec<Webhook>> {
    ensure!(
        configs.len() <= WEBHOOKS_MAX,
        "{} webhooks, at most {WEBHOOKS_MAX}",
        configs.len()
    );
    let mut names = HashSet::new();
    let webhook = |config: &WebhookConfig| {
        let name = &config.name;
        ensure!(!name.is_empty(), "a webhook has a name");
        ensure!(names.insert(name.clone()), "webhook {name:?} is there twice");
        config.webhook().with_context(|| format!("webhook {name:?}"))
    };
    configs.iter().map(webhook).collect()
}

/// Holds the lease on while a round is under way; ends when it is another's, or can't be had.
async fn keep(lease: Option<&Lease>, held: &mut Option<Duration>) {
    let Some(lease) = lease else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(Duration::from_secs(LEASE_SECONDS / 4)).await;
        *held = matches!(lease.hold().await, Ok(true)).then(|| SystemClock.monotonic());
        if held.is_none() {
            return;
        }
    }
}

/// Delivers messages until `stop`, apart from the other work: who takes them may be slow. Of several nodes one does it. A
/// delivery that is cut off is made again.
pub(crate) fn deliver(
    stores: &Stores,
    registry: Option<&Arc<RegistryService>>,
    mut stop: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let registry = registry.filter(|registry| registry.has_webhooks())?.clone();
    let lease = stores.is_shared.then(|| {
        Lease::new(
            stores.ledger.clone(),
            Arc::new(SystemClock),
            "registry webhooks",
            stores.random.uuid(),
            Duration::from_secs(LEASE_SECONDS),
        )
    });
    Some(tokio::spawn(async move {
        let mut held: Option<Duration> = None;
        let mut pause = Duration::from_millis(PAUSE_MILLISECONDS);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = Duration::from_millis(PAUSE_MILLISECONDS);
            if let Some(lease) = &lease {
                let now = SystemClock.monotonic();
                let fresh = Duration::from_secs(LEASE_SECONDS / 4);
                if held.is_none_or(|at| now.saturating_sub(at) >= fresh) {
                    // An error means that it can't be had for now.
                    held = matches!(lease.hold().await, Ok(true)).then_some(now);
                }
                if held.is_none() {
                    continue;
                }
            }
            let round = async {
                let report = registry.deliver_webhooks().await;
                report.more && report.failed == 0
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                has_more = round => {
                    if has_more {
                        pause = Duration::ZERO;
                    }
                }
                // A round with many webhooks takes longer than the lease does; who loses it meanwhile stops.
                () = keep(lease.as_ref(), &mut held) => {}
            }
        }
        if let Some(lease) = &lease
            && let Err(error) = lease.release().await
        {
            tracing::debug!(%error, "the lease of the webhooks ends by itself");
        }
    }))
}
