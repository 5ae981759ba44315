//! What the tests run against: an S3 server in this process, with a store's options that lead to it
//! or to a proxy before it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use content_objects::{Chance, Now, ObjectOptions, Patience, Provider, S3, Secret};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use s3_server::{BUCKET, KEY, KEY_ID, REGION};

/// A standing clock.
pub fn now() -> Now {
    Arc::new(|| jiff::Timestamp::from_second(1_700_000_000).unwrap())
}

/// Ids in no order, different for each seed.
pub fn chance(seed: u64) -> Chance {
    let counter = AtomicU64::new(seed << 32 | 1);
    Arc::new(move |bytes| {
        let number = counter
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for (byte, from) in bytes.iter_mut().zip(number.to_be_bytes().repeat(2)) {
            *byte = from;
        }
    })
}

/// An S3 server over a folder of its own.
pub struct S3Server {
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    _server: s3_server::S3Server,
}

impl S3Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = s3_server::S3Server::start(folder.path(), 0).await.unwrap();
        Self {
            address: server.address,
            folder,
            _server: server,
        }
    }

    /// Options that lead to `address`: the server's own or a proxy's before it.
    pub fn options(&self, address: SocketAddr, patience: Patience) -> ObjectOptions {
        ObjectOptions {
            provider: Provider::S3(S3 {
                endpoint: Some(format!("http://{address}")),
                region: REGION.to_owned(),
                bucket: BUCKET.to_owned(),
                access_key_id: Secret::Given(KEY_ID.to_owned().into()),
                secret_access_key: Secret::Given(KEY.to_owned().into()),
            }),
            prefix: "under/here".to_owned(),
            patience,
        }
    }

    /// The bucket without our store before it.
    pub fn raw(&self) -> Arc<dyn ObjectStore> {
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(BUCKET)
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(KEY)
            .build()
            .unwrap();
        Arc::new(store)
    }

    /// Files of uploads that were neither completed nor thrown away.
    pub fn unfinished_parts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".upload")).collect()
    }
}
