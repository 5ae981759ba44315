//! Where a copy takes its content from: a blob of this very service, which is read as whoever the
//! source's address says. Nothing is fetched over the network.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use encryption::DataKey;
use http::{HeaderMap, HeaderValue, Uri};
use http_semantics::Body;
use http_semantics::range::ByteRange;
use ledger::{Key, Snapshot, Transaction};
use md5::{Digest as _, Md5};

use crate::Blobs;
use crate::auth::{Access, Evidence, Needs, bearer_token};
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{INLINE_BYTES_MAX, PUT_BLOB_BYTES_MAX};
use crate::operations::demands::source_state;
use crate::operations::encryption::{Chosen, KeyAsked};
use crate::rules::conditions::Read;
use crate::rules::structured;
use crate::service::{Call, parse_query};
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::contents::Small;
use crate::store::keys;
use crate::store::records::{BlobEncryption, Extent, StoredId};
use crate::store::staging::{Expected, StagedContent};
use crate::store::states::Which;
use crate::wire::headers;
use crate::wire::target::Target;
use crate::wire::transfer::Announced;

/// A source's address, and who may read it.
pub(crate) struct Source {
    container: String,
    blob: String,
    account: String,
    /// Which of the blob's states the address names.
    pub(crate) which: Which,
    access: Access,
    /// What the request says of its encryption.
    encryption: KeyAsked,
    /// The blob's address, without a query: it may hold a signature.
    pub(crate) stripped: String,
    /// The same with what names a state of the blob.
    pub(crate) shown: String,
}

/// A source as it was read.
pub(crate) struct Original {
    pub(crate) container: Container,
    pub(crate) blob: Blob,
    /// The customer's key that it is under.
    customer: Option<Arc<DataKey>>,
}

/// A source's content that was written once more.
pub(crate) struct Rewritten {
    pub(crate) extents: Vec<Extent>,
    /// What lies in the ledger.
    pub(crate) inline: Option<Bytes>,
}

fn unverified(status: Option<u16>) -> BlobsError {
    BlobsError {
        status,
        ..ErrorCode::CannotVerifyCopySource.into()
    }
}

/// `x-ms-copy-source-authorization` holds a bearer token: a key would have signed another request.
fn bearer_alone(evidence: &Evidence<'_>) -> Result<(), BlobsError> {
    let named = evidence.headers.get("authorization");
    let is_bearer = |value: &HeaderValue| value.to_str().is_ok_and(|text| bearer_token(text).is_some());
    if named.is_none_or(is_bearer) {
        Ok(())
    } else {
        Err(ErrorCode::InvalidAuthenticationInfo.into())
    }
}

/// An error of the source's as the copy's caller is told: with its status and its code's text, not what exactly it
/// was.
fn as_source(error: &BlobsError) -> BlobsError {
    let status = error.status().as_u16();
    if status >= 500 {
        return error.clone();
    }
    BlobsError {
        detail: Some(error.code.text().to_owned()),
        ..unverified(Some(status))
    }
}

