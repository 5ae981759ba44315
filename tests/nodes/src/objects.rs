//! The object store that the nodes share: a real S3 server in this process.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use s3_server::S3Server;
use tokio::runtime::Runtime;

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _server: S3Server,
    _runtime: Runtime,
}

impl Server {
    /// Serves a bucket in `folder` on a free port.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let server = runtime.block_on(S3Server::start(folder, 0))?;
        Ok(Self {
            address: server.address,
            _server: server,
            _runtime: runtime,
        })
    }
}
