//! The Azure clients for Rust against the running server: `cargo test`, with `STABBUR_BINARY` naming it.
//! Each test has a server of its own and ends with `Server::stop`, which looks at the server's log. They run
//! on several threads, so that the clients' connections answer while a test waits for its server's end.
#![cfg(test)]

mod blob_kinds;
mod blobs;
mod documents;
mod queries;
mod server;
mod tls;
