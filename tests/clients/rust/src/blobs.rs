//! Containers and block blobs through the storage client. It takes Entra ID tokens or signatures, no account
//! key, so the tests sign a signature for the whole account themselves.

use std::collections::HashMap;
use std::num::NonZero;

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RequestContent, RetryOptions, Url};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders as _,
    BlobClientUploadOptions, BlobContainerClientCreateOptions, BlobContainerClientGetPropertiesResultHeaders as _,
    BlobContainerClientListBlobsOptions, BlockListType, BlockLookupList, HttpRange,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::TryStreamExt as _;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

use crate::server::{BLOBS_ACCOUNT, BLOBS_KEY, Server};

/// The query of a signature for the account: services, resource types and permissions are given.
pub fn signature(permissions: &str, valid: Duration) -> String {
    let version = "2021-12-02";
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let until = (OffsetDateTime::now_utc() + valid).format(form).unwrap();
    let signed = format!("{BLOBS_ACCOUNT}\n{permissions}\nb\nsco\n\n{until}\n\nhttps,http\n{version}\n\n");
    let key = BASE64.decode(BLOBS_KEY).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let made = BASE64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let (until, made) = (escape(&until), escape(&made));
    format!("sv={version}&ss=b&srt=sco&sp={permissions}&spr=https,http&se={until}&sig={made}")
}

/// A client that doesn't hide failures by trying again.
pub fn service_with(base: &str, signature: &str) -> BlobServiceClient {
    let options = BlobServiceClientOptions {
        client_options: ClientOptions { retry: RetryOptions::none(), ..ClientOptions::default() },
        ..BlobServiceClientOptions::default()
    };
    let url = Url::parse(&format!("{base}?{signature}")).unwrap();
    BlobServiceClient::new(url, None, Some(options)).unwrap()
}

pub fn service(base: &str) -> BlobServiceClient {
    service_with(base, &signature("rwdlacuptf", Duration::minutes(10)))
}

pub async fn container(server: &Server) -> BlobContainerClient {
    let container = service(&server.blobs()).blob_container_client("box");
    container.create(None).await.unwrap();
    container
}

pub async fn upload(container: &BlobContainerClient, name: &str, text: &str) -> BlobClient {
    let blob = container.blob_client(name);
    blob.upload(content(text), None).await.unwrap();
    blob
}

pub fn content<F>(text: &str) -> RequestContent<azure_core::Bytes, F> {
    RequestContent::from(text.as_bytes().to_vec())
}

pub async fn text(blob: &BlobClient) -> String {
    download(blob, None).await.unwrap()
}

async fn download(blob: &BlobClient, options: Option<BlobClientDownloadOptions<'_>>) -> azure_core::Result<String> {
    let answer = blob.download(options).await?;
    Ok(String::from_utf8(answer.body.collect().await?.to_vec()).unwrap())
}

