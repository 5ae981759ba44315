//! Put Blob, Get Blob, Get Blob Properties, Set Blob Properties, Get and Set Blob Metadata,
//! Delete Blob.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Response, StatusCode};
use http_semantics::Body;
use http_semantics::range::ByteRange;
use jiff::Timestamp;
use ledger::{Snapshot, Transaction};

use crate::Blobs;
use crate::auth::Access;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{PUT_BLOB_BYTES_MAX, RANGE_DIGEST_BYTES_MAX};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::{KeyAsked, KeyUse};
use crate::operations::{immutability, pages};
use crate::rules::conditions::Read;
use crate::rules::immutability::Protection;
use crate::rules::lease;
use crate::rules::roles::Action;
use crate::rules::tags::Tags;
use crate::rules::tier::Asked;
use crate::service::Call;
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::records::{BlobKind, BlobRecord, TierRecord};
use crate::wire::transfer::{self, Transfer};
use crate::wire::{headers, render};

/// Overwriting needs `w`; `c` is enough for what doesn't exist yet.
pub(crate) fn permit_write(call: &Call, exists: bool) -> Result<(), BlobsError> {
    call.permit('o', if exists { "w" } else { "cw" })
}

pub(crate) async fn put(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let kind = match headers::text(&call.headers, "x-ms-blob-type") {
        Some("BlockBlob") => BlobKind::Block,
        Some("AppendBlob") => BlobKind::Append,
        Some("PageBlob") => return pages::create(blobs, call).await,
        Some(_) => return Err(ErrorCode::InvalidHeaderValue.into()),
        None => {
            return Err(BlobsError::with(
                ErrorCode::MissingRequiredHeader,
                "x-ms-blob-type is required.",
            ));
        }
    };
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let mut transfer = Transfer::parse(&call.headers)?;
    let length = transfer.length;
    if length > PUT_BLOB_BYTES_MAX {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    if kind == BlobKind::Append && length > 0 {
        let text = "An append blob is made empty; append blocks to it.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let demands = Demands::parse(&call.headers)?;
    let mut properties = headers::blob_headers(&call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    let given = Given::parse(&call, blobs.clock.now())?;
    // A block blob's own MD5 is what its content is held against, whatever Content-MD5 says; the other kinds take
    // it as it is (Put Blob, x-ms-blob-content-md5).
    let own_md5 = match kind {
        BlobKind::Block => headers::md5(&call.headers, "x-ms-blob-content-md5")?,
        BlobKind::Append | BlobKind::Page => None,
    };
    if own_md5.is_some() {
        transfer.forget_md5();
    }
    if properties.content_type.is_none() {
        properties.content_type = headers::text(&call.headers, "content-type").map(str::to_owned);
    }
    // Refused before the body is taken, if it is clear already.
    let (container, before) = look_up(blobs, &call).await?;
    demands.write(before.as_ref().map(|before| &before.record), blobs.clock.now())?;
    permit_write(&call, before.is_some())?;
    given.check(blobs, &container, kind == BlobKind::Block)?;
    let chosen = blobs.choose(&container, &asked)?;
    drop((container, before));
    let expected = transfer.expected(PUT_BLOB_BYTES_MAX, true);
    let staged = blobs
        .take_in(chosen.key.clone(), call.take_body(), expected)
        .await?;
    if own_md5.is_some_and(|own| staged.md5 != Some(own)) {
        return Err(ErrorCode::Md5Mismatch.into());
    }
    if properties.content_md5.is_none() && kind == BlobKind::Block {
        properties.content_md5 = staged.md5.map(|md5| STANDARD.encode(md5));
    }
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, before) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        demands.write(before.as_ref().map(|before| &before.record), blobs.clock.now())?;
        permit_write(&call, before.is_some())?;
        chosen.still(blobs, &container, &asked)?;
        let (mut record, mut inline) =
            blobs.whole_record(call.blob()?, before.as_ref(), &staged, properties.clone())?;
        if kind == BlobKind::Append {
            record.kind = kind;
            record.extents.clear();
            inline = None;
        }
        record.metadata = metadata.clone();
        record.encryption.clone_from(&chosen.kept);
        given.apply(&mut record)?;
        let mut tx = Transaction::new();
        let states = (before.as_ref(), &mut record, inline);
        blobs
            .stage_overwrite(&mut tx, snapshot.as_ref(), &container, states, "put")
            .await?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::CREATED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                render::set_version(out, record.version);
                transfer::answer(out, &call.headers, &staged);
                chosen.answer(out);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Tags, tier and protection that a request gives the blob that it makes.
pub(crate) struct Given {
    pub(crate) tags: Tags,
    tier: Option<(Asked, Timestamp)>,
    protection: Protection,
}

impl Given {
    pub(crate) fn parse(call: &Call, now: Timestamp) -> Result<Self, BlobsError> {
        let tags = headers::tags(&call.headers)?;
        if !tags.is_empty() {
            call.permit_action('o', "t", Action::TagsWrite)?;
        }
        let tier = headers::tier(&call.headers)?.map(|asked| (asked, now));
        let protection = immutability::given(call, now)?;
        Ok(Self {
            tags,
            tier,
            protection,
        })
    }

    /// Whether a blob of that kind can have the tier, and one in `container` the protection: asked before the
    /// work is done.
    pub(crate) fn check(
        &self,
        blobs: &Blobs,
        container: &Container,
        is_block: bool,
    ) -> Result<(), BlobsError> {
        if !self.protection.is_none() {
            blobs.permit_protection(container)?;
        }
        if let Some((asked, _)) = self.tier {
            asked.of_blob(is_block)?;
        }
        Ok(())
    }

    pub(crate) fn apply(&self, record: &mut BlobRecord) -> Result<(), BlobsError> {
        record.tags.clone_from(&self.tags);
        record.protection = self.protection;
        record.tier = match self.tier {
            None => None,
            Some((asked, changed)) => Some(TierRecord {
                tier: asked.of_blob(record.kind == BlobKind::Block)?,
                changed,
            }),
        };
        Ok(())
    }
}

/// Container and blob as they are in a snapshot of their own.
pub(crate) async fn look_up(blobs: &Blobs, call: &Call) -> Result<(Container, Option<Blob>), BlobsError> {
    let snapshot = blobs.ledger.snapshot().await?;
    look_up_in(blobs, snapshot.as_ref(), call).await
}

/// Container and blob as they are in `snapshot`: the blob's snapshot or version, if the request names one.
pub(crate) async fn look_up_in(
    blobs: &Blobs,
    snapshot: &dyn Snapshot,
    call: &Call,
) -> Result<(Container, Option<Blob>), BlobsError> {
    let container = blobs
        .container(snapshot, &call.target.account, call.container()?)
        .await?;
    let blob = blobs
        .blob_at(snapshot, &container, call.blob()?, call.which()?)
        .await?;
    Ok((container, blob))
}

fn shown(blobs: &Blobs, call: &Call) -> render::Shown {
    render::Shown {
        sees_tags: call.sees_tags('o'),
        encrypts: blobs.contents.encrypts(),
        tracks_access: blobs.tracks_access(&call.target.account),
    }
}

fn not_modified(record: &BlobRecord) -> Response<Body> {
    render::not_modified(&record.etag, record.last_modified)
}

pub(crate) async fn get(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "r")?;
    let snapshot = blobs.ledger.snapshot().await?;
    let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
    let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
    let record = &blob.record;
    let asked = call.encryption(blobs, KeyUse::Reads)?;
    if Demands::parse(&call.headers)?.read(record, blobs.clock.now())? == Read::NotModified {
        return Ok(not_modified(record));
    }
    blobs.opens(&call.target.account, record, &asked)?;
    if record.is_archived() {
        return Err(ErrorCode::BlobArchived.into());
    }
    pages::refuse_incremental(record)?;
    let part = headers::text(&call.headers, "x-ms-range").or_else(|| headers::text(&call.headers, "range"));
    // What isn't a range is passed over, as HTTP has it (RFC 9110, 14.2) and the original does.
    let (status, range) = match part.and_then(ByteRange::parse) {
        None => (StatusCode::OK, 0..record.length),
        Some(range) => {
            let range = range.within(record.length).ok_or(BlobsError {
                length_bytes: Some(record.length),
                ..ErrorCode::InvalidRange.into()
            })?;
            (StatusCode::PARTIAL_CONTENT, range)
        }
    };
    let length = range.end - range.start;
    let mut body = blobs
        .content_body(
            snapshot.as_ref(),
            &container,
            record,
            range.clone(),
            asked.customer(),
        )
        .await?;
    let mut range_digest = None;
    if status == StatusCode::PARTIAL_CONTENT
        && let Some(wanted) = transfer::range_digest(&call.headers)?
    {
        if length > RANGE_DIGEST_BYTES_MAX {
            return Err(ErrorCode::OutOfRangeInput.into());
        }
        let bytes = body
            .read_bounded(usize::try_from(length).unwrap_or(usize::MAX))
            .await?;
        range_digest = Some(wanted.of(&bytes));
        body = Body::full(bytes);
    }
    let mut response = render::empty(status);
    let out = response.headers_mut();
    render::set_blob(out, record, shown(blobs, &call), blobs.clock.now());
    let body = transfer::send(out, &call.headers, body, length)?;
    if status == StatusCode::PARTIAL_CONTENT {
        render::set(
            out,
            "content-range",
            format!("bytes {}-{}/{}", range.start, range.end - 1, record.length),
        );
        out.remove("content-md5");
        if let Some(md5) = &record.headers.content_md5 {
            render::set(out, "x-ms-blob-content-md5", md5);
        }
        if let Some((header, digest)) = range_digest {
            render::set(out, header, digest);
        }
    }
    override_headers(&call, out);
    *response.body_mut() = body;
    blobs.note_access(&container, &blob).await;
    Ok(response)
}

/// Says of the content what the caller's signature wants said of it.
fn override_headers(call: &Call, out: &mut HeaderMap) {
    if let Access::Sas(grant) = &call.access {
        for (header, value) in &grant.overrides {
            render::set(out, header, value);
        }
    }
}

pub(crate) async fn properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "r")?;
    let (_, blob) = look_up(blobs, &call).await?;
    let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
    let asked = call.encryption(blobs, KeyUse::Reads)?;
    if Demands::parse(&call.headers)?.read(&blob.record, blobs.clock.now())? == Read::NotModified {
        return Ok(not_modified(&blob.record));
    }
    blobs.opens(&call.target.account, &blob.record, &asked)?;
    let mut response = render::empty(StatusCode::OK);
    let out = response.headers_mut();
    render::set_blob(out, &blob.record, shown(blobs, &call), blobs.clock.now());
    if call.parameter("comp").is_none() {
        render::set(out, "content-length", blob.record.length.to_string());
        override_headers(&call, out);
    } else {
        out.remove("content-type");
        out.remove("content-md5");
    }
    Ok(response)
}

