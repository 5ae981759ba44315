//! What operations share: names, headers, XML.

pub(crate) mod headers;
pub(crate) mod multipart;
pub(crate) mod render;
pub(crate) mod target;
pub(crate) mod transfer;
pub(crate) mod xml;
pub(crate) mod xml_tree;
