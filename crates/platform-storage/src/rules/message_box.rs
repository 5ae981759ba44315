//! The message box: what a search asks for, which instances it takes, how one is shown, and how its events are
//! folded.
//!
//! Invariant: all that a row can decide is decided before its document is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::row::Row;
use crate::limits::BOX_PARTIES_MAX;
use crate::model::event::kind;
use crate::model::{
    Instance, InstanceEvent, Moment, PlatformUser, ReadStatus, Substatus, TextResource, Texts,
};

/// What a search asks for, as it is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sent {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    instance_owner_party_id_list: Vec<i64>,
    app_id: Option<String>,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    include_active: bool,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    include_archived: bool,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    include_deleted: bool,
    from_last_changed: Option<Moment>,
    to_last_changed: Option<Moment>,
    from_created: Option<Moment>,
    to_created: Option<Moment>,
    search_string: Option<String>,
    archive_reference: Option<String>,
    language: Option<String>,
    // `filterMigrated` leaves out what came from older Altinns; there is none here.
}

/// A search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BoxQuery {
    /// Whose boxes, each once.
    pub parties: Vec<String>,
    app_id: Option<String>,
    active: bool,
    archived: bool,
    deleted: bool,
    last_changed: (Option<i64>, Option<i64>),
    created: (Option<i64>, Option<i64>),
    search: Option<String>,
    reference: Option<String>,
    /// The language of titles and texts.
    pub language: &'static str,
}

impl BoxQuery {
    /// Reads a search.
    ///
    /// # Errors
    /// What is wrong with it, for the client (400).
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let sent: Sent = crate::model::relaxed::from_slice(text)
            .map_err(|error| format!("The body can't be understood: {error}."))?;
        let parties: BTreeSet<i64> = sent.instance_owner_party_id_list.into_iter().collect();
        if parties.is_empty() || parties.len() > BOX_PARTIES_MAX {
            return Err(format!(
                "instanceOwnerPartyIdList must name from 1 to {BOX_PARTIES_MAX} parties."
            ));
        }
        let some = |text: Option<String>| {
            text.map(|text| text.trim().to_lowercase())
                .filter(|text| !text.is_empty())
        };
        let (mut active, mut archived, mut deleted) =
            (sent.include_active, sent.include_archived, sent.include_deleted);
        // Flags that are all alike are no filter.
        if active == archived && active == deleted {
            (active, archived, deleted) = (true, true, true);
        }
        let reference = some(sent.archive_reference);
        if reference.is_some() {
            // Only what is archived or deleted has a reference.
            active = false;
        }
        let microseconds = |moment: Option<Moment>| moment.map(Moment::microseconds);
        Ok(Self {
            parties: parties.iter().map(ToString::to_string).collect(),
            app_id: sent.app_id.filter(|app| !app.is_empty()),
            active,
            archived,
            deleted,
            last_changed: (
                microseconds(sent.from_last_changed),
                microseconds(sent.to_last_changed),
            ),
            created: (microseconds(sent.from_created), microseconds(sent.to_created)),
            search: some(sent.search_string),
            reference,
            language: language(sent.language.as_deref()),
        })
    }

    /// The times of the last change that can pass: from, to, both inclusive.
    #[must_use]
    pub fn last_changed_bounds(&self) -> (i64, i64) {
        (
            self.last_changed.0.unwrap_or(i64::MIN),
            self.last_changed.1.unwrap_or(i64::MAX),
        )
    }

    /// What texts and titles are searched for, in lower case.
    #[must_use]
    pub fn search(&self) -> Option<&str> {
        self.search.as_deref()
    }

    /// Whether a row passes all but the search in texts.
    #[must_use]
    pub fn takes_row(&self, row: &Row, last_changed: i64, guid: &Uuid, now: i64) -> bool {
        let within = |(from, to): (Option<i64>, Option<i64>), time: i64| {
            from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to)
        };
        let wanted = if row.is_soft_deleted {
            self.deleted
        } else if row.is_archived {
            self.archived
        } else {
            self.active
        };
        // An archived instance is put in at the time that it was archived, about its last change.
        let shown = if row.is_archived {
            Some(last_changed)
        } else {
            row.created
        };
        wanted
            && !row.is_hard_deleted
            && row.visible_after.is_none_or(|visible| visible <= now)
            && self.app_id.as_ref().is_none_or(|app| *app == row.app_id)
            && within(self.last_changed, last_changed)
            && (self.created == (None, None) || shown.is_some_and(|shown| within(self.created, shown)))
            && self
                .reference
                .as_ref()
                .is_none_or(|wanted| guid.to_string().ends_with(wanted.as_str()))
    }

    /// Whether an instance's texts pass, or its app's title does.
    #[must_use]
    pub fn takes_texts(&self, instance: &Instance, titled: &BTreeSet<String>) -> bool {
        self.search.as_ref().is_none_or(|search| {
            titled.contains(&instance.app_id)
                || instance
                    .presentation_texts
                    .iter()
                    .flatten()
                    .any(|(_, text)| text.to_lowercase().contains(search))
        })
    }
}

