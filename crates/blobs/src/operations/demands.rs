//! What a request demands of the state it meets: conditional headers and a lease's id, in the order
//! in which they are decided.

use http::HeaderMap;
use http_semantics::date;
use jiff::Timestamp;
use ledger::LedgerError;
use uuid::Uuid;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::rules::conditions::{Conditions, Current, Read};
use crate::rules::lease::{self, Lease, Subject, Use};
use crate::rules::tags::{TagCondition, Tags};
use crate::store::last_access::accessed;
use crate::store::records::{BlobRecord, ContainerRecord};
use crate::wire::headers;

/// A request's demands.
#[derive(Debug, Clone)]
pub(crate) struct Demands {
    pub(crate) conditions: Conditions,
    /// `x-ms-lease-id`, as leases have it.
    pub(crate) lease_id: Option<String>,
    /// `x-ms-if-tags`.
    if_tags: Option<TagCondition>,
    /// The tags that the blob must have, and no others.
    tags_are: Option<Tags>,
    /// Until when it may have been read or written last.
    accessed_until: Option<Timestamp>,
}

impl Demands {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, BlobsError> {
        Ok(Self {
            conditions: Conditions::parse(headers)?,
            lease_id: lease_id(headers, "x-ms-lease-id")?,
            if_tags: if_tags(headers, "x-ms-if-tags")?,
            tags_are: None,
            accessed_until: None,
        })
    }

    /// The same, and that the blob has exactly these tags: giving it others leaves its entity tag as it is.
    pub(crate) fn with_tags(self, tags: Tags) -> Self {
        Self {
            tags_are: Some(tags),
            ..self
        }
    }

    /// The same, and that nobody has read the blob since.
    pub(crate) fn not_accessed_since(self, at: Timestamp) -> Self {
        Self {
            accessed_until: Some(at),
            ..self
        }
    }

    /// Decides a write of a blob; `before` is `None` where none exists yet.
    pub(crate) fn write(&self, before: Option<&BlobRecord>, now: Timestamp) -> Result<(), BlobsError> {
        match before {
            Some(before) => self.state(before)?,
            None => {
                self.conditions.write(None)?;
                self.tags(None)?;
            }
        }
        self.lease(before.and_then(|before| before.lease.as_ref()), Use::Writes, now)
    }

    /// Decides by everything but the lease.
    pub(crate) fn state(&self, record: &BlobRecord) -> Result<(), BlobsError> {
        self.conditions.write(Some(blob_state(record)))?;
        if self.accessed_until.is_some_and(|until| accessed(record) > until) {
            return Err(ErrorCode::ConditionNotMet.into());
        }
        self.tags(Some(record))
    }

    /// Decides a read of a blob.
    pub(crate) fn read(&self, record: &BlobRecord, now: Timestamp) -> Result<Read, BlobsError> {
        let read = self.conditions.read(blob_state(record))?;
        self.tags(Some(record))?;
        self.lease(record.lease.as_ref(), Use::Reads, now)?;
        Ok(read)
    }

    /// Decides by the tags alone; a blob that doesn't exist meets no condition on them.
    pub(crate) fn tags(&self, record: Option<&BlobRecord>) -> Result<(), BlobsError> {
        if let Some(wanted) = &self.tags_are
            && record.is_none_or(|record| record.tags != *wanted)
        {
            return Err(ErrorCode::ConditionNotMet.into());
        }
        match &self.if_tags {
            Some(condition) if !record.is_some_and(|record| condition.holds(&record.tags)) => {
                Err(ErrorCode::ConditionNotMet.into())
            }
            _ => Ok(()),
        }
    }

    /// Decides by the lease's id alone.
    pub(crate) fn lease(&self, lease: Option<&Lease>, what: Use, now: Timestamp) -> Result<(), BlobsError> {
        lease::check(lease, self.lease_id.as_deref(), (Subject::Blob, what), now).map_err(BlobsError::from)
    }

    /// Decides an operation on a container.
    pub(crate) fn container(
        &self,
        record: &ContainerRecord,
        what: Use,
        now: Timestamp,
    ) -> Result<(), BlobsError> {
        self.conditions.write(Some(Current {
            etag: &record.etag,
            last_modified: date::whole_seconds(record.last_modified),
        }))?;
        self.container_lease(record, what, now)
    }

