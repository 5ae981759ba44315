//! What a Stabbur is told, so that it keeps its content here: a file for `--content-config`, and the
//! key in files beside it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::server::{BUCKET, KEY, KEY_ID, REGION};

/// Writes `folder/name`, which leads to `address`. It names no prefix: who uses it adds one
/// (`prefix = ".."`), so that several servers can share the bucket. It is there at once and whole.
///
/// # Errors
/// As the file system.
pub fn write_content_config(folder: &Path, name: &str, address: SocketAddr) -> io::Result<PathBuf> {
    let folder = std::fs::canonicalize(folder)?;
    let (id, key) = (folder.join("access-key-id"), folder.join("secret-access-key"));
    std::fs::write(&id, KEY_ID)?;
    std::fs::write(&key, KEY)?;
    let text = format!(
        "provider = \"s3\"\nendpoint = \"http://{address}\"\nregion = \"{REGION}\"\nbucket = \"{BUCKET}\"\n\
         access_key_id_file = {id:?}\nsecret_access_key_file = {key:?}\n"
    );
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.tmp")));
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, &path)?;
    Ok(path)
}