impl Source {
    /// Reads `x-ms-copy-source` and finds out whether the caller may read what it names.
    ///
    /// # Errors
    /// `CannotVerifyCopySource`, with the status that reading it would have.
    pub(crate) async fn parse(blobs: &Blobs, call: &Call) -> Result<Self, BlobsError> {
        let url = headers::text(&call.headers, "x-ms-copy-source").ok_or(ErrorCode::MissingRequiredHeader)?;
        let not_an_address = || {
            let text = "x-ms-copy-source is not an address.";
            BlobsError::with(ErrorCode::InvalidHeaderValue, text)
        };
        let uri: Uri = url.parse().map_err(|_| not_an_address())?;
        let query = parse_query(uri.query().unwrap_or_default())?;
        let authority = uri
            .authority()
            .filter(|_| matches!(uri.scheme_str(), Some("http" | "https")))
            .map(ToString::to_string)
            .ok_or_else(not_an_address)?;
        if !is_ours(&authority, &uri, call, &blobs.settings.host_suffixes) {
            let text = "The copy source is not of this service; other sources are not fetched.";
            return Err(BlobsError::with(ErrorCode::CannotVerifyCopySource, text));
        }
        let mut target = Target::parse(&authority, uri.path(), &blobs.settings.host_suffixes)
            .map_err(|_| unverified(None))?;
        blobs.take_literally(&mut target).await?;
        let mut own_headers = HeaderMap::new();
        if let Some(authorization) = call.headers.get("x-ms-copy-source-authorization") {
            own_headers.insert("authorization", authorization.clone());
        }
        let signed = !own_headers.is_empty() || query.iter().any(|(name, _)| name == "sig");
        let access = match &call.access {
            Access::Key if !signed && target.account == call.target.account => Access::Key,
            // Within its account a principal reads as itself.
            Access::Bearer(principal, _) if !signed && target.account == call.target.account => {
                blobs.access_of(principal.clone(), &target)
            }
            _ => {
                let evidence = Evidence {
                    method: "GET",
                    path: uri.path(),
                    query: &query,
                    headers: &own_headers,
                    secure: call.context.secure,
                    peer: call.context.peer.ip(),
                    version: headers::text(&call.headers, "x-ms-version"),
                };
                let found = match bearer_alone(&evidence) {
                    Ok(()) => blobs.authenticate(&target, &evidence).await,
                    Err(error) => Err(error),
                };
                found.map_err(|error| as_source(&error))?
            }
        };
        access
            .permit(Needs::new('o', "r"))
            .map_err(|error| as_source(&error))?;
        let named = |name: &str| {
            let found = query.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.as_str())
        };
        let which = Which::named(named("snapshot"), named("versionid"))?;
        let source = Self {
            container: target.container.ok_or_else(|| unverified(None))?,
            blob: target.blob.ok_or_else(|| unverified(None))?,
            account: target.account,
            which,
            access,
            encryption: call.source_encryption(blobs)?,
            stripped: url.split('?').next().unwrap_or(url).to_owned(),
            shown: shown(url),
        };
        if call.headers.contains_key("x-ms-source-if-tags") {
            source.permit_tags()?;
        }
        Ok(source)
    }

    /// Refuses a caller who may read the source, but not its tags.
    ///
    /// # Errors
    /// `CannotVerifyCopySource`, with the status that reading the tags would have.
    pub(crate) fn permit_tags(&self) -> Result<(), BlobsError> {
        self.access
            .permit_signed(Needs::new('o', "t"))
            .map_err(|error| as_source(&error))
    }

    /// The blob as it is in `snapshot`, if it is as the request demands of it.
    ///
    /// # Errors
    /// `CannotVerifyCopySource`, also if it is under another key than the request brings; `SourceConditionNotMet`,
    /// `BlobArchived`.
    pub(crate) async fn read(
        &self,
        blobs: &Blobs,
        snapshot: &dyn Snapshot,
        call: &Call,
    ) -> Result<Original, BlobsError> {
        let container = blobs
            .container(snapshot, &self.account, &self.container)
            .await
            .map_err(|error| as_source(&error))?;
        let blob = blobs
            .blob_at(snapshot, &container, &self.blob, self.which)
            .await?
            .ok_or_else(|| as_source(&ErrorCode::BlobNotFound.into()))?;
        match source_state(&call.headers, &blob.record, blobs.clock.now())? {
            Read::Proceed => {}
            Read::NotModified => return Err(ErrorCode::SourceConditionNotMet.into()),
        }
        if blob.record.is_archived() && !rehydrates(call) {
            return Err(ErrorCode::BlobArchived.into());
        }
        let opened = blobs.opens(&self.account, &blob.record, &self.encryption);
        opened.map_err(|error| BlobsError {
            detail: Some(error.code.text().to_owned()),
            ..unverified(Some(error.status().as_u16()))
        })?;
        let customer = self.encryption.customer();
        Ok(Original {
            container,
            blob,
            customer,
        })
    }
}

impl Original {
    /// Demands that the source is still as it was read.
    pub(crate) fn require(&self, tx: &mut Transaction) {
        self.container.require(tx);
        tx.require_version(self.key(), Some(self.blob.version));
    }

    /// The key of its record.
    pub(crate) fn key(&self) -> Key {
        keys::state(&self.container.record.generation, &self.blob.record)
    }

    /// Whether its content is under another key than was `chosen` for a blob of `container`. Scopes are an account's:
    /// two of one name have a key each.
    pub(crate) fn is_under_another(&self, container: &Container, chosen: &Chosen) -> bool {
        let has = self.blob.record.encryption.as_ref();
        let is_scope = matches!(has, Some(BlobEncryption::Scope(_)));
        has != chosen.kept.as_ref() || (is_scope && self.container.account != container.account)
    }

    /// The part that `x-ms-source-range` names, or all of it, and its length.
    pub(crate) async fn body(
        &self,
        blobs: &Blobs,
        snapshot: &dyn Snapshot,
        call: &Call,
    ) -> Result<(Body, u64), BlobsError> {
        let record = &self.blob.record;
        let range = match headers::text(&call.headers, "x-ms-source-range") {
            None => 0..record.length,
            Some(text) => {
                let range = ByteRange::parse(text).ok_or(ErrorCode::InvalidHeaderValue)?;
                range.within(record.length).ok_or(ErrorCode::InvalidRange)?
            }
        };
        let length = range.end - range.start;
        let body = blobs
            .content_body(snapshot, &self.container, record, range, self.customer.clone())
            .await?;
        Ok((body, length))
    }

    /// Writes the whole content once more, encrypted as it was `chosen`, and checks it against the digest that it is said to have, if
    /// any.
    ///
    /// # Errors
    /// `Md5Mismatch`, `Crc64Mismatch`; content that is missing or damaged, or changed while it is read.
    pub(crate) async fn take_in(
        &self,
        blobs: &Blobs,
        snapshot: &dyn Snapshot,
        call: &Call,
        chosen: &Chosen,
    ) -> Result<StagedContent, BlobsError> {
        let record = &self.blob.record;
        let all = 0..record.length;
        let body = blobs
            .content_body(snapshot, &self.container, record, all, self.customer.clone())
            .await?;
        let expected = Expected {
            length: Some(record.length),
            digest: Announced::of_source(&call.headers)?,
            is_structured: false,
            bytes_max: PUT_BLOB_BYTES_MAX,
            md5: true,
            inline: true,
        };
        blobs.take_in(chosen.key.clone(), body, expected).await
    }

