//! An S3 server over a folder, and a proxy before it that breaks things: what tests of content in an
//! object store run against, in their own process or as a program (`s3-server`).

mod config;
mod proxy;
mod seeded;
mod server;

pub use config::write_content_config;
pub use proxy::{Fault, FaultCounts, FaultProxy, Plan};
pub use seeded::{SeededFaults, mixed};
pub use server::{BUCKET, KEY, KEY_ID, REGION, S3Server};
