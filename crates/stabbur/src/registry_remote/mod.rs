//! Other registries, spoken to as a client: to import from, to purge, to fetch for a cache.
//!
//! Invariants: TLS, or this very machine, wherever a redirection or a challenge leads, and never inside a network where the
//! registry isn't itself; a password is shown to the registry and to where it has tokens given out, and is in no error
//! and no log; answers, lists and what is remembered are bounded, and a registry that falls silent is given up. Nothing
//! is asked for under an address that means another one than it says.

mod challenge;
pub(crate) mod import;
mod inside;
mod lists;
pub(crate) mod purge;
#[cfg(test)]
mod redirect_tests;
mod shown;
pub(crate) mod upstream;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use identity::Secret;
use ledger::{Clock as _, SystemClock};
use registry::rules::digest::{Algorithm, Digest};
use registry::rules::manifest;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::key_fetch;
use challenge::Challenge;
use inside::{Outside, names_inside};
use shown::{Known, Shown};

const CONNECT_SECONDS_MAX: u64 = 10;
/// Without a byte.
const SILENCE_SECONDS_MAX: u64 = 60;
/// Registries send blobs from elsewhere.
const REDIRECTIONS_MAX: usize = 5;
/// Largest answer that isn't a blob: a manifest, a page of a list.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest answer with a token.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// What an error shows of what the registry said.
const SAID_CHARACTERS_MAX: usize = 300;
/// How often a request that changes nothing is sent.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE_MILLISECONDS_FIRST: u64 = 250;

/// How a registry is logged in to.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArguments {
    /// User of the registry.
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file with its password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
}

impl LoginArguments {
    pub(crate) fn remote(&self, host: &str) -> Result<Remote> {
        let login = self.user.as_ref().zip(self.password_file.as_ref());
        let login = login.map(|(user, path)| Login::read(user, path)).transpose()?;
        Remote::new(host, login, self.authorities.as_deref())
    }
}

/// A name and a password.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    user: String,
    password: Secret,
}

impl Login {
    /// The password is the file's first line.
    pub(crate) fn read(user: &str, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let password = text.lines().next().unwrap_or_default();
        ensure!(!password.is_empty(), "{}: holds no password", path.display());
        Ok(Self {
            user: user.to_owned(),
            password: Secret::new(password.as_bytes().to_vec()),
        })
    }
}

/// A registry elsewhere.
pub(crate) struct Remote {
    client: Client,
    base: Url,
    login: Option<Login>,
    /// Whether it is inside a network.
    is_inside: Arc<AtomicBool>,
    /// What was shown last, by scope.
    shown: Mutex<Known>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("base", &self.base.as_str())
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// A manifest as it came.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Path and query, or a whole address below the registry's own.
    pub(crate) at: &'a str,
    /// The scope that it needs.
    pub(crate) scope: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(at: &'a str, scope: &'a str) -> Self {
        Self {
            method: Method::GET,
            at,
            scope,
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }
}

impl Remote {
    /// The registry at `host`, over TLS; or at an address that begins with `https://` or, on this machine, `http://`.
    pub(crate) fn new(host: &str, login: Option<Login>, authorities: Option<&Path>) -> Result<Self> {
        let address = match host.contains("://") {
            true => host.to_owned(),
            false => format!("https://{host}"),
        };
        let base = key_fetch::check(&address)?;
        ensure!(
            base.path() == "/" && base.query().is_none() && base.username().is_empty(),
            "{host}: a registry is named by its host alone"
        );
        let is_here = key_fetch::is_here(&base);
        let is_inside = Arc::new(AtomicBool::new(names_inside(&base)));
        let inside = is_inside.clone();
        let follow = Policy::custom(move |attempt| {
            let is_safe = attempt.url().scheme() == "https" || (is_here && key_fetch::is_here(attempt.url()));
            let is_free = inside.load(Ordering::Relaxed) || !names_inside(attempt.url());
            if !is_safe || !is_free || attempt.previous().len() > REDIRECTIONS_MAX {
                return attempt.error("a redirection to where nothing is asked");
            }
            attempt.follow()
        });
        let mut builder = Client::builder()
            .redirect(follow)
            .dns_resolver(Arc::new(Outside::new(&base, is_inside.clone())))
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        if is_here {
            builder = builder.no_proxy();
        }
        if let Some(path) = authorities {
            let pem = std::fs::read(path).with_context(|| format!("authorities {}", path.display()))?;
            let found = Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("authorities {}", path.display()))?;
            builder = builder.tls_certs_merge(found);
        }
        Ok(Self {
            client: builder.build().context("the HTTP client")?,
            base,
            login,
            is_inside,
            shown: Mutex::default(),
        })
    }

