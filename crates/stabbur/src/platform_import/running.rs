//! A running Storage that is read: requests that change nothing, repeated while there is hope.
//!
//! Invariant: the token goes to the address that was named and nowhere else: redirects aren't followed, links in answers
//! neither, and what isn't this machine is spoken to by TLS alone. It is in no error and no log.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use serde_json::Value;

use crate::key_fetch;
use crate::pauses::Pauses;

/// Where the token is if no file is named.
const TOKEN_VARIABLE: &str = "STABBUR_PLATFORM_TOKEN";
const SUBSCRIPTION_KEY: HeaderName = HeaderName::from_static("ocp-apim-subscription-key");

/// An answer in JSON: a page of a hundred instances with some hundred elements each is about 10 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an error shows of what the source said.
const SAID_CHARACTERS_MAX: usize = 300;
const CONNECT_SECONDS_MAX: u64 = 10;
/// Without a byte.
const SILENCE_SECONDS_MAX: u64 = 60;

/// What was answered.
pub(super) enum Got<T> {
    There(T),
    /// A status that repeating doesn't change, and what was said.
    Refused(u16, String),
}

/// An answer in JSON, with the versions that its headers may say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Json {
    pub(super) value: Value,
    pub(super) instance_version: Option<i64>,
    pub(super) process_state_version: Option<i64>,
}

