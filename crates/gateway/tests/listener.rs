//! A listener as clients meet it: limits in size, time and number, plain and TLS on one port, a
//! stop that finishes what was accepted, a panic that ends one request only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway::{Gateway, Listener, ListenerLimits, Metrics, StopReport, Transport};
use http::{Request, Response};
use http_semantics::{Body, RequestContext, Service};
use ledger::random::SeededRandom;
use ledger::{Clock, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Answers by path.
#[derive(Default)]
struct Echo {
    entered: Notify,
    go_on: Notify,
}

#[async_trait]
impl Service for Echo {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let context = request.extensions().get::<RequestContext>().cloned().unwrap();
        match request.uri().path() {
            "/panic" => panic!("on purpose"),
            "/wait" => {
                self.entered.notify_one();
                self.go_on.notified().await;
                Response::new(Body::full("waited"))
            }
            "/body" => match request.into_body().read_bounded(1 << 20).await {
                Ok(body) => Response::new(Body::full(format!("{} bytes", body.len()))),
                Err(error) => Response::builder()
                    .status(400)
                    .body(Body::full(error.to_string()))
                    .unwrap(),
            },
            _ => Response::new(Body::full(format!("{} {}", context.scheme(), context.request_id))),
        }
    }
}

struct Running {
    address: SocketAddr,
    service: Arc<Echo>,
    stop: watch::Sender<bool>,
    served: JoinHandle<StopReport>,
}

fn start(transport: Transport, limits: ListenerLimits) -> Running {
    let service = Arc::new(Echo::default());
    let gateway = Gateway {
        metrics: Arc::new(Metrics::new(Vec::new())),
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(1)),
        stop_max: Duration::from_secs(5),
    };
    let bound = gateway
        .bind(vec![Listener {
            name: "test".into(),
            address: "127.0.0.1:0".parse().unwrap(),
            transport,
            service: service.clone(),
            limits,
        }])
        .unwrap();
    let address = bound.addresses()[0];
    let (stop, stopped) = watch::channel(false);
    Running {
        address,
        service,
        stop,
        served: tokio::spawn(bound.run(stopped)),
    }
}

fn plain() -> Running {
    start(Transport::Plain, ListenerLimits::default())
}

/// Sends bytes on a connection of its own and reads to its end.
async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    // The server may close before all is sent.
    let _ = connection.write_all(sent).await;
    let mut received = Vec::new();
    let read = connection.read_to_end(&mut received);
    // Longer than the server reads on for the rest of a body that it has answered already.
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    String::from_utf8_lossy(&received).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into_bytes()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn a_panic_ends_its_request_and_nothing_else() {
    let running = plain();
    let answer = exchange(running.address, &get("/panic")).await;
    assert_eq!(status(&answer), "500", "{answer}");
    assert!(!answer.contains("on purpose"), "the cause stays inside: {answer}");
    assert_eq!(status(&exchange(running.address, &get("/")).await), "200");
}

