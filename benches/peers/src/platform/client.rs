//! A connection to Platform Storage: calls with a token, whose answer must have the expected status.

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::connection::Connection;

/// What all paths begin with.
pub const BASE: &str = "/storage/api/v1";

/// One request.
pub struct Call<'c> {
    pub method: &'static str,
    /// Behind [`BASE`], or whole if it begins with it.
    pub path: &'c str,
    pub token: &'c str,
    /// Name and value of headers beside the token's.
    pub headers: &'c [(&'c str, String)],
    pub body: Bytes,
    /// The status that it must be answered with.
    pub status: u16,
}

/// A connection.
pub struct Client(Connection);

impl Client {
    /// Connects to the host and port of `url`.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self(Connection::open(url).await?))
    }

    /// Calls; gives the answer's body.
    pub async fn call(&mut self, call: Call<'_>) -> Result<Bytes> {
        let mut headers = Vec::with_capacity(call.headers.len() + 1);
        headers.push(("authorization", format!("Bearer {}", call.token)));
        headers.extend_from_slice(call.headers);
        let whole;
        let path = if call.path.starts_with(BASE) {
            call.path
        } else {
            whole = format!("{BASE}{}", call.path);
            &whole
        };
        let (status, body) = self.0.send(call.method, path, &headers, call.body).await?;
        ensure!(
            status == call.status,
            "{} {path}: {status} instead of {}: {:.300}",
            call.method,
            call.status,
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// Reads what needs no token.
    pub async fn read(&mut self, path: &str) -> Result<String> {
        let (status, body) = self.0.send("GET", path, &[], Bytes::new()).await?;
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        ensure!(status == 200, "GET {path}: {status}: {text:.300}");
        Ok(text)
    }
}

/// The header of a JSON body.
pub fn as_json() -> [(&'static str, String); 1] {
    [("content-type", "application/json".to_owned())]
}
