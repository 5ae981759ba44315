//! How many uploads may be opened before the open ones are counted again. Counting reads past the rows of all
//! that ended lately, so a push must not do it each time.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::limits::{UPLOAD_ROOM_SECONDS_MAX, UPLOAD_ROOMS_MAX};
use crate::store::links::later;

/// What was counted last, for each registry and caller.
///
/// A count gives half of what was left, so that other nodes, which count for themselves, have room as well. The
/// limits are there to bound what lies about, and may be exceeded by what is opened while one counts.
#[derive(Default)]
pub(crate) struct UploadRooms(Mutex<HashMap<(String, String), Room>>);

struct Room {
    left: usize,
    until: Timestamp,
}

impl UploadRooms {
    /// Takes one place; `false` if there is none, or none is known of.
    pub(crate) fn take(&self, registry: &str, caller: &str, now: Timestamp) -> bool {
        let mut rooms = self.0.lock();
        let Some(room) = rooms.get_mut(&(registry.to_owned(), caller.to_owned())) else {
            return false;
        };
        let is_there = room.left > 0 && now < room.until;
        if is_there {
            room.left -= 1;
        }
        is_there
    }

    /// Notes that `left` more were allowed now.
    pub(crate) fn counted(&self, registry: &str, caller: &str, left: usize, now: Timestamp) {
        let mut rooms = self.0.lock();
        if rooms.len() >= UPLOAD_ROOMS_MAX {
            rooms.retain(|_, room| now < room.until);
        }
        if rooms.len() < UPLOAD_ROOMS_MAX {
            let room = Room {
                left: left / 2,
                until: later(now, UPLOAD_ROOM_SECONDS_MAX),
            };
            rooms.insert((registry.to_owned(), caller.to_owned()), room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_was_left_is_given_until_it_is_old() {
        let rooms = UploadRooms::default();
        let now = Timestamp::UNIX_EPOCH;
        assert!(!rooms.take("org", "ci", now));
        rooms.counted("org", "ci", 5, now);
        assert!(rooms.take("org", "ci", now) && rooms.take("org", "ci", now));
        assert!(!rooms.take("org", "ci", now), "the third of two");
        assert!(!rooms.take("org", "other", now) && !rooms.take("other", "ci", now));
        rooms.counted("org", "ci", 100, now);
        assert!(!rooms.take("org", "ci", later(now, UPLOAD_ROOM_SECONDS_MAX)));
    }

    #[test]
    fn who_is_remembered_is_bounded() {
        let rooms = UploadRooms::default();
        let now = Timestamp::UNIX_EPOCH;
        for n in 0..UPLOAD_ROOMS_MAX + 5 {
            rooms.counted("org", &n.to_string(), 10, now);
        }
        assert_eq!(rooms.0.lock().len(), UPLOAD_ROOMS_MAX);
        let old = later(now, UPLOAD_ROOM_SECONDS_MAX);
        rooms.counted("org", "ci", 10, old);
        assert_eq!(rooms.0.lock().len(), 1);
    }
}
