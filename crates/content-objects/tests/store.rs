//! What the store promises beyond the contract: where it may open, what it counts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod servers;

use std::sync::Arc;

use bytes::Bytes;
use content::{ContentError, ContentStore};
use content_objects::{ObjectContent, Patience, Provider, Secret};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use s3_server::KEY;
use servers::{S3Server, chance, now};

async fn open(raw: &Arc<dyn ObjectStore>, seed: u64) -> Result<ObjectContent, ContentError> {
    ObjectContent::over(raw.clone(), "under/here", now(), chance(seed)).await
}

async fn write(store: &ObjectContent, content: &'static [u8]) -> content::ContentInfo {
    let mut writer = store.writer().await.unwrap();
    writer.write(Bytes::from_static(content)).await.unwrap();
    writer.finish().await.unwrap()
}

#[tokio::test]
async fn what_it_does_not_know_it_refuses() {
    let raw: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    raw.put(&Path::from("under/here/a-file"), "a".into())
        .await
        .unwrap();
    let error = open(&raw, 1).await.unwrap_err().to_string();
    assert!(error.contains("choose another prefix"), "{error}");
    raw.delete(&Path::from("under/here/a-file")).await.unwrap();
    raw.put(&Path::from("under/elsewhere"), "a".into()).await.unwrap();
    open(&raw, 1).await.unwrap();
    let format = Path::from("under/here/FORMAT");
    raw.put(&format, "stabbur-content-objects 2\n".into())
        .await
        .unwrap();
    let error = open(&raw, 1).await.unwrap_err().to_string();
    assert!(error.contains("unknown content format"), "{error}");
}

#[tokio::test]
async fn contents_outlive_the_store_that_wrote_them_and_are_counted_by_a_walk() {
    let raw: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let first = open(&raw, 1).await.unwrap();
    let kept = write(&first, b"kept").await;
    let gone = write(&first, b"gone").await;
    let stats = first.stats().await.unwrap();
    assert_eq!((stats.contents, stats.disk_bytes), (2, 2 * (24 + 4 + 4 + 20)));
    first.delete(gone.id).await.unwrap();
    first.delete(gone.id).await.unwrap();
    assert_eq!(first.stats().await.unwrap().contents, 1);
    drop(first);
    let second = open(&raw, 2).await.unwrap();
    assert_eq!(second.info(kept.id).await.unwrap(), kept);
    assert_eq!(second.stats().await.unwrap().contents, 0);
    let another = write(&second, b"another").await;
    // A walk page by page, and a stranger's page in the middle of it.
    let mut after = None;
    loop {
        let page = second.list(after, 1).await.unwrap();
        second.list(Some(another.id), 5).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
    }
    let stats = second.stats().await.unwrap();
    assert_eq!((stats.contents, stats.disk_bytes), (2, 52 + 55));
}

#[tokio::test]
async fn options_show_no_secret_and_a_wrong_key_is_said() {
    let server = S3Server::start().await;
    let mut options = server.options(server.address, Patience::default());
    assert!(!format!("{options:?}").contains(KEY));
    ObjectContent::open(&options, now(), chance(1)).await.unwrap();
    if let Provider::S3(s3) = &mut options.provider {
        s3.secret_access_key = Secret::Given("another-key-never-shown".to_owned().into());
    }
    let error = ObjectContent::open(&options, now(), chance(1)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    assert!(
        !text.contains("never-shown") && !text.contains("stabbur-tests-id"),
        "{text}"
    );
    if let Provider::S3(s3) = &mut options.provider {
        s3.secret_access_key = Secret::Given(KEY.to_owned().into());
        s3.bucket = "no-such-bucket".to_owned();
    }
    let error = ObjectContent::open(&options, now(), chance(1)).await.unwrap_err();
    assert!(matches!(error, ContentError::Io(_)), "{error}");
}
