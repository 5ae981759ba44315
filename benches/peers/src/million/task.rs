//! What is asked, in which order, by how many at once.

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Create,
    Bulk,
    Read,
    Replace,
    Patch,
    Batch,
    Equality,
    Range,
    OrderFirst,
    OrderFrom,
    OrderAfter,
    TwoProperties,
    Partition,
    AggregateSome,
    AggregateAll,
    CountAll,
}

impl Task {
    /// As reports name those of the load.
    pub fn name(self) -> &'static str {
        if self == Self::Bulk {
            "load: 100 creates together"
        } else {
            "load: create"
        }
    }
}

/// A task, measured.
#[derive(Debug)]
pub struct Step {
    pub task: Task,
    pub name: &'static str,
    pub concurrency: usize,
    pub slices: u32,
    /// Operations of a slice; without it, a slice takes its part of the time.
    pub number: Option<u64>,
}

/// Slices of what takes milliseconds.
const SLICES: u32 = 5;

const fn step(task: Task, name: &'static str) -> Step {
    Step {
        task,
        name,
        concurrency: 32,
        slices: SLICES,
        number: None,
    }
}

const fn alone(step: Step) -> Step {
    Step {
        concurrency: 1,
        ..step
    }
}

const fn once(step: Step) -> Step {
    Step {
        slices: 3,
        number: Some(1),
        ..alone(step)
    }
}

/// In this order. Batches are last of what writes: they add documents.
pub const STEPS: &[Step] = &[
    alone(step(Task::Read, "point read, 1 at once")),
    step(Task::Read, "point read, 32 at once"),
    step(Task::Equality, "100 by a property"),
    step(Task::Range, "100 by a range"),
    step(Task::Partition, "a property in one partition"),
    step(Task::TwoProperties, "page by two properties, ordered by a third"),
    alone(step(Task::OrderFirst, "first page of ORDER BY, 1 at once")),
    step(Task::OrderFrom, "page of ORDER BY from a value in the middle"),
    step(Task::OrderAfter, "page of ORDER BY by continuation"),
    alone(step(
        Task::AggregateSome,
        "COUNT, SUM, AVG of 1 in 200, 1 at once",
    )),
    once(step(Task::AggregateAll, "COUNT, SUM, AVG of all, 1 at once")),
    once(step(Task::CountAll, "COUNT of all, 1 at once")),
    step(Task::Replace, "replace"),
    step(Task::Patch, "patch of two properties"),
    step(Task::Batch, "batch of 100 creates"),
];
