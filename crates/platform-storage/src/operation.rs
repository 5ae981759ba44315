//! Every public operation of Altinn's Platform Storage, served or not. docs/compat/platform-storage.md
//! is made from this table, and a path that isn't served is answered by it.

/// How far an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As the original.
    Yes,
    /// With what is missing.
    Partial(&'static str),
    /// On the admin listener only, as in the original, where it isn't reachable from outside.
    Internal,
    /// Answered with 501.
    No,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its method.
    pub method: &'static str,
    /// Its path behind `/storage/api/v1`; `{..}` stands for one segment, `**` for any rest.
    pub path: &'static str,
    /// Who may call: as [`LEGEND`] says.
    pub who: &'static str,
    /// How far it is served.
    pub support: Support,
}

/// What the column "who" means.
pub const LEGEND: &str = "anyone: without a token. token: any good token. studio: Studio's token. owner: the app's org. \
`action`: the decision point must permit that action. task: it must permit an action of the task that the instance is \
in. next: an action that lets the process go on. app: a token of the platform's or an app's own in \
`PlatformAccessToken`, without a user's.";

const fn row(method: &'static str, path: &'static str, who: &'static str, support: Support) -> Operation {
    Operation {
        method,
        path,
        who,
        support,
    }
}

use Support::{Internal, No, Yes};

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    row("GET", "/applications", "anyone", Yes),
    row("GET", "/applications/{org}", "anyone", Yes),
    row("GET", "/applications/{org}/{app}", "anyone", Yes),
    row("POST", "/applications", "studio", Yes),
    row("PUT", "/applications/{org}/{app}", "studio", Yes),
    row("DELETE", "/applications/{org}/{app}", "studio", Yes),
    row("POST", "/applications/{org}/{app}/texts", "studio", Yes),
    row("GET", "/applications/{org}/{app}/texts/{language}", "token", Yes),
    row("PUT", "/applications/{org}/{app}/texts/{language}", "studio", Yes),
    row(
        "DELETE",
        "/applications/{org}/{app}/texts/{language}",
        "studio",
        Yes,
    ),
    row("GET", "/instances", "owner with scope, or `read` of each", Yes),
    row("POST", "/instances", "`instantiate`", Yes),
    row("GET", "/instances/{guid}", "`read`", Yes),
    row("GET", "/instances/{party}/{guid}", "`read`", Yes),
    row("DELETE", "/instances/{party}/{guid}", "`delete`", Yes),
    row("POST", "/instances/{party}/{guid}/complete", "`complete`", Yes),
    row("PUT", "/instances/{party}/{guid}/readstatus", "`read`", Yes),
    row("PUT", "/instances/{party}/{guid}/substatus", "owner", Yes),
    row("PUT", "/instances/{party}/{guid}/presentationtexts", "task", Yes),
    row("PUT", "/instances/{party}/{guid}/datavalues", "task", Yes),
    row("PUT", "/instances/{party}/{guid}/process", "next", Yes),
    row(
        "PUT",
        "/instances/{party}/{guid}/process/instanceandevents",
        "next",
        Yes,
    ),
    row("GET", "/instances/{party}/{guid}/process/history", "`read`", Yes),
    row(
        "GET",
        "/instances/{party}/{guid}/process/authinfo",
        "admin listener",
        Internal,
    ),
    row("POST", "/instances/{party}/{guid}/events", "`read`", Yes),
    row("GET", "/instances/{party}/{guid}/events", "`read`", Yes),
    row("GET", "/instances/{party}/{guid}/events/{id}", "`read`", Yes),
    row("POST", "/instances/{party}/{guid}/sign", "`sign`", Yes),
    row("POST", "/instances/{party}/{guid}/lock", "task", Yes),
    row(
        "PATCH",
        "/instances/{party}/{guid}/lock",
        "token, and the lock's",
        Yes,
    ),
    row(
        "POST",
        "/instances/{party}/{guid}/mutations",
        "`write`, and what it changes",
        Yes,
    ),
    row("POST", "/instances/{party}/{guid}/data", "`write`", Yes),
    row("PUT", "/instances/{party}/{guid}/data/{id}", "`write`", Yes),
    row("GET", "/instances/{party}/{guid}/data/{id}", "`read`", Yes),
    row("DELETE", "/instances/{party}/{guid}/data/{id}", "`write`", Yes),
    row("PUT", "/instances/{party}/{guid}/data/{id}/lock", "task", Yes),
    row(
        "DELETE",
        "/instances/{party}/{guid}/data/{id}/lock",
        "`write`, `unlock` or `reject`",
        Yes,
    ),
    row("GET", "/instances/{party}/{guid}/dataelements", "`read`", Yes),
    row(
        "PUT",
        "/instances/{party}/{guid}/dataelements/{id}",
        "`write`",
        Yes,
    ),
    row(
        "PUT",
        "/instances/{party}/{guid}/dataelements/{id}/filescanstatus",
        "app",
        Yes,
    ),
    row(
        "GET",
        "/instances/{party}/{guid}/dataelementexists/{id}",
        "app",
        Yes,
    ),
    row("POST", "/sbl/instances/search", "token", Yes),
    row("GET", "/sbl/instances/{party}/{guid}", "`read`", Yes),
    row("GET", "/sbl/instances/{party}/{guid}/events", "`read`", Yes),
    row("PUT", "/sbl/instances/{party}/{guid}/undelete", "`delete`", Yes),
    row("DELETE", "/sbl/instances/{party}/{guid}", "`delete`", Yes),
    row("GET", "/studio/instances/{org}/{app}", "studio", Yes),
    row("GET", "/studio/instances/{org}/{app}/{guid}", "studio", Yes),
    row("DELETE", "/studio/instances/{org}/{app}/{guid}", "studio", Yes),
    row("DELETE", "/cleanup/cleanupinstances", "admin listener", Internal),
    row(
        "DELETE",
        "/cleanup/cleanupdataelements",
        "admin listener",
        Internal,
    ),
    row(
        "DELETE",
        "/cleanup/cleanupinstancesforapp/{appId}",
        "admin listener",
        Internal,
    ),
    row("GET", "/metrics/**", "", No),
    row("GET", "/parties/{party}/instances", "", No),
    row("POST", "/sblbridge/**", "", No),
    row("POST", "/migration/**", "", No),
    row("GET", "/ondemand/**", "", No),
];

