//! The object store that the nodes share: a real S3 server in this process.

use std::path::Path;

use anyhow::{Context as _, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(crate) const BUCKET: &str = "contents";
pub(crate) const KEY_ID: &str = "nodes-test";
pub(crate) const KEY: &str = "nodes-test-secret";

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://127.0.0.1:{port}`.
    pub(crate) endpoint: String,
    _runtime: Runtime,
}

impl Server {
    /// Serves a bucket in `folder` on a free port.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files = s3s_fs::FileSystem::new(folder)
            .ok()
            .context("the S3 server's folder")?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        runtime.spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let connection = server
                    .serve_connection(TokioIo::new(socket), service.clone())
                    .into_owned();
                tokio::spawn(connection);
            }
        });
        Ok(Self {
            endpoint,
            _runtime: runtime,
        })
    }
}
