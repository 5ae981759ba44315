//! What a request is about: account, container, blob, by host or by path.
//!
//! Names are hardly normalised: `//`, dots and `%2F` in a blob's name are just its name. A backslash is a slash.

use percent_encoding::percent_decode_str;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::BLOB_NAME_CHARACTERS_MAX;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) account: String,
    pub(crate) container: Option<String>,
    pub(crate) blob: Option<String>,
    /// The blob's name as it was sent, where it isn't the one that it is taken for.
    pub(crate) literal: Option<String>,
    /// Whether the secondary host was named: reads only.
    pub(crate) secondary: bool,
    /// The endpoint's path: `/account` in path style, empty in host style.
    pub(crate) base: String,
}

/// A blob's name.
pub(crate) struct Name {
    /// As it is taken.
    pub(crate) taken: String,
    /// As it was sent, where that is another one.
    pub(crate) literal: Option<String>,
}

impl Name {
    /// The original takes a backslash for a slash in names of blobs.
    pub(crate) fn of(sent: String) -> Self {
        match sent.contains('\\') {
            false => Self {
                taken: sent,
                literal: None,
            },
            true => Self {
                taken: sent.replace('\\', "/"),
                literal: Some(sent),
            },
        }
    }
}

impl Target {
    /// Reads host and path. `suffixes` are what comes behind `{account}.` in host style.
    ///
    /// # Errors
    /// `InvalidUri`, `InvalidResourceName`, `OutOfRangeInput`.
    pub(crate) fn parse(host: &str, path: &str, suffixes: &[String]) -> Result<Self, BlobsError> {
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                name
            } else {
                host
            }
        });
        let of_host = suffixes
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix.as_str())?.strip_suffix('.'));
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (account, rest, base) = match of_host {
            Some(account) => (account.to_owned(), rest, String::new()),
            None => {
                let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
                (decode(account)?, rest, format!("/{account}"))
            }
        };
        if account.is_empty() {
            return Err(ErrorCode::InvalidUri.into());
        }
        let secondary = account.ends_with("-secondary");
        let account = account.trim_end_matches("-secondary").to_owned();
        let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
        let container = (!container.is_empty()).then(|| decode(container)).transpose()?;
        let blob = (!blob.is_empty()).then(|| decode(blob)).transpose()?;
        let (blob, literal) = blob
            .map(Name::of)
            .map_or((None, None), |name| (Some(name.taken), name.literal));
        if let Some(container) = &container {
            check_container(container)?;
        }
        if blob.as_ref().is_some_and(|blob| blob.contains('\0')) {
            return Err(ErrorCode::InvalidUri.into());
        }
        if blob
            .as_ref()
            .is_some_and(|blob| blob.chars().count() > BLOB_NAME_CHARACTERS_MAX)
        {
            return Err(ErrorCode::OutOfRangeInput.into());
        }
        Ok(Self {
            account,
            container,
            blob,
            literal,
            secondary,
            base,
        })
    }
}

fn decode(text: &str) -> Result<String, BlobsError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| ErrorCode::InvalidUri.into())
}

fn check_container(name: &str) -> Result<(), BlobsError> {
    if ["$root", "$web", "$logs", "$blobchangefeed"].contains(&name) {
        return Ok(());
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    if !name.chars().all(allowed) || hyphens {
        return Err(ErrorCode::InvalidResourceName.into());
    }
    if !(3..=63).contains(&name.len()) {
        let text = "The specified resource name length is not within the permissible limits.";
        return Err(BlobsError::with(ErrorCode::OutOfRangeInput, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles() {
        let suffixes = ["blob.localhost".to_owned()];
        let parse = |host, path| Target::parse(host, path, &suffixes).map_err(|error| error.code);
        let path = parse("127.0.0.1:10000", "/dev/box/a/../b%2Fc+d%20e").unwrap();
        assert_eq!(
            (path.account.as_str(), path.container.as_deref()),
            ("dev", Some("box"))
        );
        assert_eq!(path.blob.as_deref(), Some("a/../b/c+d e"));
        let host = parse("dev-secondary.blob.localhost:10000", "/box/x").unwrap();
        assert_eq!(
            (host.account.as_str(), host.secondary, host.blob.as_deref()),
            ("dev", true, Some("x"))
        );
        assert_eq!(
            parse("127.0.0.1", "/dev/Box/x"),
            Err(ErrorCode::InvalidResourceName)
        );
        assert_eq!(parse("127.0.0.1", "/dev/ab/x"), Err(ErrorCode::OutOfRangeInput));
        assert_eq!(parse("127.0.0.1", "/"), Err(ErrorCode::InvalidUri));
        let slashed = parse("127.0.0.1", "/dev/box/a%5Cb\\c").unwrap();
        assert_eq!(slashed.blob.as_deref(), Some("a/b/c"));
        assert_eq!(slashed.literal.as_deref(), Some("a\\b\\c"));
        let long = format!("/dev/box/{}", "x".repeat(1_025));
        assert_eq!(parse("127.0.0.1", &long), Err(ErrorCode::OutOfRangeInput));
    }
}
