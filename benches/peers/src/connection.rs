//! One kept-alive HTTP/1.1 connection, spoken to by hand: a general client with its own task took
//! twice of the processor what the peers' own drivers take, and so measured itself.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// A larger body is sent from where it lies.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;
/// What isn't kept is read so much at once.
const PASSED_BYTES: usize = 256 * 1024;

/// Sends requests one after the other.
pub struct Connection {
    stream: TcpStream,
    host: String,
    request: Vec<u8>,
    answer: BytesMut,
    /// Of the last answer.
    head: BytesMut,
    /// Where bytes go that aren't kept.
    passed: Vec<u8>,
}

impl Connection {
    /// Connects to the host and port of `url`.
    pub async fn open(url: &str) -> Result<Self> {
        let (_, rest) = url.split_once("://").context("an address with a scheme")?;
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host,
            request: Vec::new(),
            answer: BytesMut::new(),
            head: BytesMut::new(),
            passed: Vec::new(),
        })
    }

    /// One request; gives status and the whole body.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let (status, length) = self.ask(method, path, headers, body).await?;
        let body = match length {
            Length::Bytes(bytes) => self.take(bytes).await?.freeze(),
            Length::Chunks => self.take_chunks().await?,
        };
        Ok((status, body))
    }

    /// Gets something; gives status and how many bytes the body had, which aren't kept.
    pub async fn count(&mut self, path: &str, headers: &[(&str, String)]) -> Result<(u16, u64)> {
        let (status, length) = self.ask("GET", path, headers, Bytes::new()).await?;
        let Length::Bytes(bytes) = length else {
            return Ok((status, self.take_chunks().await?.len() as u64));
        };
        let mut left = bytes - self.answer.len().min(bytes);
        self.answer.clear();
        self.passed.resize(PASSED_BYTES, 0);
        while left > 0 {
            let most = left.min(self.passed.len());
            let read = self.stream.read(&mut self.passed[..most]).await?;
            ensure!(read > 0, "the server closed the connection");
            left -= read;
        }
        Ok((status, bytes as u64))
    }

    /// Sends a request and reads the head of its answer.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<(u16, Length)> {
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n",
            self.host
        )?;
        for (name, value) in headers {
            write!(self.request, "{name}: {value}\r\n")?;
        }
        if method != "GET" {
            write!(self.request, "content-length: {}\r\n", body.len())?;
        }
        self.request.extend_from_slice(b"\r\n");
        let apart = body.len() > TOGETHER_BYTES_MAX;
        if !apart {
            self.request.extend_from_slice(&body);
        }
        self.stream.write_all(&self.request).await?;
        if apart {
            self.stream.write_all(&body).await?;
        }
        ensure!(self.answer.is_empty(), "bytes behind the last answer");
        let head_bytes = loop {
            self.read().await?;
            match end_of_head(&self.answer) {
                Some(end) => break end,
                None => ensure!(self.answer.len() < HEAD_BYTES_MAX, "an endless head"),
            }
        };
        self.head = self.answer.split_to(head_bytes);
        read_head(std::str::from_utf8(&self.head)?)
    }

    /// What the last answer said in this header.
    pub fn answered(&self, header: &str) -> Option<&str> {
        let lines = std::str::from_utf8(&self.head).ok()?.split("\r\n");
        let mut headers = lines.filter_map(|line| line.split_once(':'));
        headers
            .find(|(name, _)| name.eq_ignore_ascii_case(header))
            .map(|(_, value)| value.trim())
    }

    async fn take(&mut self, bytes: usize) -> Result<BytesMut> {
        while self.answer.len() < bytes {
            self.read().await?;
        }
        Ok(self.answer.split_to(bytes))
    }

    async fn take_chunks(&mut self) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line_bytes = loop {
                match self.answer.windows(2).position(|window| window == b"\r\n") {
                    Some(end) => break end + 2,
                    None => self.read().await?,
                }
            };
            let line = self.answer.split_to(line_bytes);
            let size = std::str::from_utf8(&line)?.trim_end().split(';').next();
            let size = usize::from_str_radix(size.unwrap_or_default(), 16).context("a chunk's size")?;
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(body.freeze());
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.answer.reserve(READ_BYTES);
        ensure!(
            self.stream.read_buf(&mut self.answer).await? > 0,
            "the server closed the connection"
        );
        Ok(())
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// How an answer says where its body ends.
#[derive(Debug, PartialEq)]
enum Length {
    Bytes(usize),
    Chunks,
}

/// Status and length of the body.
fn read_head(head: &str) -> Result<(u16, Length)> {
    let mut lines = head.split("\r\n");
    let status: u16 = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .context("a status line")?
        .parse()?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, Length::Bytes(value.trim().parse()?)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok((status, Length::Chunks));
        }
    }
    Ok((status, Length::Bytes(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = "HTTP/1.1 201 Created\r\nDate: x\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(end_of_head(head.as_bytes()), Some(head.len()));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read_head(head).unwrap(), (201, Length::Bytes(12)));
        assert_eq!(
            read_head("HTTP/1.1 204 No Content\r\n\r\n").unwrap(),
            (204, Length::Bytes(0))
        );
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(read_head(chunked).unwrap(), (200, Length::Chunks));
        assert!(read_head("nonsense\r\n\r\n").is_err());
    }
}
