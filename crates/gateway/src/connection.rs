//! One connection: plain or TLS by its first byte, then HTTP until its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::Transport;
use crate::limits::{PING_INTERVAL_SECONDS, PING_SECONDS_MAX, STREAMS_MAX};
use crate::patient::Patient;
use crate::request::Handler;
use crate::traffic::{Patience, Traffic};

/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves a connection to its end. Errors are the client's doing and not worth more than a line.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    handler: Arc<Handler>,
    watcher: Watcher,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let handshake_max = handler.limits.handshake_max;
    let tls = match &transport {
        Transport::Plain => None,
        Transport::Tls(tls) => Some(tls),
        Transport::Both(tls) => tokio::select! {
            // Clients keep connections that they made and had no use for: nothing was accepted there.
            _ = stop.wait_for(|stop| *stop) => return,
            byte = first_byte(&stream, handler.limits.keep_alive_max) => match byte {
                Ok(Some(TLS_HANDSHAKE)) => Some(tls),
                Ok(Some(_)) => None,
                Ok(None) | Err(_) => return,
            },
        },
    };
    let outcome = match tls {
        None => http(stream, peer, false, &handler, watcher).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.config.clone());
            let handshake = tokio::time::timeout(handshake_max, acceptor.accept(stream));
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = handshake => accepted,
            };
            match accepted {
                Ok(Ok(stream)) => http(stream, peer, true, &handler, watcher).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the TLS handshake took too long".to_owned()),
            }
        }
    };
    if let Err(cause) = outcome {
        tracing::debug!(listener = &*handler.name, %peer, cause, "connection ended early");
    }
}

async fn first_byte(stream: &TcpStream, wait: Duration) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match tokio::time::timeout(wait, stream.peek(&mut byte)).await {
        Ok(peeked) => Ok((peeked? > 0).then_some(byte[0])),
        Err(_) => Ok(None),
    }
}

async fn http<IO>(
    stream: IO,
    peer: SocketAddr,
    secure: bool,
    handler: &Arc<Handler>,
    watcher: Watcher,
) -> Result<(), String>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &handler.limits;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // [`Patience`] has both limits that this one would be.
        .header_read_timeout(None)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.header_bytes_max.max(8_192))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(PING_INTERVAL_SECONDS))
        .keep_alive_timeout(Duration::from_secs(PING_SECONDS_MAX));
    let traffic = Arc::new(Traffic::default());
    let mut patience = Patience::new(traffic.clone(), limits);
    let io = TokioIo::new(Patient::new(stream, traffic.clone(), limits.write_idle_max));
    let service = service_fn(|request| {
        let (handler, traffic) = (handler.clone(), traffic.clone());
        async move {
            let under_way = traffic.begin(request.version() == Version::HTTP_2);
            let response = handler.handle(request, peer, secure, under_way).await;
            handler.metrics.received(&handler.name, traffic.read_since());
            Ok::<_, Infallible>(response)
        }
    });
    let connection = watcher.watch(builder.serve_connection(io, service).into_owned());
    tokio::select! {
        biased;
        ended = connection => ended.map_err(|error| error.to_string()),
        cause = poll_fn(|context| patience.poll_end(context)) => Err(cause.to_owned()),
    }
}
