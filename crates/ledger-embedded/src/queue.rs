//! What waits for the committer: a queue with an end.
//!
//! Invariant: at most [`ledger::limits::COMMIT_QUEUE_MAX`] requests wait or are under way; the
//! next caller waits for a place, so memory is bounded by what callers hold anyway.
//!
//! The committer says how many requests are worth waking it for: a channel would wake it for
//! each, and with as many commits as a group has, that costs more than their queue.

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
    enough: Condvar,
}

struct State {
    requests: VecDeque<Request>,
    /// How many requests the committer sleeps for; 0 while it is awake.
    wanted: usize,
    /// One of the two ends is gone.
    closed: bool,
}

impl Shared {
    fn close(&self) {
        self.state.lock().closed = true;
        self.enough.notify_one();
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
            wanted: 0,
            closed: false,
        }),
        enough: Condvar::new(),
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
        let (answer, _transaction) = answer.await.map_err(|_| LedgerError::Closed)?;
        answer
    }

    /// Hands a request over.
    pub(crate) fn send(&self, request: Request) -> Result<(), LedgerError> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(LedgerError::Closed);
        }
        // Only commits join a group; whatever else comes is not to wait for one.
        let urgent = !matches!(request, Request::Commit(_));
        state.requests.push_back(request);
        let wakes = state.wanted > 0 && (urgent || state.requests.len() >= state.wanted);
        if wakes {
            state.wanted = 0;
        }
        drop(state);
        if wakes {
            self.shared.enough.notify_one();
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
        self.sleep(1, wait);
        let mut state = self.0.state.lock();
        match state.requests.pop_front() {
            None if state.closed => Err(LedgerError::Closed),
            request => Ok(request),
        }
    }

    /// A request that is already there.
    pub(crate) fn ready(&self) -> Option<Request> {
        self.0.state.lock().requests.pop_front()
    }

    /// Sleeps until `wanted` requests are there, one of them is no commit, or `wait` is over.
    pub(crate) fn sleep(&self, wanted: usize, wait: Duration) {
        let mut state = self.0.state.lock();
        let short = |state: &State| {
            !state.closed
                && state.requests.len() < wanted
                && state
                    .requests
                    .iter()
                    .all(|request| matches!(request, Request::Commit(_)))
        };
        while short(&state) {
            state.wanted = wanted;
            if self.0.enough.wait_for(&mut state, wait).timed_out() {
                break;
            }
        }
        state.wanted = 0;
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

    fn commits(
        queue: &Arc<Queue>,
        count: usize,
    ) -> Vec<tokio::task::JoinHandle<Result<Committed, LedgerError>>> {
        (0..count)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.commit(Transaction::new()).await })
            })
            .collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_group_wakes_the_committer_and_so_does_another_request() {
        let (queue, inbox) = queue();
        let queue = Arc::new(queue);
        let callers = commits(&queue, 3);
        inbox.sleep(3, LONG);
        inbox.sleep(4, SHORT);
        // Fewer than wanted, but one that isn't to wait.
        let sleeper = std::thread::spawn(move || {
            inbox.sleep(100, LONG);
            inbox
        });
        queue.send(trim().0).unwrap();
        let inbox = sleeper.join().unwrap();
        for _ in 0..3 {
            assert!(matches!(inbox.ready(), Some(Request::Commit(_))));
        }
        assert!(matches!(inbox.next(SHORT), Ok(Some(Request::Trim { .. }))));
        assert!(matches!(inbox.next(SHORT), Ok(None)));
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Err(LedgerError::Closed), "never answered");
        }
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
