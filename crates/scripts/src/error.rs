//! How a run fails.

/// A failed run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The text is no script.
    #[error("{0}")]
    Syntax(String),
    /// The script threw, or gave the engine what it can't do.
    #[error("{message}\r\nStack trace: {message}\n{stack}")]
    Thrown {
        /// The number of the thrown error, if it had one.
        number: Option<u32>,
        /// The error in words.
        message: String,
        /// Where it was thrown; may be empty.
        stack: String,
    },
    /// The script was stopped: it took too long, or nobody waits for it any more.
    #[error("The script was stopped.")]
    Stopped,
    /// What the script hands back is too large.
    #[error("The script's result has {bytes} bytes, at most {bytes_max} are allowed.")]
    ResultTooLarge {
        /// Its size.
        bytes: usize,
        /// Allowed.
        bytes_max: usize,
    },
}

impl ScriptError {
    /// Whether the engine had no memory left, as far as its words tell.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Thrown { message, .. } if message.contains("out of memory"))
    }

    pub(crate) fn thrown(message: impl Into<String>) -> Self {
        Self::Thrown {
            number: None,
            message: message.into(),
            stack: String::new(),
        }
    }
}

/// What a host answers that doesn't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostError {
    /// The script is told: a number in HTTP's manner, and a text.
    Refused {
        /// The status.
        number: u16,
        /// Why.
        body: String,
    },
    /// The run is over.
    Stop,
}