/// The source.
pub(super) struct Source {
    client: Client,
    base: Url,
    token_file: Option<PathBuf>,
    token: Mutex<HeaderValue>,
    subscription_key: Option<HeaderValue>,
    patience: Duration,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Reads the API's address, with a slash at its end.
fn address(text: &str) -> Result<Url> {
    let parsed = Url::parse(text).ok();
    let has_secret = parsed
        .as_ref()
        .is_some_and(|url| !url.username().is_empty() || url.password().is_some());
    // A text with a password isn't repeated.
    ensure!(
        !has_secret,
        "--from: the token belongs into --token-file, not into the address"
    );
    let mut url = key_fetch::check(text).context("--from")?;
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--from {text}: give the API's address, like https://platform.altinn.no/storage/api/v1/"
    );
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn secret(text: &str, prefix: &str, what: &str) -> Result<HeaderValue> {
    let text = text.trim();
    ensure!(!text.is_empty(), "{what} is empty");
    // The library's error would quote the value.
    let value = HeaderValue::from_str(&format!("{prefix}{text}")).ok();
    let mut value = value.with_context(|| format!("{what} holds what can't be in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_token(file: Option<&Path>) -> Result<HeaderValue> {
    match file {
        Some(path) => {
            let what = format!("--token-file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(|| what.clone())?;
            secret(&text, "Bearer ", &what)
        }
        None => {
            let text = std::env::var(TOKEN_VARIABLE).ok().with_context(|| {
                format!("name a file with a token by --token-file, or set {TOKEN_VARIABLE}")
            })?;
            secret(&text, "Bearer ", TOKEN_VARIABLE)
        }
    }
}

impl Source {
    pub(super) fn new(
        from: &str,
        token_file: Option<PathBuf>,
        subscription_key_file: Option<&Path>,
        authority: Option<&Path>,
        patience: Duration,
    ) -> Result<Self> {
        let base = address(from)?;
        let token = read_token(token_file.as_deref())?;
        let subscription_key = subscription_key_file.map(|path| {
            let what = format!("--subscription-key-file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(|| what.clone())?;
            secret(&text, "", &what)
        });
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        if key_fetch::is_here(&base) {
            builder = builder.no_proxy();
        }
        if let Some(path) = authority {
            let shown = || format!("--authority {}", path.display());
            let pem = std::fs::read(path).with_context(shown)?;
            let authorities = Certificate::from_pem_bundle(&pem).with_context(shown)?;
            ensure!(!authorities.is_empty(), "{}: holds no certificate (PEM)", shown());
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self {
            client: builder.build().context("the HTTP client")?,
            base,
            token_file,
            token: Mutex::new(token),
            subscription_key: subscription_key.transpose()?,
            patience,
        })
    }

    /// The API's address, which names it in records.
    pub(super) fn name(&self) -> &str {
        self.base.as_str()
    }

    /// How long to go on for.
    pub(super) fn pauses(&self) -> Pauses {
        Pauses::new(self.patience)
    }

    fn token(&self) -> HeaderValue {
        let token = self.token.lock();
        token.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether the file holds another token than the one that was refused.
    fn has_new_token(&self, refused: &HeaderValue) -> Result<bool> {
        if self.token_file.is_none() {
            return Ok(false);
        }
        let new = read_token(self.token_file.as_deref())?;
        let is_new = new != *refused;
        *self
            .token
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = new;
        Ok(is_new)
    }

    /// Begins to read what is at a path (its segments, decoded).
    pub(super) async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Got<Response>> {
        let path = segments.join("/");
        let mut pauses = self.pauses();
        loop {
            let token = self.token();
            let (why, asked) = match self.ask(segments, query, &token).await {
                Ok(response) => match response.status() {
                    StatusCode::OK => return Ok(Got::There(response)),
                    StatusCode::UNAUTHORIZED if self.has_new_token(&token)? => continue,
                    StatusCode::UNAUTHORIZED => bail!(
                        "the source refuses the token (401) at GET /{path}: it may have expired. Get a new one and run \
                         the same command again"
                    ),
                    status if is_passing(status) => {
                        let asked = retry_after(&response);
                        (format!("it answered {status}: {}", said(response).await), asked)
                    }
                    status => return Ok(Got::Refused(status.as_u16(), said(response).await)),
                },
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::new(error.without_url()));
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
                "the source couldn't be read within {} s, at last at GET /{path}: {why}. What came is kept; run the same \
                 command again",
                self.patience.as_secs()
            );
        }
    }

    /// Reads a text in JSON.
    pub(super) async fn json(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Got<Json>> {
        let mut pauses = self.pauses();
        let path = segments.join("/");
        loop {
            let response = match self.get(segments, query).await? {
                Got::There(response) => response,
                Got::Refused(status, said) => return Ok(Got::Refused(status, said)),
            };
            let version = |name: &str| {
                let value = response.headers().get(name)?.to_str().ok()?;
                value.parse::<i64>().ok().filter(|version| *version > 0)
            };
            let (instance_version, process_state_version) =
                (version("instance-version"), version("process-state-version"));
            match body(response).await {
                Ok(text) => {
                    let value = serde_json::from_slice(&text)
                        .with_context(|| format!("the source's answer to GET /{path}"))?;
                    return Ok(Got::There(Json {
                        value,
                        instance_version,
                        process_state_version,
                    }));
                }
                Err(why) => ensure!(
                    pauses.wait(None).await,
                    "the source's answer to GET /{path} broke off again and again: {why}"
                ),
            }
        }
    }

    async fn ask(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        token: &HeaderValue,
    ) -> reqwest::Result<Response> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .client
            .get(url)
            .header("accept", "application/json, */*")
            .header(AUTHORIZATION, token.clone());
        if let Some(key) = &self.subscription_key {
            request = request.header(SUBSCRIPTION_KEY, key.clone());
        }
        request.send().await
    }
}

/// Whether a status may be another one the next time.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// What the source said of it, for people.
async fn said(response: Response) -> String {
    let text = body(response).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let flat = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    flat.take(SAID_CHARACTERS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() > ANSWER_BYTES_MAX => {
                return Err(format!("it has more than {ANSWER_BYTES_MAX} bytes"));
            }
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(body),
            Err(error) => return Err(error.without_url().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "https://platform.altinn.no/storage/api/v1",
            "https://platform.altinn.no/storage/api/v1/",
            "http://127.0.0.1:5101/storage/api/v1/",
        ] {
            assert!(
                address(good).unwrap().as_str().ends_with("/storage/api/v1/"),
                "{good}"
            );
        }
        for bad in [
            "platform.altinn.no",
            "http://platform.altinn.no/storage/api/v1/",
            "https://h/?token=x",
            "ftp://127.0.0.1/",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        let error = address("https://me:c2VjcmV0@host/").unwrap_err();
        assert!(!format!("{error:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn a_token_is_in_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let source = || {
            Source::new(
                "https://host/",
                Some(file.clone()),
                None,
                None,
                Duration::from_secs(1),
            )
        };
        std::fs::write(&file, "c2VjcmV0\n").unwrap();
        let found = source().unwrap();
        assert!(!format!("{found:?}").contains("c2Vj"));
        let used = found.token();
        assert!(!found.has_new_token(&used).unwrap());
        std::fs::write(&file, "other").unwrap();
        assert!(found.has_new_token(&used).unwrap());
        assert_eq!(found.token(), "Bearer other");
        std::fs::write(&file, "c2Vj\u{7}cmV0").unwrap();
        assert!(!format!("{:?}", source().unwrap_err()).contains("c2Vj"));
        std::fs::write(&file, " ").unwrap();
        assert!(source().unwrap_err().to_string().contains("is empty"));
    }
}
