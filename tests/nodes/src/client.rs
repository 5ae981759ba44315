//! The least of a client: TLS, signatures, no retries of its own. An error of the connection is no
//! answer; it says nothing of what happened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{HeaderMap, Method, Request};
use identity::SharedKey;
use jiff::fmt::rfc2822::DateTimePrinter;
use ledger::clock::{Clock as _, SystemClock};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::estate::{ACCOUNT, BLOBS_SUFFIX, DOCUMENTS_SUFFIX, Estate};

const SECONDS_MAX: u64 = 30;
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Base addresses, without a slash at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// For people.
    pub(crate) name: String,
    pub(crate) blobs: String,
    pub(crate) documents: String,
    pub(crate) platform: String,
}

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Status and the body's begin, for people.
    pub(crate) fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let body: String = body.chars().take(300).collect();
        format!("{} {body}", self.status)
    }
}

/// Headers by name.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// Sends requests; has connections of its own.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    blobs_key: SharedKey,
    documents_key: SharedKey,
    user_token: String,
    studio_token: String,
}

impl Client {
    /// With the estate's keys, trusting its authority alone.
    pub(crate) fn new(estate: &Estate) -> Result<Self> {
        let authority = Certificate::from_pem(estate.authority_pem.as_bytes())?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(SECONDS_MAX)))
            .proxy(None)
            .tls_config(tls)
            .build()
            .into();
        Ok(Self {
            agent,
            blobs_key: SharedKey::from_base64(&estate.blobs_key).context("the blobs key")?,
            documents_key: SharedKey::from_base64(&estate.documents_key).context("the documents key")?,
            user_token: estate.user_token.clone(),
            studio_token: estate.studio_token.clone(),
        })
    }

    /// A request as it stands.
    pub(crate) fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut builder = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        let mut response = match body {
            Some(bytes) => self.agent.run(builder.body(bytes)?)?,
            None => self.agent.run(builder.body(())?)?,
        };
        let body = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_vec()?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }

    /// A blob request, signed by Shared Key. `path` begins behind the account.
    pub(crate) fn blob(
        &self,
        site: &Site,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut headers: Headers = vec![
            ("x-ms-date", now_text()?),
            ("x-ms-version", "2021-12-02".to_owned()),
        ];
        if body.is_some_and(|body| !body.is_empty()) {
            headers.insert(0, ("x-ms-blob-type", "BlockBlob".to_owned()));
        }
        let length = match body.map_or(0, <[u8]>::len) {
            0 => String::new(),
            length => length.to_string(),
        };
        let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
        for (name, value) in &headers {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{ACCOUNT}{path}"));
        for (name, value) in query {
            text.push_str(&format!("\n{name}:{value}"));
        }
        let signature = self.blobs_key.sign(&text);
        headers.push(("authorization", format!("SharedKey {ACCOUNT}:{signature}")));
        headers.push(("host", format!("{ACCOUNT}.{BLOBS_SUFFIX}")));
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{}", site.blobs, query.join("&"));
        self.send(method, &url, &headers, body)
    }

    /// A documents request, signed by the master key. `kind` and `link` are what is signed.
    pub(crate) fn document(
        &self,
        site: &Site,
        method: &Method,
        (kind, link, path): (&str, &str, &str),
        partition: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let date = now_text()?;
        let verb = method.as_str().to_lowercase();
        let text = format!("{verb}\n{kind}\n{link}\n{}\n\n", date.to_lowercase());
        let token = format!("type=master&ver=1.0&sig={}", self.documents_key.sign(&text));
        let token = percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        let mut headers: Headers = vec![
            ("authorization", token.to_string()),
            ("x-ms-date", date),
            ("x-ms-version", "2020-07-15".to_owned()),
            ("host", format!("{ACCOUNT}.{DOCUMENTS_SUFFIX}")),
        ];
        if let Some(partition) = partition {
            headers.push((
                "x-ms-documentdb-partitionkey",
                serde_json::json!([partition]).to_string(),
            ));
        }
        self.send(method, &format!("{}/{path}", site.documents), &headers, body)
    }
}

impl Client {
    /// A Platform Storage request of the user.
    pub(crate) fn platform(
        &self,
        site: &Site,
        method: &Method,
        path: &str,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        self.with_token(&self.user_token, site, method, path, headers, body)
    }

    /// A Platform Storage request of those who publish apps.
    pub(crate) fn studio(
        &self,
        site: &Site,
        method: &Method,
        path: &str,
        headers: &Headers,
        body: &[u8],
    ) -> Result<Answer> {
        self.with_token(&self.studio_token, site, method, path, headers, Some(body))
    }

    fn with_token(
        &self,
        token: &str,
        site: &Site,
        method: &Method,
        path: &str,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut headers = headers.clone();
        headers.push(("authorization", format!("Bearer {token}")));
        let url = format!("{}/storage/api/v1{path}", site.platform);
        self.send(method, &url, &headers, body)
    }
}

fn now_text() -> Result<String> {
    Ok(DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.now())?)
}
