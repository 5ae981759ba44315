//! A container registry by the OCI distribution protocol: small blobs, manifests by tag and by digest, layers
//! of 256 MiB whole and in chunks, pulls one by one and twenty at once, and the catalog of 10,000
//! repositories; and the same layer as a file from a plain HTTP server, as the ceiling for pulls.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chance;
use crate::connection::Connection;
use crate::load::{Plan, Until, Worker, slice};
use crate::sample::{Sample, fact};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SMALL: usize = 4 * KIB;
const LAYER: usize = 256 * MIB;
const CHUNK: usize = 16 * MIB;
/// Different layers are windows into one buffer, so far apart.
const STRIDE: usize = 512;
/// Layers pushed in each form.
const LAYERS: u64 = 6;
const SMALL_MAX: u64 = 5_000;
const TAGS: u64 = 50;
const REPOSITORY: &str = "bench/app";
const REPOSITORIES: u64 = 10_000;
const CATALOG_PAGE: usize = 1_000;
const PULLS: usize = 20;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The file that a plain server has of a layer.
const FILE: &str = "layer";

/// `sha256:` and the digest in hexadecimal.
fn digest(content: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(content) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[derive(Clone, Copy)]
enum Task {
    Small,
    ByTag,
    ByDigest,
    Whole,
    Chunked,
    Pull,
    Catalog,
    /// A repository with one manifest, so that the catalog has it.
    Repository,
}

/// What all connections know.
#[derive(Clone)]
struct Known {
    layers: Bytes,
    /// Of the layers: first those pushed whole, then those in chunks.
    digests: Vec<String>,
    manifests: Vec<(String, Bytes)>,
}

struct Client {
    connection: Connection,
    known: Known,
    task: Task,
}

impl Client {
    async fn expect(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<()> {
        let (given, body) = self.connection.send(method, path, headers, body).await?;
        ensure!(
            given == status,
            "{method} {path}: {given} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    /// Where the upload that was answered last goes on: path and query.
    fn location(&self) -> Result<String> {
        let location = self.connection.answered("location").context("no Location")?;
        Ok(match location.split_once("://") {
            Some((_, rest)) => rest
                .find('/')
                .map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned()),
            None => location.to_owned(),
        })
    }

    async fn begin(&mut self, repository: &str) -> Result<String> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        self.expect(202, "POST", &path, &[], Bytes::new()).await?;
        self.location()
    }

    async fn finish(&mut self, location: &str, digest: &str, body: Bytes) -> Result<()> {
        let joined = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{joined}digest={}", digest.replace(':', "%3A"));
        let kind = [("content-type", "application/octet-stream".to_owned())];
        self.expect(201, "PUT", &path, &kind, body).await
    }

    async fn push(&mut self, repository: &str, digest: &str, body: Bytes) -> Result<()> {
        let location = self.begin(repository).await?;
        self.finish(&location, digest, body).await
    }

    async fn push_chunked(&mut self, repository: &str, digest: &str, body: Bytes) -> Result<()> {
        let mut location = self.begin(repository).await?;
        for from in (0..body.len()).step_by(CHUNK) {
            let chunk = body.slice(from..(from + CHUNK).min(body.len()));
            let headers = [
                ("content-type", "application/octet-stream".to_owned()),
                ("content-range", format!("{from}-{}", from + chunk.len() - 1)),
            ];
            self.expect(202, "PATCH", &location, &headers, chunk).await?;
            location = self.location()?;
        }
        self.finish(&location, digest, Bytes::new()).await
    }

    async fn put_manifest(&mut self, repository: &str, reference: &str, manifest: Bytes) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = [("content-type", MANIFEST.to_owned())];
        self.expect(201, "PUT", &path, &kind, manifest).await
    }

    async fn read(&mut self, path: &str, bytes: usize) -> Result<()> {
        let accept = [("accept", MANIFEST.to_owned())];
        let (status, read) = self.connection.count(path, &accept).await?;
        ensure!(
            status == 200 && read == bytes as u64,
            "{path}: {status}, {read} bytes"
        );
        Ok(())
    }

    fn layer(&self, n: u64) -> (String, Bytes) {
        let n = n as usize % self.known.digests.len();
        let from = n * STRIDE;
        (
            self.known.digests[n].clone(),
            self.known.layers.slice(from..from + LAYER),
        )
    }

    /// All pages of the catalog.
    async fn catalog(&mut self) -> Result<()> {
        let (mut last, mut seen) = (String::new(), 0);
        loop {
            let path = format!("/v2/_catalog?n={CATALOG_PAGE}&last={}", last.replace('/', "%2F"));
            let (status, body) = self.connection.send("GET", &path, &[], Bytes::new()).await?;
            ensure!(status == 200, "{path}: {status}");
            let answer: Value = serde_json::from_slice(&body)?;
            let names = answer["repositories"].as_array().context("no repositories")?;
            seen += names.len() as u64;
            match names.last().and_then(Value::as_str) {
                Some(name) if names.len() == CATALOG_PAGE => name.clone_into(&mut last),
                _ => break,
            }
        }
        ensure!(seen > REPOSITORIES, "only {seen} repositories");
        Ok(())
    }
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        match self.task {
            Task::Small => {
                let mut content = self.known.layers[..SMALL].to_vec();
                content[..8].copy_from_slice(&n.to_le_bytes());
                let digest = digest(&content);
                self.push(REPOSITORY, &digest, content.into()).await
            }
            Task::ByTag => {
                let pick = (chance::number(n) % TAGS) as usize;
                let bytes = self.known.manifests[pick].1.len();
                let path = format!("/v2/{REPOSITORY}/manifests/v{pick}");
                self.read(&path, bytes).await
            }
            Task::ByDigest => {
                let pick = (chance::number(n) % TAGS) as usize;
                let (digest, manifest) = self.known.manifests[pick].clone();
                let path = format!("/v2/{REPOSITORY}/manifests/{digest}");
                self.read(&path, manifest.len()).await
            }
            Task::Whole => {
                let (digest, layer) = self.layer(n);
                self.push(REPOSITORY, &digest, layer).await
            }
            Task::Chunked => {
                let (digest, layer) = self.layer(LAYERS + n);
                self.push_chunked(REPOSITORY, &digest, layer).await
            }
            Task::Pull => {
                let digest = self.layer(n % LAYERS).0;
                self.read(&format!("/v2/{REPOSITORY}/blobs/{digest}"), LAYER)
                    .await
            }
            Task::Catalog => self.catalog().await,
            Task::Repository => {
                let repository = format!("catalog/r{n:05}");
                self.push(&repository, &digest(b"{}"), Bytes::from_static(b"{}"))
                    .await?;
                let manifest = manifest(&[], n);
                self.put_manifest(&repository, "latest", manifest).await
            }
        }
    }
}