pub fn fails<T>(result: azure_core::Result<T>, status: u16, code: &str) {
    let Err(error) = result else { panic!("it succeeded instead of failing with {status} {code}") };
    let ErrorKind::HttpResponse { status: found, error_code, .. } = error.kind() else {
        panic!("no answer of the server: {error}");
    };
    assert_eq!((u16::from(*found), error_code.as_deref()), (status, Some(code)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_made_listed_and_deleted() {
    let server = Server::start();
    let service = service(&server.blobs());
    let one = service.blob_container_client("one");
    let metadata = HashMap::from([("purpose".to_owned(), "test".to_owned())]);
    let options = BlobContainerClientCreateOptions { metadata: Some(metadata.clone()), ..Default::default() };
    one.create(Some(options)).await.unwrap();
    fails(one.create(None).await, 409, "ContainerAlreadyExists");
    assert_eq!(one.get_properties(None).await.unwrap().metadata().unwrap(), metadata);
    service.blob_container_client("two").create(None).await.unwrap();
    let listed: Vec<_> = service.list_containers(None).unwrap().try_collect().await.unwrap();
    let names: Vec<_> = listed.into_iter().filter_map(|container| container.name).collect();
    assert_eq!(names, ["one", "two"]);
    one.delete(None).await.unwrap();
    assert!(!one.exists().await.unwrap());
    fails(one.delete(None).await, 404, "ContainerNotFound");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_with_properties_and_metadata() {
    let server = Server::start();
    let blob = container(&server).await.blob_client("mappe/blåbær ø.txt");
    let metadata = HashMap::from([("case".to_owned(), "42".to_owned())]);
    let options = BlobClientUploadOptions {
        metadata: Some(metadata.clone()),
        blob_content_type: Some("text/plain".to_owned()),
        ..Default::default()
    };
    blob.upload(content("hei på deg"), Some(options)).await.unwrap();
    let properties = blob.get_properties(None).await.unwrap();
    assert_eq!(properties.content_length().unwrap(), Some(11));
    assert_eq!(properties.metadata().unwrap(), metadata);
    assert_eq!(text(&blob).await, "hei på deg");
    let metadata = HashMap::from([("state".to_owned(), "closed".to_owned())]);
    blob.set_metadata(&metadata, None).await.unwrap();
    assert_eq!(blob.get_properties(None).await.unwrap().metadata().unwrap(), metadata);
    blob.delete(None).await.unwrap();
    fails(download(&blob, None).await, 404, "BlobNotFound");
    assert!(!blob.exists().await.unwrap());
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_read() {
    let server = Server::start();
    let blob = upload(&container(&server).await, "ranges", "0123456789").await;
    let read = async |range| {
        let options = BlobClientDownloadOptions { range: Some(range), ..Default::default() };
        download(&blob, Some(options)).await
    };
    assert_eq!(read(HttpRange::new(3, 3)).await.unwrap(), "345");
    assert_eq!(read(HttpRange::from_offset(7)).await.unwrap(), "789");
    assert_eq!(read(HttpRange::new(8, 100)).await.unwrap(), "89");
    fails(read(HttpRange::new(10, 1)).await, 416, "InvalidRange");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_decide() {
    let server = Server::start();
    let blob = upload(&container(&server).await, "conditions", "one").await;
    let new = BlobClientUploadOptions::default().if_not_exists();
    fails(blob.upload(content("two"), Some(new)).await.map(drop), 409, "BlobAlreadyExists");
    let first = blob.get_properties(None).await.unwrap().etag().unwrap().unwrap();
    let put = async |text| {
        let options = BlobClientUploadOptions { if_match: Some(first.clone()), ..Default::default() };
        blob.upload(content(text), Some(options)).await.map(drop)
    };
    put("two").await.unwrap();
    fails(put("three").await, 412, "ConditionNotMet");
    let later = OffsetDateTime::now_utc() + Duration::hours(1);
    let options = BlobClientDeleteOptions { if_modified_since: Some(later), ..Default::default() };
    fails(blob.delete(Some(options)).await.map(drop), 412, "ConditionNotMet");
    assert_eq!(text(&blob).await, "two");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_staged_listed_and_committed() {
    let server = Server::start();
    let blob = container(&server).await.blob_client("blocks");
    let blocks = blob.block_blob_client();
    for (id, part) in [(b"1", "one "), (b"2", "two "), (b"3", "three")] {
        blocks.stage_block(id, part.len() as u64, content(part), None).await.unwrap();
    }
    fails(blob.get_properties(None).await.map(drop), 404, "BlobNotFound");
    let list = blocks.get_block_list(BlockListType::Uncommitted, None).await.unwrap().into_model().unwrap();
    let names: Vec<_> = list.uncommitted_blocks.unwrap().into_iter().filter_map(|block| block.name).collect();
    assert_eq!(names, [b"1", b"2", b"3"]);
    let commit = async |ids: &[&[u8; 1]]| {
        let latest = ids.iter().map(|id| id.to_vec()).collect();
        let list = BlockLookupList { latest: Some(latest), ..Default::default() };
        blocks.commit_block_list(RequestContent::try_from(list).unwrap(), None).await.map(drop)
    };
    commit(&[b"3", b"1"]).await.unwrap();
    assert_eq!(text(&blob).await, "threeone ");
    fails(commit(&[b"2"]).await, 400, "InvalidBlockList");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mebibytes_in_parallel_blocks() {
    let server = Server::start();
    let sent: Vec<u8> = (0..20_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let blob = container(&server).await.blob_client("large");
    let options = BlobClientUploadOptions {
        parallel: NonZero::new(4),
        partition_size: NonZero::new(4 << 20),
        ..Default::default()
    };
    blob.upload(RequestContent::from(sent.clone()), Some(options)).await.unwrap();
    let blocks = blob.block_blob_client().get_block_list(BlockListType::Committed, None).await.unwrap();
    assert_eq!(blocks.into_model().unwrap().committed_blocks.unwrap().len(), 5);
    let options = BlobClientDownloadOptions {
        parallel: NonZero::new(4),
        partition_size: NonZero::new(3 << 20),
        ..Default::default()
    };
    let found = blob.download(Some(options)).await.unwrap().body.collect().await.unwrap();
    assert!(found == sent);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let server = Server::start();
    let container = container(&server).await;
    for name in ["l/a", "l/b/1", "l/b/2", "l/c", "m"] {
        upload(&container, name, "x").await;
    }
    let options = BlobContainerClientListBlobsOptions {
        prefix: Some("l/".to_owned()),
        maxresults: Some(3),
        ..Default::default()
    };
    let mut pages = container.list_blobs(Some(options)).unwrap().into_pages();
    let mut found = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        let items = page.into_model().unwrap().blob_items;
        found.push(items.into_iter().filter_map(|item| item.name).collect::<Vec<_>>());
    }
    assert_eq!(found, [vec!["l/a", "l/b/1", "l/b/2"], vec!["l/c"]]);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_allow_what_they_say() {
    let server = Server::start();
    upload(&container(&server).await, "signed", "x").await;
    let signed = |permissions, minutes| {
        let signature = signature(permissions, Duration::minutes(minutes));
        service_with(&server.blobs(), &signature).blob_client("box", "signed")
    };
    assert_eq!(text(&signed("r", 5)).await, "x");
    fails(signed("r", 5).upload(content("y"), None).await.map(drop), 403, "AuthorizationPermissionMismatch");
    fails(download(&signed("r", -5), None).await, 403, "AuthenticationFailed");
    let nobody = service_with(&server.blobs(), "").blob_client("box", "signed");
    fails(nobody.delete(None).await.map(drop), 401, "NoAuthenticationInformation");
    server.stop();
}
