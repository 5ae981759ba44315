//! `stabbur registry purge`: takes tags away that are old and match, as `acr purge` does.
//!
//! What has no tag then goes by the registry's retention policy, which looks at what refers to a manifest in the same
//! commit that deletes it. A client that lists first and deletes afterwards can't: what was pushed between would lose
//! what it refers to.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use registry::rules::digest::Digest;
use registry::rules::name::is_tag;
use reqwest::header::{HeaderValue, IF_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::lists::list;
use super::{Ask, LoginArguments, Remote, said};

/// What `purge` is told.
#[derive(Debug, Args)]
pub(crate) struct PurgeArguments {
    /// The registry: its host. `http://` is for this machine alone.
    registry: String,
    #[command(flatten)]
    login: LoginArguments,
    /// Which tags of which repositories: REPOSITORY:TAG, both regular expressions that match as a whole. Can be given
    /// several times.
    #[arg(long, required = true, value_name = "REPOSITORY:TAG")]
    filter: Vec<String>,
    /// Only tags that nobody moved for so long: 30d, 12h, or both as 1d12h.
    #[arg(long, value_name = "TIME")]
    ago: String,
    /// Keep so many of the newest tags that match and are old enough, in each repository.
    #[arg(long, default_value_t = 0)]
    keep: usize,
    /// Say what would go, and take nothing away.
    #[arg(long)]
    dry_run: bool,
}

struct Filter {
    repository: Regex,
    tag: Regex,
}

impl Filter {
    fn parse(text: &str) -> Result<Self> {
        let (repository, tag) = text
            .split_once(':')
            .with_context(|| format!("--filter {text}: is REPOSITORY:TAG"))?;
        let whole = |expression: &str| {
            Regex::new(&format!("^(?:{expression})$")).with_context(|| format!("--filter {text}"))
        };
        Ok(Self {
            repository: whole(repository)?,
            tag: whole(tag)?,
        })
    }
}

/// `30d`, `12h`, `1d12h30m`.
fn duration(text: &str) -> Result<SignedDuration> {
    let malformed = || format!("--ago {text}: is a time such as 30d, 12h or 1d12h");
    let (mut seconds, mut number) = (0_i64, String::new());
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'd' => 24 * 3_600,
            'h' => 3_600,
            'm' => 60,
            _ => bail!(malformed()),
        };
        let count: i64 = number.parse().ok().with_context(malformed)?;
        let more = count.checked_mul(unit).with_context(malformed)?;
        seconds = seconds.checked_add(more).with_context(malformed)?;
        number.clear();
    }
    ensure!(number.is_empty() && !text.is_empty(), malformed());
    Ok(SignedDuration::from_secs(seconds))
}

/// A tag as the registry lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    name: String,
    digest: String,
    updated: Timestamp,
    is_locked: bool,
}

impl Tag {
    fn parse(value: &Value) -> Option<Self> {
        let lock = |name: &str| value.get("changeableAttributes")?.get(name)?.as_bool();
        Some(Self {
            // As it goes into an address.
            name: Some(value.get("name")?.as_str()?)
                .filter(|name| is_tag(name))?
                .to_owned(),
            digest: Digest::parse(value.get("digest")?.as_str()?)?.to_string(),
            updated: value.get("lastUpdateTime")?.as_str()?.parse().ok()?,
            is_locked: lock("deleteEnabled") == Some(false) || lock("writeEnabled") == Some(false),
        })
    }
}

/// Which of a repository's tags go: those that match, weren't moved since, aren't locked, and aren't among the newest.
fn chosen(mut tags: Vec<Tag>, until: Timestamp, keep: usize, is_meant: impl Fn(&str) -> bool) -> Vec<Tag> {
    tags.retain(|tag| is_meant(&tag.name) && tag.updated <= until);
    tags.sort_by(|one, other| {
        other
            .updated
            .cmp(&one.updated)
            .then_with(|| one.name.cmp(&other.name))
    });
    tags.into_iter().skip(keep).filter(|tag| !tag.is_locked).collect()
}