/// An image's manifest with those layers (digest, length) and the empty configuration.
fn manifest(layers: &[(&str, usize)], n: u64) -> Bytes {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size)| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": layers,
        "annotations": {"org.opencontainers.image.version": n.to_string()},
    });
    manifest.to_string().into()
}

/// One measurement.
struct Step {
    name: &'static str,
    task: Task,
    concurrency: usize,
    /// So many are done, else as many as the plan's time allows.
    most: Option<u64>,
}

async fn step(plan: &Plan, url: &str, known: &Known, step: &Step) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..step.concurrency {
        clients.push(Client {
            connection: Connection::open(url).await?,
            known: known.clone(),
            task: step.task,
        });
    }
    let until = step.most.map_or(Until::Time(plan.time), Until::Number);
    let mut sample = Sample::new(step.name);
    slice(&mut sample, &plan.pids, until, &mut clients).await?;
    sample.print();
    Ok(())
}

/// Measures a registry at the base of `url`, which lets everybody push; `data` is the folder with its data.
pub async fn run(plan: &Plan, url: &str, data: &Path) -> Result<()> {
    let layers: Bytes = chance::bytes(11, LAYER + 2 * LAYERS as usize * STRIDE).into();
    let digests = (0..2 * LAYERS as usize)
        .map(|n| digest(&layers[n * STRIDE..n * STRIDE + LAYER]))
        .collect();
    let mut known = Known {
        layers,
        digests,
        manifests: Vec::new(),
    };
    prepare(url, &mut known).await?;
    let steps = [
        ("push a blob of 4 KiB", Task::Small, 32, Some(SMALL_MAX)),
        ("manifest by tag", Task::ByTag, 32, None),
        ("manifest by digest", Task::ByDigest, 32, None),
        ("push 256 MiB whole", Task::Whole, 1, Some(LAYERS)),
        ("push 256 MiB in chunks", Task::Chunked, 1, Some(LAYERS)),
        ("pull 256 MiB", Task::Pull, 1, None),
        ("pull 256 MiB, 20 at once", Task::Pull, PULLS, None),
        ("push a repository", Task::Repository, 32, Some(REPOSITORIES)),
        ("catalog of 10,000 repositories", Task::Catalog, 1, None),
    ];
    for (name, task, concurrency, most) in steps {
        let wanted = Step {
            name,
            task,
            concurrency,
            most,
        };
        step(plan, url, &known, &wanted).await?;
    }
    let bytes = crate::process::folder_bytes(data)?;
    fact("disk_bytes", bytes as f64, 0.0);
    Ok(())
}

/// Pushes the manifests that are read.
async fn prepare(url: &str, known: &mut Known) -> Result<()> {
    let mut client = Client {
        connection: Connection::open(url).await?,
        known: known.clone(),
        task: Task::Small,
    };
    client
        .push(REPOSITORY, &digest(b"{}"), Bytes::from_static(b"{}"))
        .await?;
    let mut small = Vec::new();
    for n in 0..8_usize {
        let content = known.layers.slice(n * SMALL..(n + 1) * SMALL);
        let digest = digest(&content);
        client.push(REPOSITORY, &digest, content).await?;
        small.push(digest);
    }
    let layers: Vec<(&str, usize)> = small.iter().map(|digest| (digest.as_str(), SMALL)).collect();
    for n in 0..TAGS {
        let manifest = manifest(&layers, n);
        client
            .put_manifest(REPOSITORY, &format!("v{n}"), manifest.clone())
            .await?;
        known.manifests.push((digest(&manifest), manifest));
    }
    Ok(())
}

/// A connection to a server of plain files.
struct Reader(Connection);

impl Worker for Reader {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let path = format!("/{FILE}-{}", n % LAYERS);
        let (status, read) = self.0.count(&path, &[]).await?;
        ensure!(status == 200 && read == LAYER as u64, "{status}, {read} bytes");
        Ok(())
    }
}

/// Measures pulls of as many files from a plain server, whose files lie in `folder`.
pub async fn files(plan: &Plan, url: &str, folder: &Path) -> Result<()> {
    let content = chance::bytes(11, LAYER);
    for n in 0..LAYERS {
        std::fs::write(folder.join(format!("{FILE}-{n}")), &content)?;
    }
    for (name, concurrency) in [("pull 256 MiB", 1), ("pull 256 MiB, 20 at once", PULLS)] {
        let mut readers = Vec::new();
        for _ in 0..concurrency {
            readers.push(Reader(Connection::open(url).await?));
        }
        let mut sample = Sample::new(name);
        slice(&mut sample, &plan.pids, Until::Time(plan.time), &mut readers).await?;
        sample.print();
    }
    Ok(())
}
