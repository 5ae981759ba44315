//! List Containers, List Blobs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use http_semantics::{Body, date};
use jiff::Timestamp;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::LIST_ENTRIES_MAX;
use crate::operations::encryption::default_encryption;
use crate::operations::tags;
use crate::rules::immutability::Protection;
use crate::rules::lease::{self, Lease};
use crate::service::Call;
use crate::store::last_access::accessed;
use crate::store::listing::{From, Line, ListedContainer, States, Wanted};
use crate::store::records::{BlobEncryption, BlobKind, BlobRecord, ContainerRecord};
use crate::store::states::time_text;
use crate::wire::{render, xml};

/// What a listing's request says, with its marker read.
struct Page {
    entries_max: usize,
    from: Option<From>,
}

/// `maxresults`, cut to what a page may hold.
pub(crate) fn entries_max(call: &Call) -> Result<usize, BlobsError> {
    match call.parameter("maxresults").map(str::parse::<u64>) {
        None => Ok(LIST_ENTRIES_MAX),
        Some(Ok(0)) => Err(ErrorCode::OutOfRangeQueryParameterValue.into()),
        Some(Ok(number)) => Ok(usize::try_from(number)
            .unwrap_or(LIST_ENTRIES_MAX)
            .min(LIST_ENTRIES_MAX)),
        Some(Err(_)) => Err(ErrorCode::InvalidQueryParameterValue.into()),
    }
}

fn page(call: &Call) -> Result<Page, BlobsError> {
    let entries_max = entries_max(call)?;
    let from = call
        .parameter("marker")
        .map(|marker| read_marker(marker).ok_or(ErrorCode::InvalidQueryParameterValue))
        .transpose()?;
    Ok(Page { entries_max, from })
}

/// Name, and in nanoseconds the time of the state that the page begins with, if it begins with one, and the
/// version that was seen, if one was.
fn write_marker(from: &From) -> String {
    let name = URL_SAFE_NO_PAD.encode(&from.name);
    let part = |at: Timestamp| at.as_nanosecond().to_string();
    match (from.below.map(part), from.version.map(part)) {
        (None, None) => name,
        (Some(at), None) => format!("{name}!{at}"),
        (at, Some(version)) => format!("{name}!{}!{version}", at.unwrap_or_default()),
    }
}

fn read_marker(text: &str) -> Option<From> {
    let mut parts = text.split('!');
    let name = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let mut time = || match parts.next() {
        None | Some("") => Some(None),
        Some(at) => Timestamp::from_nanosecond(at.parse().ok()?).ok().map(Some),
    };
    let (below, version) = (time()?, time()?);
    Some(From {
        name: String::from_utf8(name).ok()?,
        below,
        version,
    })
    .filter(|_| parts.next().is_none())
}

/// The parts before the entries.
fn head(call: &Call, container: Option<&str>) -> String {
    let endpoint = xml::escape(&format!("{}{}/", call.origin, call.target.base));
    let container = container.map_or_else(String::new, |name| {
        format!(" ContainerName=\"{}\"", xml::escape(name))
    });
    let mut out = format!(
        "{}<EnumerationResults ServiceEndpoint=\"{endpoint}\"{container}>",
        xml::DECLARATION
    );
    for (parameter, tag) in [
        ("prefix", "Prefix"),
        ("marker", "Marker"),
        ("maxresults", "MaxResults"),
        ("delimiter", "Delimiter"),
    ] {
        if let Some(value) = call.parameter(parameter) {
            out.push_str(&xml::element(tag, value));
        }
    }
    out
}

fn tail(next: Option<&From>) -> String {
    let marker = next.map(write_marker).unwrap_or_default();
    format!("<NextMarker>{marker}</NextMarker></EnumerationResults>")
}

fn includes(call: &Call, what: &str) -> bool {
    call.parameter("include").is_some_and(|include| {
        include
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(what))
    })
}

fn metadata_element(metadata: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: String = metadata
        .iter()
        .map(|(name, value)| xml::element(name, value))
        .collect();
    format!("<Metadata>{pairs}</Metadata>")
}

/// When something was deleted, and for how long it is kept still.
fn deletion_elements(at: Timestamp, until: Timestamp, now: Timestamp) -> String {
    let days = until.duration_since(now).as_hours().max(0) / 24;
    let time = xml::element("DeletedTime", &date::format(at));
    time + &xml::element("RemainingRetentionDays", &days.to_string())
}

