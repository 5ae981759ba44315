//! Get Blob Tags, Set Blob Tags, Find Blobs by Tags. Entity tag and time stay as they are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::XML_BYTES_MAX;
use crate::operations::blob::look_up;
use crate::operations::demands::{Demands, overtaken};
use crate::operations::list::entries_max;
use crate::rules::lease::Use;
use crate::rules::roles::Action;
use crate::rules::tags::{Search, Tags, collect};
use crate::service::Call;
use crate::store::tags::FindFrom;
use crate::wire::transfer;
use crate::wire::xml_tree::Element;
use crate::wire::{render, xml};

pub(crate) async fn get(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_signed('o', "t")?;
    let demands = Demands::parse(&call.headers)?;
    let (_, blob) = look_up(blobs, &call).await?;
    let record = blob.ok_or(ErrorCode::BlobNotFound)?.record;
    demands.tags(Some(&record))?;
    demands.lease(record.lease.as_ref(), Use::Reads, blobs.clock.now())?;
    Ok(render::document(format!(
        "{}{}",
        xml::DECLARATION,
        element(&record.tags)
    )))
}

/// `Tags`, as answers have it.
pub(crate) fn element(tags: &Tags) -> String {
    let tags: String = tags
        .iter()
        .map(|(key, value)| {
            format!(
                "<Tag>{}{}</Tag>",
                xml::element("Key", key),
                xml::element("Value", value)
            )
        })
        .collect();
    format!("<Tags><TagSet>{tags}</TagSet></Tags>")
}

fn parse(body: &[u8]) -> Result<Tags, BlobsError> {
    let root = Element::parse(body, "Tags")?;
    let set = root.child("TagSet").ok_or(ErrorCode::InvalidXmlDocument)?;
    if set.children.iter().any(|child| child.tag != "Tag") {
        return Err(ErrorCode::InvalidXmlDocument.into());
    }
    let pairs = set
        .children
        .iter()
        .map(|tag| (tag.text_of("Key").to_owned(), tag.text_of("Value").to_owned()));
    collect(pairs).map_err(BlobsError::from)
}

pub(crate) async fn set(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_action('o', "t", Action::TagsWrite)?;
    let demands = Demands::parse(&call.headers)?;
    let body = call.take_body().read_bounded(XML_BYTES_MAX).await?;
    transfer::check(&call.headers, &body)?;
    let tags = parse(&body)?;
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.tags(Some(&blob.record))?;
        demands.lease(blob.record.lease.as_ref(), Use::Writes, blobs.clock.now())?;
        let mut record = blob.record.clone();
        record.tags.clone_from(&tags);
        let mut tx = Transaction::new();
        blobs.stage_change(&mut tx, &container, &blob, &record, "setTags")?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(render::empty(StatusCode::NO_CONTENT)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn find(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let resource = if call.target.container.is_some() { 'c' } else { 's' };
    call.permit_signed(resource, "f")?;
    let text = call
        .parameter("where")
        .ok_or_else(|| BlobsError::with(ErrorCode::MissingRequiredQueryParameter, "where is required."))?;
    let mut search = Search::parse(text)?;
    if let Some(addressed) = &call.target.container {
        if search.container.as_ref().is_some_and(|named| named != addressed) {
            let text = "@container names another container than the address.";
            return Err(BlobsError::with(ErrorCode::InvalidQueryParameterValue, text));
        }
        search.container = Some(addressed.clone());
    }
    let from = call.parameter("marker").map(read_marker).transpose()?;
    let snapshot = blobs.ledger.snapshot().await?;
    if let Some(addressed) = &call.target.container {
        blobs
            .container(snapshot.as_ref(), &call.target.account, addressed)
            .await?;
    }
    let (found, next) = blobs
        .find_by_tags(
            snapshot.as_ref(),
            &call.target.account,
            &search,
            from,
            entries_max(&call)?,
        )
        .await?;
    let endpoint = xml::escape(&format!("{}{}/", call.origin, call.target.base));
    let mut out = format!(
        "{}<EnumerationResults ServiceEndpoint=\"{endpoint}\">{}<Blobs>",
        xml::DECLARATION,
        xml::element("Where", text)
    );
    for (container, name, tags) in found {
        let shown: Tags = tags
            .into_iter()
            .filter(|(key, _)| search.keys().any(|compared| compared == key))
            .collect();
        out.push_str(&format!(
            "<Blob>{}{}{}</Blob>",
            xml::name(&name),
            xml::element("ContainerName", &container),
            element(&shown)
        ));
    }
    let marker = next.map(|next| write_marker(&next)).unwrap_or_default();
    out.push_str(&format!(
        "</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ));
    Ok(render::document(out))
}

fn write_marker(from: &FindFrom) -> String {
    format!("{}!{}", from.container, URL_SAFE_NO_PAD.encode(&from.entry))
}

fn read_marker(text: &str) -> Result<FindFrom, BlobsError> {
    let invalid = || {
        BlobsError::with(
            ErrorCode::InvalidQueryParameterValue,
            "marker is not one of ours.",
        )
    };
    let (container, entry) = text.split_once('!').ok_or_else(invalid)?;
    Ok(FindFrom {
        container: container.to_owned(),
        entry: URL_SAFE_NO_PAD.decode(entry).map_err(|_| invalid())?,
    })
}