/// A language that texts are kept in; `nb` for all others.
#[must_use]
pub fn language(asked: Option<&str>) -> &'static str {
    let asked = asked.unwrap_or_default().to_lowercase();
    ["en", "nb", "nn"]
        .into_iter()
        .find(|known| *known == asked)
        .unwrap_or("nb")
}

/// What the caller may do to an instance of the box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Change it.
    pub write: bool,
    /// Delete it.
    pub delete: bool,
    /// Sign it.
    pub sign: bool,
    /// Make a new one from it.
    pub copy: bool,
}

/// An instance as the box shows it. Nulls are written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoxItem {
    id: String,
    instance_owner_id: Option<String>,
    org: String,
    app_name: String,
    title: String,
    process_current_task: &'static str,
    created_date_time: Option<Moment>,
    last_changed_by: Option<String>,
    due_date_time: Option<Moment>,
    delete_status: u8,
    read_status: ReadStatus,
    substatus: Option<BoxSubstatus>,
    allow_delete: bool,
    allow_new_copy: bool,
    authorized_for_write: bool,
    authorized_for_sign: bool,
    archived_date_time: Option<Moment>,
    deleted_date_time: Option<Moment>,
    presentation_text: Option<String>,
    data_values: Option<Texts>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BoxSubstatus {
    label: Option<String>,
    description: Option<String>,
}

impl BoxItem {
    /// An instance with `allowed`, its words from `texts`.
    #[must_use]
    pub fn new(instance: &Instance, allowed: Allowed, texts: Option<&TextResource>) -> Self {
        let status = &instance.status;
        let text = |id: &str| {
            texts
                .and_then(|texts| texts.resources.iter().find(|text| text.id.as_deref() == Some(id)))
                .and_then(|text| text.value.clone())
        };
        let presentation = instance.presentation_texts.as_ref().map(|texts| {
            let texts: Vec<&str> = texts.values().map(String::as_str).collect();
            texts.join(", ")
        });
        let name = text("appName").or_else(|| text("ServiceName"));
        let mut title = name.unwrap_or_else(|| instance.app().to_owned());
        if let Some(presentation) = presentation.as_deref().filter(|text| !text.trim().is_empty()) {
            title = format!("{title}, {presentation}");
        }
        let worded = |key: &Option<String>| key.as_ref().map(|key| text(key).unwrap_or_else(|| key.clone()));
        let substatus = |substatus: &Substatus| BoxSubstatus {
            label: worded(&substatus.label),
            description: worded(&substatus.description),
        };
        let is_done = status.is_archived || status.is_soft_deleted;
        Self {
            id: instance.guid().map(|guid| guid.to_string()).unwrap_or_default(),
            instance_owner_id: instance.instance_owner.party_id.clone(),
            org: instance.org.clone(),
            app_name: instance.app().to_owned(),
            title,
            process_current_task: current_task(instance),
            created_date_time: instance.created.max(instance.visible_after),
            last_changed_by: instance.last_changed_by.clone(),
            due_date_time: instance.due_before.filter(|_| !is_done),
            delete_status: u8::from(status.soft_deleted.is_some()),
            read_status: status.read_status,
            substatus: status.substatus.as_ref().map(substatus),
            allow_delete: allowed.delete,
            allow_new_copy: allowed.copy,
            authorized_for_write: allowed.write,
            authorized_for_sign: allowed.sign,
            archived_date_time: status.archived,
            deleted_date_time: status.soft_deleted,
            presentation_text: presentation,
            data_values: instance.data_values.clone(),
        }
    }
}

