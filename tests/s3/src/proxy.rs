//! A proxy before a server that answers errors, waits, and cuts connections in the middle of a body.
//!
//! It understands just enough of HTTP/1.1 to find where a request ends, and closes each connection
//! behind one answer, so that a fault hits one request. What it does to which request is decided by
//! a function of the request's number: a test's plan, or a seed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Longest head of a message: as much as servers usually take.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest body of a request: it is held in memory. Parts of an upload are an eighth of that.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What happens to one request. A place in a body counts from its begin, and again from there where
/// the body is shorter; a message without a body is cut in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// It is answered with this status and never reaches the server.
    Answer(u16),
    /// It reaches the server after so many milliseconds.
    Slow(u64),
    /// Only so many bytes of its body reach the server, then both sides are cut.
    CutRequest(usize),
    /// Only so many bytes of the answer's body come back. The server has done what was asked.
    CutAnswer(usize),
    /// A bit of the answer's byte at this place in the body is flipped, if it is a part of an object.
    Flip(usize),
}

impl Fault {
    /// What it is counted as.
    #[must_use]
    pub fn kind(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Answer(500) => "answered 500",
            Self::Answer(503) => "answered 503",
            Self::Answer(_) => "answered another error",
            Self::Slow(_) => "slow",
            Self::CutRequest(_) => "request cut",
            Self::CutAnswer(_) => "answer cut",
            Self::Flip(_) => "bit flipped",
        })
    }
}

/// What happens to which request: its number and its first line.
pub type Plan = Arc<dyn Fn(u64, &str) -> Fault + Send + Sync>;

/// What a proxy did so far.
#[derive(Debug, Default)]
pub struct FaultCounts {
    requests: AtomicU64,
    by_kind: Mutex<BTreeMap<&'static str, u64>>,
}

impl FaultCounts {
    /// Requests that came in so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Faults that happened, by kind.
    pub fn by_kind(&self) -> BTreeMap<&'static str, u64> {
        self.by_kind.lock().clone()
    }

    fn note(&self, fault: Fault) {
        if let Some(kind) = fault.kind() {
            *self.by_kind.lock().entry(kind).or_default() += 1;
        }
    }
}

/// A proxy on a loopback port, until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<FaultCounts>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultProxy {
    /// A proxy before `server` on a free port.
    ///
    /// # Errors
    /// No port can be listened on.
    pub async fn start(server: SocketAddr, plan: Plan) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(FaultCounts::default());
        let counter = counts.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (plan, counter) = (plan.clone(), counter.clone());
                tokio::spawn(async move {
                    // A connection that breaks is what this is for.
                    let _ = relay(client, server, &plan, &counter).await;
                });
            }
        });
        Ok(Self {
            address,
            counts,
            accepting,
        })
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> &FaultCounts {
        &self.counts
    }
}

/// Where the head of a message ends.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let found = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    found.map(|at| at + 4)
}

/// The head of a message and what came of its body with it.
async fn read_head(from: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = head_end(&bytes) {
            let body = bytes.split_off(end);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn body_length(head: &str) -> io::Result<usize> {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse())
    });
    match value {
        None => Ok(0),
        Some(Ok(length)) if length <= BODY_BYTES_MAX => Ok(length),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    plan: &Plan,
    counts: &FaultCounts,
) -> io::Result<()> {
    let (head, mut body) = read_head(&mut client).await?;
    let number = counts.requests.fetch_add(1, Ordering::Relaxed);
    let fault = plan(number, head.lines().next().unwrap_or_default());
    let length = body_length(&head)?;
    let kept = match fault {
        Fault::CutRequest(_) if length == 0 => {
            counts.note(fault);
            return Ok(());
        }
        Fault::CutRequest(at) => at % length,
        _ => length,
    };
    while body.len() < kept {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(());
        }
    }
    body.truncate(kept);
    match fault {
        Fault::Answer(status) => {
            counts.note(fault);
            return answer(client, status, number).await;
        }
        Fault::Slow(milliseconds) => {
            counts.note(fault);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        _ => {}
    }
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&body).await?;
    if kept < length {
        counts.note(fault);
        return Ok(());
    }
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if harm(&mut answer, fault) {
        counts.note(fault);
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// An error of the proxy's own.
async fn answer(mut client: TcpStream, status: u16, number: u64) -> io::Result<()> {
    let text = format!("<Error><Code>Planned</Code><RequestId>in-the-body-{number}</RequestId></Error>");
    let answer = format!(
        "HTTP/1.1 {status} Planned\r\nx-amz-request-id: in-the-head-{number}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// Cuts the server's answer, or flips a bit of it; whether that happened.
fn harm(answer: &mut Vec<u8>, fault: Fault) -> bool {
    let begins = head_end(answer).unwrap_or(0);
    let length = answer.len() - begins;
    match fault {
        Fault::CutAnswer(at) => {
            let kept = at
                .checked_rem(length)
                .map_or(at % begins.max(1), |place| begins + place);
            answer.truncate(kept);
            true
        }
        Fault::Flip(at) if answer.starts_with(b"HTTP/1.1 206") => {
            let byte = at
                .checked_rem(length)
                .and_then(|place| answer.get_mut(begins + place));
            byte.map(|byte| *byte ^= 0x10).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmed(answer: &str, fault: Fault) -> String {
        let mut bytes = answer.as_bytes().to_vec();
        harm(&mut bytes, fault);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn cuts_in_the_body_or_where_there_is_none_in_the_head() {
        let whole = "HTTP/1.1 206 x\r\n\r\nabcdef";
        assert_eq!(harmed(whole, Fault::CutAnswer(2)), "HTTP/1.1 206 x\r\n\r\nab");
        assert_eq!(harmed(whole, Fault::CutAnswer(6)), "HTTP/1.1 206 x\r\n\r\n");
        assert_eq!(harmed(whole, Fault::CutAnswer(5)), "HTTP/1.1 206 x\r\n\r\nabcde");
        assert_eq!(harmed("HTTP/1.1 200 x\r\n\r\n", Fault::CutAnswer(4)), "HTTP");
        assert_eq!(harmed(whole, Fault::Flip(1)), "HTTP/1.1 206 x\r\n\r\narcdef");
        assert_eq!(harmed(whole, Fault::Slow(1)), whole);
    }

    #[test]
    fn finds_a_bodys_length() {
        assert_eq!(
            body_length("PUT / HTTP/1.1\r\nContent-Length: 17\r\n").unwrap(),
            17
        );
        assert_eq!(body_length("GET / HTTP/1.1\r\n").unwrap(), 0);
        assert!(body_length("PUT / HTTP/1.1\r\ncontent-length: -1\r\n").is_err());
    }
}