#[tokio::test]
async fn each_request_has_an_id_of_its_own() {
    let running = plain();
    let one = exchange(running.address, &get("/")).await;
    let other = exchange(running.address, &get("/")).await;
    let id = |answer: &str| answer.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(id(&one).len(), 36, "{one}");
    assert_ne!(id(&one), id(&other));
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_number() {
    let running = plain();
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(status(&exchange(running.address, long.as_bytes()).await), "431");
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    assert_eq!(status(&exchange(running.address, many.as_bytes()).await), "431");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let limits = ListenerLimits {
        header_read_max: Duration::from_millis(300),
        ..ListenerLimits::default()
    };
    let running = start(Transport::Plain, limits);
    let began = SystemClock.monotonic();
    let answer = exchange(running.address, b"GET / HTTP/1.1\r\nhost: a\r\n").await;
    assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
    assert!(SystemClock.monotonic().saturating_sub(began) < Duration::from_secs(5));
}

/// Reads a short answer, which comes at once.
async fn answer(connection: &mut TcpStream) -> String {
    let mut received = vec![0; 4_096];
    let length = connection.read(&mut received).await.unwrap();
    String::from_utf8_lossy(&received[..length]).into_owned()
}

/// How long the server keeps the connection from now on.
async fn kept(connection: &mut TcpStream) -> Duration {
    let began = SystemClock.monotonic();
    let mut rest = Vec::new();
    let read = connection.read_to_end(&mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    SystemClock.monotonic().saturating_sub(began)
}

#[tokio::test]
async fn a_connection_is_kept_for_longer_than_a_head_may_take() {
    let (head_max, idle_max) = (Duration::from_millis(200), Duration::from_millis(1_500));
    let limits = ListenerLimits {
        header_read_max: head_max,
        keep_alive_max: idle_max,
        ..ListenerLimits::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let (tls, _) = gateway::tls::Tls::development(folder.path(), SystemClock.now()).unwrap();
    for transport in [Transport::Plain, Transport::Both(Arc::new(tls))] {
        let running = start(transport, limits.clone());
        let connect = || async { TcpStream::connect(running.address).await.unwrap() };
        let mut connection = connect().await;
        for path in ["/", "/", "/body"] {
            tokio::time::sleep(head_max * 3).await;
            let body = "content-length: 3\r\n\r\nabc";
            let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{body}");
            connection.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(status(&answer(&mut connection).await), "200");
        }
        let after_a_request = kept(&mut connection).await;
        let without_any = kept(&mut connect().await).await;
        for kept in [after_a_request, without_any] {
            assert!(kept > idle_max / 2 && kept < idle_max * 4, "{kept:?}");
        }
        // Also a head that isn't the first, and that comes byte by byte.
        let mut connection = connect().await;
        connection
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(status(&answer(&mut connection).await), "200");
        let began = SystemClock.monotonic();
        while connection.write_all(b"G").await.is_ok() {
            let taken = SystemClock.monotonic().saturating_sub(began);
            assert!(taken < idle_max, "a slow head was waited for");
            tokio::time::sleep(head_max / 8).await;
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let limits = ListenerLimits {
        body_bytes_max: 1_000,
        body_idle_max: Duration::from_millis(300),
        ..ListenerLimits::default()
    };
    let running = start(Transport::Plain, limits);
    let head = |length: usize| {
        format!("PUT /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    let whole = format!("{}{}", head(1_000), "x".repeat(1_000));
    assert!(
        exchange(running.address, whole.as_bytes())
            .await
            .ends_with("1000 bytes")
    );
    let long = format!("{}{}", head(1_001), "x".repeat(1_001));
    let answer = exchange(running.address, long.as_bytes()).await;
    assert!(["400", "413"].contains(&status(&answer)), "{answer}");
    let chunked = format!(
        "PUT /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2_000)
    );
    let answer = exchange(running.address, chunked.as_bytes()).await;
    assert!(["400", "413"].contains(&status(&answer)), "{answer}");
    // What never comes isn't waited for.
    let stalled = format!("{}{}", head(1_000), "x".repeat(10));
    let answer = exchange(running.address, stalled.as_bytes()).await;
    assert!(answer.is_empty() || answer.contains("longer than"), "{answer}");
}

#[tokio::test]
async fn requests_past_the_limit_are_told_to_come_again() {
    let limits = ListenerLimits {
        requests_max: 1,
        ..ListenerLimits::default()
    };
    let running = start(Transport::Plain, limits);
    let address = running.address;
    let waiting = tokio::spawn(async move { exchange(address, &get("/wait")).await });
    running.service.entered.notified().await;
    let answer = exchange(address, &get("/")).await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    running.service.go_on.notify_one();
    assert!(waiting.await.unwrap().ends_with("waited"));
}

#[tokio::test]
async fn a_stop_finishes_what_was_accepted_and_takes_nothing_new() {
    let running = plain();
    let address = running.address;
    let waiting = tokio::spawn(async move { exchange(address, &get("/wait")).await });
    running.service.entered.notified().await;
    running.stop.send_replace(true);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
    running.service.go_on.notify_one();
    assert!(waiting.await.unwrap().ends_with("waited"));
    assert!(running.served.await.unwrap().complete);
}

/// Clients make connections ahead, and may never use them.
#[tokio::test]
async fn connections_without_a_request_do_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, _) = gateway::tls::Tls::development(folder.path(), SystemClock.now()).unwrap();
    let tls = Arc::new(tls);
    for transport in [
        Transport::Plain,
        Transport::Both(tls.clone()),
        Transport::Tls(tls),
    ] {
        let running = start(transport, ListenerLimits::default());
        let unused = TcpStream::connect(running.address).await.unwrap();
        // Answered or refused, so the one before it was taken as well.
        exchange(running.address, &get("/")).await;
        running.stop.send_replace(true);
        let report = tokio::time::timeout(Duration::from_secs(5), running.served).await;
        assert!(report.expect("it stops").unwrap().complete);
        drop(unused);
    }
}

#[tokio::test]
async fn tls_and_plain_are_told_apart_by_their_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, authority) = gateway::tls::Tls::development(folder.path(), SystemClock.now()).unwrap();
    let running = start(Transport::Both(Arc::new(tls)), ListenerLimits::default());
    let answer = exchange(running.address, &get("/")).await;
    assert!(answer.contains("\r\n\r\nhttp "), "{answer}");
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(&authority).unwrap();
    let certificate =
        <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem);
    roots.add(certificate.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(&get("/")).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("\r\n\r\nhttps "), "{answer}");
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_the_next_client_served() {
    let running = plain();
    for garbage in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\0\0\0\0",
        b"HELO a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut connection = TcpStream::connect(running.address).await.unwrap();
        let _ = connection.write_all(garbage).await;
        let _ = connection.shutdown().await;
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || status(&answer).starts_with('4') || status(&answer) == "200",
            "{answer}"
        );
    }
    assert_eq!(status(&exchange(running.address, &get("/")).await), "200");
}