impl BoxItem {
    /// How much it takes, about: what apps and people can make long, and some for the rest.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let values = self.data_values.iter().flatten();
        let values: usize = values.map(|(key, value)| key.len() + value.len()).sum();
        let substatus = self.substatus.as_ref().map_or(0, |substatus| {
            let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            length(&substatus.label) + length(&substatus.description)
        });
        let presentation = self.presentation_text.as_ref().map_or(0, String::len);
        1_024 + self.title.len() + presentation + substatus + values
    }
}

/// Where the process stands, in the box's words.
fn current_task(instance: &Instance) -> &'static str {
    let Some(process) = &instance.process else {
        return "default";
    };
    if process.ended.is_some() {
        return if instance.status.archived.is_some() {
            "Archived"
        } else {
            "Submit"
        };
    }
    let kind = process
        .current_task
        .as_ref()
        .and_then(|task| task.altinn_task_type.as_deref())
        .unwrap_or_default()
        .to_lowercase();
    match kind.as_str() {
        "confirmation" => "Confirmation",
        "feedback" => "Feedback",
        "signing" => "Signing",
        _ => "FormFilling",
    }
}

/// An event as the box shows it. Nulls are written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoxEvent {
    id: Option<Uuid>,
    created_date_time: Option<Moment>,
    event_type: Option<String>,
    user: Option<PlatformUser>,
    related_user: Option<PlatformUser>,
    additional_info: Option<String>,
}

/// Events that the box shows; the process' own steps aren't among them.
const SHOWN: [&str; 16] = [
    kind::CREATED,
    kind::DELETED,
    kind::SAVED,
    "Submited",
    kind::UNDELETED,
    kind::SUBSTATUS_UPDATED,
    kind::SIGNED,
    kind::SENT_TO_SIGN,
    "SentToPayment",
    "SentToSendIn",
    "SentToFormFill",
    "InstanceForwarded",
    "InstanceRightRevoked",
    "NotificationSentSms",
    "MessageArchived",
    "MessageRead",
];

/// The events that are shown of `events`, which are in the order of their time: a data element that is created
/// counts as saved, one that goes isn't shown, and of one actor's savings in a row only the last is.
#[must_use]
pub fn fold(events: &[InstanceEvent]) -> Vec<BoxEvent> {
    let is = |event: &InstanceEvent, kind: &str| {
        let named = event.event_type.as_deref();
        named.is_some_and(|named| named.eq_ignore_ascii_case(kind))
    };
    let saves = |event: &InstanceEvent| {
        let of_data = event.data_id.as_deref().is_some_and(|id| !id.is_empty());
        is(event, kind::SAVED) || of_data && is(event, kind::CREATED)
    };
    let actor = |event: &InstanceEvent| {
        let user = event.user.as_ref()?;
        user.user_id
            .map(|id| id.to_string())
            .or_else(|| user.system_user_id.map(|id| id.to_string()))
            .or_else(|| user.org_id.clone())
    };
    let mut shown: Vec<(bool, Option<String>, BoxEvent)> = Vec::new();
    for event in events {
        let of_data = event.data_id.as_deref().is_some_and(|id| !id.is_empty());
        let saved = saves(event);
        if !SHOWN.iter().any(|kind| is(event, kind)) || of_data && !saved {
            continue;
        }
        let who = actor(event);
        if saved && shown.last().is_some_and(|(before, by, _)| *before && *by == who) {
            shown.pop();
        }
        let event = BoxEvent {
            id: event.id,
            created_date_time: event.created,
            event_type: if saved {
                Some(kind::SAVED.to_owned())
            } else {
                event.event_type.clone()
            },
            user: event.user.clone(),
            related_user: event.related_user.clone(),
            additional_info: event.additional_info.clone(),
        };
        shown.push((saved, who, event));
    }
    shown.into_iter().map(|(_, _, event)| event).collect()
}

