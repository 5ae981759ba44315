//! The folder of Altinn's local test environment.
//!
//! | what | where |
//! | --- | --- |
//! | instance | `documentdb/instances/{party}_{guid}.json` |
//! | data elements | `documentdb/data/{guid}/{element}.json` |
//! | versions, in newer ones | `documentdb/data/{guid}/.instanceversions/versions.json` |
//! | events | `documentdb/instanceevents/{party}_{guid}_{event}.json` |
//! | metadata that was changed there | `documentdb/applications/{org}/{app}.json` |
//! | contents | `blobs/{what the element says}` |
//!
//! Locks (`instancelocks`) have ended, cloud events (`events`) are not Storage's: neither comes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use blobs::StagedContent;
use platform_storage::import::{Incoming, check_instance};
use platform_storage::model::{DataElement, Instance, InstanceEvent, ReadStatus, relaxed};
use platform_storage::rules::names::AppId;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::pieces::{self, BrokeOff};
use super::{Import, Stamp, is_of_one};

/// What records call this source.
const SOURCE: &str = "localtest";

/// Longest text of a document that is read.
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Apps that have instances and aren't here, of which so many are named.
const APPS_NAMED_MAX: usize = 20;

/// The folder, and which events there are.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Where that is, without links.
    real_root: PathBuf,
    instances: Vec<PathBuf>,
    /// File names of events by instance.
    events: BTreeMap<Uuid, Vec<PathBuf>>,
    /// Folders of elements by instance: more than one if their names differ in case.
    elements: BTreeMap<Uuid, Vec<PathBuf>>,
    /// Names that say no instance.
    odd: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StoredVersions {
    instance_version: Option<i64>,
    process_state_version: Option<i64>,
}

/// A document with the text it was read from.
struct Read<T> {
    value: T,
    text: Vec<u8>,
}

/// Reads a text of at most [`TEXT_BYTES_MAX`], without a mark of its byte order.
pub(super) fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
    file.take(TEXT_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("{}", path.display()))?;
    ensure!(
        text.len() as u64 <= TEXT_BYTES_MAX,
        "{}: is longer than {TEXT_BYTES_MAX} bytes",
        path.display()
    );
    Ok(match text.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => rest.to_vec(),
        None => text,
    })
}

/// The files of a folder that are named as JSON, sorted; none if it isn't there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{}", folder.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        let is_json = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("json"));
        if is_json && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The folders in a folder, sorted; none if it isn't there.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{}", folder.display())),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// Why a file can't be read.
#[derive(Debug)]
enum FileFault {
    /// It isn't there.
    Absent,
    /// For people.
    Other(String),
}

