//! Binds every listener, then serves them until told to stop.
//!
//! Invariant: nothing is served before all are bound; a stop takes no new connection and lets
//! those under way end within a bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use ledger::{Clock, Random};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::limits::{ACCEPT_PAUSE_MILLISECONDS, BACKLOG};
use crate::metrics::Metrics;
use crate::request::Handler;
use crate::{GatewayError, Listener, Transport, connection};

/// Makes listeners.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Measures durations.
    pub clock: Arc<dyn Clock>,
    /// Gives request ids.
    pub random: Arc<dyn Random>,
    /// Longest time that a stop waits for requests under way.
    pub stop_max: Duration,
}

/// Listeners that are bound and wait to be served.
pub struct Bound {
    listeners: Vec<(Transport, Arc<Handler>, TcpListener, SocketAddr)>,
    stop_max: Duration,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.listeners.iter().map(|(_, _, _, address)| address))
            .finish()
    }
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// Whether every connection ended by itself.
    pub complete: bool,
}

impl Gateway {
    /// Binds all of `listeners`.
    ///
    /// # Errors
    /// [`GatewayError::Bind`] names the one that can't be.
    pub fn bind(&self, listeners: Vec<Listener>) -> Result<Bound, GatewayError> {
        let mut bound = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let failed = |cause| GatewayError::Bind {
                listener: listener.name.clone(),
                address: listener.address,
                cause,
            };
            let socket = open(listener.address).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            let handler = Handler::new(
                &listener,
                self.metrics.clone(),
                self.clock.clone(),
                self.random.clone(),
            );
            bound.push((listener.transport, Arc::new(handler), socket, address));
        }
        Ok(Bound {
            listeners: bound,
            stop_max: self.stop_max,
        })
    }
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Bound {
    /// These listeners, and `others` behind them: for those whose service must know where another one listens.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.listeners.extend(others.listeners);
        self
    }

    /// The address of each listener, in the order given, with the port that was taken.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(_, _, _, address)| *address).collect()
    }

    /// Serves until `stop` holds true, then ends what is under way.
    pub async fn run(self, stop: watch::Receiver<bool>) -> StopReport {
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        for (transport, handler, socket, _) in self.listeners {
            accepting.spawn(accept(socket, transport, handler, graceful.clone(), stop.clone()));
        }
        while accepting.join_next().await.is_some() {}
        let Ok(graceful) = Arc::try_unwrap(graceful) else {
            return StopReport { complete: false };
        };
        let complete = tokio::time::timeout(self.stop_max, graceful.shutdown())
            .await
            .is_ok();
        StopReport { complete }
    }
}

/// Takes connections until the stop. Past the limit of connections it takes none: the kernel's
/// queue holds them back.
async fn accept(
    socket: TcpListener,
    transport: Transport,
    handler: Arc<Handler>,
    graceful: Arc<GracefulShutdown>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(handler.limits.connections_max));
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (place, socket.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok((stream, peer))) => {
                let served = connection::serve(
                    stream,
                    peer,
                    transport.clone(),
                    handler.clone(),
                    graceful.watcher(),
                    stop.clone(),
                );
                tokio::spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            (_, Err(error)) => {
                tracing::warn!(listener = &*handler.name, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)).await;
            }
            (Err(_), _) => return,
        }
    }
}
