//! The account that is copied from: signed requests that read, repeated while there is hope.
//!
//! Invariant: the key goes nowhere but into signatures. Redirects aren't followed, and what isn't
//! this machine is spoken to by TLS alone.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use documents::sign_request;
use identity::SharedKey;
use ledger::Clock;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Method, StatusCode, Url};

use crate::key_fetch;
use crate::pauses::Pauses;

/// The newest version of the protocol that clients speak; containers with hierarchical partition keys
/// aren't shown to old ones.
const VERSION: &str = "2020-07-15";
/// Says that ranges may be merged: the copy reads them again.
const CAPABILITIES: &str = "1";

/// An answer is at most a page (4 MB), which may end later so as not to cut a transaction (2 MB).
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an error shows of what the source said.
const SAID_CHARACTERS_MAX: usize = 600;
const CONNECT_SECONDS_MAX: u64 = 10;
/// Without a byte.
const SILENCE_SECONDS_MAX: u64 = 60;

/// What the source answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How long the source asks to wait.
    fn retry_after(&self) -> Option<Duration> {
        let number = |name: &str| self.header(name).and_then(|text| text.trim().parse().ok());
        number("x-ms-retry-after-ms")
            .map(Duration::from_millis)
            .or_else(|| number("retry-after").map(Duration::from_secs))
    }

    /// Why it was refused, for people: the source's own words.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let message = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| text.into_owned());
        let flat: String = message
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .take(SAID_CHARACTERS_MAX)
            .collect();
        flat.trim().to_owned()
    }

    /// What else may be done about it.
    fn advice(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => " Is the key that of the account in --from?",
            StatusCode::FORBIDDEN => {
                " Does the account let this machine in, and is this machine's clock right?"
            }
            _ => "",
        }
    }
}

pub(super) struct Source {
    client: Client,
    base: Url,
    key: SharedKey,
    clock: Arc<dyn Clock>,
    pub(super) patience: Duration,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Reads an account's address.
fn address(text: &str) -> Result<Url> {
    let url = Url::parse(text).with_context(|| format!("--from {text}"))?;
    // A text with a password isn't repeated.
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "--from: the key belongs into --key-file, not into the address"
    );
    ensure!(
        url.path() == "/" && url.query().is_none() && url.fragment().is_none(),
        "--from {text}: give the account's address, like https://name.documents.azure.com/"
    );
    key_fetch::check(text).context("--from")
}

impl Source {
    pub(super) fn new(
        from: &str,
        key_file: &Path,
        authority: Option<&Path>,
        patience: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let base = address(from)?;
        let text = std::fs::read_to_string(key_file)
            .with_context(|| format!("--key-file {}", key_file.display()))?;
        let Some(key) = SharedKey::from_base64(&text) else {
            bail!(
                "--key-file {}: holds no base64 key; a read-only key of the account is enough",
                key_file.display()
            );
        };
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        if let Some(path) = authority {
            let pem = std::fs::read(path).with_context(|| format!("--authority {}", path.display()))?;
            let authorities = Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("--authority {}", path.display()))?;
            ensure!(
                !authorities.is_empty(),
                "--authority {}: holds no certificate (PEM)",
                path.display()
            );
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self {
            client: builder.build().context("the HTTP client")?,
            base,
            key,
            clock,
            patience,
        })
    }

    /// The account's address, which names it in notes.
    pub(super) fn name(&self) -> &str {
        self.base.as_str()
    }

    /// Reads what is at a path (its segments, decoded). 200, 304 and 410 are answers; the rest is
    /// repeated if it may pass, or an error.
    pub(super) async fn get(&self, segments: &[&str], headers: &[(&'static str, &str)]) -> Result<Answer> {
        let path = segments.join("/");
        let mut pauses = Pauses::new(self.patience);
        loop {
            let (why, asked) = match self.ask(segments, headers).await {
                Ok(answer) => match answer.status {
                    StatusCode::OK | StatusCode::NOT_MODIFIED | StatusCode::GONE => return Ok(answer),
                    StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::REQUEST_TIMEOUT
                    | StatusCode::INTERNAL_SERVER_ERROR
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => (
                        format!("it answered {}: {}", answer.status, answer.said()),
                        answer.retry_after(),
                    ),
                    // Retry with: no status that the library names.
                    status if status.as_u16() == 449 => (format!("it answered {status}"), None),
                    status => bail!(
                        "the source answered {status} to GET /{path}: {}{}",
                        answer.said(),
                        answer.advice()
                    ),
                },
                Err(error) => {
                    let why = causes(&error);
                    ensure!(
                        !why.contains("invalid peer certificate"),
                        "the source's certificate isn't trusted ({why}); name its authority with --authority"
                    );
                    (why, None)
                }
            };
            tracing::debug!(path, why, "the source is asked again");
            ensure!(
                pauses.wait(asked).await,
                "the source couldn't be read within {} s, at last at GET /{path}: {why}. What was copied is noted; run the same command again",
                self.patience.as_secs()
            );
        }
    }

    async fn ask(&self, segments: &[&str], headers: &[(&'static str, &str)]) -> reqwest::Result<Answer> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        let owned: Vec<String> = segments.iter().map(|&segment| segment.to_owned()).collect();
        // Signed anew each time: a signature is good for a quarter of an hour.
        let date = http_semantics::date::format(self.clock.now());
        let signature = sign_request(&self.key, &Method::GET, &owned, &date);
        let mut request = self
            .client
            .get(url)
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION)
            .header("x-ms-cosmos-sdk-supportedcapabilities", CAPABILITIES)
            .header("accept", "application/json");
        if let Ok(mut signature) = HeaderValue::from_str(&signature) {
            signature.set_sensitive(true);
            request = request.header("authorization", signature);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send().await?;
        let mut answer = Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await? {
            if answer.body.len() + chunk.len() > ANSWER_BYTES_MAX {
                // No answer of the protocol is as long, so it is none of it.
                answer.status = StatusCode::NOT_ACCEPTABLE;
                answer.body = format!("more than {ANSWER_BYTES_MAX} bytes").into_bytes();
                break;
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

/// An error and what is behind it.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use ledger::SystemClock;

    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "https://name.documents.azure.com:443/",
            "https://10.0.0.1:8081",
            "http://127.0.0.1:8081/",
            "http://localhost:8081",
            "http://[::1]:8081/",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "name.documents.azure.com",
            "http://name.documents.azure.com/",
            "http://10.0.0.1:8081/",
            "http://localhost.example.org/",
            "ftp://localhost/",
            "https://name.documents.azure.com/dbs",
            "https://name.documents.azure.com/?key=x",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        let error = address("https://me:c2VjcmV0@host/").unwrap_err();
        assert!(!format!("{error:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn the_key_isnt_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let source = || {
            let patience = Duration::from_secs(1);
            Source::new("https://host/", &file, None, patience, Arc::new(SystemClock))
        };
        std::fs::write(&file, "c2VjcmV0LWtleQ==\n").unwrap();
        let shown = format!("{:?}", source().unwrap());
        assert!(shown.contains("https://host/") && !shown.contains("c2Vj") && !shown.contains("secret"));
        std::fs::write(&file, "not base64: c2VjcmV0").unwrap();
        assert!(!format!("{:?}", source().unwrap_err()).contains("c2Vj"));
    }
}
