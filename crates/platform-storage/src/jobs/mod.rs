//! What runs by itself: the removal of what was deleted long enough ago.

mod cleanup;
mod schedule;

pub use cleanup::CleanupReport;
pub use schedule::Schedule;