impl FileFault {
    fn about(self, what: &str) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Other(why) => Self::Other(format!("{what}: {why}")),
        }
    }
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("isn't there"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl Folder {
    /// Looks at what is there.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let documents = root.join("documentdb");
        ensure!(
            documents.join("instances").is_dir(),
            "--from {}: has no documentdb/instances; name the folder that the local test environment keeps its data in",
            root.display()
        );
        let mut events: BTreeMap<Uuid, Vec<PathBuf>> = BTreeMap::new();
        let mut odd = Vec::new();
        for file in files(&documents.join("instanceevents"))? {
            let stem = file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            let mut parts = stem.split('_');
            match parts.nth(1).and_then(|guid| Uuid::parse_str(guid).ok()) {
                Some(guid) => events.entry(guid).or_default().push(file),
                None => odd.push(file),
            }
        }
        let mut elements: BTreeMap<Uuid, Vec<PathBuf>> = BTreeMap::new();
        for path in folders(&documents.join("data"))? {
            let name = path.file_name().and_then(|name| name.to_str());
            match name.and_then(|name| Uuid::parse_str(name).ok()) {
                Some(guid) => elements.entry(guid).or_default().push(path),
                None if files(&path).is_ok_and(|files| files.is_empty()) => {}
                None => odd.push(path),
            }
        }
        Ok(Self {
            instances: files(&documents.join("instances"))?,
            root: root.to_owned(),
            real_root: root
                .canonicalize()
                .with_context(|| format!("--from {}", root.display()))?,
            events,
            elements,
            odd,
        })
    }

    /// Whether a path leads to a regular file in the folder, links followed; if not, why.
    fn check_file(&self, path: &Path) -> Result<(), FileFault> {
        let real = path.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => FileFault::Absent,
            _ => FileFault::Other(error.to_string()),
        })?;
        if !real.starts_with(&self.real_root) {
            return Err(FileFault::Other("leads out of the folder".to_owned()));
        }
        if !real.is_file() {
            return Err(FileFault::Other("is no file".to_owned()));
        }
        Ok(())
    }

    /// Reads a text in the folder.
    fn text(&self, path: &Path) -> Result<Vec<u8>, FileFault> {
        self.check_file(path)
            .map_err(|fault| fault.about(&path.display().to_string()))?;
        read_text(path).map_err(|error| FileFault::Other(format!("{error:#}")))
    }

    /// Reads a document in the folder.
    fn read<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<Read<T>, FileFault> {
        let text = self.text(path)?;
        let value = relaxed::from_slice(&text)
            .map_err(|error| FileFault::Other(format!("{}: {error}", path.display())))?;
        Ok(Read { value, text })
    }

    /// The file of a content; `None` if the name leads out of the folder.
    fn content(&self, named: &str) -> Option<PathBuf> {
        let named = Path::new(named);
        let is_inside = named
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        let is_named = named.components().next().is_some();
        (is_inside && is_named).then(|| self.root.join("blobs").join(named))
    }
}

/// Brings all that is in the folder.
pub(super) async fn import(import: &mut Import<'_>, folder: &Folder) -> Result<()> {
    applications(import, folder).await?;
    let mut met = BTreeSet::new();
    let mut apps = BTreeSet::new();
    import.report.expect(folder.instances.len());
    for path in &folder.instances {
        let what = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .replacen('_', "/", 1);
        let what = format!("instance {what}");
        match folder.read::<Instance>(path) {
            Ok(read) => match check_instance(&read.value) {
                Ok(guid) => {
                    met.insert(guid);
                    apps.insert(read.value.app_id.clone());
                    instance(import, folder, &what, guid, read).await?;
                }
                Err(error) => import.report.leave_out(&what, &error.to_string())?,
            },
            Err(error) => import.report.leave_out(&what, &error.to_string())?,
        }
        import.report.show(&import.bar);
    }
    strays(import, folder, &met)?;
    missing_apps(import, &apps).await
}