/// Changes a blob's record without touching its content; the blob is a new version then, or the same one. What is
/// `asked` of its encryption is looked at where the operation takes keys.
async fn change(
    blobs: &Blobs,
    call: &Call,
    (op, makes_version): (&str, bool),
    asked: Option<&KeyAsked>,
    apply: impl Fn(&mut BlobRecord) + Send + Sync,
) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.write(Some(&blob.record), blobs.clock.now())?;
        let account = &call.target.account;
        let chosen = asked.map(|asked| blobs.choose_for(account, &blob.record, asked));
        let chosen = chosen.transpose()?;
        blob.record.protection.change()?;
        if blob.record.is_archived() {
            return Err(ErrorCode::BlobArchived.into());
        }
        let mut record = blob.record.clone();
        apply(&mut record);
        record.etag = blobs.new_etag();
        record.last_modified = blobs.clock.now();
        record.lease = lease::after_write(record.lease.as_ref(), record.last_modified);
        let mut tx = Transaction::new();
        if makes_version {
            blobs
                .stage_version(&mut tx, snapshot.as_ref(), &container, Some(&blob), &mut record)
                .await?;
        }
        blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, op)?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::OK);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                render::set_version(out, record.version.filter(|_| makes_version));
                if record.kind == BlobKind::Page {
                    let number = record.sequence_number.to_string();
                    render::set(out, "x-ms-blob-sequence-number", number);
                }
                if let Some(chosen) = chosen {
                    chosen.answer(out);
                }
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn set_properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    if call.headers.contains_key("x-ms-blob-content-length")
        || call.headers.contains_key("x-ms-sequence-number-action")
    {
        return pages::set_properties(blobs, call).await;
    }
    let mut properties = headers::blob_headers(&call.headers)?;
    // A property that isn't named is cleared; a type that was never given is another thing.
    properties.content_type.get_or_insert_default();
    change(blobs, &call, ("setProperties", false), None, |record| {
        record.headers = properties.clone();
    })
    .await
}

/// Set Blob Expiry is for accounts with a hierarchical namespace, whatever it is about.
pub(crate) fn set_expiry(call: &Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    Err(ErrorCode::HierarchicalNamespaceNotEnabled.into())
}

pub(crate) async fn set_metadata(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let metadata = headers::metadata(&call.headers)?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    change(blobs, &call, ("setMetadata", true), Some(&asked), |record| {
        record.metadata = metadata.clone();
    })
    .await
}
