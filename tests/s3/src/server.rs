//! The S3 server: one bucket, one pair of keys, signatures checked.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

/// The one bucket.
pub const BUCKET: &str = "contents";
/// The region that signatures are made for.
pub const REGION: &str = "eu-north-1";
/// The id of the one access key.
pub const KEY_ID: &str = "stabbur-tests-id";
/// The access key.
pub const KEY: &str = "stabbur-tests-key-never-shown";

/// A server on a loopback port, until it is dropped.
#[derive(Debug)]
pub struct S3Server {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl S3Server {
    /// Serves `folder`, in which the bucket is a folder, on `port`; 0 takes a free one.
    ///
    /// # Errors
    /// The folder can't be used, or the port not listened on.
    pub async fn start(folder: &Path, port: u16) -> io::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files =
            s3s_fs::FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let service = service.build();
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                // Without it small answers wait for acknowledgements; nothing else depends on it.
                let _ = socket.set_nodelay(true);
                let connection = server
                    .serve_connection(TokioIo::new(socket), service.clone())
                    .into_owned();
                tokio::spawn(connection);
            }
        });
        Ok(Self { address, accepting })
    }
}
