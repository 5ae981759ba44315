//! Whom Platform Storage speaks with: a decision point, a scanner, the portal's adapter, and whose platform tokens it
//! takes. In the configuration of `serve` and, in part, on the command line of `dev`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use identity::{FileKeys, TokenVerifier};
use ledger::Clock;
use platform_storage::{DecisionPoint, PlatformTokens, RemoteDecisionPoint, Sink};
use serde::Deserialize;

use crate::http_post::{HttpPost, Shown};

/// A decision point elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PdpConfig {
    /// `https://platform.example.org/authorization/api/v1/decision`
    pub(crate) url: String,
    /// Holds what is shown as `Ocp-Apim-Subscription-Key`.
    pub(crate) subscription_key_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub(crate) authorities: Option<PathBuf>,
}

impl PdpConfig {
    /// The decision point.
    pub(crate) fn decision(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn DecisionPoint>> {
        let secret = self.subscription_key_file.as_ref();
        let secret = secret.map(|path| (Shown::SubscriptionKey, path));
        let post = HttpPost::new(&self.url, secret, self.authorities.as_deref()).context("[platform.pdp]")?;
        Ok(Arc::new(RemoteDecisionPoint::new(Arc::new(post), clock)))
    }
}

/// Who takes an outbox's messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkConfig {
    /// Where they are posted to.
    pub(crate) url: String,
    /// Holds a token that is shown there.
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub(crate) authorities: Option<PathBuf>,
}

impl SinkConfig {
    fn sink(&self, name: &str) -> Result<Arc<dyn Sink>> {
        let secret = self.token_file.as_ref().map(|path| (Shown::BearerToken, path));
        let post = HttpPost::new(&self.url, secret, self.authorities.as_deref());
        Ok(Arc::new(post.with_context(|| format!("[platform.{name}]"))?))
    }
}

/// An issuer of tokens that come in `PlatformAccessToken`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformIssuerConfig {
    /// What its tokens call it (`iss`).
    pub(crate) issuer: String,
    /// Its keys (a JSON Web Key Set), read again when the file changes.
    pub(crate) keys: PathBuf,
}

/// Takes the tokens of these issuers.
pub(crate) fn platform_tokens(issuers: &[PlatformIssuerConfig], clock: &Arc<dyn Clock>) -> PlatformTokens {
    let verifier = |issuer: &PlatformIssuerConfig| {
        let keys = Arc::new(FileKeys::new(issuer.keys.clone()));
        (issuer.issuer.clone(), TokenVerifier::new(keys, clock.clone()))
    };
    PlatformTokens::new(issuers.iter().map(verifier).collect::<BTreeMap<_, _>>())
}

/// Who takes which outbox.
#[derive(Clone, Default)]
pub(crate) struct Sinks {
    pub(crate) scan: Option<Arc<dyn Sink>>,
    pub(crate) portal: Option<Arc<dyn Sink>>,
}

impl Sinks {
    /// Those that are configured.
    pub(crate) fn new(scan: Option<&SinkConfig>, portal: Option<&SinkConfig>) -> Result<Self> {
        Ok(Self {
            scan: scan.map(|config| config.sink("scan")).transpose()?,
            portal: portal.map(|config| config.sink("portal")).transpose()?,
        })
    }
}

/// What of it `dev` takes.
#[derive(Debug, Args)]
pub(crate) struct PlatformArguments {
    /// Ask this decision point (an address of this machine's, or https) instead of the one inside.
    #[arg(long, value_name = "URL")]
    platform_pdp_url: Option<String>,
    /// Post contents that are to be scanned for malware there.
    #[arg(long, value_name = "URL")]
    platform_scan_url: Option<String>,
    /// Post what the portal is to be told of there.
    #[arg(long, value_name = "URL")]
    platform_portal_url: Option<String>,
    /// Give content in which malware was found to nobody.
    #[arg(long)]
    pub(crate) platform_refuse_infected: bool,
}

impl PlatformArguments {
    /// The decision point elsewhere, if one is named.
    pub(crate) fn pdp(&self) -> Option<PdpConfig> {
        Some(PdpConfig {
            url: self.platform_pdp_url.clone()?,
            subscription_key_file: None,
            authorities: None,
        })
    }

    /// Who takes which outbox.
    pub(crate) fn sinks(&self) -> Result<Sinks> {
        let config = |url: &Option<String>| {
            Some(SinkConfig {
                url: url.clone()?,
                token_file: None,
                authorities: None,
            })
        };
        Sinks::new(
            config(&self.platform_scan_url).as_ref(),
            config(&self.platform_portal_url).as_ref(),
        )
    }
}
