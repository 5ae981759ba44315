//! Posts JSON to an address of an operator's: a decision point, a scanner, the portal's adapter.
//!
//! Invariant: it speaks TLS or to this very machine; no redirection leads elsewhere; time and length are bounded; the
//! secret that it shows is in no error and no log.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use platform_storage::limits::DECISION_BYTES_MAX;
use platform_storage::{Ask, Sink, Undelivered};
use registry::Receiver;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};

use crate::key_fetch;

/// Largest answer of a receiver that is read; nothing is done with it.
const RECEIPT_BYTES_MAX: u64 = 64 * 1024;

/// What Altinn's gateway wants to see beside a request.
const SUBSCRIPTION_KEY: HeaderName = HeaderName::from_static("ocp-apim-subscription-key");

/// An address, and what is shown there.
pub(crate) struct HttpPost {
    client: Client,
    url: Url,
    /// What is shown there; values may be secret.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl std::fmt::Debug for HttpPost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpPost(..)")
    }
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
        Self::with_headers(url, secret.into_iter().collect(), authorities)
    }

    /// Posts to `url` with these headers.
    pub(crate) fn with_headers(
        url: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        authorities: Option<&Path>,
    ) -> Result<Self> {
        let address = key_fetch::check(url)?;
        Ok(Self {
            client: key_fetch::client(authorities, key_fetch::is_here(&address))?,
            url: address,
            headers,
        })
    }

    async fn post(&self, message: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, Unanswered> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(reqwest::header::ACCEPT, "application/json")
            .body(message);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(Unanswered::broken)?;
        if !response.status().is_success() {
            return Err(Unanswered::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(Unanswered::broken)? {
            body.extend_from_slice(&piece);
            if u64::try_from(body.len()).is_ok_and(|length| length > bytes_max) {
                return Err(Unanswered::Broken(format!(
                    "the answer has more than {bytes_max} bytes"
                )));
            }
        }
        Ok(body)
    }
}

/// Why there is no answer.
enum Unanswered {
    /// It answered, and not with success.
    Status(StatusCode),
    /// It can't be reached, or its answer broke off.
    Broken(String),
}

impl Unanswered {
    /// An address may hold a secret, which mustn't be in the log.
    fn broken(error: reqwest::Error) -> Self {
        Self::Broken(format!("{:#}", anyhow::Error::new(error.without_url())))
    }

    /// Whether the message is at fault: another one may be taken. The other statuses say that nothing is taken now, or
    /// that nothing of ours is (address, token), which is an operator's to mend.
    fn is_of_message(&self) -> bool {
        match self {
            Self::Status(status) => {
                let is_ours = [401, 403, 405, 407, 408, 429].contains(&status.as_u16());
                status.is_client_error() && !is_ours
            }
            Self::Broken(_) => false,
        }
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::Broken(cause) => f.write_str(cause),
        }
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
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered> {
        match self.post(message, RECEIPT_BYTES_MAX).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_of_message() => Err(Undelivered::Refused(error.to_string())),
            Err(error) => Err(Undelivered::Away(error.to_string())),
        }
    }
}

#[async_trait]
impl Receiver for HttpPost {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), registry::Undelivered> {
        match self.post(message, RECEIPT_BYTES_MAX).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_of_message() => Err(registry::Undelivered::Refused(error.to_string())),
            Err(error) => Err(registry::Undelivered::Away(error.to_string())),
        }
    }
}

#[async_trait]
impl Ask for HttpPost {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        self.post(request, DECISION_BYTES_MAX)
            .await
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_tell_a_bad_message_from_a_bad_time() {
        let is_of_message =
            |code: u16| Unanswered::Status(StatusCode::from_u16(code).unwrap()).is_of_message();
        for code in [400, 404, 409, 413, 415, 422] {
            assert!(is_of_message(code), "{code}");
        }
        for code in [301, 401, 403, 405, 407, 408, 429, 500, 502, 503, 504] {
            assert!(!is_of_message(code), "{code}");
        }
    }

    #[tokio::test]
    async fn an_address_isnt_in_what_is_said() {
        let post = HttpPost::new("http://127.0.0.1:1/hook?sig=s3cret", None, None).unwrap();
        let error = Sink::deliver(&post, Vec::new()).await.unwrap_err();
        assert!(matches!(&error, Undelivered::Away(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
