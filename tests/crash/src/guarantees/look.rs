//! Reads what there is of an instance: its document, its elements with their contents, its events, its blobs, whether it
//! is locked. As its owner, who leaves no trace by reading.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::Value;

use super::place::{APP, Callers, ORG, PARTY, as_json, flag, items, last_changed, number, shown, text};
use super::promise::{Guarantee, Promises};
use super::state::{Element, Stamp, State};
use crate::book::hash;
use crate::client::Client;

/// What the client's own events say, before their numbers.
pub(super) const NOTE: &str = "note ";

/// Instances of a page of the list.
const PAGE_INSTANCES: usize = 100;

/// An instance as it is.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) state: State,
    /// Ids of elements by file name.
    pub(super) ids: BTreeMap<String, String>,
    /// Elements that wait for their scan, with the versions of their contents.
    pub(super) waiting: Vec<(String, String)>,
}

/// Reads an instance; `known` are ids of elements that are gone, by which their events are told apart. What must hold of
/// any instance, whatever was done to it, is checked on the way.
pub(super) fn look(
    client: &Client,
    callers: &Callers,
    instance: &str,
    known: &BTreeMap<String, String>,
    promises: &mut Promises,
) -> Result<Option<Seen>> {
    let get = |path: &str| client.platform(&Method::GET, path, &callers.owner, &Vec::new(), None);
    let answer = get(&format!("/instances/{instance}"))?;
    if answer.status == 404 {
        return Ok(None);
    }
    ensure!(
        answer.status == 200,
        "instance {instance}: {} {}",
        answer.status,
        shown(&answer)
    );
    let whole: Value = serde_json::from_slice(&answer.body)?;
    let mut seen = Seen {
        state: state_of(&whole)?,
        ids: BTreeMap::new(),
        waiting: Vec::new(),
    };
    seen.state.version = number(&answer, "instance-version")?;
    seen.state.process_version = number(&answer, "process-state-version")?;
    let mut wanted = BTreeSet::new();
    for element in items(&whole, "/data") {
        let id = text(element, "/id").context("an element without an id")?;
        let file = text(element, "/filename").unwrap_or_default();
        wanted.insert(text(element, "/blobStoragePath").unwrap_or_default().to_owned());
        let content = get(&format!("/instances/{instance}/data/{id}"))?;
        let size = element.pointer("/size").and_then(Value::as_u64);
        let is_whole = content.status == 200 && size == u64::try_from(content.body.len()).ok();
        promises.check(Guarantee::Content, is_whole, || {
            let length = content.body.len();
            format!(
                "element {instance} {id}: {}, {length} bytes of {size:?}",
                content.status
            )
        });
        let state = Element {
            content: hash(&content.body),
            // Absent is true, as the original's models have it.
            is_read: element
                .pointer("/isRead")
                .and_then(Value::as_bool)
                .unwrap_or(true),
        };
        seen.state.elements.insert(file.to_owned(), state);
        seen.ids.insert(file.to_owned(), id.to_owned());
        if text(element, "/fileScanResult") == Some("Pending") {
            let version = text(element, "/blobVersionId").context("a content without a version")?;
            seen.waiting.push((id.to_owned(), version.to_owned()));
        }
    }
    let names = blobs(client, instance)?;
    promises.check(Guarantee::Content, names == wanted, || {
        format!("blobs of {instance}: {names:?}, of its elements: {wanted:?}")
    });
    read_events(
        &get(&format!("/instances/{instance}/events"))?.body,
        instance,
        known,
        &mut seen,
        promises,
    )?;
    let probe = br#"{"ttlSeconds": 0}"#;
    let path = format!("/instances/{instance}/lock");
    // Whoever gets it has it for no time.
    let locked = client.platform(&Method::POST, &path, &callers.user, &as_json(), Some(probe))?;
    ensure!(
        matches!(locked.status, 200 | 409),
        "a lock of {instance}: {} {}",
        locked.status,
        shown(&locked)
    );
    seen.state.is_locked = locked.status == 409;
    Ok(Some(seen))
}

