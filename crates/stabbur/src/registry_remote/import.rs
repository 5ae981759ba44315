//! `stabbur registry import`: images and other artifacts from another registry into a running one.
//!
//! Invariants: what is acknowledged there has the digest that it has at its source, computed on the way; a manifest is
//! pushed after all that it refers to. Interrupted, the same command goes on: what is there isn't fetched again.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use registry::rules::digest::{Digest, Hasher};
use registry::rules::manifest::{Descriptor, Manifest};
use registry::rules::name::is_tag;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::lists::list;
use super::{Ask, Fetched, Login, LoginArguments, Place, Remote, said};

/// Bytes of a blob that are in memory, and go in one request.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// How often a blob that broke off is gone on with.
const BREAKS_MAX: u32 = 8;
/// Indexes may hold indexes.
const DEPTH_MAX: usize = 4;

/// What `import` is told.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// What is imported: HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST; without either, all tags.
    source: String,
    /// Where to: HOST/REPOSITORY, with a tag of its own if it is one image. `http://` is for this machine alone.
    target: String,
    /// The login there.
    #[command(flatten)]
    login: LoginArguments,
    /// User of the registry that is imported from.
    #[arg(long, requires = "source_password_file")]
    source_user: Option<String>,
    /// A file with its password.
    #[arg(long, value_name = "FILE", requires = "source_user")]
    source_password_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted for it beside the system's.
    #[arg(long, value_name = "FILE")]
    source_authorities: Option<PathBuf>,
}

/// Blobs that were copied, and that were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Copied {
    blobs: u64,
    bytes: u64,
    there: u64,
}

struct Import {
    source: Remote,
    from: String,
    target: Remote,
    to: String,
    done: HashSet<Digest>,
    copied: Copied,
}

#[allow(clippy::print_stdout, reason = "this command says what it did")]
pub(crate) async fn run(arguments: &ImportArguments) -> Result<()> {
    let (source, target) = (Place::parse(&arguments.source)?, Place::parse(&arguments.target)?);
    let login = arguments
        .source_user
        .as_ref()
        .zip(arguments.source_password_file.as_ref());
    let login = login.map(|(user, path)| Login::read(user, path)).transpose()?;
    let mut import = Import {
        source: Remote::new(&source.host, login, arguments.source_authorities.as_deref())?,
        from: source.repository,
        target: arguments.login.remote(&target.host)?,
        to: target.repository,
        done: HashSet::new(),
        copied: Copied::default(),
    };
    let references = match &source.reference {
        Some(reference) => vec![reference.clone()],
        None => import.tags().await?,
    };
    ensure!(
        source.reference.is_some() || target.reference.is_none(),
        "all tags are imported; the target names none then"
    );
    for reference in references {
        let as_what = match &target.reference {
            Some(tag) => tag,
            None => &reference,
        };
        let before = import.copied;
        let digest = import.image(&reference, as_what).await?;
        let Copied { blobs, bytes, there } = import.copied;
        println!(
            "{}:{as_what} {digest}: {} blobs of {} bytes copied, {} were there",
            import.to,
            blobs - before.blobs,
            bytes - before.bytes,
            there - before.there
        );
    }
    Ok(())
}

impl Import {
    /// All tags of the source.
    async fn tags(&self) -> Result<Vec<String>> {
        let scope = format!("repository:{}:pull", self.from);
        let at = format!("/v2/{}/tags/list?n=100", self.from);
        let found = list(&self.source, &at, &scope, "tags").await?;
        let found = found.with_context(|| format!("{}: there is no such repository", self.from))?;
        tags_of(&found)
    }

    /// Imports a manifest with all that it refers to, under a name: its digest.
    async fn image(&mut self, reference: &str, name: &str) -> Result<Digest> {
        let found = self.source.manifest(&self.from, reference).await?;
        let found = found.with_context(|| format!("{}: there is no {reference}", self.from))?;
        self.manifest(&found, name, 0).await?;
        Ok(found.digest)
    }

    async fn manifest(&mut self, found: &Fetched, name: &str, depth: usize) -> Result<()> {
        ensure!(
            depth < DEPTH_MAX,
            "{}: indexes within indexes, too deep",
            found.digest
        );
        let manifest = Manifest::parse(Some(&found.media_type), &found.bytes)
            .with_context(|| format!("manifest {}", found.digest))?;
        for child in &manifest.manifests {
            if !self.done.contains(&child.digest) {
                Box::pin(self.child(child, depth)).await?;
            }
        }
        for blob in &manifest.blobs {
            self.blob(blob).await?;
        }
        let at = format!("/v2/{}/manifests/{name}", self.to);
        let scope = self.push_scope();
        let mut ask = Ask::get(&at, &scope).with_method(Method::PUT);
        ask.headers
            .insert(CONTENT_TYPE, HeaderValue::from_str(&manifest.media_type)?);
        ask.body.clone_from(&found.bytes);
        let response = self.target.send(&ask).await?;
        ensure!(
            response.status() == StatusCode::CREATED,
            "pushing {name}: {}",
            said(response).await
        );
        self.done.insert(found.digest.clone());
        Ok(())
    }

    /// What an index refers to: a manifest, or as in a build's cache a blob.
    async fn child(&mut self, child: &Descriptor, depth: usize) -> Result<()> {
        let name = child.digest.to_string();
        match self.source.manifest(&self.from, &name).await? {
            Some(found) => self.manifest(&found, &name, depth + 1).await,
            None => self.blob(child).await,
        }
    }

    fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.to)
    }

    async fn blob(&mut self, blob: &Descriptor) -> Result<()> {
        let digest = &blob.digest;
        if self.done.contains(digest) {
            return Ok(());
        }
        let at = format!("/v2/{}/blobs/{digest}", self.to);
        let scope = self.push_scope();
        let head = self
            .target
            .send(&Ask::get(&at, &scope).with_method(Method::HEAD))
            .await?;
        match head.status() {
            StatusCode::OK => self.copied.there += 1,
            StatusCode::NOT_FOUND => {
                self.copy(blob).await.with_context(|| format!("blob {digest}"))?;
                self.copied.blobs += 1;
                self.copied.bytes += blob.size_bytes;
            }
            _ => bail!("blob {digest}: {}", said(head).await),
        }
        self.done.insert(digest.clone());
        Ok(())
    }

    /// Copies a blob piece by piece. A source that breaks off is asked for the rest.
    async fn copy(&self, blob: &Descriptor) -> Result<()> {
        let scope = self.push_scope();
        let begin = format!("/v2/{}/blobs/uploads/", self.to);
        let begun = self
            .target
            .send(&Ask::get(&begin, &scope).with_method(Method::POST))
            .await?;
        ensure!(
            begun.status() == StatusCode::ACCEPTED,
            "beginning an upload: {}",
            said(begun).await
        );
        let mut location = location(&begun)?;
        let mut hasher = Hasher::new(blob.digest.algorithm());
        let (mut sent, mut piece, mut breaks) = (0_u64, Vec::new(), 0);
        let done = async {
            while sent + length(&piece) < blob.size_bytes {
                let fetched = self.fetch(blob, sent + length(&piece)).await;
                let mut response = match fetched {
                    Ok(response) => response,
                    Err(error) if breaks >= BREAKS_MAX => return Err(error),
                    Err(_) => {
                        breaks += 1;
                        continue;
                    }
                };
                loop {
                    match response.chunk().await {
                        Ok(Some(bytes)) => {
                            hasher.update(&bytes);
                            piece.extend_from_slice(&bytes);
                            ensure!(
                                sent + length(&piece) <= blob.size_bytes,
                                "more bytes come than its manifest says"
                            );
                            if piece.len() >= PIECE_BYTES {
                                location = self.append(&location, sent, &piece).await?;
                                sent += length(&piece);
                                piece.clear();
                            }
                        }
                        Ok(None) => break,
                        Err(error) if breaks >= BREAKS_MAX => return Err(error.without_url().into()),
                        Err(_) => break,
                    }
                }
                breaks += 1;
                ensure!(
                    breaks <= BREAKS_MAX || sent + length(&piece) == blob.size_bytes,
                    "the source breaks off again and again"
                );
            }
            if !piece.is_empty() {
                location = self.append(&location, sent, &piece).await?;
            }
            let found = hasher.clone().finish();
            ensure!(found == blob.digest, "the bytes that came are others: {found}");
            Ok(())
        };
        if let Err(error) = done.await {
            // Nobody goes on with it.
            let _ = self
                .target
                .send(&Ask::get(&location, &scope).with_method(Method::DELETE))
                .await;
            return Err(error);
        }
        let joined = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{joined}digest={}", blob.digest);
        let ended = self
            .target
            .send(&Ask::get(&end, &scope).with_method(Method::PUT))
            .await?;
        ensure!(
            ended.status() == StatusCode::CREATED,
            "finishing the upload: {}",
            said(ended).await
        );
        Ok(())
    }

    /// The blob from an offset on.
    async fn fetch(&self, blob: &Descriptor, offset: u64) -> Result<reqwest::Response> {
        let at = format!("/v2/{}/blobs/{}", self.from, blob.digest);
        let scope = format!("repository:{}:pull", self.from);
        let mut ask = Ask::get(&at, &scope);
        if offset > 0 {
            ask.headers
                .insert(RANGE, HeaderValue::from_str(&format!("bytes={offset}-"))?);
        }
        let response = self.source.send(&ask).await?;
        let wanted = match offset {
            0 => StatusCode::OK,
            _ => StatusCode::PARTIAL_CONTENT,
        };
        ensure!(
            response.status() == wanted,
            "the source: {}",
            said(response).await
        );
        Ok(response)
    }

    /// Sends a piece: where the next goes.
    async fn append(&self, at: &str, offset: u64, piece: &[u8]) -> Result<String> {
        let scope = self.push_scope();
        let mut ask = Ask::get(at, &scope).with_method(Method::PATCH);
        let range = format!("{offset}-{}", offset + length(piece) - 1);
        ask.headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range)?);
        ask.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask.body = piece.to_vec();
        let response = self.target.send(&ask).await?;
        ensure!(
            response.status() == StatusCode::ACCEPTED,
            "a piece of an upload: {}",
            said(response).await
        );
        location(&response)
    }
}

/// Tags as a source lists them; each goes into an address, there and here.
fn tags_of(found: &[Value]) -> Result<Vec<String>> {
    let tags = found.iter().map(|tag| match tag.as_str() {
        Some(tag) if is_tag(tag) => Ok(tag.to_owned()),
        _ => bail!("the source lists {tag}, which is no tag"),
    });
    tags.collect()
}

fn length(piece: &[u8]) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

fn location(response: &reqwest::Response) -> Result<String> {
    let location = response.headers().get(LOCATION).and_then(|at| at.to_str().ok());
    location
        .map(str::to_owned)
        .context("the answer doesn't say where the upload is")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_source_lists_is_tags() {
        assert_eq!(tags_of(&[json!("v1"), json!("V_2.x")]).unwrap(), ["v1", "V_2.x"]);
        for bad in [
            json!("../.."),
            json!("a/b"),
            json!(""),
            json!("v1?x"),
            json!("a\n"),
            json!(7),
        ] {
            assert!(tags_of(&[json!("v1"), bad.clone()]).is_err(), "{bad}");
        }
    }
}
