//! Containers that are deleted, listed, brought back and purged, on memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{
    Answer, Bench, account_sas, bytes, container_sas, contents, create_pages, put_pages, records,
    take_snapshot, with_container,
};

const DAY_SECONDS: i64 = 24 * 3_600;

/// The kind of keys of generations that wait for their purge.
const PURGES: u8 = 8;

async fn keep(bench: &Bench, policy: &str) {
    let body = format!(
        "<StorageServiceProperties><DeleteRetentionPolicy>{policy}</DeleteRetentionPolicy></StorageServiceProperties>"
    );
    let set = bench
        .ask("PUT", "/?restype=service&comp=properties", &[], body.as_bytes())
        .await;
    assert_eq!(set.status, 202, "{}", set.text());
}

async fn keeping() -> Bench {
    let bench = with_container().await;
    keep(&bench, "<Enabled>true</Enabled><Days>7</Days>").await;
    bench
}

async fn make(bench: &Bench, name: &str) {
    let made = bench
        .ask("PUT", &format!("/{name}?restype=container"), &[], b"")
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
}

async fn delete(bench: &Bench, name: &str) {
    let deleted = bench
        .ask("DELETE", &format!("/{name}?restype=container"), &[], b"")
        .await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
}

async fn restore(bench: &Bench, (name, version): (&str, &str), to: &str) -> Answer {
    let headers = [
        ("x-ms-deleted-container-name", name),
        ("x-ms-deleted-container-version", version),
    ];
    bench
        .ask(
            "PUT",
            &format!("/{to}?restype=container&comp=undelete"),
            &headers,
            b"",
        )
        .await
}

/// Names, with the version of those that are deleted, page by page.
async fn listed(bench: &Bench, query: &str) -> Vec<(String, String)> {
    let (mut all, mut marker) = (Vec::new(), String::new());
    loop {
        let text = bench
            .ask("GET", &format!("/?comp=list{query}{marker}"), &[], b"")
            .await
            .text();
        for part in text.split("<Container>").skip(1) {
            let within = |tag: &str| {
                let rest = part.split_once(&format!("<{tag}>"));
                rest.map_or("", |(_, rest)| rest.split('<').next().unwrap())
                    .to_owned()
            };
            assert_eq!(
                part.contains("<Deleted>true</Deleted>"),
                part.contains("<DeletedTime>")
            );
            all.push((within("Name"), within("Version")));
        }
        match bench::next_marker(&text) {
            next if next.is_empty() => return all,
            next => marker = format!("&marker={next}"),
        }
    }
}

/// The versions of the deleted ones.
async fn versions(bench: &Bench) -> Vec<String> {
    let all = listed(bench, "&include=deleted").await.into_iter();
    all.map(|(_, version)| version)
        .filter(|version| !version.is_empty())
        .collect()
}

