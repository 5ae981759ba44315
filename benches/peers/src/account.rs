//! A connection to an account of the Cosmos protocol, each request signed with the emulator's master
//! key.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::storage::{Key, date};

/// The emulator's own key, published by Microsoft.
const KEY: &str = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// A connection.
pub struct Account {
    connection: Connection,
    key: Key,
}

impl Account {
    /// Connects to the account at `url`.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(url).await?,
            key: Key::new(KEY)?,
        })
    }

    /// One request for a resource of this kind at this link; gives status and body.
    pub async fn send(
        &mut self,
        method: &str,
        kind: &str,
        link: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let date = date();
        let text = format!(
            "{}\n{kind}\n{link}\n{}\n\n",
            method.to_lowercase(),
            date.to_lowercase()
        );
        let token = format!("type=master&ver=1.0&sig={}", self.key.sign(&text));
        let mut headers = headers.to_vec();
        headers.push((
            "authorization",
            utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string(),
        ));
        headers.push(("x-ms-date", date));
        headers.push(("x-ms-version", "2020-07-15".to_owned()));
        self.connection.send(method, path, &headers, body).await
    }

    /// What the last answer said in this header.
    pub fn answered(&self, header: &str) -> Option<&str> {
        self.connection.answered(header)
    }

    /// Makes a database with one container.
    pub async fn create_container(&mut self, database: &str, container: &Value) -> Result<()> {
        let link = format!("dbs/{database}");
        let body = json!({"id": database}).to_string();
        let (status, body) = self.send("POST", "dbs", "", "/dbs", &[], body.into()).await?;
        ensure!(
            status == 201,
            "creating the database: {status} {}",
            String::from_utf8_lossy(&body)
        );
        let path = format!("/{link}/colls");
        let body = container.to_string();
        let (status, body) = self.send("POST", "colls", &link, &path, &[], body.into()).await?;
        ensure!(
            status == 201,
            "creating the container: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}

/// The header with a partition key of one string.
pub fn partition_key(owner: &str) -> (&'static str, String) {
    ("x-ms-documentdb-partitionkey", json!([owner]).to_string())
}

/// How many rows a page says it has. Its bytes have come; that they parse is checked on neither side.
pub fn count(body: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(body)?;
    let (_, count) = text
        .rsplit_once("\"_count\":")
        .context("a page without a count")?;
    Ok(count.trim_end_matches('}').trim().parse()?)
}