/// The apps of which some title has `search`, which is in lower case.
#[must_use]
pub fn apps_titled<'a>(
    apps: impl Iterator<Item = (&'a str, &'a BTreeMap<String, Option<String>>)>,
    search: &str,
) -> BTreeSet<String> {
    apps.filter(|(_, titles)| {
        let mut titles = titles.values().flatten();
        titles.any(|title| title.to_lowercase().contains(search))
    })
    .map(|(id, _)| id.to_owned())
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(more: &serde_json::Value) -> BoxQuery {
        let mut body = json!({"instanceOwnerPartyIdList": [2, 1, 2]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        BoxQuery::parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn flags_say_which_states_are_taken() {
        let row = |archived, deleted| Row {
            is_archived: archived,
            is_soft_deleted: deleted,
            created: Some(5),
            ..Row::default()
        };
        let rows = [
            row(false, false),
            row(true, false),
            row(false, true),
            row(true, true),
        ];
        for (flags, expected) in [
            ((false, false, false), "++++"),
            ((true, true, true), "++++"),
            ((true, false, false), "+---"),
            ((false, true, false), "-+--"),
            ((false, false, true), "--++"),
            ((true, true, false), "++--"),
            ((false, true, true), "-+++"),
            ((true, false, true), "+-++"),
        ] {
            let query = query(
                &json!({"includeActive": flags.0, "includeArchived": flags.1, "includeDeleted": flags.2}),
            );
            let taken = rows.iter().map(|row| query.takes_row(row, 9, &Uuid::nil(), 10));
            let taken: String = taken.map(|taken| if taken { '+' } else { '-' }).collect();
            assert_eq!(taken, expected, "{flags:?}");
        }
        let hidden = Row {
            visible_after: Some(11),
            ..row(false, false)
        };
        assert!(!query(&json!({})).takes_row(&hidden, 9, &Uuid::nil(), 10));
        let gone = Row {
            is_hard_deleted: true,
            ..row(false, true)
        };
        assert!(!query(&json!({})).takes_row(&gone, 9, &Uuid::nil(), 10));
        let by_reference = json!({"archiveReference": "000000000000"});
        assert!(!query(&by_reference).takes_row(&row(false, false), 9, &Uuid::nil(), 10));
        assert!(query(&by_reference).takes_row(&row(true, false), 9, &Uuid::nil(), 10));
    }

    #[test]
    fn searches_that_are_none() {
        for bad in [
            "",
            "[]",
            "{}",
            "{\"instanceOwnerPartyIdList\": []}",
            "{\"instanceOwnerPartyIdList\": [\"x\"]}",
            "{\"instanceOwnerPartyIdList\": [1], \"fromCreated\": \"never\"}",
        ] {
            assert!(BoxQuery::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(query(&json!({})).parties, ["1", "2"]);
        assert_eq!(query(&json!({"language": "EN"})).language, "en");
        assert_eq!(query(&json!({"language": "fr"})).language, "nb");
    }

    #[test]
    fn savings_in_a_row_are_one() {
        let event = |kind: &str, data: Option<&str>, user: i64| InstanceEvent {
            event_type: Some(kind.to_owned()),
            data_id: data.map(str::to_owned),
            user: Some(PlatformUser {
                user_id: Some(user),
                ..PlatformUser::default()
            }),
            additional_info: Some(format!("{kind}{user}")),
            ..InstanceEvent::default()
        };
        let events = [
            event("Created", None, 1),
            event("Created", Some("a"), 1),
            event("Saved", Some("a"), 1),
            event("process_StartTask", None, 1),
            event("Saved", Some("a"), 2),
            event("Deleted", Some("a"), 2),
            event("Saved", Some("b"), 2),
            event("Deleted", None, 2),
        ];
        let shown: Vec<String> = fold(&events)
            .into_iter()
            .map(|event| event.additional_info.unwrap())
            .collect();
        assert_eq!(shown, ["Created1", "Saved1", "Saved2", "Deleted2"]);
    }
}
