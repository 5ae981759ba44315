//! A listener as it is asked for, and the rule of where plain HTTP is permitted.

use std::net::SocketAddr;
use std::sync::Arc;

use http_semantics::Service;

use crate::tls::Tls;
use crate::{GatewayError, ListenerLimits};

/// How a listener is spoken to.
#[derive(Debug, Clone)]
pub enum Transport {
    /// HTTP/1.1 without TLS.
    Plain,
    /// TLS only; HTTP/2 or HTTP/1.1 by ALPN.
    Tls(Arc<Tls>),
    /// Both on one port: the first byte of a connection tells (0x16 begins a TLS handshake,
    /// RFC 8446 section 5.1, and no HTTP method).
    Both(Arc<Tls>),
}

impl Transport {
    /// Whether plain HTTP is answered.
    #[must_use]
    pub fn allows_plain(&self) -> bool {
        matches!(self, Self::Plain | Self::Both(_))
    }

    /// The TLS settings, if TLS is answered.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) | Self::Both(tls) => Some(tls),
        }
    }
}

/// One listener.
#[derive(Clone)]
pub struct Listener {
    /// Its name in logs, metrics and [`http_semantics::RequestContext`].
    pub name: Arc<str>,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub transport: Transport,
    /// Who answers.
    pub service: Arc<dyn Service>,
    /// Its limits.
    pub limits: ListenerLimits,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("name", &self.name)
            .field("address", &self.address)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Refuses plain HTTP where others than this machine can hear it. `serve` asks this of every
    /// listener; `dev` doesn't, because containers publish it on purpose.
    ///
    /// # Errors
    /// [`GatewayError::PlaintextOffLoopback`].
    pub fn check_plaintext(&self) -> Result<(), GatewayError> {
        if self.transport.allows_plain() && !self.address.ip().to_canonical().is_loopback() {
            return Err(GatewayError::PlaintextOffLoopback {
                listener: Arc::clone(&self.name),
                address: self.address,
            });
        }
        Ok(())
    }
}
