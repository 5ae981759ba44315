//! A key in a file: 32 bytes as text, which the file's owner alone may read.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::frame::KEY_BYTES;

/// Longest file that is read: more than any form of a key takes.
const FILE_BYTES_MAX: u64 = 256;

/// What a file holds, for people.
const FORMS: &str = "the file holds 32 bytes as 64 hexadecimal digits or as base64, and nothing else; make one with \
                     `(umask 077; openssl rand -hex 32 > FILE)`";

/// The mode's bits of the group and of others.
const OTHERS: u32 = 0o077;

/// Reads a key of 32 bytes from a file, which its owner alone may read.
///
/// # Errors
/// [`KeyError::File`] names the file and what to do, and never what it holds.
pub fn read(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let refused = |cause: String| KeyError::File {
        path: path.to_owned(),
        cause,
    };
    // A pipe that nobody writes to would hold the start up for ever.
    let without_waiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(without_waiting)
        .open(path);
    let file = opened.map_err(|error| refused(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused(format!("not a file; {FORMS}")));
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(refused(format!(
            "its mode {mode:03o} lets others than its owner at it; `chmod 600` it, and take it for known if it was so for long"
        )));
    }
    // As long as it can become, so that no copy is left behind where it grew.
    let size = usize::try_from(FILE_BYTES_MAX).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| refused(error.to_string()))?;
    let text = text.trim_ascii();
    parse(text).ok_or_else(|| refused(format!("holds {} bytes that are no key; {FORMS}", text.len())))
}

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() == 2 * KEY_BYTES {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (byte, digits) in key.iter_mut().zip(text.chunks(2)) {
            for digit in digits {
                let digit = char::from(*digit).to_digit(16)?;
                *byte = (*byte << 4) | u8::try_from(digit).ok()?;
            }
        }
        return Some(key);
    }
    from_base64(text)
}

/// A key of 32 bytes that is written as base64.
pub(crate) fn from_base64(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    // Base64's estimate of its room is longer than the key.
    let mut room = Zeroizing::new([0; KEY_BYTES + 4]);
    let length = STANDARD.decode_slice(text, room.as_mut_slice()).ok()?;
    key.copy_from_slice(
        room.get(..length)?
            .get(..KEY_BYTES)
            .filter(|_| length == KEY_BYTES)?,
    );
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read_text(text: &str, mode: u32) -> Result<Zeroizing<[u8; KEY_BYTES]>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read() {
        let wanted: Vec<u8> = (0..32).collect();
        for text in [HEX, BASE64] {
            for text in [text.to_owned(), format!("{text}\n"), format!(" {text} \r\n")] {
                assert_eq!(read_text(&text, 0o600).unwrap().as_slice(), wanted);
                assert_eq!(read_text(&text, 0o400).unwrap().as_slice(), wanted);
            }
        }
    }

    #[test]
    fn everything_else_is_refused_without_being_told() {
        let short = &HEX[2..];
        let long = format!("{HEX}00");
        let cut = &BASE64[..40];
        let more = STANDARD.encode([7; 33]);
        let huge = "0".repeat(10_000);
        for text in [
            short,
            &long,
            cut,
            &more,
            &huge,
            "",
            "secret passphrase",
            &HEX.replace('0', "g"),
        ] {
            let error = read_text(text, 0o600).unwrap_err();
            assert!(
                error.contains("64 hexadecimal digits") && error.contains("base64"),
                "{error}"
            );
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620, 0o601] {
            let error = read_text(HEX, mode).unwrap_err();
            assert!(
                error.contains(&format!("{mode:03o}")) && error.contains("chmod 600"),
                "{error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        // Nobody writes to it: opening it as a file would wait.
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(read(&pipe).unwrap_err().to_string().contains("not a file"));
        assert!(
            read(folder.path())
                .unwrap_err()
                .to_string()
                .contains("not a file")
        );
        assert!(
            read(&folder.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("none")
        );
    }
}
