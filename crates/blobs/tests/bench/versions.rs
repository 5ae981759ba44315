//! What tests of versions share: addresses of versions, listings as lines, settings.

use http::StatusCode;
use identity::SharedKey;

use super::{ACCOUNT, Answer, Bench, KEY, bench_of, next_marker};

pub(crate) const DAY_SECONDS: i64 = 24 * 3_600;
pub(crate) const ALL: &str = "versions,snapshots,deleted";
pub(crate) const LATER: &str = "2030-01-01T00:00:00Z";

pub(crate) fn at(path: &str, version: &str) -> String {
    format!("{path}?versionid={}", version.replace(':', "%3A"))
}

pub(crate) fn with(path: &str, comp: &str, version: &str) -> String {
    format!("{path}?comp={comp}&versionid={}", version.replace(':', "%3A"))
}

pub(crate) async fn put(bench: &Bench, body: &[u8]) -> String {
    let put = bench.put("/box/x", body).await;
    assert_eq!(put.status, 201, "{}", put.text());
    put.header("x-ms-version-id").to_owned()
}

/// The states of a listing without their times.
pub(crate) async fn states(bench: &Bench, include: &str) -> Vec<String> {
    let lines = listed(bench, include).await;
    lines.into_iter().map(|(_, state, _)| state).collect()
}

pub(crate) fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.code())
}

pub(crate) async fn content(bench: &Bench, version: &str) -> Vec<u8> {
    let got = bench.ask("GET", &at("/box/x", version), &[], b"").await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.header("x-ms-version-id"), version);
    got.body.to_vec()
}

/// With an account that has versioning.
pub(crate) async fn versioning() -> Bench {
    let bench = bench_of(true, Vec::new(), true);
    let made = bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(made.status, StatusCode::CREATED);
    bench
}

/// What a listing with these includes says: lines of name, what the state is, and its time.
pub(crate) async fn listed(bench: &Bench, include: &str) -> Vec<(String, String, String)> {
    let mut lines = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!(
            "/box?restype=container&comp=list&include={include}&marker={}",
            marker.replace('!', "%21")
        );
        let page = bench.ask("GET", &path, &[], b"").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        let page = page.text();
        lines.extend(page.split("<Blob>").skip(1).map(listed_line));
        marker = next_marker(&page);
        if marker.is_empty() {
            return lines;
        }
    }
}

pub(crate) fn listed_line(line: &str) -> (String, String, String) {
    let inner = |tag: &str| {
        let rest = line.split(&format!("<{tag}>")).nth(1)?;
        rest.split('<').next().map(str::to_owned)
    };
    let mut state = match (inner("Snapshot"), inner("VersionId")) {
        (Some(_), _) => "snapshot",
        (None, Some(_)) if inner("IsCurrentVersion").is_some() => "current",
        (None, Some(_)) => "version",
        (None, None) if inner("HasVersionsOnly").is_some() => "versions only",
        (None, None) => "blob",
    }
    .to_owned();
    if inner("Deleted").is_some() {
        state.insert_str(0, "deleted ");
    }
    let time = inner("Snapshot").or(inner("VersionId")).unwrap_or_default();
    (inner("Name").unwrap(), state, time)
}

/// Sets how long the account keeps what is deleted, and whether it may go at once.
pub(crate) async fn retain(bench: &Bench, days: u32, permanent: bool) {
    let body = format!(
        "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>{days}</Days>\
         <AllowPermanentDelete>{permanent}</AllowPermanentDelete></DeleteRetentionPolicy></StorageServiceProperties>"
    );
    let path = "/?restype=service&comp=properties";
    let answer = bench.ask("PUT", path, &[], body.as_bytes()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
}

/// A service SAS for one version of a blob in the container.
pub(crate) fn version_sas(permissions: &str, expiry: &str, name: &str, version: &str) -> String {
    let text = format!(
        "{permissions}\n\n{expiry}\n/blob/{ACCOUNT}/box/{name}\n\n\n\n2021-12-02\nbv\n{version}\n\n\n\n\n\n"
    );
    let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    format!("sv=2021-12-02&sr=bv&sp={permissions}&se={expiry}&sig={signature}")
}