    /// Sends a request, with what the registry wants to see. One that changes nothing is sent again while there is hope.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response> {
        let is_safe = ask.method == Method::GET || ask.method == Method::HEAD;
        let mut pause = Duration::from_millis(PAUSE_MILLISECONDS_FIRST);
        for attempt in 1.. {
            let sent = self.send_once(ask).await;
            let is_hopeful = match &sent {
                Ok(response) => {
                    response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => true,
            };
            if !is_safe || !is_hopeful || attempt >= ATTEMPTS_MAX {
                return sent;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        bail!("no attempt was made")
    }

    async fn send_once(&self, ask: &Ask<'_>) -> Result<Response> {
        let response = self.send_shown(ask).await?;
        // Where a redirection led is somebody else, who is shown nothing.
        if response.status() != StatusCode::UNAUTHORIZED || response.url().origin() != self.base.origin() {
            return Ok(response);
        }
        let mut challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges.find_map(|header| Challenge::parse(header.to_str().ok()?));
        let Some(challenge) = challenge else {
            return Ok(response);
        };
        let Some(shown) = self.answer(&challenge, ask.scope).await? else {
            return Ok(response);
        };
        if let Ok(mut known) = self.shown.lock() {
            known.put(ask.scope, shown, SystemClock.monotonic());
        }
        self.send_shown(ask).await
    }

    async fn send_shown(&self, ask: &Ask<'_>) -> Result<Response> {
        let url = own_address(&self.base, ask.at)?;
        let shown = self
            .shown
            .lock()
            .ok()
            .and_then(|known| known.get(ask.scope, SystemClock.monotonic()));
        let mut request = self
            .client
            .request(ask.method.clone(), url)
            .headers(ask.headers.clone());
        request = match shown {
            None => request,
            Some(Shown::Login) => self.log_in(request),
            Some(Shown::Token { value, .. }) => request.header(AUTHORIZATION, value),
        };
        if !ask.body.is_empty() || ask.method == Method::PUT || ask.method == Method::POST {
            request = request.body(ask.body.clone());
        }
        let sent = request.send().await;
        sent.map_err(|error| anyhow::Error::new(error.without_url()))
            .with_context(|| format!("{} {}", self.base.host_str().unwrap_or_default(), ask.method))
    }

    /// Shows the name and the password.
    fn log_in(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            None => request,
            Some(login) => {
                let password = String::from_utf8_lossy(login.password.expose());
                request.basic_auth(&login.user, Some(password))
            }
        }
    }

    /// What answers a challenge; `None` if nothing does.
    async fn answer(&self, challenge: &Challenge, wanted: &str) -> Result<Option<Shown>> {
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
        else {
            return Ok(self.login.as_ref().map(|_| Shown::Login));
        };
        let mut url = key_fetch::check(realm).context("where the registry has tokens given out")?;
        ensure!(
            !names_inside(&url) || self.is_inside.load(Ordering::Relaxed),
            "the registry has tokens given out inside a network that it isn't in itself"
        );
        let scope = scope
            .as_deref()
            .filter(|scope| !scope.is_empty())
            .unwrap_or(wanted);
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(service) = service {
                pairs.append_pair("service", service);
            }
            for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
                pairs.append_pair("scope", scope);
            }
        }
        let sent = self
            .log_in(self.client.get(url))
            .send()
            .await
            .map_err(reqwest::Error::without_url);
        let response = sent.context("asking for a token")?;
        ensure!(
            response.status().is_success(),
            "no token is given: {}",
            said(response).await
        );
        let answer: Value = serde_json::from_slice(&bounded(response, TOKEN_BYTES_MAX).await?)
            .context("the answer with a token")?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let token = text("token")
            .or(text("access_token"))
            .context("the answer holds no token")?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .ok()
            .context("the token can't be in a header")?;
        value.set_sensitive(true);
        let expires_in = answer.get("expires_in").and_then(Value::as_u64);
        Ok(Some(Shown::token(value, expires_in, SystemClock.monotonic())))
    }

    /// A manifest by a tag or a digest; `None` if there is none. Its bytes are those of its digest.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Result<Option<Fetched>> {
        let at = format!("/v2/{repository}/manifests/{reference}");
        let scope = format!("repository:{repository}:pull");
        let mut ask = Ask::get(&at, &scope);
        accept_manifests(&mut ask)?;
        let response = self.send(&ask).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let of = || format!("manifest {repository} {reference}");
        ensure!(
            response.status().is_success(),
            "{}: {}",
            of(),
            said(response).await
        );
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let media_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let named = header("docker-content-digest");
        let bytes = bounded(response, registry::limits::MANIFEST_BYTES_MAX)
            .await
            .with_context(of)?;
        // By a tag the registry says which digest it is, or nobody does.
        let wanted = Digest::parse(reference).or_else(|| named.as_deref().and_then(Digest::parse));
        let algorithm = wanted.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = Digest::of(algorithm, &bytes);
        ensure!(
            wanted.is_none_or(|wanted| wanted == digest),
            "{}: the bytes that came are others: {digest}",
            of()
        );
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        Ok(Some(Fetched {
            media_type,
            digest,
            bytes,
        }))
    }
}