#[tokio::test]
async fn a_container_comes_back_with_what_was_in_it() {
    let bench = keeping().await;
    let named = [("x-ms-meta-a", "1")];
    bench
        .ask("PUT", "/box?restype=container&comp=metadata", &named, b"")
        .await;
    bench.put("/box/small", &bytes(100)).await;
    bench.put("/box/large", &bytes(50_000)).await;
    create_pages(&bench, "/box/disk", 8192).await;
    put_pages(&bench, "/box/disk", 512, &bytes(1024)).await;
    take_snapshot(&bench, "/box/disk").await;
    delete(&bench, "box").await;
    assert_eq!(
        bench.ask("GET", "/box/small", &[], b"").await.code(),
        "ContainerNotFound"
    );
    assert_eq!(listed(&bench, "").await, []);
    bench.clock.advance_seconds(7 * DAY_SECONDS - 1);
    contents(&bench).await;
    let text = bench
        .ask("GET", "/?comp=list&include=deleted,metadata", &[], b"")
        .await
        .text();
    for part in [
        "<Deleted>true</Deleted>",
        "<RemainingRetentionDays>0<",
        "<Metadata><a>1</a></Metadata>",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let version = versions(&bench).await.remove(0);
    let back = restore(&bench, ("box", &version), "other").await;
    assert_eq!(back.status, 201, "{}", back.text());
    bench.clock.advance_seconds(30 * DAY_SECONDS);
    contents(&bench).await;
    assert_eq!(
        listed(&bench, "&include=deleted").await,
        [("other".to_owned(), String::new())]
    );
    assert_eq!(bench.ask("GET", "/other/small", &[], b"").await.body, bytes(100));
    assert_eq!(
        bench.ask("GET", "/other/large", &[], b"").await.body,
        bytes(50_000)
    );
    let disk = bench
        .ask("GET", "/other/disk", &[("x-ms-range", "bytes=512-1535")], b"")
        .await;
    assert_eq!(disk.body, bytes(1024));
    let properties = bench.ask("GET", "/other?restype=container", &[], b"").await;
    assert_eq!(properties.header("x-ms-meta-a"), "1");
    let twice = restore(&bench, ("box", &version), "third").await;
    assert_eq!((twice.status.as_u16(), twice.code()), (404, "ContainerNotFound"));
}

#[tokio::test]
async fn what_is_kept_goes_at_its_time() {
    let bench = keeping().await;
    bench.put("/box/x", &bytes(50_000)).await;
    delete(&bench, "box").await;
    let version = versions(&bench).await.remove(0);
    // What was deleted is kept as long as was promised then.
    keep(&bench, "<Enabled>false</Enabled>").await;
    make(&bench, "box").await;
    delete(&bench, "box").await;
    assert_eq!(
        (versions(&bench).await.len(), records(&bench, PURGES).await.len()),
        (1, 1)
    );
    assert_eq!(contents(&bench).await.0, 1);
    bench.clock.advance_seconds(7 * DAY_SECONDS + 1);
    let late = restore(&bench, ("box", &version), "box").await;
    assert_eq!(late.code(), "ContainerNotFound");
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(versions(&bench).await.len(), 0);
}

#[tokio::test]
async fn names_that_were_deleted_often_are_listed_page_by_page() {
    let bench = keeping().await;
    make(&bench, "aaa").await;
    for _ in 0..4 {
        delete(&bench, "box").await;
        make(&bench, "box").await;
    }
    make(&bench, "box2").await;
    delete(&bench, "box2").await;
    let all = listed(&bench, "&include=deleted").await;
    let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["aaa", "box", "box", "box", "box", "box", "box2"]);
    let deleted: Vec<_> = all.iter().filter(|(_, version)| !version.is_empty()).collect();
    assert!(deleted.len() == 5 && deleted[..4].is_sorted() && all[5].1.is_empty());
    for size in 1..8 {
        assert_eq!(
            listed(&bench, &format!("&include=deleted&maxresults={size}")).await,
            all,
            "{size}"
        );
    }
    assert_eq!(listed(&bench, "&maxresults=1").await.len(), 2);
    assert_eq!(listed(&bench, "&include=deleted&prefix=box").await, all[1..]);
    // One with the name is there again: this one comes back under another.
    let (name, version) = &all[2];
    let taken = restore(&bench, (name, version), "box").await;
    assert_eq!(
        (taken.status.as_u16(), taken.code()),
        (409, "ContainerAlreadyExists")
    );
    assert_eq!(restore(&bench, (name, version), "bbb").await.status, 201);
    contents(&bench).await;
    for (version, code) in [
        ("0000000000000000", "ContainerNotFound"),
        ("x", "InvalidHeaderValue"),
    ] {
        assert_eq!(restore(&bench, ("box", version), "ccc").await.code(), code);
    }
    let bare = bench
        .ask("PUT", "/ccc?restype=container&comp=undelete", &[], b"")
        .await;
    assert_eq!(bare.code(), "MissingRequiredHeader");
}

#[tokio::test]
async fn who_may_bring_a_container_back() {
    let bench = keeping().await;
    delete(&bench, "box").await;
    let version = versions(&bench).await.remove(0);
    let headers = [
        ("x-ms-deleted-container-name", "box"),
        ("x-ms-deleted-container-version", version.as_str()),
    ];
    let later = "2030-01-01T00:00:00Z";
    for (sas, status, code) in [
        (String::new(), 401, "NoAuthenticationInformation"),
        (
            account_sas("rcdl", "c", later),
            403,
            "AuthorizationPermissionMismatch",
        ),
        (
            account_sas("w", "o", later),
            403,
            "AuthorizationResourceTypeMismatch",
        ),
        // A container's own signature says what may be done in it.
        (
            container_sas("rwdl", later),
            403,
            "AuthorizationPermissionMismatch",
        ),
        (account_sas("w", "c", later), 201, ""),
    ] {
        let path = format!("/box?restype=container&comp=undelete&{sas}");
        let answer = bench.bare("PUT", &path, &headers).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{sas}");
    }
    assert_eq!(listed(&bench, "").await, [("box".to_owned(), String::new())]);
}

#[tokio::test]
async fn policies_come_back_and_a_lease_does_not() {
    let bench = keeping().await;
    let policies =
        b"<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Expiry>2030-01-01T00:00:00Z</Expiry>\
        <Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>";
    let open = [("x-ms-blob-public-access", "blob")];
    let set = bench
        .ask("PUT", "/box?restype=container&comp=acl", &open, policies)
        .await;
    assert_eq!(set.status, 200, "{}", set.text());
    let acquire = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    let lease = bench
        .ask("PUT", "/box?restype=container&comp=lease", &acquire, b"")
        .await;
    let id = lease.header("x-ms-lease-id").to_owned();
    let refused = bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (412, "LeaseIdMissing"));
    let with_lease = [("x-ms-lease-id", id.as_str())];
    let deleted = bench
        .ask("DELETE", "/box?restype=container", &with_lease, b"")
        .await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    let version = versions(&bench).await.remove(0);
    assert_eq!(restore(&bench, ("box", &version), "box").await.status, 201);
    let acl = bench
        .ask("GET", "/box?restype=container&comp=acl", &[], b"")
        .await;
    assert_eq!(acl.header("x-ms-blob-public-access"), "blob");
    assert!(acl.text().contains("<Id>p</Id>"), "{}", acl.text());
    let properties = bench.ask("GET", "/box?restype=container", &[], b"").await;
    assert_eq!(properties.header("x-ms-lease-state"), "available");
    delete(&bench, "box").await;
}