    /// Decides by the container's lease alone.
    pub(crate) fn container_lease(
        &self,
        record: &ContainerRecord,
        what: Use,
        now: Timestamp,
    ) -> Result<(), BlobsError> {
        let subject = (Subject::Container, what);
        lease::check(record.lease.as_ref(), self.lease_id.as_deref(), subject, now).map_err(BlobsError::from)
    }
}

fn if_tags(headers: &HeaderMap, name: &'static str) -> Result<Option<TagCondition>, BlobsError> {
    headers::text(headers, name)
        .map(|text| {
            TagCondition::parse(text).map_err(|cause| {
                let code = ErrorCode::InvalidHeaderValue;
                BlobsError::with(code, format!("{} {name}: {cause}.", code.text()))
            })
        })
        .transpose()
}

/// Decides what a copy demands of its source.
///
/// # Errors
/// `SourceConditionNotMet`; those of the source's lease.
pub(crate) fn source_state(
    headers: &HeaderMap,
    record: &BlobRecord,
    now: Timestamp,
) -> Result<Read, BlobsError> {
    let demands = Demands {
        conditions: Conditions::parse_source(headers)?,
        lease_id: lease_id(headers, "x-ms-source-lease-id")?,
        if_tags: if_tags(headers, "x-ms-source-if-tags")?,
        tags_are: None,
        accessed_until: None,
    };
    demands.read(record, now).map_err(|error| match error.code {
        ErrorCode::ConditionNotMet => ErrorCode::SourceConditionNotMet.into(),
        _ => error,
    })
}

/// What conditions are held against.
pub(crate) fn blob_state(record: &BlobRecord) -> Current<'_> {
    Current {
        etag: &record.etag,
        last_modified: date::whole_seconds(record.last_modified),
    }
}

/// A lease's id from a header, in the one form that ids are compared in.
pub(crate) fn lease_id(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, BlobsError> {
    headers::text(headers, name)
        .map(|text| match guid(text) {
            Some(id) => Ok(id.to_string()),
            None => Err(BlobsError::with(
                ErrorCode::InvalidHeaderValue,
                format!("{name} is not a UUID."),
            )),
        })
        .transpose()
}

/// A UUID in a form that the original takes: digits alone, or with hyphens, and these in braces or parentheses
/// ("Lease Blob" names the forms of .NET's `Guid` constructor; the one in groups of hexadecimal numbers no client
/// writes).
fn guid(text: &str) -> Option<Uuid> {
    let within = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let bare = match within('{', '}').or_else(|| within('(', ')')) {
        Some(inner) => Some(inner).filter(|inner| inner.len() == 36)?,
        None => text,
    };
    // The lengths of the two forms without anything around them.
    Some(bare)
        .filter(|bare| matches!(bare.len(), 32 | 36))
        .and_then(|bare| Uuid::try_parse(bare).ok())
}

/// A write that somebody else's overtook: it is decided anew on what is there now, a bounded number
/// of times.
pub(crate) fn overtaken(error: &LedgerError, attempt: usize) -> bool {
    matches!(error, LedgerError::Conflict(_)) && attempt < WRITE_ATTEMPTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    // Source: "Lease Blob", x-ms-proposed-lease-id, and the forms N, D, B and P of .NET's `Guid`.
    #[test]
    fn lease_ids_have_the_forms_of_a_guid() {
        let id = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
        for same in [
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "6f9619ff8b86d011b42d00c04fc964ff",
            "{6f9619ff-8b86-d011-b42d-00c04fc964ff}",
            "(6f9619ff-8b86-d011-b42d-00c04fc964ff)",
        ] {
            assert_eq!(guid(same).unwrap().to_string(), id, "{same}");
        }
        for bad in [
            "",
            "abcdefg",
            "urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "{6f9619ff8b86d011b42d00c04fc964ff}",
            "{6f9619ff-8b86-d011-b42d-00c04fc964ff)",
            "6f9619ff-8b86-d011-b42d-00c04fc964f",
        ] {
            assert_eq!(guid(bad), None, "{bad}");
        }
    }
}
