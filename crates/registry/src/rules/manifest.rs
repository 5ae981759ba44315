//! What a manifest is and what it refers to (image-spec, manifest.md and image-index.md; Docker's image
//! manifest version 2, schema 2). Its bytes are kept as they came; nothing is ever converted.

use serde_json::{Map, Value, json};

use crate::limits::{DESCRIPTORS_MAX, MANIFEST_DEPTH_MAX, MANIFEST_VALUES_MAX};
use crate::rules::digest::Digest;
use crate::rules::strict_json;

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The artifact manifest of release candidates of OCI 1.1.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// The artifact manifest of ORAS, before that.
pub const ORAS_ARTIFACT: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";

/// What is in a manifest's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Configuration and layers.
    Image,
    /// Other manifests.
    Index,
    /// Blobs without a configuration.
    Artifact,
}

impl Kind {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Image),
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            OCI_ARTIFACT | ORAS_ARTIFACT => Some(Self::Artifact),
            _ => None,
        }
    }
}

/// A reference to other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its type, as it is named.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length, as it is named.
    pub size_bytes: u64,
}

impl Descriptor {
    /// Whether its content lies elsewhere: foreign and non-distributable layers are fetched from their own URLs.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }
}

/// A manifest as far as a registry looks into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its type, without parameters.
    pub media_type: String,
    /// What it is.
    pub kind: Kind,
    /// The configuration, if it has one.
    pub config: Option<Descriptor>,
    /// Configuration and layers that must be there.
    pub blobs: Vec<Descriptor>,
    /// Layers that lie elsewhere.
    pub foreign: Vec<Descriptor>,
    /// Manifests that must be there.
    pub manifests: Vec<Descriptor>,
    /// What it is about.
    pub subject: Option<Digest>,
    /// Its artifact type: its own, or for an image that of its configuration.
    pub artifact_type: Option<String>,
    /// Its annotations, as they stand.
    pub annotations: Option<Map<String, Value>>,
}

/// Why it isn't one: the cause, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

fn malformed<T>(text: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(text.into()))
}

