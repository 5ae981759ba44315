//! Who takes the outboxes' messages: a small HTTP server of the test's own. It keeps what comes and, unless it is told to
//! be good, refuses some and lets others wait, as receivers do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ledger::clock::{Clock as _, SystemClock};
use serde_json::Value;

const BODY_BYTES_MAX: usize = 64 * 1024;
const SILENCE_SECONDS_MAX: u64 = 10;

/// Of so many messages one isn't taken: it is answered with 503 or 400, or the connection is cut.
const REFUSED_EVERY: u64 = 23;

/// A message, and when it was here.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) at: Duration,
    pub(super) body: Value,
}

#[derive(Debug, Default)]
struct Inbox {
    taken: Mutex<Vec<Message>>,
    count: AtomicU64,
    is_good: AtomicBool,
    ends: AtomicBool,
}

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: String,
    inbox: Arc<Inbox>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.inbox.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let _ = TcpStream::connect(address);
    }
}

impl Receiver {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the receiver")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let inbox = Arc::new(Inbox::default());
        let own = inbox.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.ends.load(Ordering::SeqCst) {
                    return;
                }
                let inbox = own.clone();
                if let Ok(stream) = stream {
                    // One thread for each connection: the server under test bounds how many there are.
                    std::thread::spawn(move || while inbox.serve(&stream).is_ok() {});
                }
            }
        });
        Ok(Self { url, inbox })
    }

    /// From now on every message is taken.
    pub(super) fn be_good(&self) {
        self.inbox.is_good.store(true, Ordering::SeqCst);
    }

    /// What was taken, in its order.
    pub(super) fn taken(&self) -> Vec<Message> {
        self.inbox
            .taken
            .lock()
            .map(|taken| taken.clone())
            .unwrap_or_default()
    }
}

impl Inbox {
    /// One request of a connection.
    fn serve(&self, mut stream: &TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(SILENCE_SECONDS_MAX)))?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>()?;
            }
        }
        ensure!(length <= BODY_BYTES_MAX, "a message of {length} bytes");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let is_bad = number % REFUSED_EVERY == REFUSED_EVERY - 1 && !self.is_good.load(Ordering::SeqCst);
        if is_bad && number.is_multiple_of(3) {
            anyhow::bail!("cut");
        }
        let status = match (is_bad, number % 3) {
            (false, _) => "200 OK",
            (true, 1) => "503 Service Unavailable",
            (true, _) => "400 Bad Request",
        };
        if !is_bad {
            let message = Message {
                at: SystemClock.monotonic(),
                body: serde_json::from_slice(&body)?,
            };
            if let Ok(mut taken) = self.taken.lock() {
                taken.push(message);
            }
            // A kill is to find deliveries under way.
            std::thread::sleep(Duration::from_millis(number % 8));
        }
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}")?;
        Ok(())
    }
}
