//! Reads the instances of an app one by one, in the order of their last change, so that what changes meanwhile comes at the
//! end.
//!
//! Invariant: an instance is written only if it was the same before its contents were taken in and behind that.

use anyhow::{Context as _, Result, bail, ensure};
use blobs::StagedContent;
use jiff::{SignedDuration, Timestamp};
use platform_storage::import::{Incoming, check_instance};
use platform_storage::model::{DataElement, Instance, InstanceEvent, Moment, relaxed};
use platform_storage::rules::names::AppId;
use serde_json::Value;
use uuid::Uuid;

use super::pieces::{self, BrokeOff};
use super::running::{Got, Json, Source};
use super::{Import, Stamp, is_of_one};

/// Instances of a page of the source's list.
const PAGE_INSTANCES: &str = "100";

/// Times that an instance is read anew because it changed while it was read.
const READINGS_MAX: u32 = 5;

/// How far before the last change that was reached the next run begins: instances that it meets again are known by
/// their records, and only read.
const OVERLAP: SignedDuration = SignedDuration::from_mins(15);

/// An instance with its events as the source says them.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    instance: Json,
    events: Json,
}

impl Reading {
    /// What stands for it: without what the source builds for each answer.
    fn stamp(&self) -> String {
        let mut stamp = Stamp::default();
        let instance = without_links(self.instance.value.clone());
        stamp.add(instance.to_string().as_bytes());
        stamp.add(format!("{:?}", self.instance.instance_version).as_bytes());
        stamp.add(self.events.value.to_string().as_bytes());
        stamp.finish()
    }
}

fn without_links(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.remove("selfLinks");
        if let Some(elements) = object.get_mut("data").and_then(Value::as_array_mut) {
            for element in elements.iter_mut() {
                *element = without_links(element.take());
            }
        }
    }
    value
}

