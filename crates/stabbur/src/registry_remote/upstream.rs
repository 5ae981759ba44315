//! Registries that a cache fetches from: what the configuration says of them, and how they are asked.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use futures::stream;
use http_semantics::{Body, BodyError};
use registry::limits::CACHE_RULES_MAX;
use registry::rules::cache::CacheNames;
use registry::rules::digest::Digest;
use registry::{CacheRule, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{Ask, Login, Remote, said};

/// Repositories that are fetched from elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheConfig {
    /// Here: a repository, or `PREFIX/*`.
    target: String,
    /// There: `HOST/REPOSITORY`, or `HOST/PREFIX/*`.
    source: String,
    user: Option<String>,
    /// A file with the user's password.
    password_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's.
    authorities: Option<PathBuf>,
}

impl CacheConfig {
    /// `TARGET=SOURCE`, without a login: for development.
    pub(crate) fn plain(text: &str) -> Result<Self> {
        let (target, source) = text
            .split_once('=')
            .with_context(|| format!("{text:?} isn't TARGET=SOURCE"))?;
        Ok(Self {
            target: target.to_owned(),
            source: source.to_owned(),
            user: None,
            password_file: None,
            authorities: None,
        })
    }

    fn rule(&self) -> Result<CacheRule> {
        let (scheme, rest) = match self.source.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.source.as_str()),
        };
        let (host, repositories) = rest
            .split_once('/')
            .with_context(|| format!("source {:?} isn't HOST/REPOSITORY", self.source))?;
        let names = CacheNames::parse(&self.target, repositories).with_context(|| {
            format!(
                "{:?} and {repositories:?} are no names of repositories, or not both with /* at their ends",
                self.target
            )
        })?;
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(path)) => Some(Login::read(user, path)?),
            (None, None) => None,
            _ => bail!("user and password_file go together"),
        };
        let remote = Remote::new(&format!("{scheme}{host}"), login, self.authorities.as_deref())?;
        Ok(CacheRule {
            names,
            upstream: Arc::new(remote),
        })
    }
}

/// The rules of a registry.
pub(crate) fn rules(configs: &[CacheConfig]) -> Result<Vec<CacheRule>> {
    ensure!(
        configs.len() <= CACHE_RULES_MAX,
        "{} cache rules, at most {CACHE_RULES_MAX}",
        configs.len()
    );
    let mut rules: Vec<CacheRule> = Vec::new();
    for config in configs {
        let rule = config
            .rule()
            .with_context(|| format!("cache {}", config.target))?;
        ensure!(
            !rules.iter().any(|other| other.names.overlaps(&rule.names)),
            "cache {}: another rule is about the same repositories",
            config.target
        );
        rules.push(rule);
    }
    Ok(rules)
}

fn failed(error: &anyhow::Error) -> UpstreamError {
    UpstreamError(format!("{error:#}"))
}

#[async_trait]
impl Upstream for Remote {
    async fn digest_of(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError> {
        let found = self.head(repository, tag).await;
        found.map_err(|error| failed(&error))
    }

    async fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<UpstreamManifest>, UpstreamError> {
        let found = self.manifest(repository, digest.as_str()).await;
        let found = found.map_err(|error| failed(&error))?;
        Ok(found.map(|found| UpstreamManifest {
            media_type: found.media_type,
            bytes: found.bytes.into(),
        }))
    }

    async fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<UpstreamBlob>, UpstreamError> {
        let at = format!("/v2/{repository}/blobs/{digest}");
        let scope = format!("repository:{repository}:pull");
        let response = self.send(&Ask::get(&at, &scope)).await;
        let response = response.map_err(|error| failed(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(UpstreamError(said(response).await)),
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let pieces = stream::try_unfold(response, |mut response| async move {
            let piece = response.chunk().await.map_err(|error| {
                let error = anyhow::Error::new(error.without_url());
                BodyError::Truncated(format!("{error:#}"))
            })?;
            Ok(piece.map(|piece| (piece, response)))
        });
        Ok(Some(UpstreamBlob {
            body: Body::stream(pieces),
            length,
        }))
    }
}

impl Remote {
    /// The digest of a tag; `None` if there is none.
    async fn head(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        let at = format!("/v2/{repository}/manifests/{tag}");
        let scope = format!("repository:{repository}:pull");
        let mut ask = Ask::get(&at, &scope).with_method(Method::HEAD);
        super::accept_manifests(&mut ask)?;
        let response = self.send(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(response.status().is_success(), "{}", said(response).await);
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| Digest::parse(digest.to_str().ok()?));
        // Not all say it.
        match digest {
            Some(digest) => Ok(Some(digest)),
            None => Ok(self.manifest(repository, tag).await?.map(|found| found.digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let config = |text: &str| CacheConfig::plain(text).unwrap();
        assert_eq!(
            rules(&[config("hub/*=h/library/*"), config("a=h/b")])
                .unwrap()
                .len(),
            2
        );
        for (bad, expected) in [
            (vec!["hub/*=h"], "isn't HOST/REPOSITORY"),
            (vec!["hub/*=h/a"], "not both with"),
            (vec!["hub/*=http://h/*"], "only https"),
            (vec!["hub/*=h/*", "hub/a=h/b"], "the same repositories"),
        ] {
            let configs: Vec<CacheConfig> = bad.iter().map(|text| config(text)).collect();
            let error = format!("{:#}", rules(&configs).unwrap_err());
            assert!(error.contains(expected), "{bad:?}: {error}");
        }
        assert!(CacheConfig::plain("hub").is_err());
    }
}
