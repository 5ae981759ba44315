//! What a writer may do to an instance, and what an instance is behind it.

use ledger::random::{Random as _, SeededRandom};
use uuid::Uuid;

use super::promise::Guarantee;
use super::state::{Element, Stamp, State};
use crate::book::{below, bytes, hash};

/// Elements of an instance; beyond that, they are replaced and removed.
const ELEMENTS_MAX: usize = 6;
const LARGE_BYTES: usize = 100 * 1024;
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// What is done.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Add {
        file: String,
        content: Vec<u8>,
        by_owner: bool,
        is_scanned: bool,
    },
    Replace {
        file: String,
        content: Vec<u8>,
        by_owner: bool,
    },
    Remove {
        file: String,
    },
    Text {
        key: String,
        value: String,
    },
    Value {
        key: String,
        value: String,
    },
    Read,
    Substatus {
        label: String,
    },
    /// The process goes on.
    Next,
    /// An event of the client's own.
    Note {
        id: Uuid,
    },
    Mutate(Mutation),
    Delete,
    Undelete,
    Complete,
    Lock,
    Unlock,
}

/// Two files, a text and a value at once.
#[derive(Debug, Clone)]
pub(super) struct Mutation {
    pub(super) key: Uuid,
    /// The version that it demands.
    pub(super) version: u64,
    pub(super) value: String,
    pub(super) files: [(String, Vec<u8>); 2],
}

/// What a value is called that a mutation writes.
pub(super) const MUTATED: &str = "mutated";

fn content(random: &SeededRandom) -> Vec<u8> {
    let large = below(random, 5) == 0;
    let length = if large {
        LARGE_BYTES + below(random, 500)
    } else {
        1 + below(random, SMALL_BYTES_MAX)
    };
    bytes(random, length)
}

impl Operation {
    /// One by chance that makes sense for an instance in this state. `name` is one that nobody has used.
    pub(super) fn choose(random: &SeededRandom, state: &State, name: &str, holds_lock: bool) -> Self {
        let file = |random: &SeededRandom| {
            let names: Vec<&String> = state.elements.keys().collect();
            names.get(below(random, names.len())).map(|name| (*name).clone())
        };
        let by_owner = below(random, 4) == 0;
        let add = || Self::Add {
            file: format!("{name}.bin"),
            content: content(random),
            by_owner,
            is_scanned: below(random, 2) == 0,
        };
        match below(random, 20) {
            0..4 => match file(random) {
                Some(file) => Self::Replace {
                    file,
                    content: content(random),
                    by_owner,
                },
                None => add(),
            },
            4..6 => match file(random) {
                Some(file) => Self::Remove { file },
                None => add(),
            },
            6..8 if state.elements.len() + 2 <= ELEMENTS_MAX => Self::Mutate(Mutation {
                key: random.uuid(),
                version: state.version,
                value: name.to_owned(),
                files: [
                    (format!("{name}-a.bin"), content(random)),
                    (format!("{name}-b.bin"), content(random)),
                ],
            }),
            8 => Self::Text {
                key: format!("t{}", below(random, 3)),
                value: name.to_owned(),
            },
            9 => Self::Value {
                key: format!("v{}", below(random, 3)),
                value: name.to_owned(),
            },
            10 => Self::Read,
            11 => Self::Substatus {
                label: name.to_owned(),
            },
            12..14 => Self::Next,
            14 => Self::Note { id: random.uuid() },
            15 if state.is_deleted => Self::Undelete,
            15 => Self::Delete,
            16 if !state.is_confirmed => Self::Complete,
            17..19 if holds_lock => Self::Unlock,
            17..19 if !state.is_locked => Self::Lock,
            _ if state.elements.len() < ELEMENTS_MAX => add(),
            _ => Self::Next,
        }
    }

    /// The promise that it tries.
    pub(super) fn guarantee(&self) -> Guarantee {
        match self {
            Self::Add { .. } | Self::Replace { .. } => Guarantee::Element,
            Self::Remove { .. } => Guarantee::Removal,
            Self::Text { .. } | Self::Value { .. } => Guarantee::Fields,
            Self::Read => Guarantee::ReadStatus,
            Self::Next => Guarantee::Process,
            Self::Note { .. } => Guarantee::Events,
            Self::Mutate(_) => Guarantee::Mutation,
            Self::Substatus { .. } | Self::Delete | Self::Undelete | Self::Complete => Guarantee::State,
            Self::Lock | Self::Unlock => Guarantee::Lock,
        }
    }

