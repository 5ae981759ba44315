//! Every operation with every role: what a bearer token opens, and what a signature by its principal.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::tokens::{Estate, NOBODY, TENANT, estate_with, object_id, outcome};
use bench::{Answer, create_pages, put_pages, take_snapshot};
use blobs::Account;
use blobs::operation::{self, Support};
use blobs::rules::roles::{Action, OPERATIONS, Role, Takes};
use identity::SharedKey;

/// A request of an operation, as it succeeds for whoever may make it.
struct Example {
    operation: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
}

fn example(operation: &'static str, method: &'static str, path: impl Into<String>, status: u16) -> Example {
    Example {
        operation,
        method,
        path: path.into(),
        headers: Vec::new(),
        body: Vec::new(),
        status,
    }
}

impl Example {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

const HOST: &str = "http://127.0.0.1:10000/dev";
const WHERE: &str = "comp=blobs&where=%22a%22%3D%27b%27";
const POLICIES: &str = "<SignedIdentifiers></SignedIdentifiers>";
const TAGS: &str = "<Tags><TagSet><Tag><Key>a</Key><Value>c</Value></Tag></TagSet></Tags>";
const KEY_INFO: &str =
    "<KeyInfo><Start>2023-11-14T22:00:00Z</Start><Expiry>2023-11-15T22:00:00Z</Expiry></KeyInfo>";
const BLOCK: &str = "MDAx";

/// Blobs of the one container can be protected.
fn immutable(account: &mut Account) {
    account.versioning = true;
    account.immutable_containers = vec!["box".to_owned()];
}

/// Blobs of all kinds, deleted ones, a block that isn't committed, and the requests about them.
async fn prepared(estate: &Estate) -> Vec<Example> {
    let bench = &estate.bench;
    let keep = "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
                </DeleteRetentionPolicy></StorageServiceProperties>";
    let made = [
        ("PUT", "/?restype=service&comp=properties", "", keep.as_bytes()),
        ("PUT", "/box?restype=container", "", b"".as_slice()),
        ("PUT", "/spare?restype=container", "", b""),
        ("PUT", "/gone?restype=container", "", b""),
        ("DELETE", "/gone?restype=container", "", b""),
        ("PUT", "/box/block", "BlockBlob", b"content"),
        ("PUT", "/box/gone", "BlockBlob", b"content"),
        ("DELETE", "/box/gone", "", b""),
        ("PUT", "/box/append", "AppendBlob", b""),
        ("PUT", "/box/staged?comp=block&blockid=MDAx", "", b"1"),
    ];
    for (method, path, kind, body) in made {
        let headers = [("x-ms-blob-type", kind)];
        let headers = if kind.is_empty() { &[][..] } else { &headers[..] };
        let answer = bench.ask(method, path, headers, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
    }
    create_pages(bench, "/box/pages", 1_024).await;
    put_pages(bench, "/box/pages", 0, &[7; 512]).await;
    let snapshot = take_snapshot(bench, "/box/pages").await;
    let deleted = bench
        .ask("GET", "/?comp=list&include=deleted", &[], b"")
        .await
        .text();
    let version = deleted
        .split("<Version>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let version = version.expect("a deleted container has a version").to_owned();
    let lease = "00000000-0000-4000-8000-000000000099";
    vec![
        example("List Containers", "GET", "/?comp=list", 200),
        example(
            "Set Blob Service Properties",
            "PUT",
            "/?restype=service&comp=properties",
            202,
        )
        .body("<StorageServiceProperties></StorageServiceProperties>"),
        example(
            "Get Blob Service Properties",
            "GET",
            "/?restype=service&comp=properties",
            200,
        ),
        example(
            "Get Blob Service Stats",
            "GET",
            "/?restype=service&comp=stats",
            200,
        ),
        example(
            "Get Account Information",
            "GET",
            "/?restype=account&comp=properties",
            200,
        ),
        example(
            "Get User Delegation Key",
            "POST",
            "/?restype=service&comp=userdelegationkey",
            200,
        )
        .body(KEY_INFO),
        example("Find Blobs by Tags", "GET", format!("/?{WHERE}"), 200),
        example(
            "Find Blobs by Tags",
            "GET",
            format!("/box?restype=container&{WHERE}"),
            200,
        ),
        example("Create Container", "PUT", "/new?restype=container", 201),
        example("Get Container Properties", "GET", "/box?restype=container", 200),
        example("Get Container Properties", "HEAD", "/box?restype=container", 200),
        example(
            "Get Container Metadata",
            "GET",
            "/box?restype=container&comp=metadata",
            200,
        ),
        example(
            "Set Container Metadata",
            "PUT",
            "/box?restype=container&comp=metadata",
            200,
        )
        .header("x-ms-meta-a", "b"),
        example("Get Container ACL", "GET", "/box?restype=container&comp=acl", 200),
        example("Set Container ACL", "PUT", "/box?restype=container&comp=acl", 200).body(POLICIES),
        example("Delete Container", "DELETE", "/spare?restype=container", 202),
        example(
            "Restore Container",
            "PUT",
            "/gone?restype=container&comp=undelete",
            201,
        )
        .header("x-ms-deleted-container-name", "gone")
        .header("x-ms-deleted-container-version", version),
        example("Lease Container", "PUT", "/box?restype=container&comp=lease", 201)
            .header("x-ms-lease-action", "acquire")
            .header("x-ms-lease-duration", "15"),
        example("List Blobs", "GET", "/box?restype=container&comp=list", 200),
        example("Put Blob", "PUT", "/box/new", 201).header("x-ms-blob-type", "BlockBlob"),
        example("Put Blob", "PUT", "/box/block", 201)
            .header("x-ms-blob-type", "BlockBlob")
            .body("other"),
        example("Put Blob", "PUT", "/box/new", 201)
            .header("x-ms-blob-type", "PageBlob")
            .header("x-ms-blob-content-length", "512"),
        example("Put Blob from URL", "PUT", "/box/new", 201)
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-copy-source", format!("{HOST}/box/block")),
        example("Get Blob", "GET", "/box/block", 200),
        example("Get Blob", "GET", format!("/box/pages?snapshot={snapshot}"), 200),
        example("Get Blob Properties", "HEAD", "/box/block", 200),
        example("Set Blob Properties", "PUT", "/box/block?comp=properties", 200),
        example("Get Blob Metadata", "GET", "/box/block?comp=metadata", 200),
        example("Set Blob Metadata", "PUT", "/box/block?comp=metadata", 200).header("x-ms-meta-a", "b"),
        example("Lease Blob", "PUT", "/box/block?comp=lease", 201)
            .header("x-ms-lease-action", "acquire")
            .header("x-ms-lease-duration", "-1")
            .header("x-ms-proposed-lease-id", lease),
        example("Snapshot Blob", "PUT", "/box/block?comp=snapshot", 201),
        example("Copy Blob", "PUT", "/box/new", 202).header("x-ms-copy-source", format!("{HOST}/box/block")),
        // Copies of this service's own blobs are done at once: none is pending.
        example(
            "Abort Copy Blob",
            "PUT",
            "/box/block?comp=copy&copyid=00000000-0000-4000-8000-000000000001",
            409,
        )
        .header("x-ms-copy-action", "abort"),
        example("Delete Blob", "DELETE", "/box/block", 202),
        example(
            "Delete Blob",
            "DELETE",
            format!("/box/pages?snapshot={snapshot}"),
            202,
        ),
        example("Undelete Blob", "PUT", "/box/gone?comp=undelete", 200),
        example("Set Blob Tier", "PUT", "/box/block?comp=tier", 200).header("x-ms-access-tier", "Cool"),
        example("Get, Set Blob Tags", "GET", "/box/block?comp=tags", 200),
        example("Get, Set Blob Tags", "PUT", "/box/block?comp=tags", 204).body(TAGS),
        example("Set Blob Expiry", "PUT", "/box/block?comp=expiry", 400),
        example(
            "Set, Delete Immutability Policy",
            "PUT",
            "/box/block?comp=immutabilityPolicies",
            200,
        )
        .header(
            "x-ms-immutability-policy-until-date",
            "Sat, 01 Jan 2033 00:00:00 GMT",
        ),
        example(
            "Set, Delete Immutability Policy",
            "DELETE",
            "/box/block?comp=immutabilityPolicies",
            200,
        ),
        example("Set Blob Legal Hold", "PUT", "/box/block?comp=legalhold", 200)
            .header("x-ms-legal-hold", "true"),
        example("Query Blob Contents", "POST", "/box/block?comp=query", 200),
        example(
            "Put Block",
            "PUT",
            format!("/box/new?comp=block&blockid={BLOCK}"),
            201,
        )
        .body("1"),
        example(
            "Put Block from URL",
            "PUT",
            format!("/box/new?comp=block&blockid={BLOCK}"),
            201,
        )
        .header("x-ms-copy-source", format!("{HOST}/box/block")),
        example("Put Block List", "PUT", "/box/staged?comp=blocklist", 201)
            .body(format!("<BlockList><Latest>{BLOCK}</Latest></BlockList>")),
        example(
            "Get Block List",
            "GET",
            "/box/block?comp=blocklist&blocklisttype=all",
            200,
        ),
        example("Put Page", "PUT", "/box/pages?comp=page", 201)
            .header("x-ms-page-write", "update")
            .header("x-ms-range", "bytes=512-1023")
            .body(vec![1; 512]),
        example("Put Page from URL", "PUT", "/box/pages?comp=page", 201)
            .header("x-ms-page-write", "update")
            .header("x-ms-range", "bytes=512-1023")
            .header("x-ms-source-range", "bytes=0-511")
            .header("x-ms-copy-source", format!("{HOST}/box/pages")),
        example("Get Page Ranges", "GET", "/box/pages?comp=pagelist", 200),
        example(
            "Incremental Copy Blob",
            "PUT",
            "/box/incremental?comp=incrementalcopy",
            202,
        )
        .header(
            "x-ms-copy-source",
            format!("{HOST}/box/pages?snapshot={snapshot}"),
        ),
        example("Append Block", "PUT", "/box/append?comp=appendblock", 201).body("1"),
        example(
            "Append Block from URL",
            "PUT",
            "/box/append?comp=appendblock",
            201,
        )
        .header("x-ms-copy-source", format!("{HOST}/box/block")),
        example("Append Blob Seal", "PUT", "/box/append?comp=seal", 200),
    ]
}

/// What an example takes of a role.
fn action(example: &Example) -> Action {
    let row = OPERATIONS.iter().find(|(name, _)| *name == example.operation);
    match row.expect("every operation has a row").1 {
        Takes::One(action) => action,
        Takes::ReadOrWrite(read, write) => {
            if example.method == "GET" {
                read
            } else {
                write
            }
        }
        other => panic!("{} has no example: {other:?}", example.operation),
    }
}

fn is_served(example: &Example) -> bool {
    let operation = operation::OPERATIONS
        .iter()
        .find(|one| one.name == example.operation);
    operation.unwrap().support != Support::No
}

fn check(example: &Example, whose: &str, allowed: bool, answer: &Answer) {
    let expected = match (is_served(example), allowed) {
        (false, _) => (501, "NotImplemented"),
        (true, true) => (
            example.status,
            match example.operation {
                "Abort Copy Blob" => "NoPendingCopyOperation",
                "Set Blob Expiry" => "HierarchicalNamespaceNotEnabled",
                _ => "",
            },
        ),
        (true, false) => (403, "AuthorizationPermissionMismatch"),
    };
    let found = outcome(answer);
    let what = format!(
        "{whose}: {} {} ({})",
        example.method, example.path, example.operation
    );
    assert_eq!((found.0, found.1.as_str()), expected, "{what}: {}", answer.text());
}

#[tokio::test]
async fn every_operation_has_an_example() {
    let examples = prepared(&estate_with(immutable)).await;
    for (name, takes) in OPERATIONS {
        let shown = examples.iter().any(|example| example.operation == *name);
        let has_action = !matches!(takes, Takes::Nothing | Takes::EachPart);
        assert_eq!(shown, has_action, "{name}");
    }
}

#[tokio::test]
async fn a_token_opens_what_its_roles_have() {
    let count = prepared(&estate_with(immutable)).await.len();
    let everybody = Role::ALL.into_iter().map(Some).chain([None]);
    for role in everybody {
        // What succeeds changes what there is: each one begins anew.
        let issuing = estate_with(immutable);
        for at in 0..count {
            let fresh = issuing.renewed_with(immutable);
            let example = prepared(&fresh).await.swap_remove(at);
            let id = role.map_or_else(|| NOBODY.to_owned(), object_id);
            let token = fresh.token(&id).await;
            let answer = fresh
                .ask(
                    &token,
                    example.method,
                    &example.path,
                    &example.headers(),
                    &example.body,
                )
                .await;
            let allowed = role.is_some_and(|role| role.allows(action(&example)));
            let whose = role.map_or("nobody", Role::name);
            check(&example, whose, allowed, &answer);
        }
    }
}

/// A user delegation SAS for the container with all permissions, signed as the documentation says, written a
/// second time.
fn delegated(value: &str, signer: &str) -> String {
    let (start, expiry) = ("2023-11-14T22:00:00Z", "2023-11-15T22:00:00Z");
    let permissions = "racwdxyltfmeopi";
    let text = format!(
        "{permissions}\n{start}\n{expiry}\n/blob/dev/box\n{signer}\n{TENANT}\n{start}\n{expiry}\nb\n2024-11-04\n\
         \n\n\n\n\n2022-11-02\nc\n\n\n\n\n\n\n"
    );
    let signature = SharedKey::from_base64(value).unwrap().sign(&text);
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    format!(
        "sv=2022-11-02&sr=c&sp={permissions}&st={start}&se={expiry}&skoid={signer}&sktid={TENANT}&skt={start}\
         &ske={expiry}&sks=b&skv=2024-11-04&sig={signature}"
    )
}

#[tokio::test]
async fn a_signature_opens_what_its_signers_roles_have() {
    let count = prepared(&estate_with(immutable)).await.len();
    for role in Role::ALL {
        let issuing = estate_with(immutable);
        for at in 0..count {
            let fresh = issuing.renewed_with(immutable);
            let example = prepared(&fresh).await.swap_remove(at);
            // Account information is for any signature, and the key for none.
            if ["Get Account Information", "Get User Delegation Key"].contains(&example.operation) {
                continue;
            }
            let id = object_id(role);
            let token = fresh.token(&id).await;
            let path = "/?restype=service&comp=userdelegationkey";
            let key = fresh
                .ask(&token, "POST", path, &[], KEY_INFO.as_bytes())
                .await
                .text();
            let value = key
                .split("<Value>")
                .nth(1)
                .and_then(|rest| rest.split('<').next());
            let sas = delegated(value.expect("a key has a value"), &id);
            let joint = if example.path.contains('?') { '&' } else { '?' };
            let path = format!("{}{joint}{sas}", example.path);
            // A source's address has no signature of its own.
            let headers: Vec<(&str, String)> = example
                .headers
                .iter()
                .map(|(name, value)| match *name {
                    "x-ms-copy-source" if value.contains('?') => (*name, format!("{value}&{sas}")),
                    "x-ms-copy-source" => (*name, format!("{value}?{sas}")),
                    _ => (*name, value.clone()),
                })
                .collect();
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = fresh.bare(example.method, &path, &headers, &example.body).await;
            let of_blob = !example.path.contains("restype=") && !example.path.starts_with("/?");
            let in_box = example.path.starts_with("/box?") && example.path.contains("restype=container");
            let lists = ["List Blobs", "Find Blobs by Tags"].contains(&example.operation) && in_box;
            let allowed = (of_blob || lists) && role.allows(action(&example));
            let whose = format!("signed by {}", role.name());
            if of_blob || in_box {
                check(&example, &whose, allowed, &answer);
            } else {
                // Elsewhere the signature isn't one.
                assert_eq!(
                    answer.status.as_u16(),
                    403,
                    "{whose} {}: {}",
                    example.path,
                    answer.text()
                );
            }
        }
    }
}
