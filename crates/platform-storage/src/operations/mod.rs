//! The API's operations, a file per resource, top to bottom: look up, ask, change, answer.

pub(crate) mod applications;
pub(crate) mod cleanup;
pub(crate) mod data;
pub(crate) mod data_content;
pub(crate) mod data_elements;
pub(crate) mod events;
pub(crate) mod instance_path;
pub(crate) mod instance_state;
pub(crate) mod instances;
pub(crate) mod list_instances;
pub(crate) mod lock;
pub(crate) mod message_box;
mod mutation_work;
pub(crate) mod mutations;
pub(crate) mod process;
pub(crate) mod scans;
pub(crate) mod sign;
pub(crate) mod studio;
pub(crate) mod texts;
