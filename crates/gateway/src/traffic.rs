//! What a connection did, and whether it has waited for the client for too long.
//!
//! The HTTP library has one limit for the time until a head is whole, and it begins when the
//! connection begins to wait. There are two: a head that began must be whole soon; a connection
//! without a request is kept for as long as clients and balancers expect.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::ListenerLimits;

/// Counts of one connection. Only the connection's own task writes them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// Of `read_bytes`, what was told already.
    told_bytes: AtomicU64,
    under_way: AtomicU64,
    /// What `read_bytes` was when the last request ended.
    read_before: AtomicU64,
    is_http2: AtomicBool,
}

impl Traffic {
    pub(crate) fn read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes read since the last call.
    pub(crate) fn read_since(&self) -> u64 {
        let read = self.read_bytes.load(Ordering::Relaxed);
        read.saturating_sub(self.told_bytes.swap(read, Ordering::Relaxed))
    }

    /// A request's head is whole. It is under way until the result is dropped.
    pub(crate) fn begin(self: &Arc<Self>, is_http2: bool) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.is_http2.fetch_or(is_http2, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

/// A request, from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Traffic>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let read = self.0.read_bytes.load(Ordering::Relaxed);
        self.0.read_before.store(read, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection waits for. A wait begins anew when this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing that this is about: a request has limits of its own, HTTP/2 has pings.
    Busy,
    /// A request's first byte, since so many bytes were read and written.
    Idle(u64, u64),
    /// The rest of a head.
    Head,
}

/// The limits of a connection's waits.
#[derive(Debug)]
pub(crate) struct Patience {
    traffic: Arc<Traffic>,
    idle_max: Duration,
    head_max: Duration,
    wait: Option<(State, Pin<Box<Sleep>>)>,
}

impl Patience {
    pub(crate) fn new(traffic: Arc<Traffic>, limits: &ListenerLimits) -> Self {
        Self {
            traffic,
            idle_max: limits.keep_alive_max,
            head_max: limits.header_read_max,
            wait: None,
        }
    }

    fn state(&self) -> State {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let traffic = &self.traffic;
        let (read, written) = (number(&traffic.read_bytes), number(&traffic.written_bytes));
        if number(&traffic.under_way) > 0 || traffic.is_http2.load(Ordering::Relaxed) {
            State::Busy
        } else if read == number(&traffic.read_before) {
            State::Idle(read, written)
        } else {
            State::Head
        }
    }

    /// Ready with the cause when the connection has waited for too long. To be polled after the
    /// connection, in its task, so that it sees each change.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<&'static str> {
        let state = self.state();
        let (limit, cause) = match state {
            State::Busy => {
                self.wait = None;
                return Poll::Pending;
            }
            State::Idle(..) => (self.idle_max, "no request came"),
            State::Head => (self.head_max, "a request's head came too slowly"),
        };
        if !matches!(&self.wait, Some((before, _)) if *before == state) {
            self.wait = None;
        }
        let (_, sleep) = self
            .wait
            .get_or_insert_with(|| (state, Box::pin(tokio::time::sleep(limit))));
        sleep.as_mut().poll(context).map(|()| cause)
    }
}
