//! The Azure clients for Rust against the running server: `cargo test`, with `STABBUR_BINARY` naming it.
//! Each test has a server of its own and ends with `Server::stop`, which looks at the server's log.
#![cfg(test)]

mod blob_kinds;
mod blobs;
mod documents;
mod queries;
mod server;
mod tls;
