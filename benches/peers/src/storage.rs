//! A connection to an account of the Blob protocol, each request signed with the emulators' Shared Key.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use std::cell::RefCell;

use crate::connection::Connection;

const ACCOUNT: &str = "devstoreaccount1";
/// The emulators' own key, published by Microsoft.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const VERSION: &str = "2021-12-02";

/// Now, as HTTP writes it; written once a second.
pub fn date() -> String {
    thread_local!(static LAST: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) });
    let now = Timestamp::now();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            *second = now.as_second();
            *text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        }
        text.clone()
    })
}

/// A shared key, made ready once.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// From its base64 form.
    pub fn new(base64: &str) -> Result<Self> {
        Ok(Self(Hmac::new_from_slice(&STANDARD.decode(base64)?)?))
    }

    /// The base64 HMAC-SHA256 of `text`.
    pub fn sign(&self, text: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// A connection.
pub struct Storage {
    connection: Connection,
    key: Key,
}

impl Storage {
    /// Connects to the account at `url`.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(url).await?,
            key: Key::new(KEY)?,
        })
    }

    /// One request; gives status and body. `query` is sorted and needs no escapes, `headers` are
    /// `x-ms-` ones, sorted by name.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let (path, headers) = self.signed(method, path, query, headers, body.len());
        self.connection.send(method, &path, &headers, body).await
    }

    /// Gets a blob and counts its bytes, which aren't kept.
    pub async fn get(&mut self, path: &str, headers: &[(&str, String)]) -> Result<(u16, u64)> {
        let (path, headers) = self.signed("GET", path, "", headers, 0);
        self.connection.count(&path, &headers).await
    }

    /// Makes a container.
    pub async fn create_container(&mut self, name: &str) -> Result<()> {
        let (status, body) = self
            .send("PUT", &format!("/{name}"), "restype=container", &[], Bytes::new())
            .await?;
        ensure!(
            status == 201,
            "creating the container: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    /// The path with its query, and the headers with the signature.
    fn signed<'h>(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&'h str, String)],
        length: usize,
    ) -> (String, Vec<(&'h str, String)>) {
        let mut headers = headers.to_vec();
        headers.push(("x-ms-date", date()));
        headers.push(("x-ms-version", VERSION.to_owned()));
        headers.sort_unstable();
        let length = if length == 0 {
            String::new()
        } else {
            length.to_string()
        };
        let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
        for (name, value) in &headers {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{ACCOUNT}/{ACCOUNT}{path}"));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            text.push_str(&format!("\n{}", pair.replacen('=', ":", 1)));
        }
        headers.push((
            "authorization",
            format!("SharedKey {ACCOUNT}:{}", self.key.sign(&text)),
        ));
        let mark = if query.is_empty() { "" } else { "?" };
        (format!("/{ACCOUNT}{path}{mark}{query}"), headers)
    }
}