pub(crate) async fn containers(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('s', "l")?;
    let Page { entries_max, from } = page(&call)?;
    let prefix = call.parameter("prefix").unwrap_or("");
    let wanted = Wanted {
        prefix,
        delimiter: None,
        from: from.as_ref(),
        entries_max,
        states: States {
            deleted: includes(&call, "deleted"),
            system: includes(&call, "system"),
            ..States::default()
        },
    };
    let snapshot = blobs.ledger.snapshot().await?;
    let (listed, next) = blobs
        .list_containers(snapshot.as_ref(), &call.target.account, wanted)
        .await?;
    let now = blobs.clock.now();
    let mut out = head(&call, None);
    out.push_str("<Containers>");
    for listed in listed {
        let (record, deleted) = match &listed {
            ListedContainer::Live(record) => (record, None),
            ListedContainer::Deleted(deleted) => (&deleted.container, Some(deleted)),
        };
        out.push_str("<Container>");
        out.push_str(&xml::name(&record.name));
        if let Some(deleted) = deleted {
            out.push_str("<Deleted>true</Deleted>");
            out.push_str(&xml::element("Version", &deleted.version.text()));
        }
        out.push_str(&format!(
            "<Properties><Last-Modified>{}</Last-Modified><Etag>\"{}\"</Etag>{}{}<HasImmutabilityPolicy>false</HasImmutabilityPolicy>\
             <HasLegalHold>false</HasLegalHold>{}\
             <ImmutableStorageWithVersioningEnabled>{}</ImmutableStorageWithVersioningEnabled>{}</Properties>",
            date::format(record.last_modified),
            record.etag,
            lease_elements(record.lease.as_ref().filter(|_| deleted.is_none()), now),
            record
                .public_access
                .map_or_else(String::new, |access| xml::element("PublicAccess", access.name())),
            default_encryption_elements(record),
            blobs.has_immutable_storage(&call.target.account, &record.name),
            deleted.map_or_else(String::new, |deleted| deletion_elements(deleted.at, deleted.until, now))
        ));
        if includes(&call, "metadata") {
            out.push_str(&metadata_element(&record.metadata));
        }
        out.push_str("</Container>");
    }
    out.push_str("</Containers>");
    out.push_str(&tail(next.as_ref()));
    Ok(render::document(out))
}

pub(crate) async fn blobs(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('c', "l")?;
    if includes(&call, "tags") {
        call.permit_signed('c', "t")?;
    }
    // Anybody may see what is in a public container, not what somebody is about to write.
    let uncommitted = includes(&call, "uncommittedblobs");
    if uncommitted {
        call.permit_signed('c', "l")?;
    }
    let Page { entries_max, from } = page(&call)?;
    let prefix = call.parameter("prefix").unwrap_or("");
    let delimiter = call.parameter("delimiter");
    let wanted = Wanted {
        prefix,
        delimiter,
        from: from.as_ref(),
        entries_max,
        states: States {
            snapshots: includes(&call, "snapshots"),
            deleted: includes(&call, "deleted"),
            versions: includes(&call, "versions"),
            versions_only: includes(&call, "deletedwithversions"),
            system: false,
            uncommitted,
        },
    };
    let snapshot = blobs.ledger.snapshot().await?;
    let container = blobs
        .container(snapshot.as_ref(), &call.target.account, call.container()?)
        .await?;
    let (lines, next) = blobs.list_blobs(snapshot.as_ref(), &container, wanted).await?;
    let now = blobs.clock.now();
    let mut out = head(&call, Some(&container.record.name));
    out.push_str("<Blobs>");
    for line in lines {
        match line {
            Line::Prefix(name) => out.push_str(&format!("<BlobPrefix>{}</BlobPrefix>", xml::name(&name))),
            Line::Blob(record) => {
                out.push_str(&blob_element((blobs, &call), &record, &standing(&record), now));
            }
            Line::Uncommitted(name) => out.push_str(&uncommitted_element(&name)),
            Line::VersionsOnly(record) => {
                let standing = "<HasVersionsOnly>true</HasVersionsOnly>";
                out.push_str(&blob_element((blobs, &call), &record, standing, now));
            }
        }
    }
    out.push_str("</Blobs>");
    out.push_str(&tail(next.as_ref()));
    Ok(render::document(out))
}

fn default_encryption_elements(record: &ContainerRecord) -> String {
    let (scope, deny_override) = default_encryption(record);
    let scope = xml::element("DefaultEncryptionScope", scope);
    scope + &xml::element("DenyEncryptionScopeOverride", render::flag(deny_override))
}

fn lease_elements(held: Option<&Lease>, now: Timestamp) -> String {
    let state = lease::state(held, now);
    let mut out = xml::element("LeaseStatus", state.status());
    out.push_str(&xml::element("LeaseState", state.name()));
    if let Some(duration) = lease::duration(held, now) {
        out.push_str(&xml::element("LeaseDuration", duration));
    }
    out
}

/// A blob that has staged blocks alone has no time, no tag and no properties.
fn uncommitted_element(name: &str) -> String {
    format!(
        "<Blob>{}<Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>{}</Properties></Blob>",
        xml::name(name),
        lease_elements(None, Timestamp::UNIX_EPOCH)
    )
}

