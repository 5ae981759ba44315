//! Pure decisions: values in, values out, no storage, no clock.

pub mod batch;
pub mod binary_json;
pub(crate) mod charge;
pub mod effective_partition_key;
pub mod hybrid_row;
pub(crate) mod index_columns;
pub mod index_policy;
pub mod index_terms;
pub mod index_value;
pub mod json;
pub(crate) mod names;
pub(crate) mod order_rules;
pub mod partial_json;
pub mod partition_key;
pub mod patch;
pub(crate) mod query_schema;
pub mod resource_id;
pub(crate) mod resource_usage;