    /// Whether it makes an event that the portal is told of.
    pub(super) fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::Text { .. } | Self::Value { .. } | Self::Read | Self::Lock | Self::Unlock
        )
    }

    /// The instance behind it.
    pub(super) fn after(&self, before: &State) -> State {
        let mut state = before.clone();
        let stamped = |state: &mut State| {
            state.version += 1;
            state.last_changed = Stamp::After(before.last_changed.known());
        };
        match self {
            Self::Add {
                file,
                content,
                by_owner,
                ..
            } => {
                stamped(&mut state);
                put(&mut state, file, content, *by_owner);
                state.tell("Created", Some(file));
                if *by_owner && state.read_status == "Read" {
                    state.read_status = "UpdatedSinceLastReview".to_owned();
                }
            }
            Self::Replace {
                file,
                content,
                by_owner,
            } => {
                stamped(&mut state);
                put(&mut state, file, content, *by_owner);
                state.tell("Saved", Some(file));
                if *by_owner {
                    mind_what_is_left(&mut state);
                }
            }
            Self::Remove { file } => {
                stamped(&mut state);
                state.elements.remove(file);
                state.tell("Deleted", Some(file));
                mind_what_is_left(&mut state);
            }
            Self::Text { key, value } => {
                state.version += 1;
                state.texts.insert(key.clone(), value.clone());
            }
            Self::Value { key, value } => {
                state.values.insert(key.clone(), value.clone());
            }
            Self::Read => "Read".clone_into(&mut state.read_status),
            Self::Substatus { label } => {
                stamped(&mut state);
                state.substatus = Some(label.clone());
                state.tell("SubstatusUpdated", None);
            }
            Self::Next => {
                stamped(&mut state);
                state.process_version += 1;
                state.flow += 1;
                state.tell("process_EndTask", None);
                state.tell("process_StartTask", None);
            }
            Self::Note { .. } => state.notes += 1,
            Self::Mutate(mutation) => {
                stamped(&mut state);
                for (file, content) in &mutation.files {
                    put(&mut state, file, content, false);
                    state.tell("Created", Some(file));
                }
                state.texts.insert(MUTATED.to_owned(), mutation.value.clone());
                state.values.insert(MUTATED.to_owned(), mutation.value.clone());
            }
            Self::Delete => {
                stamped(&mut state);
                state.is_deleted = true;
                state.tell("Deleted", None);
            }
            Self::Undelete => {
                stamped(&mut state);
                state.is_deleted = false;
                state.tell("Undeleted", None);
            }
            Self::Complete => {
                stamped(&mut state);
                state.is_confirmed = true;
                state.tell("ConfirmedComplete", None);
            }
            Self::Lock => state.is_locked = true,
            Self::Unlock => state.is_locked = false,
        }
        state
    }
}

fn put(state: &mut State, file: &str, content: &[u8], by_owner: bool) {
    let element = Element {
        content: hash(content),
        is_read: !by_owner,
    };
    state.elements.insert(file.to_owned(), element);
}

/// What was read is unread again where nothing that is left was.
fn mind_what_is_left(state: &mut State) {
    let any_read = state.elements.values().any(|element| element.is_read);
    if state.read_status == "Read" && !any_read {
        "Unread".clone_into(&mut state.read_status);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_what_changes_an_instance_stamps_it() {
        let at = Stamp::Exactly(jiff::Timestamp::from_second(1).unwrap());
        let state = State::created(at, BTreeMap::new());
        let file = "f".to_owned();
        let content = vec![1];
        let added = Operation::Add {
            file: file.clone(),
            content: content.clone(),
            by_owner: true,
            is_scanned: false,
        };
        let read = Operation::Read.after(&added.after(&state));
        assert_eq!((read.version, read.read_status.as_str()), (2, "Read"));
        assert_eq!(read.last_changed, Stamp::After(at.known()));
        let replaced = Operation::Replace {
            file: file.clone(),
            content,
            by_owner: true,
        };
        assert_eq!(replaced.after(&read).read_status, "Unread");
        let value = Operation::Value {
            key: "k".to_owned(),
            value: "v".to_owned(),
        };
        let valued = value.after(&state);
        assert_eq!((valued.version, valued.last_changed), (1, at));
        let removed = Operation::Remove { file }.after(&read);
        assert!(removed.elements.is_empty() && removed.read_status == "Unread");
    }
}
