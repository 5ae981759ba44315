//! What operations share: queries, links, answers.

pub mod query;
pub mod links;
pub mod answer;