/// Metadata that somebody has changed in the environment.
async fn applications(import: &mut Import<'_>, folder: &Folder) -> Result<()> {
    for org in folders(&folder.root.join("documentdb").join("applications"))? {
        let paths = match files(&org) {
            Ok(paths) => paths,
            Err(error) => {
                let what = org.display().to_string();
                import.report.leave_out(&what, &format!("{error:#}"))?;
                continue;
            }
        };
        for path in paths {
            let what = path.display().to_string();
            let text = folder.text(&path).map_err(|fault| fault.to_string());
            let object = text.and_then(|text| {
                serde_json::from_slice(&text).map_err(|error| format!("can't be read: {error}"))
            });
            let object: Map<String, Value> = match object {
                Ok(object) => object,
                Err(why) => {
                    import.report.leave_out(&what, &why)?;
                    continue;
                }
            };
            match import.platform.import_application(object).await {
                Ok(came) => import.report.application(came),
                Err(error) if is_of_one(&error) => import.report.leave_out(&what, &error.to_string())?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Brings an instance.
async fn instance(
    import: &mut Import<'_>,
    folder: &Folder,
    what: &str,
    guid: Uuid,
    read_instance: Read<Instance>,
) -> Result<()> {
    let mut stamp = Stamp::default();
    stamp.add(&read_instance.text);
    let mut instance = read_instance.value;
    let mut is_whole = true;
    let mut elements = Vec::new();
    for own in folder.elements.get(&guid).into_iter().flatten() {
        let versions = own.join(".instanceversions").join("versions.json");
        match folder.read::<StoredVersions>(&versions) {
            Ok(versions) => {
                stamp.add(&versions.text);
                instance.instance_version = versions.value.instance_version.filter(|version| *version > 0);
                instance.process_state_version = versions
                    .value
                    .process_state_version
                    .filter(|version| *version > 0);
            }
            // The environment didn't keep them before.
            Err(FileFault::Absent) => {}
            Err(fault) => {
                is_whole = false;
                import
                    .report
                    .leave_out(&format!("the versions of {what}"), &fault.to_string())?;
            }
        }
        let paths = match files(own) {
            Ok(paths) => paths,
            Err(error) => {
                is_whole = false;
                import
                    .report
                    .leave_out(&format!("elements of {what}"), &format!("{error:#}"))?;
                continue;
            }
        };
        for path in paths {
            match folder.read::<DataElement>(&path) {
                Ok(read) => {
                    stamp.add(&read.text);
                    elements.push(read.value);
                }
                Err(fault) => {
                    is_whole = false;
                    import
                        .report
                        .leave_out(&format!("an element of {what}"), &fault.to_string())?;
                }
            }
        }
    }
    let mut events = Vec::new();
    for path in folder.events.get(&guid).into_iter().flatten() {
        match folder.read::<InstanceEvent>(path) {
            Ok(read) => {
                stamp.add(&read.text);
                events.push(read.value);
            }
            Err(fault) => {
                is_whole = false;
                import
                    .report
                    .leave_out(&format!("an event of {what}"), &fault.to_string())?;
            }
        }
    }
    events.sort_by_key(|event| event.created);
    let stamp = stamp.finish();
    let standing = import.platform.standing(SOURCE, &guid, &stamp).await?;
    if !standing.comes() {
        return import.report.stays(what, standing);
    }
    as_shown(&mut instance, &elements);
    let mut taken = Vec::with_capacity(elements.len());
    for element in elements {
        match content(import, folder, &element).await? {
            Ok(content) => taken.push((element, content)),
            Err(why) => {
                is_whole = false;
                import
                    .report
                    .leave_out(&format!("element {} of {what}", element.id), &why)?;
            }
        }
    }
    // What isn't whole is looked at again the next time.
    let stamp = if is_whole { stamp } else { String::new() };
    let (element_count, event_count) = (taken.len(), events.len());
    let written = async {
        let incoming = Incoming::new(import.platform, instance, taken, events, stamp)?;
        import.platform.import_instance(SOURCE, &incoming).await
    }
    .await;
    match written {
        Ok(standing) if standing.comes() => {
            import.report.instance(standing, element_count, event_count);
            Ok(())
        }
        Ok(standing) => import.report.stays(what, standing),
        Err(error) if is_of_one(&error) => import.report.leave_out(what, &error.to_string()),
        Err(error) => Err(error).with_context(|| what.to_owned()),
    }
}

/// What the environment computes when it shows an instance, and doesn't keep.
fn as_shown(instance: &mut Instance, elements: &[DataElement]) {
    let newest = elements
        .iter()
        .filter(|element| element.last_changed_by.is_some())
        .max_by_key(|element| element.last_changed);
    if let Some(newest) = newest
        && newest.last_changed > instance.last_changed
    {
        instance.last_changed = newest.last_changed;
        instance.last_changed_by.clone_from(&newest.last_changed_by);
    }
    let is_unread = elements.iter().any(|element| !element.is_read);
    if instance.status.read_status == ReadStatus::Read && is_unread {
        instance.status.read_status = ReadStatus::UpdatedSinceLastReview;
    }
}

/// Takes an element's content in; why it can't be is for people.
async fn content(
    import: &mut Import<'_>,
    folder: &Folder,
    element: &DataElement,
) -> Result<Result<StagedContent, String>> {
    let named = element.blob_storage_path.as_deref().unwrap_or_default();
    let Some(path) = folder.content(named) else {
        return Ok(Err(format!("its content's name {named:?} is none")));
    };
    let unread = |why: String| Ok(Err(format!("its content blobs/{named} {why}")));
    if let Err(fault) = folder.check_file(&path) {
        return unread(fault.to_string());
    }
    let broke_off = BrokeOff::default();
    let body = match pieces::file(&path, &broke_off).await {
        Ok(body) => body,
        Err(error) => return unread(format!("can't be read: {error}")),
    };
    match import.platform.take_content(body).await {
        Ok(content) => {
            import.report.bytes(content.length_bytes);
            Ok(Ok(content))
        }
        Err(error) if broke_off.is_so() => unread(format!("can't be read: {error}")),
        Err(error) if is_of_one(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

/// What belongs to no instance.
fn strays(import: &mut Import<'_>, folder: &Folder, met: &BTreeSet<Uuid>) -> Result<()> {
    for path in &folder.odd {
        let what = path.display().to_string();
        import.report.leave_out(&what, "its name says of no instance")?;
    }
    for (guid, events) in folder.events.iter().filter(|(guid, _)| !met.contains(guid)) {
        let what = format!("{} events of instance {guid}", events.len());
        import.report.leave_out(&what, "there is no such instance")?;
    }
    for (guid, own) in folder.elements.iter().filter(|(guid, _)| !met.contains(guid)) {
        for path in own {
            let (count, why) = match files(path) {
                Ok(files) if files.is_empty() => continue,
                Ok(files) => (files.len().to_string(), "there is no such instance".to_owned()),
                Err(error) => ("some".to_owned(), format!("{error:#}")),
            };
            let what = format!("{count} elements of instance {guid}");
            import.report.leave_out(&what, &why)?;
        }
    }
    Ok(())
}

/// Says which apps' metadata is missing here.
async fn missing_apps(import: &mut Import<'_>, apps: &BTreeSet<String>) -> Result<()> {
    let mut missing = Vec::new();
    for app in apps.iter().filter_map(|app| AppId::parse(app)) {
        if !import.platform.has_application(&app).await? {
            missing.push(app.to_string());
        }
    }
    if !missing.is_empty() {
        missing.truncate(APPS_NAMED_MAX);
        import.report.note(format!(
            "there is no metadata here of {}; --app-folder brings it from an app's source",
            missing.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_content_is_outside() {
        let root = tempfile::tempdir().unwrap();
        let instances = root.path().join("documentdb").join("instances");
        assert!(Folder::open(root.path()).is_err());
        std::fs::create_dir_all(&instances).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let inside = folder.content("ttd/a/guid/data/id").unwrap();
        assert_eq!(inside, root.path().join("blobs/ttd/a/guid/data/id"));
        for bad in ["", "..", "../x", "/etc/passwd", "a/../../../x", "./../x"] {
            assert_eq!(folder.content(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_instance_is_as_it_was_shown() {
        let read = |value: Value| relaxed::from_value::<DataElement>(value).unwrap();
        let mut instance: Instance = relaxed::from_value(json!({"lastChanged": "2025-01-02T00:00:00Z",
            "lastChangedBy": "1", "status": {"readStatus": 1}}))
        .unwrap();
        let older =
            read(json!({"lastChanged": "2025-01-01T00:00:00Z", "lastChangedBy": "2", "isRead": true}));
        as_shown(&mut instance, std::slice::from_ref(&older));
        assert_eq!(instance.last_changed_by.as_deref(), Some("1"));
        assert_eq!(instance.status.read_status, ReadStatus::Read);
        let newer =
            read(json!({"lastChanged": "2025-01-03T00:00:00Z", "lastChangedBy": "3", "isRead": false}));
        as_shown(&mut instance, &[older, newer]);
        assert_eq!(instance.last_changed_by.as_deref(), Some("3"));
        assert_eq!(instance.status.read_status, ReadStatus::UpdatedSinceLastReview);
    }
}
