//! 4 KiB blobs by the Blob protocol, each request signed with the emulators' Shared Key.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::chance;
use crate::connection::Connection;
use crate::load::{Plan, Until, Worker, measure};

const ACCOUNT: &str = "devstoreaccount1";
/// The emulators' own key, published by Microsoft.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const CONTAINER: &str = "bench";
const BLOB_BYTES: usize = 4 * 1024;
/// Gets are spread over this many blobs, or as many as were put.
const READ_MAX: u64 = 1_000;

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

struct Client {
    connection: Connection,
    key: Key,
    content: Bytes,
    /// Whether it puts or gets.
    puts: bool,
    written: u64,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, query: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let date = date();
        let length = if body.is_empty() {
            String::new()
        } else {
            body.len().to_string()
        };
        let kind = if method == "PUT" && query.is_empty() {
            "x-ms-blob-type:BlockBlob\n"
        } else {
            ""
        };
        let mut text = format!(
            "{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{kind}x-ms-date:{date}\nx-ms-version:2021-12-02\n/{ACCOUNT}/{ACCOUNT}{path}"
        );
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            text.push_str(&format!("\n{}", pair.replace('=', ":")));
        }
        let mut headers = vec![
            ("x-ms-date", date),
            ("x-ms-version", "2021-12-02".to_owned()),
            (
                "authorization",
                format!("SharedKey {ACCOUNT}:{}", self.key.sign(&text)),
            ),
        ];
        if !kind.is_empty() {
            headers.push(("x-ms-blob-type", "BlockBlob".to_owned()));
        }
        let mark = if query.is_empty() { "" } else { "?" };
        self.connection
            .send(method, &format!("/{ACCOUNT}{path}{mark}{query}"), &headers, body)
            .await
    }
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        if self.puts {
            let content = self.content.clone();
            let (status, body) = self
                .send("PUT", &format!("/{CONTAINER}/blob-{n}"), "", content)
                .await?;
            ensure!(status == 201, "put: {status} {}", String::from_utf8_lossy(&body));
            self.written = self.written.max(n + 1);
        } else {
            let pick = chance::number(n) % self.written.clamp(1, READ_MAX);
            let (status, body) = self
                .send("GET", &format!("/{CONTAINER}/blob-{pick}"), "", Bytes::new())
                .await?;
            ensure!(
                status == 200 && body == self.content,
                "get: {status}, {} bytes",
                body.len()
            );
        }
        Ok(())
    }
}

/// Measures put, then get.
pub async fn run(plan: &Plan, url: &str) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..plan.concurrency {
        clients.push(Client {
            connection: Connection::open(url).await?,
            key: Key::new(KEY)?,
            content: chance::bytes(7, BLOB_BYTES).into(),
            puts: true,
            written: 0,
        });
    }
    if let Some(client) = clients.first_mut() {
        let (status, body) = client
            .send("PUT", &format!("/{CONTAINER}"), "restype=container", Bytes::new())
            .await?;
        ensure!(
            status == 201,
            "creating the container: {status} {}",
            String::from_utf8_lossy(&body)
        );
    }
    let mut clients = measure(plan, "put 4 KiB", Until::Time(plan.time), clients).await?;
    let written = clients.iter().map(|client| client.written).max().unwrap_or(0);
    // The last ones may have gone out of order; those before them are all there.
    let written = written.saturating_sub(plan.concurrency as u64).max(1);
    for client in &mut clients {
        (client.puts, client.written) = (false, written);
    }
    measure(plan, "get 4 KiB", Until::Time(plan.time), clients).await?;
    Ok(())
}
