//! What travels in bodies and lies in documents: camelCase, nulls left out, times in UTC.
//!
//! Invariant: reading is relaxed as the original's is ([`relaxed`]), writing is exact.

pub mod application;
mod data_element;
pub mod event;
mod instance;
mod moment;
mod process;
pub mod relaxed;
mod signature;
mod text_resource;

pub use application::{Application, DataType};
pub use data_element::{DataElement, DeleteStatus, FileScanResult, KeyValueEntry, Reference};
pub use event::{InstanceEvent, PlatformUser};
pub use instance::{
    CompleteConfirmation, Instance, InstanceOwner, InstanceStatus, ReadStatus, ResourceLinks, Substatus,
    Texts,
};
pub use moment::Moment;
pub use process::{ProcessElement, ProcessHistoryItem, ProcessState, ValidationStatus};
pub use signature::{DataElementSignature, SignDocument, SignRequest, Signee};
pub use text_resource::{TextResource, TextResourceElement, TextResourceVariable};

use serde::{Deserialize, Deserializer};

/// Reads null as the default, where the original does.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
