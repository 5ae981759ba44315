//! Append and page blobs, leases, snapshots, tags and copies through the storage client.

use std::collections::HashMap;

use azure_core::http::RequestContent;
use azure_storage_blob::models::{
    AppendBlobClientAppendBlockOptions, AppendBlobClientAppendBlockResultHeaders as _,
    BlobClientAcquireLeaseResultHeaders as _, BlobClientCreateSnapshotResultHeaders as _, BlobClientDeleteOptions,
    BlobClientGetPropertiesResultHeaders as _, BlobClientStartCopyFromUrlResultHeaders as _,
    BlobClientUploadOptions, BlobTags, CopyStatus, DeleteSnapshotsOptionType, HttpRange, LeaseState,
};
use futures::TryStreamExt as _;

use crate::blobs::{container, content, fails, text, upload};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_append_blob_grows() {
    let server = Server::start();
    let blob = container(&server).await.blob_client("log");
    let log = blob.append_blob_client();
    log.create(None).await.unwrap();
    let append = async |text: &str, options| log.append_block(content(text), text.len() as u64, options).await;
    let offset = append("one\n", None).await.unwrap().blob_append_offset().unwrap();
    assert_eq!(offset.unwrap().to_string(), "0");
    let offset = append("two\n", None).await.unwrap().blob_append_offset().unwrap();
    assert_eq!(offset.unwrap().to_string(), "4");
    let at = AppendBlobClientAppendBlockOptions { append_position: Some(4), ..Default::default() };
    fails(append("x", Some(at)).await, 412, "AppendPositionConditionNotMet");
    let most = AppendBlobClientAppendBlockOptions { max_size: Some(8), ..Default::default() };
    fails(append("x", Some(most)).await, 412, "MaxBlobSizeConditionNotMet");
    assert_eq!(text(&blob).await, "one\ntwo\n");
    log.seal(None).await.unwrap();
    fails(append("x", None).await, 409, "BlobIsSealed");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_written_cleared_and_listed() {
    let server = Server::start();
    let blob = container(&server).await.blob_client("disk");
    let disk = blob.page_blob_client();
    disk.create(8 * 512, None).await.unwrap();
    let write = async |from| {
        let pages = RequestContent::from(vec![7; 1024]);
        disk.upload_pages(pages, 1024, HttpRange::new(from, 1024), None).await.map(drop)
    };
    write(512).await.unwrap();
    write(3072).await.unwrap();
    disk.clear_pages(HttpRange::new(1024, 512), None).await.unwrap();
    let lists: Vec<_> = disk.list_page_ranges(None).unwrap().try_collect().await.unwrap();
    let mut ranges = Vec::new();
    for list in lists {
        let list = list.into_model().unwrap().page_ranges;
        ranges.extend(list.into_iter().map(|range| (range.start.unwrap(), range.end.unwrap())));
    }
    assert_eq!(ranges, [(512, 1023), (3072, 4095)]);
    let mut expected = vec![0; 8 * 512];
    expected[512..1024].fill(7);
    expected[3072..4096].fill(7);
    assert_eq!(text(&blob).await.into_bytes(), expected);
    disk.resize(4 * 512, None).await.unwrap();
    assert_eq!(blob.get_properties(None).await.unwrap().content_length().unwrap(), Some(2048));
    fails(write(2048).await, 416, "InvalidPageRange");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_keeps_others_out() {
    let server = Server::start();
    let blob = upload(&container(&server).await, "leased", "one").await;
    let id = blob.acquire_lease(15, None).await.unwrap().lease_id().unwrap().unwrap();
    fails(blob.upload(content("two"), None).await.map(drop), 412, "LeaseIdMissing");
    fails(blob.acquire_lease(15, None).await, 409, "LeaseAlreadyPresent");
    let holding = BlobClientUploadOptions { lease_id: Some(id.clone()), ..Default::default() };
    blob.upload(content("two"), Some(holding)).await.unwrap();
    blob.renew_lease(id.clone(), None).await.unwrap();
    let state = async || blob.get_properties(None).await.unwrap().lease_state().unwrap();
    assert_eq!(state().await, Some(LeaseState::Leased));
    blob.release_lease(id, None).await.unwrap();
    assert_eq!(state().await, Some(LeaseState::Available));
    blob.upload(content("three"), None).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_keep_what_was() {
    let server = Server::start();
    let blob = upload(&container(&server).await, "snapshots", "before").await;
    let snapshot = blob.create_snapshot(None).await.unwrap().snapshot().unwrap().unwrap();
    let snapshot = blob.with_snapshot(&snapshot).unwrap();
    blob.upload(content("after"), None).await.unwrap();
    assert_eq!((text(&snapshot).await, text(&blob).await), ("before".to_owned(), "after".to_owned()));
    fails(blob.delete(None).await, 409, "SnapshotsPresent");
    let both = DeleteSnapshotsOptionType::Include;
    blob.delete(Some(BlobClientDeleteOptions { delete_snapshots: Some(both), ..Default::default() })).await.unwrap();
    assert!(!snapshot.exists().await.unwrap());
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_set_and_found() {
    let server = Server::start();
    let container = container(&server).await;
    let blob = upload(&container, "tagged", "x").await;
    upload(&container, "untagged", "x").await;
    let tags = HashMap::from([("case".to_owned(), "42".to_owned()), ("state".to_owned(), "open".to_owned())]);
    blob.set_tags(RequestContent::try_from(BlobTags::from(tags.clone())).unwrap(), None).await.unwrap();
    let found = blob.get_tags(None).await.unwrap().into_model().unwrap();
    assert_eq!(HashMap::from(found), tags);
    let found: Vec<_> = container
        .find_blobs_by_tags("\"case\" = '42' AND \"state\" >= 'o'", None)
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = found.into_iter().filter_map(|blob| blob.name).collect();
    assert_eq!(names, ["tagged"]);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_within_the_account() {
    let server = Server::start();
    let container = container(&server).await;
    let source = upload(&container, "source", "copied").await;
    let metadata = HashMap::from([("m".to_owned(), "1".to_owned())]);
    source.set_metadata(&metadata, None).await.unwrap();
    let target = container.blob_client("target");
    let copy = target.start_copy_from_url(source.url().to_string(), None).await.unwrap();
    assert_eq!(copy.copy_status().unwrap(), Some(CopyStatus::Success));
    assert_eq!(text(&target).await, "copied");
    assert_eq!(target.get_properties(None).await.unwrap().metadata().unwrap(), metadata);
    let nothing = container.blob_client("nothing").url().to_string();
    fails(target.start_copy_from_url(nothing, None).await, 404, "CannotVerifyCopySource");
    server.stop();
}
