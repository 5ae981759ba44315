//! The least of an HTTP client: one connection pool per writer, no retries, signatures as the
//! protocols have them. An error of the connection is no answer; it says nothing of what happened.

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{HeaderMap, Method, Request};
use identity::SharedKey;
use jiff::fmt::rfc2822::DateTimePrinter;
use ledger::clock::{Clock as _, SystemClock};

use crate::server::Endpoints;

const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The emulators' own account and keys, published by Microsoft.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
const BLOBS_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const DOCUMENTS_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An answer that began and didn't come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer, {status}, broke off: {error}")]
pub(crate) struct BrokenOff {
    pub(crate) status: u16,
    error: ureq::Error,
}

/// Headers by name.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// Sends requests to the three services.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    pub(crate) endpoints: Endpoints,
    blobs_key: SharedKey,
    documents_key: SharedKey,
}

impl Client {
    /// A client with connections of its own, which waits so long for a whole answer.
    pub(crate) fn new(endpoints: Endpoints, patience: Duration) -> Result<Self> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .proxy(None)
            .build()
            .into();
        Ok(Self {
            agent,
            endpoints,
            blobs_key: SharedKey::from_base64(BLOBS_KEY).context("the blobs key")?,
            documents_key: SharedKey::from_base64(DOCUMENTS_KEY).context("the documents key")?,
        })
    }

    /// A request as it stands. `None` for the body sends none; an empty one has a length of 0.
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
        let status = response.status().as_u16();
        let read = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_vec();
        let body = read.map_err(|error| BrokenOff { status, error })?;
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// A blob request, signed by Shared Key. `path` begins after the account.
    pub(crate) fn blob(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut headers = headers.clone();
        headers.push(("x-ms-date", now_text()?));
        headers.push(("x-ms-version", "2021-12-02".to_owned()));
        headers.sort();
        let length = body.map_or(0, <[u8]>::len);
        let length = if length == 0 {
            String::new()
        } else {
            length.to_string()
        };
        let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{ACCOUNT}/{ACCOUNT}{path}"));
        let mut sorted = query.to_vec();
        sorted.sort_unstable();
        for (name, value) in &sorted {
            text.push_str(&format!("\n{name}:{value}"));
        }
        headers.push((
            "authorization",
            format!("SharedKey {ACCOUNT}:{}", self.blobs_key.sign(&text)),
        ));
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!(
            "{}/{ACCOUNT}{path}{mark}{}",
            self.endpoints.blobs,
            query.join("&")
        );
        self.send(method, &url, &headers, body)
    }

    /// A documents request, signed by the master key. `kind` and `link` are what is signed.
    pub(crate) fn document(
        &self,
        method: &Method,
        kind: &str,
        link: &str,
        path: &str,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let date = now_text()?;
        let verb = method.as_str().to_lowercase();
        let text = format!("{verb}\n{kind}\n{link}\n{}\n\n", date.to_lowercase());
        let token = format!("type=master&ver=1.0&sig={}", self.documents_key.sign(&text));
        let token = percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        let mut headers = headers.clone();
        headers.push(("authorization", token.to_string()));
        headers.push(("x-ms-date", date));
        headers.push(("x-ms-version", "2020-07-15".to_owned()));
        self.send(
            method,
            &format!("{}/{path}", self.endpoints.documents),
            &headers,
            body,
        )
    }

    /// A Platform Storage request with a token.
    pub(crate) fn platform(
        &self,
        method: &Method,
        path: &str,
        token: &str,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut headers = headers.clone();
        headers.push(("authorization", format!("Bearer {token}")));
        self.send(
            method,
            &format!("{}/storage/api/v1{path}", self.endpoints.platform),
            &headers,
            body,
        )
    }

    /// Rounds of background work that the server has ended.
    pub(crate) fn background_rounds(&self) -> Result<u64> {
        self.metric("background_work_rounds")
    }

    /// A whole number of the server's metrics.
    pub(crate) fn metric(&self, name: &str) -> Result<u64> {
        let url = format!("{}/metrics", self.endpoints.admin);
        let answer = self.send(&Method::GET, &url, &Vec::new(), None)?;
        let text = String::from_utf8(answer.body)?;
        let line = text.lines().find(|line| line.contains(&format!("\"{name}\"")));
        let number = line
            .and_then(|line| line.rsplit(' ').next())
            .with_context(|| format!("no {name} in the metrics"))?;
        Ok(number.parse()?)
    }

    /// A development token.
    pub(crate) fn token(&self, path: &str) -> Result<String> {
        let url = format!("{}/Home/{path}", self.endpoints.platform);
        let answer = self.send(&Method::GET, &url, &Vec::new(), None)?;
        anyhow::ensure!(answer.status == 200, "a token from {path}: {}", answer.status);
        Ok(String::from_utf8(answer.body)?.trim().to_owned())
    }
}

fn now_text() -> Result<String> {
    Ok(DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.now())?)
}
