//! What waits for the committer: a queue with an end.
//!
//! Invariant: at most [`ledger::limits::COMMIT_QUEUE_MAX`] requests wait or are under way; the
//! next caller waits for a place, so memory is bounded by what callers hold anyway.
//!
//! The committer is woken only if it sleeps: under load it takes what has come meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ledger::limits::COMMIT_QUEUE_MAX;
use ledger::{Committed, LedgerError, Sequence, Transaction};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A commit that waits. Its place is given back when it is dropped.
pub(crate) struct Waiting {
    pub(crate) transaction: Transaction,
    /// Its [`Transaction::writes_hash`]: computed by the caller, who is one of many.
    pub(crate) writes_hash: [u8; 32],
    pub(crate) reply: oneshot::Sender<(Result<Committed, LedgerError>, Transaction)>,
    pub(crate) _place: OwnedSemaphorePermit,
}

impl Waiting {
    /// Answers. The transaction goes back with the answer: its memory is the caller's to free,
    /// who is one of many, while all of them wait for the committer.
    pub(crate) fn answer(self, answer: Result<Committed, LedgerError>) {
        let _ = self.reply.send((answer, self.transaction));
    }
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

/// What both ends hold.
struct Shared {
    state: Mutex<State>,
    /// The committer sleeps here.
    work: Condvar,
}

struct State {
    requests: VecDeque<Request>,
    /// The committer sleeps, and nobody has woken it yet.
    asleep: bool,
    /// One of the two ends is gone.
    closed: bool,
}

impl Shared {
    fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }
}

/// The callers' end.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// The committer's end.
pub(crate) struct Inbox(Arc<Shared>);

/// Makes both ends.
pub(crate) fn queue() -> (Queue, Inbox) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            requests: VecDeque::new(),
            asleep: false,
            closed: false,
        }),
        work: Condvar::new(),
    });
    let queue = Queue {
        places: Arc::new(Semaphore::new(COMMIT_QUEUE_MAX)),
        shared: shared.clone(),
    };
    (queue, Inbox(shared))
}

impl Queue {
    /// Waits for a place, then for the commit.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let writes_hash = transaction.writes_hash();
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| LedgerError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit(Waiting {
            transaction,
            writes_hash,
            reply,
            _place: place,
        }))?;
        let (answer, _transaction) = answer.await.map_err(|_| LedgerError::Closed)?;
        answer
    }

    /// Hands a request over.
    pub(crate) fn send(&self, request: Request) -> Result<(), LedgerError> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(LedgerError::Closed);
        }
        state.requests.push_back(request);
        let wakes = std::mem::take(&mut state.asleep);
        drop(state);
        if wakes {
            self.shared.work.notify_one();
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Drop for Inbox {
    /// Whoever still waits learns that nobody will answer.
    fn drop(&mut self) {
        self.0.close();
        let unanswered = std::mem::take(&mut self.0.state.lock().requests);
        drop(unanswered);
    }
}

impl Inbox {
    /// The next request within `wait`; `Ok(None)` if none came, `Err` when no caller is left.
    pub(crate) fn next(&self, wait: Duration) -> Result<Option<Request>, LedgerError> {
        let mut state = self.0.state.lock();
        while !state.closed && state.requests.is_empty() {
            state.asleep = true;
            if self.0.work.wait_for(&mut state, wait).timed_out() {
                break;
            }
        }
        state.asleep = false;
        match state.requests.pop_front() {
            None if state.closed => Err(LedgerError::Closed),
            request => Ok(request),
        }
    }

    /// A request that is already there.
    pub(crate) fn ready(&self) -> Option<Request> {
        self.0.state.lock().requests.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    fn trim() -> (Request, oneshot::Receiver<Result<Sequence, LedgerError>>) {
        let (reply, answer) = oneshot::channel();
        (Request::Trim { through: 1, reply }, answer)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_are_served_in_their_order_and_wake_the_committer() {
        let (queue, inbox) = queue();
        let queue = Arc::new(queue);
        assert!(matches!(inbox.next(SHORT), Ok(None)));
        let sleeper = std::thread::spawn(move || {
            let first = inbox.next(LONG);
            (first, inbox)
        });
        let caller = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.commit(Transaction::new()).await })
        };
        let (first, inbox) = tokio::task::spawn_blocking(|| sleeper.join().unwrap())
            .await
            .unwrap();
        let Ok(Some(Request::Commit(first))) = first else {
            panic!("the commit came first");
        };
        assert!(inbox.ready().is_none());
        let _answers = [trim(), trim()].map(|(request, answer)| {
            queue.send(request).unwrap();
            answer
        });
        for _ in 0..2 {
            assert!(matches!(inbox.ready(), Some(Request::Trim { .. })));
        }
        assert!(inbox.ready().is_none());
        drop(first);
        assert_eq!(caller.await.unwrap(), Err(LedgerError::Closed), "never answered");
    }

    #[tokio::test]
    async fn either_end_learns_that_the_other_is_gone() {
        let (sender, inbox) = queue();
        sender.send(trim().0).unwrap();
        drop(sender);
        assert!(
            matches!(inbox.next(LONG), Ok(Some(_))),
            "what was handed over is served"
        );
        assert!(matches!(inbox.next(LONG), Err(LedgerError::Closed)));
        let (sender, inbox) = queue();
        let (request, answer) = trim();
        sender.send(request).unwrap();
        drop(inbox);
        assert!(answer.await.is_err());
        assert_eq!(sender.send(trim().0), Err(LedgerError::Closed));
    }
}
