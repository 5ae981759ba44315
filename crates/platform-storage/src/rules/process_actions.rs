//! Which actions a caller needs, by the task an instance is in.

use crate::model::{Instance, ProcessElement, ProcessState};

/// How a process goes on in the ordinary way.
const COMPLETE: &str = "CompleteCurrentMoveToNext";
/// How a task is given up.
const ABANDON: &str = "AbandonCurrentMoveToNext";

/// A question to the decision point: any of `actions`, in `task` (`None`: as the instance is).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Any of these will do.
    pub actions: Vec<String>,
    /// Ask as if the instance were in this task.
    pub task: Option<String>,
}

/// The actions that a task of type `kind` is worked on with.
#[must_use]
pub fn of_task_type(kind: &str) -> Vec<String> {
    let actions: &[&str] = match kind {
        "data" | "feedback" | "pdf" | "eFormidling" | "fiksArkiv" | "subformPdf" => &["write"],
        "payment" => &["pay", "write"],
        "confirmation" => &["confirm"],
        "signing" => &["sign", "write"],
        other => &[other],
    };
    actions.iter().map(|action| (*action).to_owned()).collect()
}

/// What is asked before texts, data values and locks change: the task's actions or reject.
#[must_use]
pub fn for_task(instance: &Instance) -> Question {
    let kind = instance
        .current_task()
        .and_then(|task| task.altinn_task_type.as_deref());
    let mut actions = kind.map_or_else(|| vec!["write".to_owned()], of_task_type);
    actions.push("reject".to_owned());
    Question { actions, task: None }
}

/// What is asked before the process goes on to `next`; `None` if it can't: it has no task.
#[must_use]
pub fn for_next(instance: &Instance, next: &ProcessState) -> Option<Question> {
    let current = instance.current_task()?;
    let entering = next.current_task.as_ref();
    let flow = entering.and_then(|task| task.flow_type.as_deref());
    Some(match (flow, entering) {
        (Some(ABANDON), _) => Question {
            actions: vec!["reject".to_owned()],
            task: None,
        },
        (Some(flow), Some(entering)) if flow != COMPLETE => Question {
            actions: of_element(entering),
            task: entering.element_id.clone(),
        },
        _ => Question {
            actions: of_element(current),
            task: None,
        },
    })
}

fn of_element(element: &ProcessElement) -> Vec<String> {
    element
        .altinn_task_type
        .as_deref()
        .map_or_else(|| vec!["write".to_owned()], of_task_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(kind: Option<&str>, id: &str, flow: Option<&str>) -> ProcessState {
        ProcessState {
            current_task: Some(ProcessElement {
                element_id: Some(id.to_owned()),
                altinn_task_type: kind.map(str::to_owned),
                flow_type: flow.map(str::to_owned),
                ..ProcessElement::default()
            }),
            ..ProcessState::default()
        }
    }

    fn instance(process: Option<ProcessState>) -> Instance {
        Instance {
            process,
            ..Instance::default()
        }
    }

    #[test]
    fn task_types() {
        for (kind, actions) in [
            ("data", vec!["write", "reject"]),
            ("feedback", vec!["write", "reject"]),
            ("payment", vec!["pay", "write", "reject"]),
            ("confirmation", vec!["confirm", "reject"]),
            ("signing", vec!["sign", "write", "reject"]),
            ("review", vec!["review", "reject"]),
        ] {
            assert_eq!(
                for_task(&instance(Some(process(Some(kind), "T", None)))).actions,
                actions,
                "{kind}"
            );
        }
        assert_eq!(for_task(&instance(None)).actions, ["write", "reject"]);
    }

    #[test]
    fn next_asks_about_the_task_that_counts() {
        let now = instance(Some(process(Some("data"), "Task_1", None)));
        let ask =
            |next: &ProcessState| for_next(&now, next).map(|question| (question.actions, question.task));
        let complete = process(Some("signing"), "Task_2", Some(COMPLETE));
        assert_eq!(ask(&complete), Some((vec!["write".to_owned()], None)));
        let abandon = process(Some("signing"), "Task_2", Some(ABANDON));
        assert_eq!(ask(&abandon), Some((vec!["reject".to_owned()], None)));
        let jump = process(Some("confirmation"), "Task_2", Some("Jump"));
        assert_eq!(
            ask(&jump),
            Some((vec!["confirm".to_owned()], Some("Task_2".to_owned())))
        );
        assert_eq!(
            ask(&ProcessState::default()),
            Some((vec!["write".to_owned()], None))
        );
        assert_eq!(for_next(&instance(None), &complete), None);
        assert_eq!(
            for_next(&instance(Some(ProcessState::default())), &complete),
            None
        );
    }
}