impl Manifest {
    /// Reads a manifest that was sent with `content_type`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, Malformed> {
        let value = strict_json::parse(bytes, MANIFEST_DEPTH_MAX, MANIFEST_VALUES_MAX).map_err(Malformed)?;
        let Value::Object(fields) = value else {
            return malformed("a manifest is a JSON object");
        };
        let own = text(&fields, "mediaType")?;
        let sent = content_type
            .map(|sent| sent.split(';').next().unwrap_or_default().trim())
            .filter(|sent| !sent.is_empty());
        let media_type = match (sent, own) {
            (Some(sent), Some(own)) if sent != own => {
                return malformed(format!("Content-Type is {sent}, mediaType {own}"));
            }
            (Some(media_type), _) | (None, Some(media_type)) => media_type.to_owned(),
            (None, None) => return malformed("neither Content-Type nor mediaType says what this is"),
        };
        let Some(kind) = Kind::of(&media_type) else {
            return malformed(format!("{media_type} is no type of manifest that is served"));
        };
        if kind != Kind::Artifact && fields.get("schemaVersion") != Some(&json!(2)) {
            return malformed("schemaVersion is not 2");
        }
        let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        let foreign_to_kind: &[&str] = match kind {
            Kind::Image => &["manifests", "blobs"],
            Kind::Index => &["layers", "config", "blobs"],
            Kind::Artifact => &["manifests", "layers", "config"],
        };
        if let Some(name) = foreign_to_kind.iter().find(|name| has(name)) {
            return malformed(format!("{media_type} has no {name}"));
        }
        let mut manifest = Self {
            kind,
            config: None,
            blobs: Vec::new(),
            foreign: Vec::new(),
            manifests: Vec::new(),
            subject: object(&fields, "subject")?
                .map(|subject| descriptor(subject, "subject"))
                .transpose()?
                .map(|subject| subject.digest),
            artifact_type: text(&fields, "artifactType")?
                .filter(|artifact_type| !artifact_type.is_empty())
                .map(str::to_owned),
            annotations: object(&fields, "annotations")?.cloned(),
            media_type,
        };
        match kind {
            Kind::Image => {
                let Some(config) = object(&fields, "config")? else {
                    return malformed("there is no config");
                };
                let config = descriptor(config, "config")?;
                if manifest.artifact_type.is_none() {
                    manifest.artifact_type = Some(config.media_type.clone()).filter(|name| !name.is_empty());
                }
                manifest.config = Some(config.clone());
                manifest.blobs.push(config);
                manifest.take_layers(descriptors(&fields, "layers")?);
            }
            Kind::Artifact => manifest.take_layers(descriptors(&fields, "blobs")?),
            Kind::Index => {
                if !has("manifests") {
                    return malformed("there are no manifests");
                }
                manifest.manifests = descriptors(&fields, "manifests")?;
            }
        }
        if manifest.blobs.len() + manifest.foreign.len() + manifest.manifests.len() > DESCRIPTORS_MAX {
            return malformed(format!("more than {DESCRIPTORS_MAX} descriptors"));
        }
        Ok(manifest)
    }

    fn take_layers(&mut self, layers: Vec<Descriptor>) {
        for layer in layers {
            match layer.is_foreign() {
                true => self.foreign.push(layer),
                false => self.blobs.push(layer),
            }
        }
    }

    /// Bytes of all that it refers to, as its descriptors say.
    #[must_use]
    pub fn referred_bytes(&self) -> u64 {
        let all = self.blobs.iter().chain(&self.foreign).chain(&self.manifests);
        all.fold(0, |sum: u64, descriptor| {
            sum.saturating_add(descriptor.size_bytes)
        })
    }

    /// How a list of referrers describes it (distribution-spec, "Listing Referrers").
    #[must_use]
    pub fn referrer(&self, digest: &Digest, size_bytes: u64) -> Value {
        let mut out = Map::new();
        out.insert("mediaType".to_owned(), json!(self.media_type));
        out.insert("digest".to_owned(), json!(digest.as_str()));
        out.insert("size".to_owned(), json!(size_bytes));
        if let Some(annotations) = &self.annotations {
            out.insert("annotations".to_owned(), Value::Object(annotations.clone()));
        }
        if let Some(artifact_type) = &self.artifact_type {
            out.insert("artifactType".to_owned(), json!(artifact_type));
        }
        Value::Object(out)
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Malformed> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => malformed(format!("{name} is no string")),
    }
}

fn object<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Malformed> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(_) => malformed(format!("{name} is no object")),
    }
}

fn descriptors(fields: &Map<String, Value>, name: &str) -> Result<Vec<Descriptor>, Malformed> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(elements)) => elements
            .iter()
            .map(|element| match element {
                Value::Object(fields) => descriptor(fields, name),
                _ => malformed(format!("{name} holds what is no descriptor")),
            })
            .collect(),
        Some(_) => malformed(format!("{name} is no array")),
    }
}