/// What is known of a path that isn't served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The original serves it: its path.
    Unserved(&'static str),
    /// It is served by another method.
    OtherMethod,
    /// No.
    No,
}

/// Looks up a request by its method and the lower-case segments behind the base path.
#[must_use]
pub fn look_up(method: &str, names: &[&str]) -> Known {
    let mut known = Known::No;
    for operation in OPERATIONS
        .iter()
        .filter(|operation| fits(operation.path, names.iter().copied()))
    {
        match operation.support {
            Support::No if operation.method == method => return Known::Unserved(operation.path),
            Support::Internal | Support::No => {}
            Support::Yes | Support::Partial(_) => known = Known::OtherMethod,
        }
    }
    known
}

/// The path of the operation that a request is for, as [`OPERATIONS`] has it; `None` if none is served to the public.
/// `path` is what is behind the base path.
#[must_use]
pub fn path_of(method: &str, path: &str) -> Option<&'static str> {
    let segments = || path.split('/').filter(|segment| !segment.is_empty());
    OPERATIONS
        .iter()
        .filter(|operation| matches!(operation.support, Support::Yes | Support::Partial(_)))
        .find(|operation| operation.method == method && fits(operation.path, segments()))
        .map(|operation| operation.path)
}

/// Whether a request's segments are those of an operation's path, in upper or lower case.
fn fits<'a>(path: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match (part, names.next()) {
            ("**", _) => return true,
            (_, None) => return false,
            (part, Some(_)) if part.starts_with('{') => {}
            (part, Some(name)) if part.eq_ignore_ascii_case(name) => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// docs/compat/platform-storage.md.
#[must_use]
pub fn compat_page() -> String {
    use std::fmt::Write as _;
    let mut page = format!(
        "# Platform Storage: what is served\n\n\
         Made from `crates/platform-storage/src/operation.rs`. Paths stand behind `/storage/api/v1`. What isn't served\n\
         answers 501.\n\n{LEGEND}\n\n| operation | who | served |\n| --- | --- | --- |\n"
    );
    for operation in OPERATIONS {
        let served = match operation.support {
            Support::Yes => "yes".to_owned(),
            Support::Partial(missing) => format!("partly: {missing}"),
            Support::Internal => "on the admin listener".to_owned(),
            Support::No => "no".to_owned(),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| `{} {}` | {} | {served} |",
            operation.method, operation.path, operation.who
        );
    }
    page.push_str(
        "\nThe scan queue and the portal's outbox are HTTP addresses (docs/operate/platform.md); queues of Azure's aren't\n\
         served. Content is marked as waiting for its scan only where somebody is set up to take the queue. What differs\n\
         on purpose stands in docs/adr/0005-platform-storage.md and docs/adr/0023-platform-storage-second-part.md.\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_looked_up() {
        for (method, names, expected) in [
            (
                "POST",
                vec!["migration", "instance"],
                Known::Unserved("/migration/**"),
            ),
            (
                "GET",
                vec!["metrics", "instances", "x"],
                Known::Unserved("/metrics/**"),
            ),
            ("PATCH", vec!["applications"], Known::OtherMethod),
            (
                "DELETE",
                vec!["instances", "1", "2", "events"],
                Known::OtherMethod,
            ),
            ("DELETE", vec!["cleanup", "cleanupinstances"], Known::No),
            ("GET", vec!["nothing"], Known::No),
        ] {
            assert_eq!(look_up(method, &names), expected, "{method} {names:?}");
        }
    }

    #[test]
    fn a_request_is_counted_as_its_operation() {
        for (method, path, expected) in [
            ("GET", "/instances/1/2", Some("/instances/{party}/{guid}")),
            ("GET", "/Instances/", Some("/instances")),
            (
                "PUT",
                "/instances/1/2/Data/3/lock",
                Some("/instances/{party}/{guid}/data/{id}/lock"),
            ),
            ("PATCH", "/instances/1/2", None),
            ("GET", "/metrics/instances", None),
            ("DELETE", "/cleanup/cleanupinstances", None),
            ("GET", "", None),
        ] {
            assert_eq!(path_of(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn compat_page_is_current() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/compat/platform-storage.md"
        );
        let page = compat_page();
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            kept, page,
            "docs/compat/platform-storage.md is out of date; run with STABBUR_BLESS=1"
        );
    }
}