fn protection_elements(call: &Call, protection: &Protection) -> String {
    let mut out = String::new();
    if let Some(policy) = protection.policy.filter(|_| includes(call, "immutabilitypolicy")) {
        let until = date::format(policy.until);
        out.push_str(&xml::element("ImmutabilityPolicyUntilDate", &until));
        out.push_str(&xml::element("ImmutabilityPolicyMode", policy.mode.name()));
    }
    if let Some(held) = protection.legal_hold.filter(|_| includes(call, "legalhold")) {
        out.push_str(&xml::element("LegalHold", &held.to_string()));
    }
    out
}

/// What tells which of its name's states a record is.
fn standing(record: &BlobRecord) -> String {
    let mut out = String::new();
    if record.deleted.is_some() {
        out.push_str("<Deleted>true</Deleted>");
    }
    if let Some(at) = record.snapshot {
        out.push_str(&xml::element("Snapshot", &time_text(at)));
    }
    if let Some(version) = record.version {
        out.push_str(&xml::element("VersionId", &time_text(version)));
        if !record.previous {
            out.push_str("<IsCurrentVersion>true</IsCurrentVersion>");
        }
    }
    out
}

/// Which key of the customer's a blob is encrypted under, or in which scope, if it is.
fn encryption_element(record: &BlobRecord) -> String {
    match &record.encryption {
        None => String::new(),
        Some(BlobEncryption::Customer(digest)) => {
            xml::element("CustomerProvidedKeySha256", &digest.to_string())
        }
        Some(BlobEncryption::Scope(scope)) => xml::element("EncryptionScope", scope),
    }
}

fn blob_element(
    (blobs, call): (&Blobs, &Call),
    record: &BlobRecord,
    standing: &str,
    now: Timestamp,
) -> String {
    let headers = &record.headers;
    let mut out = format!(
        "<Blob>{}{standing}<Properties><Creation-Time>{}</Creation-Time><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
         <Content-Length>{}</Content-Length>",
        xml::name(&record.name),
        date::format(record.created),
        date::format(record.last_modified),
        record.etag,
        record.length
    );
    let content_type = Some(
        headers
            .content_type
            .as_deref()
            .unwrap_or("application/octet-stream"),
    );
    for (tag, value) in [
        ("Content-Type", content_type),
        ("Content-Encoding", headers.content_encoding.as_deref()),
        ("Content-Language", headers.content_language.as_deref()),
        ("Content-MD5", headers.content_md5.as_deref()),
        ("Cache-Control", headers.cache_control.as_deref()),
        ("Content-Disposition", headers.content_disposition.as_deref()),
    ] {
        out.push_str(&xml::element(tag, value.unwrap_or("")));
    }
    if record.kind == BlobKind::Page {
        let number = record.sequence_number.to_string();
        out.push_str(&xml::element("x-ms-blob-sequence-number", &number));
    }
    out.push_str(&xml::element("BlobType", record.kind.name()));
    if record.kind == BlobKind::Block {
        match &record.tier {
            Some(given) => {
                out.push_str(&xml::element("AccessTier", given.tier.name()));
                out.push_str(&xml::element(
                    "AccessTierChangeTime",
                    &date::format(given.changed),
                ));
            }
            None => out.push_str("<AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"),
        }
    }
    if call.sees_tags('c') && !record.tags.is_empty() {
        out.push_str(&xml::element("TagCount", &record.tags.len().to_string()));
    }
    if let Some(incremental) = &record.incremental {
        out.push_str("<IncrementalCopy>true</IncrementalCopy>");
        out.push_str(&xml::element(
            "DestinationSnapshot",
            &time_text(incremental.snapshot),
        ));
    }
    if let Some(deleted) = &record.deleted {
        out.push_str(&deletion_elements(deleted.at, deleted.until, now));
    }
    if blobs.tracks_access(&call.target.account) && record.below().is_none() {
        out.push_str(&xml::element("LastAccessTime", &date::format(accessed(record))));
    }
    if record.sealed {
        out.push_str("<Sealed>true</Sealed>");
    }
    // What isn't the blob any more can't be leased.
    if !record.previous {
        out.push_str(&lease_elements(record.lease.as_ref(), now));
    }
    let encrypted = record.is_encrypted(blobs.contents.encrypts());
    out.push_str(&format!("<ServerEncrypted>{encrypted}</ServerEncrypted>"));
    out.push_str(&encryption_element(record));
    out.push_str(&protection_elements(call, &record.protection));
    out.push_str("</Properties>");
    if includes(call, "metadata") {
        out.push_str(&match record.encryption {
            // It is read with the key alone.
            Some(BlobEncryption::Customer(_)) => "<Metadata Encrypted=\"true\" />".to_owned(),
            Some(BlobEncryption::Scope(_)) | None => metadata_element(&record.metadata),
        });
    }
    if includes(call, "tags") && !record.tags.is_empty() {
        out.push_str(&tags::element(&record.tags));
    }
    out.push_str("</Blob>");
    out
}
