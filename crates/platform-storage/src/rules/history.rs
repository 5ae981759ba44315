//! A process' history, folded from its events: a task's beginning and end become one line.

use crate::model::event::kind;
use crate::model::{InstanceEvent, ProcessHistoryItem};

/// Folds `events`, which are in order.
#[must_use]
pub fn fold(events: &[InstanceEvent]) -> Vec<ProcessHistoryItem> {
    let mut items: Vec<ProcessHistoryItem> = Vec::new();
    for event in events {
        let Some(kind) = event.event_type.as_deref() else {
            continue;
        };
        let process = event.process_info.as_ref();
        let task = process.and_then(|process| process.current_task.as_ref()?.element_id.clone());
        match kind {
            kind::START_TASK => items.push(ProcessHistoryItem {
                element_id: task,
                started: event.created,
                ..ProcessHistoryItem::default()
            }),
            kind::END_TASK | kind::ABANDON_TASK => {
                // The newest visit of the task that hasn't ended; a task may be entered again.
                let open = items.iter_mut().rev().find(|item| {
                    item.event_type.is_none() && item.ended.is_none() && item.element_id == task
                });
                let performed_by = performed_by(event);
                match open {
                    Some(item) => {
                        item.ended = event.created;
                        item.performed_by = performed_by;
                    }
                    None => items.push(ProcessHistoryItem {
                        element_id: task,
                        ended: event.created,
                        performed_by,
                        ..ProcessHistoryItem::default()
                    }),
                }
            }
            kind::START_EVENT | kind::END_EVENT => {
                let element_id = process.and_then(|process| {
                    if kind == kind::START_EVENT {
                        process.start_event.clone()
                    } else {
                        process.end_event.clone()
                    }
                });
                items.push(ProcessHistoryItem {
                    event_type: Some(kind.to_owned()),
                    element_id,
                    occured: event.created,
                    performed_by: performed_by(event),
                    ..ProcessHistoryItem::default()
                });
            }
            _ => {}
        }
    }
    items
}

fn performed_by(event: &InstanceEvent) -> Option<String> {
    let user = event.user.as_ref()?;
    user.user_id
        .map(|id| id.to_string())
        .or_else(|| user.system_user_owner_org_no.clone())
        .or_else(|| user.org_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Moment, PlatformUser, ProcessElement, ProcessState};

    fn event(kind: &str, task: &str, second: i64) -> InstanceEvent {
        InstanceEvent {
            event_type: Some(kind.to_owned()),
            created: jiff::Timestamp::from_second(second).ok().map(Moment::stamped),
            user: Some(PlatformUser {
                user_id: Some(7),
                ..PlatformUser::default()
            }),
            process_info: Some(ProcessState {
                start_event: Some("Start".to_owned()),
                end_event: Some("End".to_owned()),
                current_task: Some(ProcessElement {
                    element_id: Some(task.to_owned()),
                    ..ProcessElement::default()
                }),
                ..ProcessState::default()
            }),
            ..InstanceEvent::default()
        }
    }

    #[test]
    fn a_task_is_one_line_and_a_second_visit_another() {
        let items = fold(&[
            event(kind::START_EVENT, "", 1),
            event(kind::START_TASK, "Task_1", 2),
            event(kind::SAVED, "Task_1", 3),
            event(kind::ABANDON_TASK, "Task_1", 4),
            event(kind::START_TASK, "Task_1", 5),
            event(kind::END_TASK, "Task_1", 6),
            event(kind::END_TASK, "Task_2", 7),
            event(kind::END_EVENT, "", 8),
        ]);
        let second = |moment: Option<Moment>| moment.map(|moment| moment.timestamp().as_second());
        let lines: Vec<_> = items
            .iter()
            .map(|item| {
                (
                    item.element_id.as_deref().unwrap_or(""),
                    second(item.started),
                    second(item.ended),
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                ("Start", None, None),
                ("Task_1", Some(2), Some(4)),
                ("Task_1", Some(5), Some(6)),
                ("Task_2", None, Some(7)),
                ("End", None, None),
            ]
        );
        assert_eq!(items.first().and_then(|item| second(item.occured)), Some(1));
        assert_eq!(
            items.get(1).and_then(|item| item.performed_by.as_deref()),
            Some("7")
        );
    }
}
