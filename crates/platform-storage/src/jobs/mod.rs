//! What runs by itself: the removal of what was deleted long enough ago, and messages to others.

mod cleanup;
mod deliveries;
mod schedule;

pub use cleanup::CleanupReport;
pub use deliveries::{DeliveryReport, Sink, Undelivered};
pub use schedule::Schedule;
