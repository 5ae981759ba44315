//! What webhooks are told of, and in which words (Azure Container Registry, "Azure Container Registry webhook
//! reference").

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::rules::digest::Digest;
use crate::rules::name;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookAction {
    /// A manifest was pushed.
    Push,
    /// A manifest was deleted.
    Delete,
}

impl WebhookAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Push, Self::Delete];

    /// As messages have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What a webhook is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookScope {
    /// Everything in the registry.
    All,
    /// `NAME:*`: a repository.
    Repository(String),
    /// `NAME:TAG`, or `NAME` for its tag `latest`.
    Tag(String, String),
}

impl WebhookScope {
    /// Reads one; `None` if it isn't one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::All);
        }
        let (repository, tag) = text.split_once(':').unwrap_or((text, "latest"));
        if !name::is_repository(repository, "") {
            return None;
        }
        match tag {
            "*" => Some(Self::Repository(repository.to_owned())),
            tag if name::is_tag(tag) => Some(Self::Tag(repository.to_owned(), tag.to_owned())),
            _ => None,
        }
    }

    /// Whether it covers a manifest that has these tags.
    #[must_use]
    pub fn covers(&self, repository: &str, tags: &[String]) -> bool {
        match self {
            Self::All => true,
            Self::Repository(own) => own == repository,
            Self::Tag(own, tag) => own == repository && tags.contains(tag),
        }
    }

    /// Which of the tags it covers; a manifest without any is covered as such.
    #[must_use]
    pub fn covered<'a>(&self, tags: &'a [String]) -> Vec<Option<&'a str>> {
        let tags = tags.iter().map(String::as_str);
        match self {
            Self::Tag(_, own) => tags.filter(|tag| tag == own).map(Some).collect(),
            Self::All | Self::Repository(_) => {
                let all: Vec<_> = tags.map(Some).collect();
                if all.is_empty() { vec![None] } else { all }
            }
        }
    }
}

/// The request that something happened by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its id.
    pub id: Uuid,
    /// The host that it was sent to.
    pub host: String,
    /// Its method.
    pub method: String,
    /// What its client calls itself.
    pub user_agent: String,
}

/// What happened to which manifest.
#[derive(Debug, Clone, Copy)]
pub struct Happening<'a> {
    /// What.
    pub action: WebhookAction,
    /// The repository.
    pub repository: &'a str,
    /// The manifest's digest.
    pub digest: &'a Digest,
    /// Its type.
    pub media_type: &'a str,
    /// Its bytes.
    pub size: u64,
    /// The tags that were pushed, or went with it.
    pub tags: &'a [String],
}

impl Happening<'_> {
    /// A webhook's message.
    #[must_use]
    pub fn message(&self, id: Uuid, at: Timestamp, tag: Option<&str>, origin: &Origin) -> Value {
        let mut target = Map::new();
        target.insert("mediaType".to_owned(), json!(self.media_type));
        if self.action == WebhookAction::Push {
            target.insert("size".to_owned(), json!(self.size));
        }
        target.insert("digest".to_owned(), json!(self.digest.as_str()));
        if self.action == WebhookAction::Push {
            target.insert("length".to_owned(), json!(self.size));
        }
        target.insert("repository".to_owned(), json!(self.repository));
        if let Some(tag) = tag {
            target.insert("tag".to_owned(), json!(tag));
        }
        json!({
            "id": id.to_string(),
            "timestamp": at.to_string(),
            "action": self.action.name(),
            "target": target,
            "request": {
                "id": origin.id.to_string(),
                "host": origin.host,
                "method": origin.method,
                "useragent": origin.user_agent,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_cover() {
        let tags = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        for (scope, repository, names, covers) in [
            ("", "a/b", vec!["v1"], true),
            ("", "a/b", vec![], true),
            ("a/b:*", "a/b", vec!["v1"], true),
            ("a/b:*", "a/b", vec![], true),
            ("a/b:*", "a", vec!["v1"], false),
            ("a:v1", "a", vec!["v2", "v1"], true),
            ("a:v1", "a", vec!["v2"], false),
            ("a:v1", "a", vec![], false),
            ("a", "a", vec!["latest"], true),
            ("a", "a", vec!["v1"], false),
        ] {
            let found = WebhookScope::parse(scope).unwrap();
            assert_eq!(
                found.covers(repository, &tags(&names)),
                covers,
                "{scope} {names:?}"
            );
        }
        for bad in ["A", "a:", "a:b c", ":v1", "a/*", "*"] {
            assert_eq!(WebhookScope::parse(bad), None, "{bad}");
        }
        let two = tags(&["v1", "v2"]);
        assert_eq!(WebhookScope::All.covered(&two), [Some("v1"), Some("v2")]);
        assert_eq!(WebhookScope::All.covered(&[]), [None]);
        assert_eq!(WebhookScope::parse("a:v2").unwrap().covered(&two), [Some("v2")]);
    }
}
