//! A blob's content as a body that says whose it is when it can't be read: the client only sees that its answer
//! breaks off.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use encryption::DataKey;
use http_body::{Frame, SizeHint};
use http_semantics::{Body, BodyError};
use ledger::Snapshot;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::store::containers::Container;
use crate::store::records::BlobRecord;

struct Watched {
    body: Body,
    account: String,
    container: String,
    blob: String,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Err(error))) = &polled {
            say(&self.account, &self.container, &self.blob, error);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn say(account: &str, container: &str, blob: &str, error: &dyn std::fmt::Display) {
    tracing::error!(account, container, blob, %error, "a blob's content can't be read");
}

impl Blobs {
    /// `range` of a blob's content, with the customer's key if it is under one. The first piece is fetched now, so that content that is missing, damaged or out
    /// of reach has an answer of its own instead of a broken connection.
    ///
    /// # Errors
    /// As ledger and content store.
    pub(crate) async fn content_body(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        record: &BlobRecord,
        range: Range<u64>,
        customer: Option<Arc<DataKey>>,
    ) -> Result<Body, BlobsError> {
        let (account, container_name) = (&container.account, &container.record.name);
        let opened = self
            .open_content(snapshot, container, record, range, customer)
            .await;
        let body = opened.inspect_err(|error| {
            if error.code == ErrorCode::InternalError {
                say(account, container_name, &record.name, error);
            }
        })?;
        if http_body::Body::size_hint(&body).exact().is_some() {
            // It is in memory.
            return Ok(body);
        }
        Ok(Body::wrap(Watched {
            body,
            account: account.clone(),
            container: container_name.clone(),
            blob: record.name.clone(),
        }))
    }
}
