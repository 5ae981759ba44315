//! When what was deleted is removed for good.

use crate::limits::RETENTION_DAYS;
use crate::model::{DataElement, Instance, Moment};

/// Whether instance may be removed at `now`: it is hard-deleted, and either never was archived or
/// both the deletion and the owner's confirmation are old enough.
#[must_use]
pub fn instance_is_due(instance: &Instance, now: Moment) -> bool {
    if !instance.status.is_hard_deleted {
        return false;
    }
    if !instance.status.is_archived {
        return true;
    }
    is_old(instance.status.hard_deleted, now) && confirmation_is_old(instance, now)
}

/// Whether an element may be removed at `now`.
#[must_use]
pub fn element_is_due(element: &DataElement, instance: &Instance, now: Moment) -> bool {
    element
        .delete_status
        .as_ref()
        .is_some_and(|status| status.is_hard_deleted && is_old(status.hard_deleted, now))
        && confirmation_is_old(instance, now)
}

fn confirmation_is_old(instance: &Instance, now: Moment) -> bool {
    instance
        .confirmed_by(&instance.org)
        .is_some_and(|confirmation| is_old(confirmation.confirmed_on, now))
}

fn is_old(since: Option<Moment>, now: Moment) -> bool {
    since.is_some_and(|since| since.plus_days(RETENTION_DAYS) <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CompleteConfirmation, DeleteStatus};

    fn day(number: i64) -> Moment {
        Moment::stamped(jiff::Timestamp::from_second(1_700_000_000).unwrap()).plus_days(number)
    }

    fn instance(archived: bool, deleted: Option<i64>, confirmed: Option<(&str, i64)>) -> Instance {
        let mut instance = Instance {
            org: "ttd".to_owned(),
            ..Instance::default()
        };
        instance.status.is_archived = archived;
        instance.status.is_hard_deleted = deleted.is_some();
        instance.status.hard_deleted = deleted.map(day);
        instance.complete_confirmations = confirmed.map(|(org, on)| {
            vec![CompleteConfirmation {
                stakeholder_id: org.to_owned(),
                confirmed_on: Some(day(on)),
            }]
        });
        instance
    }

    #[test]
    fn instances() {
        for (archived, deleted, confirmed, due) in [
            (false, None, None, false),
            (false, Some(8), None, true),
            (true, Some(0), None, false),
            (true, Some(0), Some(("ttd", 0)), true),
            (true, Some(1), Some(("ttd", 1)), true),
            (true, Some(2), Some(("ttd", 0)), false),
            (true, Some(0), Some(("ttd", 2)), false),
            (true, Some(0), Some(("other", 0)), false),
            (true, None, Some(("ttd", 0)), false),
        ] {
            let instance = instance(archived, deleted, confirmed);
            assert_eq!(
                instance_is_due(&instance, day(8)),
                due,
                "{archived} {deleted:?} {confirmed:?}"
            );
        }
    }

    #[test]
    fn elements() {
        let element = |deleted: Option<i64>| DataElement {
            delete_status: deleted.map(|on| DeleteStatus {
                is_hard_deleted: true,
                hard_deleted: Some(day(on)),
            }),
            ..DataElement::default()
        };
        let confirmed = instance(true, None, Some(("ttd", 0)));
        assert!(element_is_due(&element(Some(0)), &confirmed, day(8)));
        assert!(!element_is_due(&element(Some(2)), &confirmed, day(8)));
        assert!(!element_is_due(&element(None), &confirmed, day(8)));
        assert!(!element_is_due(
            &element(Some(0)),
            &instance(true, None, None),
            day(8)
        ));
    }
}
