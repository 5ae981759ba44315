//! Asks issuers for their keys over HTTP.
//!
//! Invariant: keys come over TLS or from this very machine; no redirection leads elsewhere; time and length
//! are bounded.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use identity::remote_keys::Fetch;
use reqwest::{Certificate, Client, Url};

const CONNECT_SECONDS_MAX: u64 = 5;
/// For a whole answer, which is a few kilobytes.
const ANSWER_SECONDS_MAX: u64 = 10;

/// An HTTP client for keys.
#[derive(Debug)]
pub(crate) struct KeyFetch {
    client: Client,
    /// For what is on this machine.
    near: Client,
}

impl KeyFetch {
    /// Trusts the system's authorities, and those in a file (PEM).
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self> {
        Ok(Self {
            client: client(authorities, false)?,
            near: client(authorities, true)?,
        })
    }

    async fn get(&self, address: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let url = check(address)?;
        let client = if is_here(&url) { &self.near } else { &self.client };
        // An address may hold a secret, which mustn't be in the log.
        let sent = client.get(url).send().await;
        let mut response = sent.map_err(reqwest::Error::without_url)?;
        ensure!(response.status().is_success(), "answered {}", response.status());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            body.extend_from_slice(&piece);
            ensure!(
                u64::try_from(body.len()).is_ok_and(|length| length <= bytes_max),
                "the answer has more than {bytes_max} bytes"
            );
        }
        Ok(body)
    }
}

/// A client that gives up in bounded time, follows nobody, and trusts the system's authorities and those in a file (PEM).
/// What is on this machine (`is_here`) is asked itself, whatever proxy the environment names.
pub(crate) fn client(authorities: Option<&Path>, is_here: bool) -> Result<Client> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .timeout(Duration::from_secs(ANSWER_SECONDS_MAX));
    if is_here {
        builder = builder.no_proxy();
    }
    if let Some(path) = authorities {
        let pem = std::fs::read(path).with_context(|| format!("authorities {}", path.display()))?;
        let found =
            Certificate::from_pem_bundle(&pem).with_context(|| format!("authorities {}", path.display()))?;
        ensure!(
            !found.is_empty(),
            "authorities {}: holds no certificate (PEM)",
            path.display()
        );
        builder = builder.tls_certs_merge(found);
    }
    builder.build().context("the HTTP client")
}

/// Reads an address that may be spoken with: over TLS, or on this machine.
pub(crate) fn check(address: &str) -> Result<Url> {
    let url: Url = address
        .parse()
        .with_context(|| format!("{address:?} is no address"))?;
    ensure!(
        url.scheme() == "https" || url.scheme() == "http" && is_here(&url),
        "{address}: only https is spoken; http is for this machine only"
    );
    Ok(url)
}

/// Whether an address is this machine's.
pub(crate) fn is_here(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

#[async_trait]
impl Fetch for KeyFetch {
    async fn fetch(&self, address: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
        self.get(address, bytes_max)
            .await
            .map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_here() {
        for good in [
            "https://i/k",
            "http://127.0.0.1:1/k",
            "http://[::1]/k",
            "http://localhost/k",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://i/k",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "k",
            "http://localhost.example.org/",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
