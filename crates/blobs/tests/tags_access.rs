//! Tags are for those alone who are granted them: to read a blob, or to write it, isn't enough.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, account_sas, bench, container_sas};

const LATER: &str = "2030-01-01T00:00:00Z";
const SOURCE: &str = "http://127.0.0.1:10000/dev/box/x";

/// A blob `x` with a tag, in a container that anybody may read.
async fn tagged() -> Bench {
    let bench = bench();
    let open = [("x-ms-blob-public-access", "container")];
    bench.ask("PUT", "/box?restype=container", &open, b"").await;
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-tags", "state=ready")];
    assert_eq!(bench.ask("PUT", "/box/x", &headers, b"content").await.status, 201);
    bench
}

/// Who asks: the query's signature, if there is one.
fn with(path: &str, sas: &str) -> String {
    match (sas, path.contains('?')) {
        ("", _) => path.to_owned(),
        (sas, true) => format!("{path}&{sas}"),
        (sas, false) => format!("{path}?{sas}"),
    }
}

#[tokio::test]
async fn conditions_on_tags_are_for_who_sees_tags() {
    let bench = tagged().await;
    let held = [("x-ms-if-tags", "\"state\" = 'ready'")];
    let missed = [("x-ms-if-tags", "\"state\" = 'done'")];
    let unsigned = (401, "NoAuthenticationInformation");
    let ungranted = (403, "AuthorizationPermissionMismatch");
    for (method, path) in [
        ("GET", "/box/x"),
        ("HEAD", "/box/x"),
        ("GET", "/box/x?comp=metadata"),
        ("GET", "/box/x?comp=blocklist"),
        ("PUT", "/box/x?comp=metadata"),
        ("PUT", "/box/x?comp=snapshot"),
        ("DELETE", "/box/x"),
    ] {
        for headers in [held, missed] {
            let all_but_tags = with(path, &account_sas("rwdlac", "sco", LATER));
            let answer = bench.bare(method, &all_but_tags, &headers).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                ungranted,
                "{method} {path}"
            );
            let answer = bench.bare(method, path, &headers).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                unsigned,
                "{method} {path}"
            );
        }
    }
    let granted = with("/box/x", &container_sas("rt", LATER));
    assert_eq!(bench.bare("GET", &granted, &held).await.status, 200);
    assert_eq!(
        bench.bare("GET", &granted, &missed).await.code(),
        "ConditionNotMet"
    );
}

#[tokio::test]
async fn how_many_tags_there_are_is_for_who_sees_tags() {
    let bench = tagged().await;
    let (reads, sees) = (container_sas("rl", LATER), container_sas("rtl", LATER));
    let list = "/box?restype=container&comp=list";
    for (sas, count) in [("", ""), (reads.as_str(), ""), (sees.as_str(), "1")] {
        for (method, path) in [("GET", "/box/x"), ("HEAD", "/box/x")] {
            let answer = bench.bare(method, &with(path, sas), &[]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("x-ms-tag-count")),
                (200, count),
                "{method} {path} {sas}"
            );
        }
        let answer = bench.bare("GET", &with(list, sas), &[]).await;
        assert_eq!(answer.status, 200, "{sas}");
        assert_eq!(answer.text().contains("<TagCount>1<"), !count.is_empty(), "{sas}");
    }
}

#[tokio::test]
async fn tags_are_copied_by_who_may_read_and_write_them() {
    let bench = tagged().await;
    let (reads, sees) = (container_sas("r", LATER), container_sas("rt", LATER));
    let (writes, tags) = (container_sas("cw", LATER), container_sas("cwt", LATER));
    let unverified = "CannotVerifyCopySource";
    for (target, source, status, code) in [
        (&tags, "", 401, unverified),
        (&tags, reads.as_str(), 403, unverified),
        (&writes, sees.as_str(), 403, "AuthorizationPermissionMismatch"),
        (&tags, sees.as_str(), 201, ""),
    ] {
        let source_url = with(SOURCE, source);
        let headers = [
            ("x-ms-copy-source", source_url.as_str()),
            ("x-ms-copy-source-tag-option", "COPY"),
            ("x-ms-blob-type", "BlockBlob"),
        ];
        // Without a kind, it is Copy Blob.
        let copied = bench.bare("PUT", &with("/box/z", target), &headers[..2]).await;
        let copied = (copied.status.as_u16(), copied.code());
        assert_eq!(
            copied,
            (if status == 201 { 202 } else { status }, code),
            "{target} {source}"
        );
        let answer = bench.bare("PUT", &with("/box/y", target), &headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{target} {source}"
        );
    }
    let copied = bench.ask("GET", "/box/y?comp=tags", &[], b"").await;
    assert!(
        copied.text().contains("<Value>ready</Value>"),
        "{}",
        copied.text()
    );
}

#[tokio::test]
async fn conditions_on_a_sources_tags_are_for_who_sees_them() {
    let bench = tagged().await;
    let (reads, sees) = (container_sas("r", LATER), container_sas("rt", LATER));
    for (source, value, status, code) in [
        ("", "ready", 401, "CannotVerifyCopySource"),
        (reads.as_str(), "ready", 403, "CannotVerifyCopySource"),
        (reads.as_str(), "done", 403, "CannotVerifyCopySource"),
        (sees.as_str(), "done", 412, "SourceConditionNotMet"),
        (sees.as_str(), "ready", 202, ""),
    ] {
        let headers = [
            ("x-ms-copy-source", with(SOURCE, source)),
            ("x-ms-source-if-tags", format!("\"state\" = '{value}'")),
        ];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let to = with("/box/y", &container_sas("cw", LATER));
        let answer = bench.bare("PUT", &to, &headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{source} {value}"
        );
    }
}