fn descriptor(fields: &Map<String, Value>, place: &str) -> Result<Descriptor, Malformed> {
    let Some(named) = text(fields, "digest")? else {
        return malformed(format!("{place}: a descriptor has no digest"));
    };
    let Some(digest) = Digest::parse(named) else {
        return malformed(format!("{place}: {named:?} is no digest that is served"));
    };
    let Some(size_bytes) = fields.get("size").and_then(Value::as_u64) else {
        return malformed(format!("{place}: the size of {digest} is no length"));
    };
    Ok(Descriptor {
        media_type: text(fields, "mediaType")?.unwrap_or_default().to_owned(),
        digest,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::digest::Algorithm;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn described(media_type: &str, text: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest(text).as_str(), "size": text.len()})
    }

    fn parse(content_type: Option<&str>, value: &Value) -> Result<Manifest, Malformed> {
        Manifest::parse(content_type, value.to_string().as_bytes())
    }

    #[test]
    fn an_image_refers_to_its_blobs() {
        let value = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described("application/x.config", "config"),
            "layers": [
                described("application/vnd.oci.image.layer.v1.tar+gzip", "one"),
                described("application/vnd.oci.image.layer.nondistributable.v1.tar", "away"),
                described("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "afar"),
            ],
            "subject": described(OCI_MANIFEST, "subject"), "annotations": {"a": "b"}, "unknown": [1],
        });
        let manifest = parse(
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            &value,
        )
        .unwrap();
        assert_eq!(manifest.kind, Kind::Image);
        let digests = |list: &[Descriptor]| list.iter().map(|found| found.digest.clone()).collect::<Vec<_>>();
        assert_eq!(digests(&manifest.blobs), [digest("config"), digest("one")]);
        assert_eq!(digests(&manifest.foreign), [digest("away"), digest("afar")]);
        assert_eq!(manifest.subject, Some(digest("subject")));
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/x.config"));
        assert_eq!(manifest.referred_bytes(), 6 + 3 + 4 + 4);
        let referrer = manifest.referrer(&digest("me"), 7);
        assert_eq!(
            referrer,
            json!({
                "mediaType": OCI_MANIFEST, "digest": digest("me").as_str(), "size": 7, "annotations": {"a": "b"},
                "artifactType": "application/x.config"
            })
        );
    }

    #[test]
    fn an_index_refers_to_manifests_and_has_no_artifact_type_of_another() {
        let value = json!({"schemaVersion": 2, "manifests": [described(OCI_MANIFEST, "m")]});
        let index = parse(Some(OCI_INDEX), &value).unwrap();
        assert_eq!(
            (index.kind, index.manifests.len(), index.blobs.len()),
            (Kind::Index, 1, 0)
        );
        assert_eq!(index.artifact_type, None);
        assert!(index.referrer(&digest("i"), 1).get("artifactType").is_none());
        let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []});
        assert_eq!(parse(None, &list).unwrap().media_type, DOCKER_LIST);
    }

    #[test]
    fn what_isn_t_one_is_refused() {
        let config = described("application/x", "c");
        let sound = json!({"schemaVersion": 2, "config": config, "layers": []});
        assert!(parse(Some(OCI_MANIFEST), &sound).is_ok());
        let with = |name: &str, value: Value| {
            let mut changed = sound.clone();
            changed[name] = value;
            changed
        };
        for (content_type, value, expected) in [
            (None, sound.clone(), "neither"),
            (Some("application/json"), sound.clone(), "no type of manifest"),
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                json!({"schemaVersion": 1}),
                "no type of manifest",
            ),
            (
                Some(OCI_MANIFEST),
                with("mediaType", json!(OCI_INDEX)),
                "Content-Type is",
            ),
            (Some(OCI_MANIFEST), with("mediaType", json!(7)), "no string"),
            (
                Some(OCI_MANIFEST),
                with("schemaVersion", json!(1)),
                "schemaVersion",
            ),
            (
                Some(OCI_MANIFEST),
                with("schemaVersion", json!("2")),
                "schemaVersion",
            ),
            (
                Some(OCI_MANIFEST),
                with("manifests", json!([])),
                "has no manifests",
            ),
            (Some(OCI_INDEX), sound.clone(), "has no layers"),
            (Some(OCI_INDEX), json!({"schemaVersion": 2}), "no manifests"),
            (Some(OCI_MANIFEST), with("config", Value::Null), "no config"),
            (Some(OCI_MANIFEST), with("config", json!("x")), "no object"),
            (Some(OCI_MANIFEST), with("layers", json!({})), "no array"),
            (Some(OCI_MANIFEST), with("layers", json!([7])), "no descriptor"),
            (Some(OCI_MANIFEST), with("layers", json!([{}])), "no digest"),
            (
                Some(OCI_MANIFEST),
                with("layers", json!([{"digest": "sha256:1", "size": 1}])),
                "no digest that is served",
            ),
            (
                Some(OCI_MANIFEST),
                with("layers", json!([{"digest": digest("x").as_str(), "size": -1}])),
                "no length",
            ),
            (Some(OCI_MANIFEST), with("subject", json!({})), "no digest"),
            (Some(OCI_MANIFEST), with("annotations", json!([])), "no object"),
            (Some(OCI_MANIFEST), json!([]), "JSON object"),
        ] {
            let error = parse(content_type, &value).unwrap_err();
            assert!(error.0.contains(expected), "{value}: {error}");
        }
        let twice = format!("{{\"schemaVersion\":2,\"config\":{config},\"config\":{config}}}");
        assert!(Manifest::parse(Some(OCI_MANIFEST), twice.as_bytes()).is_err());
    }
}
