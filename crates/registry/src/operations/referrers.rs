//! Manifests that are about another one (distribution-spec, end-12).

use http::{HeaderName, Response, StatusCode};
use http_semantics::Body;
use ledger::{Direction, LedgerError, Scan};
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{PAGE_ENTRIES_MAX, REFERRERS_PAGE_BYTES_MAX};
use crate::rules::grants::Action;
use crate::rules::manifest::OCI_INDEX;
use crate::service::{Call, digest};
use crate::store::{keys, repositories};
use crate::wire::{query, render};

pub(crate) async fn list(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    subject: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull])?;
    let subject = digest(subject)?;
    let filter = call.query.get("artifactType").filter(|filter| !filter.is_empty());
    let snapshot = service.ledger.snapshot().await?;
    repositories::check_readable(repositories::find(snapshot.as_ref(), place).await?.as_ref())?;
    let range = place.referrers(&subject, call.query.last());
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let (mut found, mut bytes, mut next) = (Vec::new(), 0, None);
    let mut last = String::new();
    while let Some(entry) = scan.next().await? {
        if found.len() >= PAGE_ENTRIES_MAX || bytes >= REFERRERS_PAGE_BYTES_MAX {
            next = Some(last);
            break;
        }
        last = keys::fourth(&entry.key).unwrap_or_default();
        let descriptor: Value = serde_json::from_slice(&entry.versioned.value)
            .map_err(|_| LedgerError::Corrupt(format!("a referrer of {subject} can't be read")))?;
        let own = descriptor.get("artifactType").and_then(Value::as_str);
        if filter.is_none_or(|filter| own == Some(filter)) {
            bytes += entry.versioned.value.len();
            found.push(descriptor);
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
    let mut response = render::typed(StatusCode::OK, OCI_INDEX, &index);
    let headers = response.headers_mut();
    let mut more = String::new();
    if let Some(filter) = filter {
        render::set(
            headers,
            HeaderName::from_static("oci-filters-applied"),
            "artifactType",
        );
        more = format!("&artifactType={}", query::encoded(filter));
    }
    if let Some(last) = next {
        let path = format!("/v2/{repository}/referrers/{subject}");
        call.set_next(headers, &format!("{path}?last={}{more}", query::encoded(&last)));
    }
    Ok(response)
}
