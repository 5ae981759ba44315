//! A proxy before a server that answers errors, waits, and cuts connections in the middle of a body.
//!
//! It understands just enough of HTTP/1.1 to find where a request ends, and closes each connection
//! behind one answer, so that a fault hits one request. What it does to which request is decided by
//! a function of the request's number: a test's plan, or a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// It is answered with this status and never reaches the server.
    Answer(u16),
    /// It reaches the server after so many milliseconds.
    Slow(u64),
    /// Only so many bytes of it reach the server, then both sides are cut.
    CutRequest(usize),
    /// Only so many bytes of the answer come back. The server has done what was asked.
    CutAnswer(usize),
    /// A bit of the answer's byte at this place in the body is flipped.
    Flip(usize),
}

/// What happens to which request: its number and its first line.
pub type Plan = Arc<dyn Fn(u64, &str) -> Fault + Send + Sync>;

pub struct FaultProxy {
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultProxy {
    pub async fn start(server: SocketAddr, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (plan, counter) = (plan.clone(), counter.clone());
                tokio::spawn(async move {
                    // A connection that breaks is what this is for.
                    let _ = relay(client, server, &plan, &counter).await;
                });
            }
        });
        Self {
            address,
            requests,
            accepting,
        }
    }

    /// Requests that came in so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The head of a message and what came of its body with it.
async fn read_head(from: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn body_length(head: &str) -> usize {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    value.unwrap_or(0)
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    plan: &Plan,
    counter: &AtomicU64,
) -> std::io::Result<()> {
    let (head, mut body) = read_head(&mut client).await?;
    let number = counter.fetch_add(1, Ordering::Relaxed);
    let fault = plan(number, head.lines().next().unwrap_or_default());
    let length = body_length(&head);
    let kept = match fault {
        Fault::CutRequest(at) => at.min(length.saturating_sub(1)),
        _ => length,
    };
    while body.len() < kept {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(());
        }
    }
    if let Fault::Answer(status) = fault {
        let text = format!("<Error><Code>Planned</Code><RequestId>in-the-body-{number}</RequestId></Error>");
        let answer = format!(
            "HTTP/1.1 {status} Planned\r\nx-amz-request-id: in-the-head-{number}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    if let Fault::Slow(milliseconds) = fault {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&body[..kept]).await?;
    if kept < length {
        return Ok(());
    }
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    let begins = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    match fault {
        Fault::CutAnswer(at) => answer.truncate(begins + at.min((answer.len() - begins).saturating_sub(1))),
        Fault::Flip(at) if begins < answer.len() && answer.starts_with(b"HTTP/1.1 206") => {
            let place = begins + at % (answer.len() - begins);
            answer[place] ^= 0x10;
        }
        _ => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}
