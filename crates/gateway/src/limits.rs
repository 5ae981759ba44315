//! Every limit of a listener, unit last, source beside.

use std::time::Duration;

/// Longest request head: request line and headers. A Cosmos DB continuation is up to 16 KiB by
/// default, a SAS and a batch of metadata (8 KiB, Blob Storage) come on top.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Most headers of one request. Blob metadata alone may be some hundred short pairs in 8 KiB.
pub const HEADERS_MAX: usize = 512;

/// A request head must be whole this long after its first byte (Kestrel's own default).
pub const HEADER_READ_SECONDS_MAX: u64 = 30;

/// A connection without a request is closed after this long (Kestrel's own default); HTTP/2 has
/// pings instead ([`PING_INTERVAL_SECONDS`]).
pub const KEEP_ALIVE_SECONDS_MAX: u64 = 130;

/// A TLS handshake must be done after this long.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;

/// Longest pause between two pieces of a request body.
pub const BODY_IDLE_SECONDS_MAX: u64 = 60;

/// Longest time a request body may take: 4,000 MiB (the largest block) at about 1.1 MiB/s.
pub const BODY_TOTAL_SECONDS_MAX: u64 = 3_600;

/// Largest request body by default: Put Blob's 5,000 MiB. Services have limits of their own
/// beneath it.
pub const BODY_BYTES_MAX: u64 = 5_000 * 1024 * 1024;

/// Longest time a client may refuse to take the next bytes of its answer.
pub const WRITE_IDLE_SECONDS_MAX: u64 = 60;

/// Most connections of one listener.
pub const CONNECTIONS_MAX: usize = 2_048;

/// Most requests of one listener that are under way at once.
pub const REQUESTS_MAX: usize = 1_024;

/// What `Retry-After` says when there are too many requests.
pub const RETRY_AFTER_SECONDS: u64 = 1;

/// Most concurrent streams of one HTTP/2 connection (RFC 9113 recommends at least 100).
pub const STREAMS_MAX: u32 = 128;

/// An HTTP/2 connection is pinged when it was silent for this long.
pub const PING_INTERVAL_SECONDS: u64 = 30;

/// An HTTP/2 connection is closed when a ping isn't answered for this long.
pub const PING_SECONDS_MAX: u64 = 20;

/// Rest of a request body that is read and thrown away when a service answers before its end, so
/// that the client gets to see the answer instead of a reset.
pub const DRAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Time given to that.
pub const DRAIN_SECONDS_MAX: u64 = 10;

/// Connections the kernel may hold before they are accepted.
pub const BACKLOG: u32 = 1_024;

/// Pause after the kernel refused to accept (out of file descriptors).
pub const ACCEPT_PAUSE_MILLISECONDS: u64 = 100;

/// How much of a path is logged.
pub const LOGGED_PATH_BYTES_MAX: usize = 512;

/// Largest body of a request to the admin listener's own paths.
pub const ADMIN_BODY_BYTES_MAX: usize = 4 * 1024;

/// Furthest that the development clock is moved by one request: ten years.
pub const CLOCK_ADVANCE_SECONDS_MAX: i64 = 10 * 366 * 86_400;

/// Days that the development authority is valid for.
pub const AUTHORITY_DAYS: i64 = 3_650;

/// Days that the development certificate is valid for (Apple's clients take at most 825).
pub const CERTIFICATE_DAYS: i64 = 397;

/// A certificate with fewer days than this left is replaced at start.
pub const CERTIFICATE_DAYS_LEFT_MIN: i64 = 30;

/// Largest PEM file that is read.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The limits of one listener. `Default` gives the constants of this module.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// [`REQUESTS_MAX`].
    pub requests_max: usize,
    /// [`HEADER_BYTES_MAX`].
    pub header_bytes_max: usize,
    /// [`HEADERS_MAX`].
    pub headers_max: usize,
    /// [`HEADER_READ_SECONDS_MAX`].
    pub header_read_max: Duration,
    /// [`KEEP_ALIVE_SECONDS_MAX`].
    pub keep_alive_max: Duration,
    /// [`HANDSHAKE_SECONDS_MAX`].
    pub handshake_max: Duration,
    /// [`BODY_BYTES_MAX`].
    pub body_bytes_max: u64,
    /// [`BODY_IDLE_SECONDS_MAX`].
    pub body_idle_max: Duration,
    /// [`BODY_TOTAL_SECONDS_MAX`].
    pub body_total_max: Duration,
    /// [`WRITE_IDLE_SECONDS_MAX`].
    pub write_idle_max: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            requests_max: REQUESTS_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            headers_max: HEADERS_MAX,
            header_read_max: Duration::from_secs(HEADER_READ_SECONDS_MAX),
            keep_alive_max: Duration::from_secs(KEEP_ALIVE_SECONDS_MAX),
            handshake_max: Duration::from_secs(HANDSHAKE_SECONDS_MAX),
            body_bytes_max: BODY_BYTES_MAX,
            body_idle_max: Duration::from_secs(BODY_IDLE_SECONDS_MAX),
            body_total_max: Duration::from_secs(BODY_TOTAL_SECONDS_MAX),
            write_idle_max: Duration::from_secs(WRITE_IDLE_SECONDS_MAX),
        }
    }
}
