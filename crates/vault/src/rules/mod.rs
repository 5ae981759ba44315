//! Pure decisions: names, attributes, roles, rotation. No I/O.

pub mod attributes;
pub mod names;
pub mod roles;
pub mod rotation;
