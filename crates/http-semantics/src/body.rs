//! Request and response bodies: streams of bytes that are never buffered without a bound.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

/// Why a body could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client sent less than it announced, or its connection broke.
    #[error("the body ended early: {0}")]
    Truncated(String),
    /// More bytes than the limit.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: u64,
    },
    /// The body took longer than the limit.
    #[error("the body took longer than {seconds_max} seconds")]
    TimedOut {
        /// The limit.
        seconds_max: u64,
    },
    /// What produces a response body failed in its middle; the connection is cut, so the client
    /// can't take the part for the whole.
    #[error("the body's source failed: {0}")]
    Source(String),
}

/// A body in either direction.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, BodyError>);

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are already in memory; their length is announced.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(
            Full::new(bytes.into())
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
    }

    /// A stream of pieces. Set `Content-Length` yourself if it is known.
    pub fn stream<S>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        use futures::StreamExt as _;
        Self(StreamBody::new(stream.map(|piece| piece.map(Frame::data))).boxed_unsync())
    }

    /// Any other body.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(body.boxed_unsync())
    }

    /// The next piece; `None` at the end. Trailers are skipped.
    ///
    /// # Errors
    /// Why the body can't be read on.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The whole body, if it has at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLong`] as soon as the limit is passed; why the body can't be read on.
    pub async fn read_bounded(mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let too_long = BodyError::TooLong {
            bytes_max: bytes_max as u64,
        };
        let Some(first) = self.next_piece().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > bytes_max {
            return Err(too_long);
        }
        let Some(second) = self.next_piece().await? else {
            return Ok(first);
        };
        let mut whole = Vec::with_capacity((first.len() + second.len()).min(bytes_max));
        whole.extend_from_slice(&first);
        let mut piece = second;
        loop {
            if whole.len() + piece.len() > bytes_max {
                return Err(too_long);
            }
            whole.extend_from_slice(&piece);
            match self.next_piece().await? {
                Some(next) => piece = next,
                None => return Ok(whole.into()),
            }
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