#[allow(clippy::print_stdout, reason = "this command says what it did")]
pub(crate) async fn run(arguments: &PurgeArguments, now: Timestamp) -> Result<()> {
    let filters = arguments.filter.iter().map(|text| Filter::parse(text));
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let until = now.checked_sub(duration(&arguments.ago)?).context("--ago")?;
    let remote = arguments.login.remote(&arguments.registry)?;
    let mut count = 0;
    for repository in list(
        &remote,
        "/acr/v1/_catalog?n=100",
        "registry:catalog:*",
        "repositories",
    )
    .await?
    .unwrap_or_default()
    {
        let Some(repository) = repository.as_str() else {
            continue;
        };
        let own: Vec<&Filter> = filters
            .iter()
            .filter(|filter| filter.repository.is_match(repository))
            .collect();
        if own.is_empty() {
            continue;
        }
        let scope = format!("repository:{repository}:metadata_read,delete");
        let at = format!("/acr/v1/{repository}/_tags?n=100");
        let tags = list(&remote, &at, &scope, "tags").await?.unwrap_or_default();
        let tags = tags.iter().filter_map(Tag::parse).collect();
        let is_meant = |tag: &str| own.iter().any(|filter| filter.tag.is_match(tag));
        for tag in chosen(tags, until, arguments.keep, is_meant) {
            if arguments.dry_run {
                println!("{repository}:{} would go", tag.name);
            } else if untag(&remote, repository, &tag, &scope).await? {
                println!("{repository}:{} is gone", tag.name);
            } else {
                continue;
            }
            count += 1;
        }
    }
    let what = if arguments.dry_run { "would go" } else { "are gone" };
    println!("{count} tags {what}");
    Ok(())
}

/// Takes a tag away as it was listed; whether it was there, was the same, and was free.
async fn untag(remote: &Remote, repository: &str, tag: &Tag, scope: &str) -> Result<bool> {
    let at = format!("/acr/v1/{repository}/_tags/{}", tag.name);
    let mut ask = Ask::get(&at, scope).with_method(Method::DELETE);
    // Whoever pushed it since wants it; the registry looks at that in the commit that takes it away.
    let listed = format!("\"{}@{}\"", tag.digest, tag.updated.as_microsecond());
    ask.headers.insert(IF_MATCH, HeaderValue::from_str(&listed)?);
    let response = remote.send(&ask).await?;
    match response.status() {
        StatusCode::ACCEPTED | StatusCode::OK => Ok(true),
        // Somebody else took it away, or locked it, or pushed it meanwhile.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::PRECONDITION_FAILED => Ok(false),
        _ => bail!("{repository}:{}: {}", tag.name, said(response).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("30d", 30 * 86_400),
            ("12h", 43_200),
            ("1d12h30m", 131_400),
            ("0d", 0),
        ] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in ["", "7", "d", "7x", "-1d", "1d7", "99999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn old_tags_that_match_go_but_for_the_newest_and_the_locked() {
        let tag = |name: &str, second: i64, is_locked| Tag {
            name: name.to_owned(),
            digest: format!("sha256:{}", "a".repeat(64)),
            updated: Timestamp::from_second(second).unwrap(),
            is_locked,
        };
        let tags = vec![
            tag("v1", 10, false),
            tag("v2", 20, true),
            tag("v3", 30, false),
            tag("v4", 40, false),
            tag("v5", 50, false),
            tag("latest", 10, false),
        ];
        let filter = Filter::parse("a.*:v[0-9]+").unwrap();
        let names = |keep: usize| -> Vec<String> {
            let until = Timestamp::from_second(40).unwrap();
            let chosen = chosen(tags.clone(), until, keep, |tag| filter.tag.is_match(tag));
            chosen.into_iter().map(|tag| tag.name).collect()
        };
        assert_eq!(names(0), ["v4", "v3", "v1"]);
        assert_eq!(names(1), ["v3", "v1"]);
        assert_eq!(names(3), ["v1"]);
        assert!(filter.repository.is_match("ab") && !filter.repository.is_match("ba"));
        assert!(!filter.tag.is_match("xv1"), "as a whole");
        assert!(Filter::parse("a").is_err() && Filter::parse("a:(").is_err());
    }
}
