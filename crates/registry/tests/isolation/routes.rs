//! Every operation as a request about something that is here, is another organisation's, or is nowhere.

use registry::rules::digest::Digest;
use registry::rules::grants::Action;
use registry::rules::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::bench::{described, image_of, index_of, sha256};

/// What the cells of one number are about.
pub struct Names {
    pub number: usize,
    /// The repository that has it, or would have it.
    pub repository: String,
    /// One of the same registry that hasn't.
    pub elsewhere: String,
    pub upload: String,
    pub config: Digest,
    pub layer: Digest,
    /// A blob that no manifest refers to.
    pub loose: Digest,
    pub image: Digest,
    /// A manifest that is soft-deleted.
    pub gone: Digest,
}

pub const CONFIG: &[u8] = b"{\"os\":\"linux\",\"architecture\":\"amd64\"}";

impl Names {
    pub fn new(number: usize, upload: &str) -> Self {
        let config = sha256(CONFIG);
        let (layer, loose) = (sha256(&layer_bytes(number)), sha256(&loose_bytes(number)));
        let image = sha256(image_of(&config, &layer).to_string().as_bytes());
        Self {
            number,
            repository: repository(number),
            elsewhere: format!("elsewhere/r{number:05}"),
            upload: upload.to_owned(),
            config,
            layer,
            loose,
            image,
            gone: sha256(gone().to_string().as_bytes()),
        }
    }
}

/// What is pushed and soft-deleted.
pub fn gone() -> Value {
    let config = sha256(CONFIG);
    image_of(&config, &config)
}

pub fn repository(number: usize) -> String {
    format!("team/r{number:05}")
}

pub fn layer_bytes(number: usize) -> Vec<u8> {
    format!("layer {number}").into_bytes()
}

pub fn loose_bytes(number: usize) -> Vec<u8> {
    format!("loose {number}").into_bytes()
}

/// Something about an image.
pub fn referrer(names: &Names) -> Value {
    let mut manifest = image_of(&names.config, &names.config);
    manifest["subject"] = described(OCI_MANIFEST, &names.image, 9);
    manifest["artifactType"] = json!("application/x.signature");
    manifest
}

