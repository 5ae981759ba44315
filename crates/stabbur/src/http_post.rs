//! Posts JSON to an address of an operator's: a decision point, a scanner, the portal's adapter.
//!
//! Invariant: it speaks TLS or to this very machine; no redirection leads elsewhere; time and length are bounded; the
//! secret that it shows is in no error and no log.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use platform_storage::limits::DECISION_BYTES_MAX;
use platform_storage::{Ask, Sink};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Url};

use crate::key_fetch;

/// Largest answer of a receiver that is read; nothing is done with it.
const RECEIPT_BYTES_MAX: u64 = 64 * 1024;

/// What Altinn's gateway wants to see beside a request.
const SUBSCRIPTION_KEY: HeaderName = HeaderName::from_static("ocp-apim-subscription-key");

/// An address, and what is shown there.
pub(crate) struct HttpPost {
    client: Client,
    url: Url,
    secret: Option<(HeaderName, HeaderValue)>,
}

/// What a secret is shown as.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    BearerToken,
    SubscriptionKey,
}

impl HttpPost {
    /// Posts to `url`, with the secret in a file, trusting the system's authorities and those in another file (PEM).
    pub(crate) fn new(
        url: &str,
        secret: Option<(Shown, &PathBuf)>,
        authorities: Option<&Path>,
    ) -> Result<Self> {
        let secret = secret.map(|(shown, path)| read_secret(shown, path)).transpose()?;
        Ok(Self {
            client: key_fetch::client(authorities)?,
            url: key_fetch::check(url)?,
            secret,
        })
    }

    async fn post(&self, message: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(reqwest::header::ACCEPT, "application/json")
            .body(message);
        if let Some((name, value)) = &self.secret {
            request = request.header(name, value);
        }
        let mut response = request.send().await?;
        ensure!(response.status().is_success(), "answered {}", response.status());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            body.extend_from_slice(&piece);
            ensure!(
                u64::try_from(body.len()).is_ok_and(|length| length <= bytes_max),
                "the answer has more than {bytes_max} bytes"
            );
        }
        Ok(body)
    }
}

fn read_secret(shown: Shown, path: &Path) -> Result<(HeaderName, HeaderValue)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let text = text.trim();
    ensure!(!text.is_empty(), "{}: is empty", path.display());
    let (name, value) = match shown {
        Shown::BearerToken => (AUTHORIZATION, format!("Bearer {text}")),
        Shown::SubscriptionKey => (SUBSCRIPTION_KEY, text.to_owned()),
    };
    // The library's error would quote the value.
    let mut value = HeaderValue::from_str(&value)
        .ok()
        .with_context(|| format!("{}: holds what can't be in a header", path.display()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[async_trait]
impl Sink for HttpPost {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), String> {
        let taken = self.post(message, RECEIPT_BYTES_MAX).await;
        taken.map(|_| ()).map_err(|error| format!("{error:#}"))
    }
}

#[async_trait]
impl Ask for HttpPost {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        self.post(request, DECISION_BYTES_MAX)
            .await
            .map_err(|error| format!("{error:#}"))
    }
}
