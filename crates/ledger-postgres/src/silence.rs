//! A database that hangs without breaking a connection: its processes are stopped, or something on
//! the way swallows bytes. Nothing of TCP notices that, and a statement that waits for a lock looks
//! the same. So one connection asks for something that waits for no lock, again and again; when it
//! gets no answer, all connections are given up, and none is tried until it does.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::limits::ANSWER_SECONDS_MAX;

/// Whether the database is silent, and since which answer that failed to come.
#[derive(Debug)]
pub(crate) struct Silence(watch::Sender<Option<String>>);

/// One connection's view of it.
#[derive(Debug)]
pub(crate) struct Listening(watch::Receiver<Option<String>>);

impl Silence {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// No answer came: every connection that listens ends.
    pub(crate) fn begin(&self, cause: &str) {
        self.0.send_replace(Some(cause.to_owned()));
    }

    /// An answer came.
    pub(crate) fn end(&self) {
        self.0.send_if_modified(|cause| cause.take().is_some());
    }

    /// For a connection that is made now. What has begun before isn't news to it.
    pub(crate) fn listen(&self) -> Listening {
        Listening(self.0.subscribe())
    }
}

impl Listening {
    /// Waits until the database is silent, or is so already; the cause.
    pub(crate) async fn is_silent(&mut self) -> String {
        let cause = match self.0.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone(),
            Err(_) => None,
        };
        match cause {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }

    /// Waits until silence is noticed anew.
    pub(crate) async fn falls_silent(&mut self) {
        loop {
            // Without the other side nobody asks, and nobody will notice.
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if self.0.borrow_and_update().is_some() {
                return;
            }
        }
    }
}

/// The answer, if it comes within [`ANSWER_SECONDS_MAX`]. Second by second: a process that was
/// stopped itself must not take its own absence for the database's.
pub(crate) async fn answer<T>(asked: impl Future<Output = T>) -> Option<T> {
    let mut asked = std::pin::pin!(asked);
    for _ in 0..ANSWER_SECONDS_MAX {
        if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), &mut asked).await {
            return Some(answer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_hears_of_each_silence_once() {
        let silence = Silence::new();
        let mut early = silence.listen();
        let is_told = async |listening: &mut Listening| {
            let told = tokio::time::timeout(Duration::from_millis(20), listening.falls_silent());
            told.await.is_ok()
        };
        assert!(!is_told(&mut early).await);
        silence.begin("no answer");
        assert!(is_told(&mut early).await);
        // The one that asks is connected meanwhile, and goes on when the answer has come.
        let mut late = silence.listen();
        assert!(!is_told(&mut late).await);
        assert_eq!(late.is_silent().await, "no answer");
        silence.end();
        assert!(!is_told(&mut late).await);
        silence.begin("again");
        assert!(is_told(&mut late).await && is_told(&mut early).await);
    }
}