/// What a request needs, so that it isn't refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A login, whosever.
    Login,
    /// A name and a password, or that the registry lets anybody pull.
    Password,
    /// All repositories' lists.
    Catalog,
    /// Those of what is soft-deleted.
    DeletedCatalog,
    /// Actions on the repository that has it.
    Here(&'static [Action]),
    /// Actions on the other one.
    Elsewhere(&'static [Action]),
}

/// A request.
pub struct Route {
    /// Its row of `operation.rs`.
    pub operation: &'static str,
    /// What tells it from others of that row.
    pub kind: &'static str,
    pub method: &'static str,
    pub path: fn(&Names) -> String,
    pub body: fn(&Names) -> (&'static str, Vec<u8>),
    pub needs: Needs,
    /// What is needed for the answer to depend on whether it is here.
    pub reveals: Action,
    /// The answer to who may know it: if it is here, and if it isn't.
    pub answers: (u16, u16),
}

use Action::{Delete, DeletedRead, DeletedRestore, MetadataRead, MetadataWrite, Pull, Push};

const PULL: Needs = Needs::Here(&[Pull]);
const PUSH: Needs = Needs::Here(&[Pull, Push]);
const DELETE: Needs = Needs::Here(&[Delete]);
const READ: Needs = Needs::Here(&[MetadataRead]);
const WRITE: Needs = Needs::Here(&[MetadataWrite]);
const DELETED: Needs = Needs::Here(&[DeletedRead]);
const RESTORE: Needs = Needs::Here(&[DeletedRestore]);
const PUSH_ELSEWHERE: Needs = Needs::Elsewhere(&[Pull, Push]);

fn nothing(_: &Names) -> (&'static str, Vec<u8>) {
    ("application/octet-stream", Vec::new())
}

fn empty_patch(_: &Names) -> (&'static str, Vec<u8>) {
    ("application/json", b"{}".to_vec())
}

fn image(names: &Names) -> (&'static str, Vec<u8>) {
    let image = image_of(&names.config, &names.layer);
    (OCI_MANIFEST, image.to_string().into_bytes())
}

fn index(names: &Names) -> (&'static str, Vec<u8>) {
    (OCI_INDEX, index_of(&[&names.image]).to_string().into_bytes())
}

fn loose(names: &Names) -> (&'static str, Vec<u8>) {
    ("application/octet-stream", loose_bytes(names.number))
}

/// The list of all repositories, as far as the one that it is about would stand in it.
fn catalog(path: &str, names: &Names) -> String {
    let before = names.number.saturating_sub(1);
    format!("{path}?n=1&last={}", repository(before))
}

#[allow(clippy::too_many_lines, reason = "a table")]
pub fn routes() -> Vec<Route> {
    let row = |operation, kind, method, needs, answers, path: fn(&Names) -> String| {
        let reveals = match needs {
            Needs::Here(actions) => actions[0],
            _ => Pull,
        };
        Route {
            operation,
            kind,
            method,
            path,
            body: nothing,
            needs,
            reveals,
            answers,
        }
    };
    let with = |body: fn(&Names) -> (&'static str, Vec<u8>), route: Route| Route { body, ..route };
    vec![
        row("Is this a registry", "", "GET", Needs::Login, (200, 200), |_| {
            "/v2/".to_owned()
        }),
        row("Get a blob, whole or a range", "", "GET", PULL, (200, 404), |n| {
            format!("/v2/{}/blobs/{}", n.repository, n.layer)
        }),
        row(
            "Get a blob, whole or a range",
            "asked whether it is there",
            "HEAD",
            PULL,
            (200, 404),
            |n| format!("/v2/{}/blobs/{}", n.repository, n.layer),
        ),
        row(
            "Get a blob, whole or a range",
            "of another repository",
            "GET",
            Needs::Elsewhere(&[Pull]),
            (404, 404),
            |n| format!("/v2/{}/blobs/{}", n.elsewhere, n.layer),
        ),
        row("Get a manifest", "by tag", "GET", PULL, (200, 404), |n| {
            format!("/v2/{}/manifests/v1", n.repository)
        }),
        row("Get a manifest", "by digest", "GET", PULL, (200, 404), |n| {
            format!("/v2/{}/manifests/{}", n.repository, n.image)
        }),
        row(
            "Get a manifest",
            "asked whether it is there",
            "HEAD",
            PULL,
            (200, 404),
            |n| format!("/v2/{}/manifests/v1", n.repository),
        ),
        row("Begin an upload", "", "POST", PUSH, (202, 202), |n| {
            format!("/v2/{}/blobs/uploads/", n.repository)
        }),
        with(
            loose,
            row(
                "Push a blob in one request",
                "",
                "POST",
                PUSH_ELSEWHERE,
                (201, 201),
                |n| format!("/v2/{}/blobs/uploads/?digest={}", n.elsewhere, n.loose),
            ),
        ),
        row(
            "Begin an upload of another algorithm",
            "",
            "POST",
            PUSH,
            (202, 202),
            |n| format!("/v2/{}/blobs/uploads/?digest-algorithm=sha512", n.repository),
        ),
        with(
            loose,
            row(
                "Push a chunk",
                "to somebody else's upload",
                "PATCH",
                PUSH,
                (404, 404),
                |n| format!("/v2/{}/blobs/uploads/{}", n.repository, n.upload),
            ),
        ),
        with(
            loose,
            row(
                "Finish an upload",
                "somebody else's",
                "PUT",
                PUSH,
                (404, 404),
                |n| {
                    format!(
                        "/v2/{}/blobs/uploads/{}?digest={}",
                        n.repository, n.upload, n.loose
                    )
                },
            ),
        ),
        with(
            image,
            row("Push a manifest", "", "PUT", PUSH, (201, 400), |n| {
                format!("/v2/{}/manifests/v2", n.repository)
            }),
        ),
        with(
            image,
            row(
                "Push a manifest",
                "of another repository's blobs",
                "PUT",
                PUSH_ELSEWHERE,
                (400, 400),
                |n| format!("/v2/{}/manifests/v2", n.elsewhere),
            ),
        ),
        with(
            index,
            row("Push a manifest", "an index", "PUT", PUSH, (201, 400), |n| {
                format!("/v2/{}/manifests/all", n.repository)
            }),
        ),
        with(
            image,
            row("Push a manifest with tags", "", "PUT", PUSH, (201, 400), |n| {
                format!("/v2/{}/manifests/{}?tag=a&tag=b", n.repository, n.image)
            }),
        ),
        row("List tags", "", "GET", PULL, (200, 404), |n| {
            format!("/v2/{}/tags/list", n.repository)
        }),
        row(
            "Delete a manifest or a tag",
            "a tag",
            "DELETE",
            DELETE,
            (202, 404),
            |n| format!("/v2/{}/manifests/v1", n.repository),
        ),
        row(
            "Delete a manifest or a tag",
            "a manifest",
            "DELETE",
            DELETE,
            (202, 404),
            |n| format!("/v2/{}/manifests/{}", n.repository, n.image),
        ),
        row("Delete a blob", "", "DELETE", DELETE, (202, 404), |n| {
            format!("/v2/{}/blobs/{}", n.repository, n.loose)
        }),
        row(
            "Mount a blob of another repository",
            "that is named",
            "POST",
            PUSH_ELSEWHERE,
            (201, 202),
            |n| {
                format!(
                    "/v2/{}/blobs/uploads/?mount={}&from={}",
                    n.elsewhere, n.layer, n.repository
                )
            },
        ),
        row(
            "Mount a blob of another repository",
            "that isn't named",
            "POST",
            PUSH_ELSEWHERE,
            (201, 202),
            |n| format!("/v2/{}/blobs/uploads/?mount={}", n.elsewhere, n.layer),
        ),
        row("List referrers", "", "GET", PULL, (200, 200), |n| {
            format!("/v2/{}/referrers/{}", n.repository, n.image)
        }),
        row(
            "Where an upload stands",
            "somebody else's",
            "GET",
            PUSH,
            (404, 404),
            |n| format!("/v2/{}/blobs/uploads/{}", n.repository, n.upload),
        ),
        row(
            "Cancel an upload",
            "somebody else's",
            "DELETE",
            PUSH,
            (404, 404),
            |n| format!("/v2/{}/blobs/uploads/{}", n.repository, n.upload),
        ),
        row(
            "List repositories",
            "Docker's",
            "GET",
            Needs::Catalog,
            (200, 200),
            |n| catalog("/v2/_catalog", n),
        ),
        row(
            "Get an access token",
            "",
            "GET",
            Needs::Password,
            (200, 200),
            |n| {
                format!(
                    "/oauth2/token?service=s&scope=repository:{}:pull,push,delete",
                    n.repository
                )
            },
        ),
        with(
            |_| {
                (
                    "application/x-www-form-urlencoded",
                    b"grant_type=access_token".to_vec(),
                )
            },
            row(
                "Exchange an identity provider's token",
                "where none is taken",
                "POST",
                Needs::Nothing,
                (400, 400),
                |_| "/oauth2/exchange".to_owned(),
            ),
        ),
        row("List repositories", "", "GET", Needs::Catalog, (200, 200), |n| {
            catalog("/acr/v1/_catalog", n)
        }),
        row(
            "Get, update attributes of a repository",
            "get",
            "GET",
            READ,
            (200, 404),
            |n| format!("/acr/v1/{}", n.repository),
        ),
        with(
            empty_patch,
            row(
                "Get, update attributes of a repository",
                "update",
                "PATCH",
                WRITE,
                (200, 404),
                |n| format!("/acr/v1/{}", n.repository),
            ),
        ),
        row("Delete a repository", "", "DELETE", DELETE, (202, 404), |n| {
            format!("/acr/v1/{}", n.repository)
        }),
        row("List tags", "Azure's", "GET", READ, (200, 404), |n| {
            format!("/acr/v1/{}/_tags", n.repository)
        }),
        row(
            "List tags",
            "Azure's, of a manifest",
            "GET",
            READ,
            (200, 404),
            |n| format!("/acr/v1/{}/_tags?digest={}", n.repository, n.image),
        ),
        row(
            "Get, update attributes of a tag",
            "get",
            "GET",
            READ,
            (200, 404),
            |n| format!("/acr/v1/{}/_tags/v1", n.repository),
        ),
        with(
            empty_patch,
            row(
                "Get, update attributes of a tag",
                "update",
                "PATCH",
                WRITE,
                (200, 404),
                |n| format!("/acr/v1/{}/_tags/v1", n.repository),
            ),
        ),
        row("Delete a tag", "", "DELETE", DELETE, (202, 404), |n| {
            format!("/acr/v1/{}/_tags/v1", n.repository)
        }),
        row("List manifests", "", "GET", READ, (200, 404), |n| {
            format!("/acr/v1/{}/_manifests", n.repository)
        }),
        row(
            "Get, update attributes of a manifest",
            "get",
            "GET",
            READ,
            (200, 404),
            |n| format!("/acr/v1/{}/_manifests/{}", n.repository, n.image),
        ),
        with(
            empty_patch,
            row(
                "Get, update attributes of a manifest",
                "update",
                "PATCH",
                WRITE,
                (200, 404),
                |n| format!("/acr/v1/{}/_manifests/{}", n.repository, n.image),
            ),
        ),
        row("Delete a manifest", "", "DELETE", DELETE, (202, 404), |n| {
            format!("/acr/v1/{}/_manifests/{}", n.repository, n.image)
        }),
        row(
            "Lists of what is soft-deleted",
            "repositories",
            "GET",
            Needs::DeletedCatalog,
            (200, 200),
            |n| catalog("/acr/v1/_deleted/_catalog", n),
        ),
        row(
            "Lists of what is soft-deleted",
            "manifests",
            "GET",
            DELETED,
            (200, 404),
            |n| format!("/acr/v1/_deleted/{}/_manifests", n.repository),
        ),
        row(
            "Lists of what is soft-deleted",
            "tags",
            "GET",
            DELETED,
            (200, 404),
            |n| format!("/acr/v1/_deleted/{}/_tags", n.repository),
        ),
        row("Restore a manifest", "", "POST", RESTORE, (200, 404), |n| {
            format!("/acr/v1/_deleted/{}/_manifests/{}", n.repository, n.gone)
        }),
        row("Query metadata", "", "POST", Needs::Nothing, (405, 405), |_| {
            "/acr/v1/_metadata/_query".to_owned()
        }),
        row("Helm 2 charts", "", "GET", Needs::Nothing, (405, 405), |_| {
            "/helm/v1/repo/index.yaml".to_owned()
        }),
    ]
}
