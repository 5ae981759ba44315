//! Pure decisions: input in, decision out, no I/O.

pub mod cleanup;
pub mod content_disposition;
pub mod content_version;
pub mod history;
pub mod list_query;
pub mod lock_token;
pub mod message_box;
pub mod multipart;
pub mod mutation;
pub mod names;
pub mod outbox;
pub mod process_actions;
pub mod read_status;
pub mod row;
pub mod texts;
pub mod versions;
