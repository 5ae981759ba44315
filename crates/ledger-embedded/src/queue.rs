//! What waits for the committer: a queue with an end.
//!
//! Invariant: at most [`ledger::limits::COMMIT_QUEUE_MAX`] requests wait or are under way; the
//! next caller waits for a place, so memory is bounded by what callers hold anyway.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ledger::limits::COMMIT_QUEUE_MAX;
use ledger::{Committed, LedgerError, Sequence, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A commit that waits. Its place is given back when it is dropped.
pub(crate) struct Waiting {
    pub(crate) transaction: Transaction,
    pub(crate) reply: oneshot::Sender<Result<Committed, LedgerError>>,
    pub(crate) _place: OwnedSemaphorePermit,
}

/// What the committer is asked to do.
pub(crate) enum Request {
    Commit(Waiting),
    Trim {
        through: Sequence,
        reply: oneshot::Sender<Result<Sequence, LedgerError>>,
    },
    Close {
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
}

/// The callers' end.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    sender: Sender<Request>,
}

/// The committer's end.
pub(crate) struct Inbox(Receiver<Request>);

/// Makes both ends.
pub(crate) fn queue() -> (Queue, Inbox) {
    let (sender, receiver) = channel();
    (
        Queue {
            places: Arc::new(Semaphore::new(COMMIT_QUEUE_MAX)),
            sender,
        },
        Inbox(receiver),
    )
}

impl Queue {
    /// Waits for a place, then for the commit.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| LedgerError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit(Waiting {
            transaction,
            reply,
            _place: place,
        }))?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    /// Hands a request over.
    pub(crate) fn send(&self, request: Request) -> Result<(), LedgerError> {
        self.sender.send(request).map_err(|_| LedgerError::Closed)
    }
}

impl Inbox {
    /// The next request within `wait`; `Ok(None)` if none came, `Err` when no caller is left.
    pub(crate) fn next(&self, wait: Duration) -> Result<Option<Request>, LedgerError> {
        match self.0.recv_timeout(wait) {
            Ok(request) => Ok(Some(request)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(LedgerError::Closed),
        }
    }

    /// A request that is already there.
    pub(crate) fn ready(&self) -> Option<Request> {
        self.0.try_recv().ok()
    }
}
