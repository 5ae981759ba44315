//! Encrypted content in a folder keeps the contract of every content store, also when what lies in the folder
//! is damaged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use content::suite::{Backend, Failure, Subject, run};
use content::{ContentError, ContentId, ContentStore};
use content_local::LocalContent;
use encryption::{AccountGeneration, DataKey, EncryptedContent, KeyEncryptionKey, Keyring};
use ledger::memory::MemoryLedger;
use ledger::{Random as _, SystemClock, SystemRandom};

struct Folders(Arc<DataKey>);

struct Folder {
    folder: tempfile::TempDir,
    store: Arc<dyn ContentStore>,
}

impl Folder {
    fn file(&self, id: ContentId) -> PathBuf {
        let name = id.to_string();
        self.folder.path().join(name.split_at(2).0).join(name)
    }
}

#[async_trait]
impl Backend for Folders {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        let folder = tempfile::tempdir().map_err(|error| ContentError::Io(error.to_string()))?;
        let now = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
        let chance = Arc::new(|bytes: &mut [u8]| SystemRandom.fill(bytes));
        let local = Arc::new(LocalContent::open(folder.path(), now, chance)?);
        let store = Arc::new(EncryptedContent::new(local, self.0.clone()));
        Ok(Box::new(Folder { folder, store }))
    }
}

#[async_trait]
impl Subject for Folder {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.store.clone()
    }

    async fn stored(&self, id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = fs::read(self.file(id)).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Some(bytes))
    }

    async fn replace(&self, id: ContentId, bytes: Vec<u8>) -> Result<(), Failure> {
        fs::write(self.file(id), bytes).map_err(|error| Failure::new(error.to_string()))
    }
}

async fn account_key() -> Arc<DataKey> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    fs::write(&path, "07".repeat(32)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let kek = KeyEncryptionKey::from_file(&path).unwrap();
    let ledger = Arc::new(MemoryLedger::new(Arc::new(SystemClock)));
    let account = AccountGeneration {
        scope: None,
        account: "acme".to_owned(),
        generation: 0,
    };
    let keyring = Keyring::open(ledger, Arc::new(SystemRandom), vec![kek], &[account]).await;
    keyring.unwrap().newest("acme").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_content_in_a_folder_conforms() {
    let failures = run(&Folders(account_key().await)).await;
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}
