//! Which operation a path means. A repository's name may hold any of the words that tell operations apart,
//! so the last of them counts; a name may come with its slashes encoded.

use percent_encoding::percent_decode_str;

use crate::error::{ErrorCode, RegistryError};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/blobs/DIGEST`
    Blob(String, String),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(String),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(String, String),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(String, String),
    /// `/v2/NAME/tags/list`
    Tags(String),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(String, String),
    /// `/oauth2/token`
    Token,
    /// `/oauth2/exchange`
    Exchange,
    /// `/acr/v1/_catalog`
    AcrCatalog,
    /// `/acr/v1/NAME`
    AcrRepository(String),
    /// `/acr/v1/NAME/_tags`
    AcrTags(String),
    /// `/acr/v1/NAME/_tags/TAG`
    AcrTag(String, String),
    /// `/acr/v1/NAME/_manifests`
    AcrManifests(String),
    /// `/acr/v1/NAME/_manifests/DIGEST`
    AcrManifest(String, String),
    /// `/acr/v1/_deleted/_catalog`
    DeletedCatalog,
    /// `/acr/v1/_deleted/NAME/_manifests`
    DeletedManifests(String),
    /// `/acr/v1/_deleted/NAME/_manifests/DIGEST`
    DeletedManifest(String, String),
    /// `/acr/v1/_deleted/NAME/_tags`
    DeletedTags(String),
    /// What the original serves and this doesn't.
    Unserved,
}

impl Route {
    /// The route of a path.
    ///
    /// # Errors
    /// `NAME_INVALID` for a path that isn't UTF-8, `NAME_UNKNOWN` for one that nothing is served at.
    pub(crate) fn parse(path: &str) -> Result<Self, RegistryError> {
        let path = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| RegistryError::from(ErrorCode::NameInvalid))?;
        match path.as_ref() {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            "/oauth2/token" => return Ok(Self::Token),
            "/oauth2/exchange" => return Ok(Self::Exchange),
            "/acr/v1/_catalog" => return Ok(Self::AcrCatalog),
            "/acr/v1/_deleted/_catalog" => return Ok(Self::DeletedCatalog),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/v2/") {
            return Self::distribution(rest);
        }
        if let Some(rest) = path.strip_prefix("/acr/v1/") {
            return Ok(Self::acr(rest));
        }
        if path.starts_with("/helm/") {
            return Ok(Self::Unserved);
        }
        Err(unknown())
    }

    fn distribution(rest: &str) -> Result<Self, RegistryError> {
        let markers = ["/manifests/", "/blobs/", "/tags/list", "/referrers/"];
        let last = markers
            .into_iter()
            .filter_map(|marker| rest.rfind(marker).map(|at| (at, marker)))
            .max();
        let (at, marker) = last.ok_or_else(unknown)?;
        let (name, tail) = rest.split_at(at);
        let (name, tail) = (name.to_owned(), tail.strip_prefix(marker).unwrap_or_default());
        Ok(match marker {
            "/manifests/" => Self::Manifest(name, tail.to_owned()),
            "/referrers/" => Self::Referrers(name, tail.to_owned()),
            "/tags/list" if tail.is_empty() || tail == "/" => Self::Tags(name),
            "/blobs/" => match tail.strip_prefix("uploads") {
                Some("" | "/") => Self::Uploads(name),
                Some(id) if id.starts_with('/') => Self::Upload(name, id.trim_start_matches('/').to_owned()),
                _ => Self::Blob(name, tail.to_owned()),
            },
            _ => return Err(unknown()),
        })
    }

    fn acr(rest: &str) -> Self {
        if rest.starts_with("_metadata/") {
            return Self::Unserved;
        }
        if let Some(rest) = rest.strip_prefix("_deleted/") {
            return match Self::acr(rest) {
                Self::AcrManifests(name) => Self::DeletedManifests(name),
                Self::AcrManifest(name, digest) => Self::DeletedManifest(name, digest),
                Self::AcrTags(name) => Self::DeletedTags(name),
                _ => Self::Unserved,
            };
        }
        let last = ["/_tags", "/_manifests"]
            .into_iter()
            .filter_map(|marker| rest.rfind(marker).map(|at| (at, marker)))
            .max();
        let Some((at, marker)) = last else {
            return Self::AcrRepository(rest.trim_end_matches('/').to_owned());
        };
        let (name, tail) = rest.split_at(at);
        let name = name.to_owned();
        let tail = tail
            .strip_prefix(marker)
            .unwrap_or_default()
            .trim_start_matches('/');
        match (marker, tail) {
            ("/_tags", "") => Self::AcrTags(name),
            ("/_tags", tag) => Self::AcrTag(name, tag.to_owned()),
            (_, "") => Self::AcrManifests(name),
            (_, digest) => Self::AcrManifest(name, digest.to_owned()),
        }
    }
}

fn unknown() -> RegistryError {
    ErrorCode::NameUnknown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_tells() {
        let s = str::to_owned;
        for (path, expected) in [
            ("/v2", Route::Base),
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/b/manifests/v1", Route::Manifest(s("a/b"), s("v1"))),
            (
                "/v2/a%2Fb/manifests/sha256%3Aab",
                Route::Manifest(s("a/b"), s("sha256:ab")),
            ),
            ("/v2/a/blobs/sha256:ab", Route::Blob(s("a"), s("sha256:ab"))),
            ("/v2/a/blobs/uploads", Route::Uploads(s("a"))),
            ("/v2/a/blobs/uploads/", Route::Uploads(s("a"))),
            ("/v2/a/blobs/uploads/1-2", Route::Upload(s("a"), s("1-2"))),
            ("/v2/a/blobs/uploadsx", Route::Blob(s("a"), s("uploadsx"))),
            ("/v2/a/tags/list", Route::Tags(s("a"))),
            (
                "/v2/a/referrers/sha256:ab",
                Route::Referrers(s("a"), s("sha256:ab")),
            ),
            (
                "/v2/a/manifests/b/blobs/c",
                Route::Blob(s("a/manifests/b"), s("c")),
            ),
            ("/v2/tags/list/tags/list", Route::Tags(s("tags/list"))),
            (
                "/v2/a/blobs/uploads/manifests/t",
                Route::Manifest(s("a/blobs/uploads"), s("t")),
            ),
            ("/oauth2/token", Route::Token),
            ("/oauth2/exchange", Route::Exchange),
            ("/acr/v1/_catalog", Route::AcrCatalog),
            ("/acr/v1/a/b", Route::AcrRepository(s("a/b"))),
            ("/acr/v1/a%2Fb/_tags", Route::AcrTags(s("a/b"))),
            ("/acr/v1/a/_tags/v1", Route::AcrTag(s("a"), s("v1"))),
            ("/acr/v1/a/_manifests/", Route::AcrManifests(s("a"))),
            (
                "/acr/v1/a/_manifests/sha256:ab",
                Route::AcrManifest(s("a"), s("sha256:ab")),
            ),
            ("/acr/v1/_deleted/_catalog", Route::DeletedCatalog),
            ("/acr/v1/_deleted/a/b/_tags", Route::DeletedTags(s("a/b"))),
            (
                "/acr/v1/_deleted/a%2Fb/_manifests",
                Route::DeletedManifests(s("a/b")),
            ),
            (
                "/acr/v1/_deleted/a/_manifests/sha256:ab",
                Route::DeletedManifest(s("a"), s("sha256:ab")),
            ),
            ("/acr/v1/_deleted/a", Route::Unserved),
            ("/acr/v1/_deleted/_deleted/a/_tags", Route::Unserved),
            ("/acr/v1/_metadata/_query", Route::Unserved),
            ("/helm/v1/repo/x", Route::Unserved),
        ] {
            assert_eq!(Route::parse(path).unwrap(), expected, "{path}");
        }
        for bad in [
            "",
            "/",
            "/v1/",
            "/v2/a",
            "/v2/a/tags/listing",
            "/v2/%FF/tags/list",
            "/x",
        ] {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }
}