fn state_of(whole: &Value) -> Result<State> {
    let texts = |pointer: &str| -> BTreeMap<String, String> {
        let object = whole.pointer(pointer).and_then(Value::as_object);
        let entries = object.into_iter().flatten();
        entries
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let at = Stamp::Exactly(last_changed(whole, "/lastChanged")?);
    let mut state = State::created(at, texts("/dataValues"));
    state.events.clear();
    state.texts = texts("/presentationTexts");
    state.read_status = text(whole, "/status/readStatus").unwrap_or("Unread").to_owned();
    state.substatus = text(whole, "/status/substatus/label").map(str::to_owned);
    state.is_deleted = flag(whole, "/status/isSoftDeleted");
    state.is_confirmed = items(whole, "/completeConfirmations").next().is_some();
    let flow = whole.pointer("/process/currentTask/flow").and_then(Value::as_u64);
    state.flow = flow.context("an instance in no task")?;
    let task = text(whole, "/process/currentTask/elementId").unwrap_or_default();
    ensure!(
        task == format!("Task_{}", state.flow),
        "task {task} in flow {}",
        state.flow
    );
    Ok(state)
}

fn read_events(
    body: &[u8],
    instance: &str,
    known: &BTreeMap<String, String>,
    seen: &mut Seen,
    promises: &mut Promises,
) -> Result<()> {
    let whole: Value = serde_json::from_slice(body)?;
    let mut files: BTreeMap<&str, &str> = known
        .iter()
        .map(|(id, file)| (id.as_str(), file.as_str()))
        .collect();
    files.extend(seen.ids.iter().map(|(file, id)| (id.as_str(), file.as_str())));
    let mut notes = Vec::new();
    let mut times = Vec::new();
    for event in items(&whole, "/instanceEvents") {
        times.push(last_changed(event, "/created")?);
        let kind = text(event, "/eventType").unwrap_or_default();
        let note = text(event, "/additionalInfo").and_then(|said| said.strip_prefix(NOTE));
        if let Some(note) = note {
            notes.push(note.parse::<u64>().context("a note's number")?);
            continue;
        }
        let file = text(event, "/dataId").map(|id| files.get(id).copied().unwrap_or(id));
        seen.state.tell(kind, file);
    }
    let in_order = notes.iter().copied().eq(1..=u64::try_from(notes.len())?);
    promises.check(Guarantee::Events, times.is_sorted() && in_order, || {
        format!(
            "events of {instance}: times in order {}, notes {notes:?}",
            times.is_sorted()
        )
    });
    seen.state.notes = u64::try_from(notes.len())?;
    Ok(())
}

/// The names of an instance's blobs.
fn blobs(client: &Client, instance: &str) -> Result<BTreeSet<String>> {
    let guid = instance.rsplit('/').next().unwrap_or_default();
    let prefix = format!("{APP}/{guid}/");
    let answer = client.blob(
        &Method::GET,
        &format!("/{ORG}-dev-appsdata-blob-db"),
        &[("restype", "container"), ("comp", "list"), ("prefix", &prefix)],
        &Vec::new(),
        None,
    )?;
    if answer.status == 404 {
        return Ok(BTreeSet::new());
    }
    ensure!(
        answer.status == 200,
        "blobs of {instance}: {} {}",
        answer.status,
        shown(&answer)
    );
    let said = String::from_utf8(answer.body)?;
    let names = said
        .split("<Name>")
        .skip(1)
        .filter_map(|rest| rest.split("</Name>").next());
    Ok(names.map(str::to_owned).collect())
}

/// The ids of all instances, by the mark that they were created with.
pub(super) fn marks(client: &Client, callers: &Callers) -> Result<BTreeMap<String, String>> {
    let mut marks = BTreeMap::new();
    let mut token = String::new();
    loop {
        let path =
            format!("/instances?appId={APP}&instanceOwner.partyId={PARTY}&size={PAGE_INSTANCES}{token}");
        let answer = client.platform(&Method::GET, &path, &callers.owner, &Vec::new(), None)?;
        ensure!(
            answer.status == 200,
            "the list: {} {}",
            answer.status,
            shown(&answer)
        );
        let page: Value = serde_json::from_slice(&answer.body)?;
        for instance in items(&page, "/instances") {
            let id = text(instance, "/id").unwrap_or_default();
            let mark = text(instance, "/dataValues/mark").unwrap_or_default();
            marks.insert(mark.to_owned(), id.to_owned());
        }
        let Some(next) = text(&page, "/next") else {
            return Ok(marks);
        };
        let said = next.split("continuationToken=").nth(1);
        let said = said.and_then(|rest| rest.split('&').next());
        token = format!("&continuationToken={}", said.context("a next without a token")?);
    }
}
