//! When an instance that was read counts as unread again.

use crate::model::{DataElement, Instance, ReadStatus};

/// What the owner, or a deletion, did to the instance's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The owner added an element.
    OwnerAdded,
    /// The owner replaced an element's content, or anyone deleted an element.
    ReplacedOrDeleted,
}

/// Changes `instance`'s read status; `elements` are those that are left, as they will be.
pub fn apply(instance: &mut Instance, change: Change, elements: &[DataElement]) {
    if instance.status.read_status != ReadStatus::Read {
        return;
    }
    match change {
        Change::OwnerAdded => instance.status.read_status = ReadStatus::UpdatedSinceLastReview,
        Change::ReplacedOrDeleted if elements.iter().all(|element| !element.is_read) => {
            instance.status.read_status = ReadStatus::Unread;
        }
        Change::ReplacedOrDeleted => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_becomes_unread() {
        let element = |is_read| DataElement {
            is_read,
            ..DataElement::default()
        };
        let (read, unread) = (vec![element(true), element(false)], vec![element(false)]);
        for (before, change, elements, after) in [
            (
                ReadStatus::Read,
                Change::OwnerAdded,
                &read,
                ReadStatus::UpdatedSinceLastReview,
            ),
            (ReadStatus::Unread, Change::OwnerAdded, &read, ReadStatus::Unread),
            (
                ReadStatus::Read,
                Change::ReplacedOrDeleted,
                &read,
                ReadStatus::Read,
            ),
            (
                ReadStatus::Read,
                Change::ReplacedOrDeleted,
                &unread,
                ReadStatus::Unread,
            ),
            (
                ReadStatus::Read,
                Change::ReplacedOrDeleted,
                &Vec::new(),
                ReadStatus::Unread,
            ),
            (
                ReadStatus::UpdatedSinceLastReview,
                Change::ReplacedOrDeleted,
                &unread,
                ReadStatus::UpdatedSinceLastReview,
            ),
        ] {
            let mut instance = Instance::default();
            instance.status.read_status = before;
            apply(&mut instance, change, elements);
            assert_eq!(instance.status.read_status, after, "{before:?} {change:?}");
        }
    }
}