    /// Writes the content once more, encrypted as it was `chosen`, each block as one.
    ///
    /// # Errors
    /// Content that is missing or damaged, or changed while it is read; as the content store.
    pub(crate) async fn rewrite(
        &self,
        blobs: &Blobs,
        snapshot: &dyn Snapshot,
        chosen: &Chosen,
    ) -> Result<Rewritten, BlobsError> {
        let record = &self.blob.record;
        if record.extents.iter().any(|extent| extent.content.is_none()) {
            let body = blobs.content_body(snapshot, &self.container, record, 0..record.length, None);
            let bytes = body.await?.read_bounded(INLINE_BYTES_MAX).await?;
            let small = Small::new(bytes, chosen.key.clone());
            let (bytes, inline) = small.stored(0..small.len())?;
            let extents = record.extents.iter().map(|extent| Extent {
                inline,
                ..extent.clone()
            });
            return Ok(Rewritten {
                extents: extents.collect(),
                inline: Some(bytes),
            });
        }
        let mut extents: Vec<Extent> = Vec::with_capacity(record.extents.len());
        // A list may have a block many times.
        let mut known: HashMap<StoredId, StoredId> = HashMap::new();
        for extent in &record.extents {
            let Some(content) = extent.content else { continue };
            let anew = match known.get(&content) {
                Some(anew) => *anew,
                None => {
                    let mut reader = blobs.contents.reader(content, 0..u64::MAX).await?;
                    let mut writer = blobs.contents.writer(chosen.key.as_ref()).await?;
                    while let Some(piece) = reader.next().await? {
                        writer.write(piece).await?;
                    }
                    let anew = writer.finish().await?;
                    known.insert(content, anew);
                    anew
                }
            };
            extents.push(Extent::stored(extent.block.clone(), extent.length, anew));
        }
        Ok(Rewritten {
            extents,
            inline: None,
        })
    }

    /// Whether it isn't any more what it was when it was read.
    pub(crate) async fn is_changed(&self, blobs: &Blobs) -> Result<bool, BlobsError> {
        let now = blobs.ledger.snapshot().await?.get(&self.key()).await?;
        Ok(now.is_none_or(|now| now.version != self.blob.version))
    }

    /// Checks the whole content against the digest that it is said to have, if any; gives its MD5 then.
    ///
    /// # Errors
    /// `Md5Mismatch`, `Crc64Mismatch`; content that is missing or damaged.
    pub(crate) async fn check_digest(
        &self,
        blobs: &Blobs,
        snapshot: &dyn Snapshot,
        call: &Call,
    ) -> Result<Option<[u8; 16]>, BlobsError> {
        let Some(announced) = Announced::of_source(&call.headers)? else {
            return Ok(None);
        };
        let record = &self.blob.record;
        let all = 0..record.length;
        let mut body = blobs
            .content_body(snapshot, &self.container, record, all, self.customer.clone())
            .await?;
        let (mut md5, mut crc64) = (Md5::new(), structured::crc64());
        while let Some(piece) = body.next_piece().await? {
            md5.update(&piece);
            crc64.update(&piece);
        }
        let md5 = md5.finalize().into();
        announced.check(Some(md5), crc64.finalize())?;
        Ok(Some(md5))
    }
}

/// Whether a copy takes its source out of the archive: one that isn't waited for does, into a tier that is online
/// ("Copy Blob", "Copying archived blobs"; "Copy Blob From URL" doesn't).
fn rehydrates(call: &Call) -> bool {
    let is_copy = call.parameter("comp").is_none() && !call.headers.contains_key("x-ms-blob-type");
    let online = headers::text(&call.headers, "x-ms-access-tier")
        .is_some_and(|tier| !tier.eq_ignore_ascii_case("archive"));
    is_copy && online && !headers::flag(&call.headers, "x-ms-requires-sync")
}

/// A source's address without its query, save what names a snapshot or a version.
fn shown(url: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let names_a_state = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("snapshot") || name.eq_ignore_ascii_case("versionid")
    };
    let kept: Vec<&str> = query.split('&').filter(names_a_state).collect();
    match kept.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", kept.join("&")),
    }
}

/// Whether an address is one of this service's: the host that the client used for the request itself,
/// one of its configured names, or this machine by another of its names. On another port of this
/// machine is another service.
fn is_ours(authority: &str, uri: &Uri, call: &Call, suffixes: &[String]) -> bool {
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let named = suffixes.iter().any(|suffix| {
        host.strip_suffix(suffix.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    });
    let same_port = || {
        let own: Option<Uri> = call.origin.parse().ok();
        own.is_some_and(|own| port(&own) == port(uri))
    };
    authority.eq_ignore_ascii_case(&call.host) || named || (loopback && same_port())
}

/// An address's port: the scheme's own where it names none.
fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    })
}
