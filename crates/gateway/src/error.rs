//! What can go wrong before the first request: addresses, certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A listener that can't be opened or TLS that can't be set up. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address can't be listened on.
    #[error(
        "listener {listener}: can't listen on {address}: {cause}; free the address or choose another port"
    )]
    Bind {
        /// The listener's name.
        listener: Arc<str>,
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        cause: std::io::Error,
    },
    /// Plain HTTP would leave the machine.
    #[error(
        "listener {listener}: {address} is not loopback and would be spoken to without TLS; \
         give it a certificate and a key, or listen on 127.0.0.1"
    )]
    PlaintextOffLoopback {
        /// The listener's name.
        listener: Arc<str>,
        /// The address.
        address: SocketAddr,
    },
    /// A file of the TLS set-up can't be read or written.
    #[error("{path}: {cause}; check that the file exists and that this user may use it")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        cause: std::io::Error,
    },
    /// A file of the TLS set-up isn't what it should be.
    #[error("{path}: {cause}")]
    TlsContent {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what should be there.
        cause: String,
    },
    /// The development certificate can't be made.
    #[error("the development certificate can't be made: {0}")]
    Certificate(String),
}