/// An address of a registry's own: `at` below `base`, and as it is written, so that no part of it that somebody else
/// names, such as a tag `../x`, leads elsewhere.
fn own_address(base: &Url, at: &str) -> Result<Url> {
    let url = base.join(at).context("an address of the registry's")?;
    ensure!(
        url.origin() == base.origin(),
        "the registry names an address elsewhere for an upload"
    );
    let written = match at.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find('/').and_then(|begin| rest.get(begin..)).unwrap_or("/")
        }
        _ => at,
    };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    ensure!(
        format!("{}{query}", url.path()) == written && url.username().is_empty(),
        "an address means another one than it says"
    );
    Ok(url)
}

/// Asks for manifests of each type that is served.
fn accept_manifests(ask: &mut Ask<'_>) -> Result<()> {
    let types = [
        manifest::OCI_MANIFEST,
        manifest::OCI_INDEX,
        manifest::DOCKER_MANIFEST,
        manifest::DOCKER_LIST,
        manifest::OCI_ARTIFACT,
        manifest::ORAS_ARTIFACT,
    ];
    ask.headers
        .insert(ACCEPT, HeaderValue::from_str(&types.join(", "))?);
    Ok(())
}

/// An answer's body, if it isn't longer.
pub(crate) async fn bounded(mut response: Response, bytes_max: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&piece);
        ensure!(
            body.len() <= bytes_max,
            "the answer has more than {bytes_max} bytes"
        );
    }
    Ok(body)
}

/// Why it was refused, for people: the registry's own words.
pub(crate) async fn said(response: Response) -> String {
    let status = response.status();
    let body = bounded(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let message = serde_json::from_slice::<Value>(&body).ok().and_then(|body| {
        let error = body.get("errors")?.get(0)?;
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        Some(format!("{} {}", text("code"), text("message")))
    });
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let message: String = message
        .unwrap_or_default()
        .chars()
        .map(plain)
        .take(SAID_CHARACTERS_MAX)
        .collect();
    format!("{status} {message}").trim_end().to_owned()
}

/// A place in a registry: `HOST/REPOSITORY`, with `:TAG` or `@DIGEST` behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) repository: String,
    pub(crate) reference: Option<String>,
}

