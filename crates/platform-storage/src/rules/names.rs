//! Names of orgs, apps, languages, containers and blobs.

/// An app's id, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppId {
    /// The owner's code.
    pub org: String,
    /// The app's name.
    pub app: String,
}

impl AppId {
    /// Reads `{org}/{app}`; `None` unless both are well formed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (org, app) = text.split_once('/')?;
        (is_org(org) && is_app(app)).then(|| Self {
            org: org.to_owned(),
            app: app.to_owned(),
        })
    }
}

impl std::fmt::Display for AppId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.org, self.app)
    }
}

/// Longest name of an org or app that is taken (ours; they become parts of file and blob names).
const NAME_CHARS_MAX: usize = 100;

fn is_letter(c: char) -> bool {
    matches!(c, 'a'..='z' | 'æ' | 'ø' | 'å')
}

/// `^[a-zæøå][a-zæøå0-9]*$`
#[must_use]
pub fn is_org(text: &str) -> bool {
    text.starts_with(is_letter)
        && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && text.chars().count() <= NAME_CHARS_MAX
}

/// `^[a-zæøå][a-zæøå0-9\-]*$`
#[must_use]
pub fn is_app(text: &str) -> bool {
    text.starts_with(is_letter)
        && text
            .chars()
            .all(|c| is_letter(c) || c.is_ascii_digit() || c == '-')
        && text.chars().count() <= NAME_CHARS_MAX
}

/// Two letters.
#[must_use]
pub fn is_language(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The container of an org's content (section "Blobs" of the original's layout).
#[must_use]
pub fn container(org: &str, environment: &str) -> String {
    format!("{org}-{environment}-appsdata-blob-db")
}

/// The blob of a data element.
#[must_use]
pub fn blob(app_id: &str, instance: &str, element: &str) -> String {
    format!("{app_id}/{instance}/data/{element}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids() {
        assert!(AppId::parse("ttd/my-app2").is_some());
        assert!(AppId::parse("brønnøysund/årsregnskap").is_some());
        for bad in [
            "ttd", "TTD/app", "ttd/APP", "ttd/a b", "ttd/1a/x", "ttd/1a", "t-d/a", "/a", "ttd/", "ttd/../x",
        ] {
            assert_eq!(AppId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn languages() {
        assert!(is_language("nb"));
        for bad in ["", "n", "nob", "n1", "ø"] {
            assert!(!is_language(bad), "{bad}");
        }
    }
}
