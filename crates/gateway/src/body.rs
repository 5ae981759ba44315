//! A request body on its way to a service, bounded in size and time; and an answer's body on its
//! way out, which knows when it has ended.
//!
//! Invariant: a body that was cut, grew too long or took too long ends with an error, and goes on
//! doing so; it never looks like a body that ended. When a service answers before it has read
//! everything, a bounded rest is read and thrown away, because a client that is still sending
//! would otherwise meet a reset and never see why it was refused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_semantics::{Body, BodyError};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::limits::{DRAIN_BYTES_MAX, DRAIN_SECONDS_MAX};
use crate::request::Finish;

/// The bounds of one request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyBounds {
    pub(crate) bytes_max: u64,
    pub(crate) idle_max: Duration,
    pub(crate) total_max: Duration,
    /// Whether the rest may be read when a service doesn't: HTTP/1.1 only.
    pub(crate) drains: bool,
    /// Whether the client waits for `100 Continue`: then nothing is under way that must be read.
    pub(crate) expects_continue: bool,
}

/// A request body within its bounds.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    bounds: BodyBounds,
    received_bytes: u64,
    began: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    failure: Option<BodyError>,
    ended: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, bounds: BodyBounds) -> Self {
        let ended = incoming.is_end_stream();
        Self {
            incoming: Some(incoming),
            bounds,
            received_bytes: 0,
            began: None,
            timer: None,
            failure: None,
            ended,
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.failure = Some(error.clone());
        Poll::Ready(Some(Err(error)))
    }

    fn too_long(&self) -> BodyError {
        BodyError::TooLong {
            bytes_max: self.bounds.bytes_max,
        }
    }

    /// Waits for the earlier of the two time limits; gives the one that has passed.
    // Socket time-outs run on the runtime's own clock: the injected one may be moved by hours.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let now = Instant::now();
        let end = *self.began.get_or_insert(now) + self.bounds.total_max;
        let until = end.min(now + self.bounds.idle_max);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(timer.as_mut().poll(context));
        let passed = if timer.deadline() >= end {
            self.bounds.total_max
        } else {
            self.bounds.idle_max
        };
        Poll::Ready(BodyError::TimedOut {
            seconds_max: passed.as_secs(),
        })
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(failure) = &this.failure {
            return Poll::Ready(Some(Err(failure.clone())));
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        if this.began.is_none() {
            // Known too long before the first byte: refused without a `100 Continue`.
            if incoming.size_hint().lower() > this.bounds.bytes_max {
                let error = this.too_long();
                return this.fail(error);
            }
            this.began = Some(Instant::now());
        }
        match Pin::new(incoming).poll_frame(context) {
            Poll::Pending => match this.poll_time(context) {
                Poll::Ready(error) => this.fail(error),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // Nothing more can come, so there is nothing to drain.
                this.incoming = None;
                this.fail(BodyError::Truncated(error.to_string()))
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.received_bytes = this.received_bytes.saturating_add(length);
                if this.received_bytes > this.bounds.bytes_max {
                    let error = this.too_long();
                    return this.fail(error);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take() else {
            return;
        };
        let untouched = self.began.is_none();
        if self.ended
            || incoming.is_end_stream()
            || !self.bounds.drains
            || (untouched && self.bounds.expects_continue)
        {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let drain = async {
                let mut left = DRAIN_BYTES_MAX;
                while let Some(Ok(frame)) = incoming.frame().await {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(rest) = left.checked_sub(length) else {
                        return;
                    };
                    left = rest;
                }
            };
            // Past the limit the connection is closed, which is what would have happened at once.
            let _ = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), drain).await;
        });
    }
}

/// An answer's body. What `finish` holds is told how it ended.
pub(crate) struct ResponseBody {
    body: Body,
    finish: Finish,
}

impl ResponseBody {
    pub(crate) fn new(body: Body, finish: Finish) -> Self {
        Self { body, finish }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        match &poll {
            Poll::Ready(Some(Ok(frame))) => {
                self.finish
                    .sent(frame.data_ref().map_or(0, |data| data.len() as u64));
            }
            Poll::Ready(Some(Err(error))) => self.finish.failed(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