impl Place {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme == "http" || scheme == "https" => (format!("{scheme}://"), rest),
            Some(("docker", rest)) => (String::new(), rest),
            Some(_) => bail!("{text}: begins neither with http:// nor with https://"),
            None => (String::new(), text),
        };
        let (host, path) = rest
            .split_once('/')
            .with_context(|| format!("{text}: names no repository; HOST/REPOSITORY:TAG does"))?;
        let (repository, reference) = match path.split_once('@') {
            Some((repository, digest)) => {
                ensure!(Digest::parse(digest).is_some(), "{digest:?} is no digest");
                // A tag before a digest says nothing that the digest doesn't.
                let repository = repository.split(':').next().unwrap_or_default();
                (repository, Some(digest))
            }
            None => match path.split_once(':') {
                Some((repository, tag)) => {
                    ensure!(registry::rules::name::is_tag(tag), "{tag:?} is no tag");
                    (repository, Some(tag))
                }
                None => (path, None),
            },
        };
        ensure!(
            registry::rules::name::is_repository(repository, host),
            "{repository:?} is no name of a repository"
        );
        Ok(Self {
            host: format!("{scheme}{host}"),
            repository: repository.to_owned(),
            reference: reference.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let place = |host: &str, repository: &str, reference: Option<&str>| Place {
            host: host.to_owned(),
            repository: repository.to_owned(),
            reference: reference.map(str::to_owned),
        };
        for (text, expected) in [
            ("h/a", place("h", "a", None)),
            ("h:5000/a/b:v1", place("h:5000", "a/b", Some("v1"))),
            (
                "http://127.0.0.1:5/a:v1",
                place("http://127.0.0.1:5", "a", Some("v1")),
            ),
            ("docker://h/a:v1", place("h", "a", Some("v1"))),
            (&format!("h/a@{digest}"), place("h", "a", Some(&digest))),
            (&format!("h/a:v1@{digest}"), place("h", "a", Some(&digest))),
        ] {
            assert_eq!(Place::parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["a", "h/A", "h/a:", "h/a@x", "ftp://h/a", "h/", "h/a:b c"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_a_registry_s_own_as_they_are_written() {
        let base: Url = "https://h.test".parse().unwrap();
        for good in [
            "/v2/a/tags/list?n=100",
            "https://h.test/v2/a/blobs/uploads/1?_state=x==",
            "https://h.test:443/v2/a/blobs/uploads/1",
            "/v2/a/blobs/uploads/1?back=https://other.test/x",
        ] {
            assert!(own_address(&base, good).is_ok(), "{good}");
        }
        for bad in [
            "/v2/a/manifests/../../b/manifests/v1",
            "/v2/a/manifests/..",
            "/v2/a/manifests/%2e%2e/x",
            "/v2/a/manifests/v1 ",
            "/v2/a/manifests/v\n1",
            "/v2/a\\..\\b",
            "//other.test/v2/",
            "https://other.test/v2/",
            "http://h.test/v2/",
            "https://h.test/v2/../x",
            "https://user@h.test/v2/",
        ] {
            assert!(own_address(&base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_tls_or_this_machine_is_spoken_to() {
        for good in [
            "h",
            "h:5000",
            "https://h",
            "http://127.0.0.1:5000",
            "http://localhost:5000",
        ] {
            assert!(Remote::new(good, None, None).is_ok(), "{good}");
        }
        for bad in ["http://h", "https://h/path", "https://user@h", "ftp://h"] {
            assert!(Remote::new(bad, None, None).is_err(), "{bad}");
        }
        let login = Login {
            user: "ci".to_owned(),
            password: Secret::new(b"s3cret".to_vec()),
        };
        let remote = Remote::new("h", Some(login), None).unwrap();
        assert!(!format!("{remote:?}").contains("s3cret"));
    }
}
