//! Versions of instances and of their processes, and what a request demands of them.
//!
//! Both begin at 1. The instance's grows with each change that its readers must know of (not with reading it,
//! locks, scans or data values), the process' with each change of the process.

use http::HeaderMap;

use crate::model::Instance;

/// The answer's header with an instance's version.
pub const INSTANCE_VERSION: &str = "instance-version";
/// The answer's header with the version of an instance's process.
pub const PROCESS_STATE_VERSION: &str = "process-state-version";
const IF_INSTANCE_VERSION: &str = "if-instance-version-match";
const IF_PROCESS_STATE_VERSION: &str = "if-process-state-version-match";

/// An instance's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The instance's.
    pub instance: i64,
    /// Its process'.
    pub process_state: i64,
}

impl Versions {
    /// Those of an instance; one that was written before there were versions is at its first.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        Self {
            instance: instance.instance_version.unwrap_or(1),
            process_state: instance.process_state_version.unwrap_or(1),
        }
    }
}

/// Which version differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// The instance's.
    Instance,
    /// The process'.
    ProcessState,
}

/// What a request demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Instance-Version-Match`
    pub instance: Option<i64>,
    /// `If-Process-State-Version-Match`
    pub process_state: Option<i64>,
}

impl Preconditions {
    /// Reads the headers.
    ///
    /// # Errors
    /// What is wrong with them, for the client.
    pub fn parse(headers: &HeaderMap) -> Result<Self, String> {
        let version = |name: &str| {
            let Some(value) = headers.get(name) else {
                return Ok(None);
            };
            let text = value.to_str().unwrap_or("?").trim();
            if text.is_empty() {
                return Ok(None);
            }
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let version = text.parse::<i32>().ok().filter(|version| digits && *version > 0);
            version
                .map(|version| Some(i64::from(version)))
                .ok_or_else(|| format!("{name} must be a whole number from 1 to {}.", i32::MAX))
        };
        Ok(Self {
            instance: version(IF_INSTANCE_VERSION)?,
            process_state: version(IF_PROCESS_STATE_VERSION)?,
        })
    }

    /// What differs of `current`, if anything does.
    #[must_use]
    pub fn differs(&self, current: Versions) -> Option<Differs> {
        let is_other = |wanted: Option<i64>, is: i64| wanted.is_some_and(|wanted| wanted != is);
        if is_other(self.instance, current.instance) {
            Some(Differs::Instance)
        } else if is_other(self.process_state, current.process_state) {
            Some(Differs::ProcessState)
        } else {
            None
        }
    }
}

/// Whether the process is going on by itself, so that nobody but who drives it may write.
#[must_use]
pub fn is_processing(instance: &Instance) -> bool {
    status(instance).eq_ignore_ascii_case(PROCESSING)
}

const PROCESSING: &str = "processing";
const IDLE: &str = "idle";

/// The process' status, `idle` if none is said.
#[must_use]
pub fn status(instance: &Instance) -> &str {
    let process = instance.process.as_ref();
    process
        .and_then(|process| process.status.as_deref())
        .unwrap_or(IDLE)
}

/// Whether a process' status is one that there is.
#[must_use]
pub fn is_status(text: &str) -> bool {
    [PROCESSING, IDLE]
        .iter()
        .any(|known| text.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &'static str, value: &str) -> Result<Preconditions, String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Preconditions::parse(&headers)
    }

    #[test]
    fn only_whole_numbers_above_nothing() {
        assert_eq!(parse(IF_INSTANCE_VERSION, "7").unwrap().instance, Some(7));
        assert_eq!(
            parse(IF_PROCESS_STATE_VERSION, "1").unwrap().process_state,
            Some(1)
        );
        assert_eq!(parse(IF_INSTANCE_VERSION, " ").unwrap(), Preconditions::default());
        for bad in ["0", "-1", "+1", "1.0", "x", "2147483648", "\"1\"", "*"] {
            assert!(parse(IF_INSTANCE_VERSION, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_instance_is_compared_first() {
        let current = Versions {
            instance: 3,
            process_state: 2,
        };
        let wants = |instance, process_state| {
            Preconditions {
                instance,
                process_state,
            }
            .differs(current)
        };
        assert_eq!(wants(None, None), None);
        assert_eq!(wants(Some(3), Some(2)), None);
        assert_eq!(wants(Some(2), Some(1)), Some(Differs::Instance));
        assert_eq!(wants(Some(3), Some(1)), Some(Differs::ProcessState));
        assert_eq!(
            Versions::of(&Instance::default()),
            Versions {
                instance: 1,
                process_state: 1
            }
        );
    }
}