/// Brings the instances of an app.
pub(super) async fn app(import: &mut Import<'_>, source: &Source, app: &AppId, anew: bool) -> Result<()> {
    let id = app.to_string();
    let position = if anew {
        None
    } else {
        import.platform.import_position(source.name(), &id).await?
    };
    let before = position.as_deref().and_then(Moment::parse);
    let from = position.map(|position| format!("gte:{position}"));
    let mut token: Option<String> = None;
    loop {
        let mut query = vec![("appId", id.as_str()), ("size", PAGE_INSTANCES)];
        query.extend(from.as_deref().map(|from| ("lastChanged", from)));
        query.extend(token.as_deref().map(|token| ("continuationToken", token)));
        let page = match source.json(&["instances"], &query).await? {
            Got::There(page) => page.value,
            Got::Refused(status, said) => bail!("the source answers {status} to the list of {id}: {said}"),
        };
        let listed = page.get("instances").and_then(Value::as_array);
        let listed = listed.with_context(|| format!("the source's list of {id} has no instances"))?;
        let mut reached = None;
        for entry in listed {
            let named = entry.get("id").and_then(Value::as_str).unwrap_or_default();
            instance(import, source, named).await?;
            import.report.show(&import.bar);
            // What was left out is to be met again.
            if import.report.is_complete() {
                reached = entry.get("lastChanged").and_then(Value::as_str).or(reached);
            }
        }
        if let Some(position) = reached.and_then(|reached| place_behind(reached, import.began, before)) {
            import
                .platform
                .keep_import_position(source.name(), &id, &position)
                .await?;
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else {
            return Ok(());
        };
        let new = continuation(next);
        ensure!(
            new.is_some() && new != token,
            "the source's list of {id} goes on without an end"
        );
        token = new;
    }
}

/// The place to keep behind an instance that changed last at `reached`, in a run that began at `began`: some time before
/// both. A last change is stamped before it is seen, and by clocks that differ. Never one before the place that was kept;
/// `None` if there is none to keep.
fn place_behind(reached: &str, began: Timestamp, kept: Option<Moment>) -> Option<String> {
    let reached = Moment::parse(reached)?.timestamp().min(began);
    let position = reached.checked_sub(OVERLAP).ok()?;
    let position = kept.map_or(position, |kept| position.max(kept.timestamp()));
    Some(position.to_string())
}

/// The token in a link to the next page. The link itself isn't followed: it may lead elsewhere.
fn continuation(next: &str) -> Option<String> {
    let (_, query) = next.split_once('?')?;
    let mut pairs = reqwest::Url::parse("http://localhost/").ok()?;
    pairs.set_query(Some(query));
    let found = pairs
        .query_pairs()
        .find(|(name, _)| name.eq_ignore_ascii_case("continuationToken"));
    found.map(|(_, token)| token.into_owned())
}

/// Reads an instance and its events; `None` with a reason if it can't be read.
async fn read(source: &Source, party: &str, guid: &str) -> Result<Result<Reading, String>> {
    let refused = |what: &str, status: u16, said: String| {
        Ok(Err(format!("the source answers {status} to its {what}: {said}")))
    };
    let instance = match source.json(&["instances", party, guid], &[]).await? {
        Got::There(instance) => instance,
        Got::Refused(status, said) => return refused("metadata", status, said),
    };
    let events = match source.json(&["instances", party, guid, "events"], &[]).await? {
        Got::There(events) => events,
        Got::Refused(status, said) => return refused("events", status, said),
    };
    Ok(Ok(Reading { instance, events }))
}

/// Brings an instance.
async fn instance(import: &mut Import<'_>, source: &Source, named: &str) -> Result<()> {
    let what = format!("instance {named}");
    let Some((party, guid)) = named.split_once('/') else {
        return import.report.leave_out(&what, "its id isn't like party/guid");
    };
    let mut reading = match read(source, party, guid).await? {
        Ok(reading) => reading,
        Err(why) => return import.report.leave_out(&what, &why),
    };
    for _ in 0..READINGS_MAX {
        let Some(parsed) = parse(import, &what, &reading)? else {
            return Ok(());
        };
        let standing = import
            .platform
            .standing(source.name(), &parsed.guid, &reading.stamp())
            .await?;
        if !standing.comes() {
            return import.report.stays(&what, standing);
        }
        let (taken, faults) = contents(import, source, (party, guid), parsed.elements).await?;
        let again = match read(source, party, guid).await? {
            Ok(again) => again,
            Err(why) => return import.report.leave_out(&what, &why),
        };
        if again == reading {
            let stamp = if faults.is_empty() {
                reading.stamp()
            } else {
                // It is looked at again the next time.
                String::new()
            };
            for (element, why) in faults {
                import
                    .report
                    .leave_out(&format!("element {element} of {what}"), &why)?;
            }
            return write(
                import,
                source,
                &what,
                parsed.instance,
                taken,
                parsed.events,
                stamp,
            )
            .await;
        }
        reading = again;
    }
    import
        .report
        .leave_out(&what, "it changed each time while it was read")
}

/// What a reading says.
struct Parsed {
    guid: Uuid,
    instance: Instance,
    elements: Vec<DataElement>,
    events: Vec<InstanceEvent>,
}

/// Reads what was said; `None` if it was left out.
fn parse(import: &mut Import<'_>, what: &str, reading: &Reading) -> Result<Option<Parsed>> {
    let instance: Result<Instance, _> = relaxed::from_value(reading.instance.value.clone());
    let events = reading.events.value.get("instanceEvents").cloned();
    let events: Result<Option<Vec<InstanceEvent>>, _> = events.map(relaxed::from_value).transpose();
    let (mut instance, events) = match (instance, events) {
        (Ok(instance), Ok(events)) => (instance, events.unwrap_or_default()),
        (Err(error), _) | (_, Err(error)) => {
            import
                .report
                .leave_out(what, &format!("can't be understood: {error}"))?;
            return Ok(None);
        }
    };
    let guid = match check_instance(&instance) {
        Ok(guid) => guid,
        Err(error) => {
            import.report.leave_out(what, &error.to_string())?;
            return Ok(None);
        }
    };
    instance.instance_version = reading.instance.instance_version;
    instance.process_state_version = reading.instance.process_state_version;
    let elements = instance.data.take().unwrap_or_default();
    Ok(Some(Parsed {
        guid,
        instance,
        elements,
        events,
    }))
}

/// Elements that were taken in with their contents, and those that can't be, with the reasons.
type Taken = (Vec<(DataElement, StagedContent)>, Vec<(String, String)>);

/// Takes the contents of an instance's elements in, one after the other.
async fn contents(
    import: &mut Import<'_>,
    source: &Source,
    (party, guid): (&str, &str),
    elements: Vec<DataElement>,
) -> Result<Taken> {
    let mut taken = Vec::with_capacity(elements.len());
    let mut faults = Vec::new();
    for element in elements {
        let path = ["instances", party, guid, "data", element.id.as_str()];
        let mut pauses = source.pauses();
        let content = loop {
            let response = match source.get(&path, &[]).await? {
                Got::There(response) => response,
                Got::Refused(status, said) => {
                    break Err(format!("the source answers {status} to its content: {said}"));
                }
            };
            let broke_off = BrokeOff::default();
            let body = pieces::answer(response, &broke_off);
            match import.platform.take_content(body).await {
                Ok(content) => break Ok(content),
                Err(error) if broke_off.is_so() => ensure!(
                    pauses.wait(None).await,
                    "the content of element {} broke off again and again: {error}",
                    element.id
                ),
                Err(error) if is_of_one(&error) => break Err(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        };
        match content {
            Ok(content) => {
                import.report.bytes(content.length_bytes);
                taken.push((element, content));
            }
            Err(why) => faults.push((element.id, why)),
        }
    }
    Ok((taken, faults))
}

async fn write(
    import: &mut Import<'_>,
    source: &Source,
    what: &str,
    instance: Instance,
    taken: Vec<(DataElement, StagedContent)>,
    events: Vec<InstanceEvent>,
    stamp: String,
) -> Result<()> {
    let (elements, event_count) = (taken.len(), events.len());
    let written = async {
        let incoming = Incoming::new(import.platform, instance, taken, events, stamp)?;
        import.platform.import_instance(source.name(), &incoming).await
    }
    .await;
    match written {
        Ok(standing) if standing.comes() => {
            import.report.instance(standing, elements, event_count);
            Ok(())
        }
        Ok(standing) => import.report.stays(what, standing),
        Err(error) if is_of_one(&error) => import.report.leave_out(what, &error.to_string()),
        Err(error) => Err(error).with_context(|| what.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_next_page_is_its_token() {
        let next = "https://elsewhere.example.org/storage/api/v1/instances?appId=ttd%2Fa&continuationToken=638%3Bguid";
        assert_eq!(continuation(next).as_deref(), Some("638;guid"));
        assert_eq!(continuation("https://h/instances?size=1"), None);
        assert_eq!(continuation("nonsense"), None);
    }

    #[test]
    fn the_next_run_begins_before_what_was_reached_and_before_this_one_began() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let began = at("2026-01-02T12:00:00Z");
        let kept = |reached: &str, before: Option<&str>| {
            place_behind(reached, began, before.and_then(Moment::parse)).map(|place| at(&place))
        };
        let early = Some(at("2026-01-02T10:45:00Z"));
        assert_eq!(kept("2026-01-02T11:00:00.0000000Z", None), early);
        // Of a clock that goes ahead, or changed while it was read.
        let late = Some(at("2026-01-02T11:45:00Z"));
        assert_eq!(kept("2026-01-02T12:30:00Z", None), late);
        assert_eq!(
            kept("2026-01-02T11:00:00Z", Some("2026-01-02T10:50:00Z")),
            Some(at("2026-01-02T10:50:00Z"))
        );
        assert_eq!(kept("nonsense", None), None);
    }

    #[test]
    fn links_and_times_of_answers_are_in_no_stamp() {
        let reading = |host: &str, value: &str| {
            let json = |value| Json {
                value,
                instance_version: Some(1),
                process_state_version: None,
            };
            let instance = json!({"id": "1/x", "dataValues": {"k": value}, "selfLinks": {"apps": host},
                "data": [{"id": "e", "selfLinks": {"apps": host}}]});
            Reading {
                instance: json(instance),
                events: json(json!({"instanceEvents": []})),
            }
        };
        assert_eq!(reading("a", "v").stamp(), reading("b", "v").stamp());
        assert_ne!(reading("a", "v").stamp(), reading("a", "w").stamp());
    }
}
