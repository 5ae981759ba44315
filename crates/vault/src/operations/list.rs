//! Lists, in pages: of objects, of an object's versions, of what is deleted.

use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde_json::{Value, json};

use crate::error::VaultError;
use crate::rules::names::{Version, is_name};
use crate::seal::SealError;
use crate::service::{Call, Outcome};
use crate::store::keys::{self, State};
use crate::store::objects::{decode_header, is_damage, unreadable};
use crate::wire::body;
use crate::wire::render::Json;

/// Where the page before ended.
fn skip_token(call: &Call<'_>) -> Result<Option<String>, VaultError> {
    let Some(text) = call.query.get("$skiptoken") else {
        return Ok(None);
    };
    let read = body::decode(text, "$skiptoken")
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    read.map(Some)
        .ok_or_else(|| VaultError::bad("$skiptoken is not one of this server's."))
}

fn page(call: &Call<'_>, path: &str, rows: &[Value], last: Option<String>) -> Result<Outcome, VaultError> {
    let next = match last {
        None => Value::Null,
        Some(last) => {
            let token = body::encode(last.as_bytes());
            let version = call.query.api_version()?;
            let mut link = format!("{}/{path}?api-version={version}&$skiptoken={token}", call.base);
            if let Some(rows) = call.query.get("maxresults") {
                link.push_str(&format!("&maxresults={rows}"));
            }
            link.into()
        }
    };
    let body = json!({"value": rows, "nextLink": next});
    Ok(Outcome::ok(Transaction::new(), Json::of(&body)))
}

async fn headers(call: &Call<'_>, snapshot: &dyn Snapshot, state: State) -> Result<Outcome, VaultError> {
    let rows_max = call.query.page_rows()?;
    let shelf = call.shelf();
    let prefix = keys::headers(shelf.vault, shelf.kind, state);
    let range = match skip_token(call)? {
        None => KeyRange::prefix(&prefix),
        Some(name) if is_name(&name) => {
            let last = keys::header(shelf.vault, shelf.kind, state, &name);
            KeyRange::prefix_from(&prefix, last.successor())
        }
        Some(_) => return Err(VaultError::bad("$skiptoken is not one of this server's.")),
    };
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let (mut rows, mut last) = (Vec::new(), None);
    while let Some(entry) = scan.next().await? {
        let Ok(header) = decode_header(&entry.versioned.value) else {
            // Without its header nothing is known of it, not even its name.
            tracing::error!(
                vault = shelf.vault,
                "an object's header is damaged; it isn't listed"
            );
            continue;
        };
        if rows.len() == rows_max {
            return page(call, &path(call, state), &rows, last);
        }
        let meta = shelf.newest_meta(snapshot, &header).await?;
        let meta = meta.unwrap_or_else(unreadable);
        rows.push(call.place().row(shelf.kind, &header, None, &meta));
        last = Some(header.name);
    }
    page(call, "", &rows, None)
}

fn path(call: &Call<'_>, state: State) -> String {
    let collection = call.target.operation.kind().collection();
    match state {
        State::Live => collection.to_owned(),
        State::Deleted => format!("deleted{collection}"),
    }
}

pub(super) async fn live(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    headers(call, snapshot, State::Live).await
}

pub(super) async fn deleted(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    headers(call, snapshot, State::Deleted).await
}

pub(super) async fn versions(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let rows_max = call.query.page_rows()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let incarnation = &found.header.incarnation;
    let prefix = keys::versions(shelf.vault, shelf.kind, incarnation);
    let range = match skip_token(call)? {
        None => KeyRange::prefix(&prefix),
        Some(text) => {
            let last = Version::parse(&text)
                .ok_or_else(|| VaultError::bad("$skiptoken is not one of this server's."))?;
            let last = keys::version(shelf.vault, shelf.kind, incarnation, last);
            KeyRange::prefix_from(&prefix, last.successor())
        }
    };
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let (mut rows, mut last) = (Vec::new(), None);
    while let Some(entry) = scan.next().await? {
        let version = keys::version_of(&entry.key, &prefix).ok_or(SealError::Damaged)?;
        if rows.len() == rows_max {
            let collection = shelf.kind.collection();
            let path = format!("{collection}/{}/versions", found.header.name);
            return page(call, &path, &rows, last);
        }
        let meta = match shelf.opened(&found.header, version, &entry.versioned) {
            Ok(opened) => opened.meta,
            Err(error) if is_damage(&error) => {
                let (vault, name) = (shelf.vault, &found.header.name);
                tracing::error!(vault, name, %version, %error, "a version is damaged");
                unreadable()
            }
            Err(error) => return Err(error),
        };
        rows.push(call.place().row(shelf.kind, &found.header, Some(version), &meta));
        last = Some(version.to_string());
    }
    page(call, "", &rows, None)
}
