//! Every public operation of the OCI distribution specification and of Azure Container Registry's own REST
//! API, served or not. docs/compat/registry.md is made from this table.

/// How far an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As documented.
    Yes,
    /// With what is missing.
    Partial(&'static str),
    /// Answered with `UNSUPPORTED` (405).
    No,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Where it is documented: the specification's number, or the API.
    pub source: &'static str,
    /// What it does.
    pub name: &'static str,
    /// Method and path.
    pub request: &'static str,
    /// How far it is served.
    pub support: Support,
}

const fn row(source: &'static str, name: &'static str, request: &'static str, support: Support) -> Operation {
    Operation {
        source,
        name,
        request,
        support,
    }
}

use Support::{No, Partial, Yes};

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    row("end-1", "Is this a registry", "GET /v2/", Yes),
    row(
        "end-2",
        "Get a blob, whole or a range",
        "GET, HEAD /v2/NAME/blobs/DIGEST",
        Yes,
    ),
    row(
        "end-3",
        "Get a manifest",
        "GET, HEAD /v2/NAME/manifests/REFERENCE",
        Yes,
    ),
    row("end-4a", "Begin an upload", "POST /v2/NAME/blobs/uploads/", Yes),
    row(
        "end-4b",
        "Push a blob in one request",
        "POST /v2/NAME/blobs/uploads/?digest=DIGEST",
        Yes,
    ),
    row(
        "end-4c",
        "Begin an upload of another algorithm",
        "POST /v2/NAME/blobs/uploads/?digest-algorithm=NAME",
        Yes,
    ),
    row("end-5", "Push a chunk", "PATCH /v2/NAME/blobs/uploads/ID", Yes),
    row(
        "end-6",
        "Finish an upload",
        "PUT /v2/NAME/blobs/uploads/ID?digest=DIGEST",
        Yes,
    ),
    row(
        "end-7a",
        "Push a manifest",
        "PUT /v2/NAME/manifests/REFERENCE",
        Partial(
            "an index is refused while one of its manifests is missing (no sparse indexes); schema 1 isn't taken",
        ),
    ),
    row(
        "end-7b",
        "Push a manifest with tags",
        "PUT /v2/NAME/manifests/DIGEST?tag=A&tag=B",
        Yes,
    ),
    row("end-8", "List tags", "GET /v2/NAME/tags/list", Yes),
    row(
        "end-9",
        "Delete a manifest or a tag",
        "DELETE /v2/NAME/manifests/REFERENCE",
        Yes,
    ),
    row(
        "end-10",
        "Delete a blob",
        "DELETE /v2/NAME/blobs/DIGEST",
        Partial("refused while a manifest of the repository refers to it"),
    ),
    row(
        "end-11",
        "Mount a blob of another repository",
        "POST /v2/NAME/blobs/uploads/?mount=DIGEST&from=NAME",
        Yes,
    ),
    row(
        "end-12",
        "List referrers",
        "GET /v2/NAME/referrers/DIGEST",
        Partial("of manifests with a subject; what only an index under the fallback tag lists isn't in it"),
    ),
    row(
        "end-13",
        "Where an upload stands",
        "GET /v2/NAME/blobs/uploads/ID",
        Yes,
    ),
    row(
        "end-14",
        "Cancel an upload",
        "DELETE /v2/NAME/blobs/uploads/ID",
        Yes,
    ),
    row("Docker", "List repositories", "GET /v2/_catalog", Yes),
    row(
        "Docker, ACR",
        "Get an access token",
        "GET, POST /oauth2/token",
        Yes,
    ),
    row(
        "ACR",
        "Exchange an identity provider's token",
        "POST /oauth2/exchange",
        Yes,
    ),
    row("ACR", "List repositories", "GET /acr/v1/_catalog", Yes),
    row(
        "ACR",
        "Get, update attributes of a repository",
        "GET, PATCH /acr/v1/NAME",
        Yes,
    ),
    row(
        "ACR",
        "Delete a repository",
        "DELETE /acr/v1/NAME",
        Partial("past 64 manifests in steps, which readers see"),
    ),
    row("ACR", "List tags", "GET /acr/v1/NAME/_tags", Yes),
    row(
        "ACR",
        "Get, update attributes of a tag",
        "GET, PATCH /acr/v1/NAME/_tags/TAG",
        Partial("`signed` is always false"),
    ),
    row("ACR", "Delete a tag", "DELETE /acr/v1/NAME/_tags/TAG", Yes),
    row("ACR", "List manifests", "GET /acr/v1/NAME/_manifests", Yes),
    row(
        "ACR",
        "Get, update attributes of a manifest",
        "GET, PATCH /acr/v1/NAME/_manifests/DIGEST",
        Yes,
    ),
    row(
        "ACR",
        "Delete a manifest",
        "DELETE /acr/v1/NAME/_manifests/DIGEST",
        Yes,
    ),
    row(
        "ACR",
        "Lists of what is soft-deleted",
        "GET /acr/v1/_deleted/_catalog, /acr/v1/_deleted/NAME/_manifests, _tags",
        Yes,
    ),
    row(
        "ACR",
        "Restore a manifest",
        "POST /acr/v1/_deleted/NAME/_manifests/DIGEST",
        Yes,
    ),
    row("ACR", "Query metadata", "POST /acr/v1/_metadata/_query", No),
    row("ACR", "Helm 2 charts", "/helm/v1/repo/..", No),
];

/// docs/compat/registry.md.
#[must_use]
pub fn compat_markdown() -> String {
    let mut out = String::from(
        "# Registry: what is served\n\nMade from `crates/registry/src/operation.rs`. What isn't served answers \
         `UNSUPPORTED` (405).\n\nManifests: OCI image manifest and index (nested as well), Docker manifest version 2 \
         schema 2 and manifest list, the artifact manifests of OCI's release candidates and of ORAS; each is kept as it \
         came and served as what it is, whatever `Accept` says. Digests: sha256, sha512.\n\nAuthentication: bearer \
         tokens from `/oauth2/token`, by name and password, by a refresh token, or for nobody where anonymous pull is \
         on; refresh tokens from `/oauth2/exchange`; names and passwords straight as Basic, a token as the \
         password of `00000000-0000-0000-0000-000000000000` (docs/operate/registry.md).\n\nWebhooks: push and delete, with custom headers. Import: by \
         `stabbur registry import`. Artifact cache: by setting. Not \
         served: quarantine, geo-replication, sparse \
         indexes.\n\n| source | operation | request | served |\n| --- | --- | --- | --- |\n",
    );
    for operation in OPERATIONS {
        let support = match operation.support {
            Support::Yes => "yes".to_owned(),
            Support::Partial(missing) => format!("partly: {missing}"),
            Support::No => "no".to_owned(),
        };
        out.push_str(&format!(
            "| {} | {} | `{}` | {support} |\n",
            operation.source, operation.name, operation.request
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compat_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat/registry.md");
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, compat_markdown()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == compat_markdown(),
            "docs/compat/registry.md is old: run this test with STABBUR_BLESS=1"
        );
    }
}
