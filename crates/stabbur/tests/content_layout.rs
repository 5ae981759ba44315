//! What docs/operate/moving.md says of content: a folder's files and an object store's objects have the
//! same names and bytes, save `FORMAT`, so tools that copy files move content either way.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::path::Path;
use std::sync::Arc;

use content::{ContentId, ContentStore, read_bounded};
use content_local::LocalContent;
use content_objects::ObjectContent;
use futures::TryStreamExt as _;
use ledger::{Clock as _, Random as _, SystemClock, SystemRandom};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

const SIZES: [usize; 5] = [0, 1, 65_536, 65_537, 9 * 1024 * 1024];
const BYTES_MAX: usize = 16 * 1024 * 1024;

fn local(folder: &Path) -> Arc<dyn ContentStore> {
    let now = Arc::new(|| SystemClock.now());
    let chance = Arc::new(|bytes: &mut [u8]| SystemRandom.fill(bytes));
    Arc::new(LocalContent::open(folder, now, chance).unwrap())
}

async fn objects(store: &Arc<InMemory>) -> Arc<dyn ContentStore> {
    let now = Arc::new(|| SystemClock.now());
    let chance = Arc::new(|bytes: &mut [u8]| SystemRandom.fill(bytes));
    let opened = ObjectContent::over(store.clone(), "content", now, chance).await;
    Arc::new(opened.unwrap())
}

async fn write(store: &Arc<dyn ContentStore>) -> Vec<(ContentId, Vec<u8>)> {
    let mut written = Vec::new();
    for size in SIZES {
        let mut bytes = vec![0; size];
        SystemRandom.fill(&mut bytes);
        let mut writer = store.writer().await.unwrap();
        writer.write(bytes.clone().into()).await.unwrap();
        written.push((writer.finish().await.unwrap().id, bytes));
    }
    written
}

async fn assert_same(store: &Arc<dyn ContentStore>, written: &[(ContentId, Vec<u8>)]) {
    for (id, bytes) in written {
        let length = store.info(*id).await.unwrap().length_bytes;
        let found = read_bounded(store, *id, 0..length, BYTES_MAX).await.unwrap();
        assert!(found == *bytes, "{id}");
    }
    assert_eq!(store.list(None, 100).await.unwrap().len(), written.len());
}

#[tokio::test]
async fn a_folders_files_are_an_object_stores_objects() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(&local(folder.path())).await;
    let raw = Arc::new(InMemory::new());
    let place = |name: &str| object_store::path::Path::from(format!("content/{name}"));
    let format = "stabbur-content-objects 1\n";
    raw.put(&place("FORMAT"), format.into()).await.unwrap();
    for part in std::fs::read_dir(folder.path()).unwrap() {
        let part = part.unwrap();
        let part_name = part.file_name().into_string().unwrap();
        if part_name == "FORMAT" || part_name == "tmp" {
            continue;
        }
        for file in std::fs::read_dir(part.path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let bytes = std::fs::read(file.path()).unwrap();
            raw.put(&place(&format!("{part_name}/{name}")), bytes.into())
                .await
                .unwrap();
        }
    }
    assert_same(&objects(&raw).await, &written).await;
}

#[tokio::test]
async fn an_object_stores_objects_are_a_folders_files() {
    let raw = Arc::new(InMemory::new());
    let written = write(&objects(&raw).await).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("FORMAT"), "stabbur-content-local 1\n").unwrap();
    let listed: Vec<_> = raw.list(None).try_collect().await.unwrap();
    for object in listed {
        let name = object.location.as_ref().strip_prefix("content/").unwrap();
        if name == "FORMAT" {
            continue;
        }
        let bytes = raw.get(&object.location).await.unwrap().bytes().await.unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    assert_same(&local(folder.path()), &written).await;
}
