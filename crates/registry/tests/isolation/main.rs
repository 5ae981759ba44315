//! Whether registries are apart: every operation, by everybody, about what is here, what only another organisation
//! has, and what nobody has. What each is to be answered is computed by one rule; who may not know whether
//! something is here must not be able to tell the answers apart by status, headers or body.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

#[path = "../bench/mod.rs"]
mod bench;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Answer, Bench, image_of};
use identity::PasswordHash;
use ledger::Ledger;
use ledger::memory::MemoryLedger;
use registry::rules::grants::{Action, Grant, Pattern, Role};
use registry::{Password, Registry, Settings, User};
use routes::{CONFIG, Names, Needs, Route, layer_bytes, loose_bytes, referrer, routes};

const ORGANISATIONS: [&str; 2] = ["ttd", "skd"];

/// Hashes of `correct horse battery {organisation}`, of as few rounds as are taken: thousands are compared.
const HASHES: [&str; 2] = [
    "pbkdf2-sha256$100000$aXNvbGF0aW9uLXNhbHQtdHRk$rUpSOm8Fats5DZ3PCaRosfnJlztVMjQzqVif2sBVAvg",
    "pbkdf2-sha256$100000$aXNvbGF0aW9uLXNhbHQtc2tk$18W9fJv695DLmkGEGof2Uuql+75/0jyeC3X871WqXDw",
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Admin,
    Reader,
    /// Who may push to some repositories of the registry, and nothing with the others.
    Confined,
    OthersAdmin,
    OthersReader,
    Nobody,
}

const EVERYBODY: [Who; 6] = [
    Who::Admin,
    Who::Reader,
    Who::Confined,
    Who::OthersAdmin,
    Who::OthersReader,
    Who::Nobody,
];

impl Who {
    fn user(self) -> &'static str {
        match self {
            Self::Admin | Self::OthersAdmin => "admin",
            Self::Reader | Self::OthersReader => "reader",
            Self::Confined => "confined",
            Self::Nobody => "",
        }
    }

    fn is_others(self) -> bool {
        matches!(self, Self::OthersAdmin | Self::OthersReader)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Admin => "its admin",
            Self::Reader => "its reader",
            Self::Confined => "its writer, confined to other repositories",
            Self::OthersAdmin => "another's admin",
            Self::OthersReader => "another's reader",
            Self::Nobody => "nobody",
        }
    }

    /// What the settings give him in this registry: on repositories of the team, and elsewhere.
    fn may(self, mode: Mode, action: Action, elsewhere: bool) -> bool {
        match self {
            Self::Admin => true,
            Self::Reader => matches!(action, Action::Pull | Action::MetadataRead),
            Self::Confined => elsewhere && Role::Push.actions().contains(&action),
            Self::OthersAdmin | Self::OthersReader => false,
            Self::Nobody => mode.anonymous_pull && action == Action::Pull,
        }
    }
}

/// How he shows who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Password,
    Token,
}

/// Where the thing is that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Here,
    OthersOnly,
    Nowhere,
}

const PLACES: [There; 3] = [There::Here, There::OthersOnly, There::Nowhere];

/// How the registry is set up and reached.
#[derive(Debug, Clone, Copy)]
struct Mode {
    /// Whose it is; the other one is another's.
    organisation: usize,
    anonymous_pull: bool,
    /// Through the other one's host, as a mirror's clients do (`?ns=`).
    mirrored: bool,
    shown: Shown,
}

/// The rule: what a request is answered.
fn expected(mode: Mode, who: Who, route: &Route, there: There) -> u16 {
    let is_bad_password = mode.shown == Shown::Password && who.is_others();
    let is_stranger = who.is_others() || (who == Who::Nobody && !mode.anonymous_pull);
    let is_permitted = match route.needs {
        // No login is looked at.
        Needs::Nothing if route.operation.starts_with("Exchange") => true,
        Needs::Nothing => !is_bad_password,
        // Also where anybody may pull: clients learn by it how to log in.
        Needs::Login => !is_stranger && (who != Who::Nobody || mode.shown == Shown::Token),
        // A token isn't taken for another one.
        Needs::Password => mode.shown == Shown::Password && !is_stranger,
        Needs::Catalog => matches!(who, Who::Admin | Who::Reader),
        Needs::DeletedCatalog => who == Who::Admin,
        Needs::Here(actions) => actions.iter().all(|action| who.may(mode, *action, false)),
        Needs::Elsewhere(actions) => actions.iter().all(|action| who.may(mode, *action, true)),
    };
    match () {
        () if !is_permitted => 401,
        () if there == There::Here && who.may(mode, route.reveals, false) => route.answers.0,
        () => route.answers.1,
    }
}

/// Whether he may know whether something is here: an answer may tell.
fn may_know(mode: Mode, who: Who, route: &Route) -> bool {
    let needed = match route.needs {
        Needs::Here(actions) => actions.iter().all(|action| who.may(mode, *action, false)),
        Needs::Elsewhere(actions) => actions.iter().all(|action| who.may(mode, *action, true)),
        Needs::Catalog => matches!(who, Who::Admin | Who::Reader),
        Needs::DeletedCatalog => who == Who::Admin,
        Needs::Nothing | Needs::Login | Needs::Password => false,
    };
    needed && who.may(mode, route.reveals, false)
}

fn user(name: &str, organisation: usize, repositories: &str, actions: Vec<Action>) -> User {
    User {
        name: name.to_owned(),
        passwords: vec![Password {
            hash: PasswordHash::parse(HASHES[organisation]).unwrap(),
            expires: None,
        }],
        grants: vec![Grant {
            repositories: Pattern::parse(repositories).unwrap(),
            actions,
        }],
    }
}

fn settings(anonymous_pull: bool) -> Settings {
    let registry = |organisation: usize| {
        let mut registry = Registry::new(ORGANISATIONS[organisation]);
        registry.anonymous_pull = anonymous_pull;
        registry.soft_delete_days = Some(7);
        registry.users = vec![
            user("admin", organisation, "*", Role::Owner.actions()),
            user("reader", organisation, "*", Role::Reader.actions()),
            user("confined", organisation, "elsewhere/*", Role::Push.actions()),
        ];
        registry
    };
    Settings {
        registries: vec![registry(0), registry(1)],
        host_suffixes: vec!["cr.test".to_owned()],
        ..Settings::default()
    }
}

fn host(organisation: usize) -> String {
    format!("{}.cr.test", ORGANISATIONS[organisation])
}

fn password(organisation: usize, name: &str) -> String {
    let text = format!("{name}:correct horse battery {}", ORGANISATIONS[organisation]);
    format!("Basic {}", STANDARD.encode(text))
}

/// The service twice over the same stores: as it is set up, and open, to put things where they are to be.
struct House {
    closed: Bench,
    open: Bench,
    number: usize,
    wrong: Vec<String>,
    cells: usize,
}

impl House {
    fn new(anonymous_pull: bool) -> Self {
        let clock = bench::clock();
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let content = bench::memory_content(&clock);
        let mut open = settings(false);
        for registry in &mut open.registries {
            registry.open = true;
        }
        Self {
            closed: bench::over(
                ledger.clone(),
                content.clone(),
                clock.clone(),
                settings(anonymous_pull),
                1,
            ),
            open: bench::over(ledger, content, clock, open, 2),
            number: 0,
            wrong: Vec::new(),
            cells: 0,
        }
    }

    /// New things, put where they are to be.
    async fn put(&mut self, mode: Mode, there: There) -> Names {
        self.number += 1;
        let mut names = Names::new(self.number, "11111111-1111-4111-8111-111111111111");
        let organisation = match there {
            There::Here => mode.organisation,
            There::OthersOnly => 1 - mode.organisation,
            There::Nowhere => return names,
        };
        let host = host(organisation);
        let headers = [("host", host.as_str()), ("content-type", bench_type())];
        let at = format!("/v2/{}/blobs/uploads/", names.repository);
        for bytes in [
            CONFIG.to_vec(),
            layer_bytes(names.number),
            loose_bytes(names.number),
        ] {
            let path = format!("{at}?digest={}", bench::sha256(&bytes));
            assert_eq!(self.open.ask("POST", &path, &headers, &bytes).await.status, 201);
        }
        let image = image_of(&names.config, &names.layer);
        for (tag, manifest) in [
            ("v1", image),
            ("signature", referrer(&names)),
            ("gone", routes::gone()),
        ] {
            let path = format!("/v2/{}/manifests/{tag}", names.repository);
            let bytes = manifest.to_string().into_bytes();
            assert_eq!(self.open.ask("PUT", &path, &headers, &bytes).await.status, 201);
        }
        let path = format!("/v2/{}/manifests/{}", names.repository, names.gone);
        assert_eq!(self.open.ask("DELETE", &path, &headers, b"").await.status, 202);
        let begun = self.open.ask("POST", &at, &headers, b"").await;
        names.upload = begun.header("docker-upload-uuid").to_owned();
        names
    }

    /// What he shows.
    async fn authorization(&self, mode: Mode, who: Who, names: &Names) -> Option<String> {
        let organisation = match who.is_others() {
            true => 1 - mode.organisation,
            false => mode.organisation,
        };
        let basic = (who != Who::Nobody).then(|| password(organisation, who.user()));
        if mode.shown == Shown::Password {
            return basic;
        }
        let host = host(organisation);
        let path = format!(
            "/oauth2/token?service={host}&scope=registry:catalog:*&scope=registry:deleted_catalog:*\
             &scope=repository:{}:*&scope=repository:{}:*",
            names.repository, names.elsewhere
        );
        let mut headers = vec![("host", host.as_str())];
        if let Some(basic) = &basic {
            headers.push(("authorization", basic));
        }
        let found = self.closed.ask("GET", &path, &headers, b"").await;
        assert_eq!(found.status, 200);
        Some(format!(
            "Bearer {}",
            found.json()["access_token"].as_str().unwrap()
        ))
    }

    async fn ask(&self, mode: Mode, who: Who, route: &Route, names: &Names) -> Answer {
        let own = host(mode.organisation);
        let mut path = (route.path)(names);
        let mut at = own.clone();
        if mode.mirrored {
            at = host(1 - mode.organisation);
            path.push_str(if path.contains('?') { "&ns=" } else { "?ns=" });
            path.push_str(&own);
        }
        let (content_type, body) = (route.body)(names);
        let authorization = self.authorization(mode, who, names).await;
        let mut headers = vec![("host", at.as_str()), ("content-type", content_type)];
        if let Some(authorization) = &authorization {
            headers.push(("authorization", authorization));
        }
        self.closed.ask(route.method, &path, &headers, &body).await
    }

    /// The three cells of a route and a caller.
    async fn compare(&mut self, mode: Mode, who: Who, route: &Route) {
        let mut seen = Vec::new();
        for there in PLACES {
            let names = self.put(mode, there).await;
            let answer = self.ask(mode, who, route, &names).await;
            self.cells += 1;
            let wanted = expected(mode, who, route, there);
            if answer.status != wanted {
                self.wrong.push(format!(
                    "{mode:?} {who:?} {there:?} {} {}: {} instead of {wanted}: {}",
                    route.method,
                    (route.path)(&names),
                    answer.status,
                    answer.json()
                ));
            }
            seen.push(normal(&answer, &names));
        }
        let tells = |which: &str| {
            let path = (route.path)(&Names::new(0, "ID"));
            format!("{mode:?} {who:?} {} {path}: {which}: {seen:?}", route.method)
        };
        if seen[1] != seen[2] {
            let wrong = tells("what another organisation has is told from what nobody has");
            self.wrong.push(wrong);
        }
        if seen[0] != seen[2] && !may_know(mode, who, route) {
            let wrong = tells("what is here is told to who may not know it");
            self.wrong.push(wrong);
        }
    }
}

fn bench_type() -> &'static str {
    registry::rules::manifest::OCI_MANIFEST
}

/// An answer without the names that each cell has of its own, and without what is random in it.
fn normal(answer: &Answer, names: &Names) -> (u16, BTreeSet<String>, String) {
    let clean = |text: &str| {
        let mut text = text.to_owned();
        let before = routes::repository(names.number.saturating_sub(1));
        for (own, stands_for) in [
            (names.repository.as_str(), "REPOSITORY"),
            (names.elsewhere.as_str(), "ELSEWHERE"),
            (names.upload.as_str(), "UPLOAD"),
            (names.layer.as_str(), "LAYER"),
            (names.loose.as_str(), "LOOSE"),
            (names.image.as_str(), "IMAGE"),
            (before.as_str(), "BEFORE"),
        ] {
            text = text.replace(own, stands_for);
        }
        let index = bench::index_of(&[&names.image]).to_string();
        text = text.replace(bench::sha256(index.as_bytes()).as_str(), "INDEX");
        without_random(&text)
    };
    let headers = answer.headers.iter();
    let headers = headers.map(|(name, value)| clean(&format!("{name}: {}", value.to_str().unwrap())));
    let mut body = clean(&String::from_utf8_lossy(&answer.body));
    let token = answer.json();
    for name in ["access_token", "token"] {
        if let Some(token) = token[name].as_str() {
            body = body.replace(&clean(token), "TOKEN");
        }
    }
    (answer.status, headers.collect(), body)
}

/// Without ids: what has the form of a UUID.
fn without_random(text: &str) -> String {
    let is_id = |part: &str| uuid::Uuid::try_parse(part).is_ok();
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36).filter(|part| is_id(part)) {
            Some(_) => {
                out.push_str("ID");
                rest = &rest[36..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The ways that are tried: ordinarily the two that differ most, with STABBUR_LONG=1 all.
fn tried_modes() -> Vec<Mode> {
    let mut modes = modes();
    if std::env::var_os("STABBUR_LONG").is_none() {
        modes.retain(|mode| mode.mirrored || mode.anonymous_pull);
    }
    modes
}

/// How registries are set up and reached: each with tokens, one with passwords as well, as those cost time.
fn modes() -> Vec<Mode> {
    let mode = |organisation, anonymous_pull, mirrored, shown| Mode {
        organisation,
        anonymous_pull,
        mirrored,
        shown,
    };
    vec![
        mode(0, false, false, Shown::Token),
        mode(1, false, false, Shown::Token),
        mode(0, false, true, Shown::Token),
        mode(0, false, false, Shown::Password),
        mode(1, true, false, Shown::Token),
    ]
}

#[test]
fn every_operation_is_in_the_table() {
    let asked: BTreeSet<&str> = routes().iter().map(|route| route.operation).collect();
    let all: BTreeSet<&str> = registry::operation::OPERATIONS
        .iter()
        .map(|operation| operation.name)
        .collect();
    assert_eq!(asked, all);
}

#[tokio::test]
async fn nobody_learns_of_what_isn_t_theirs() {
    let (mut cells, mut wrong) = (0, Vec::new());
    for mode in tried_modes() {
        for who in EVERYBODY {
            // Nobody is given a token only where anybody may pull.
            let is_bare = who == Who::Nobody && !mode.anonymous_pull;
            let mode = Mode {
                shown: if is_bare { Shown::Password } else { mode.shown },
                ..mode
            };
            // One of his own: what a house holds slows each of its commits.
            let mut house = House::new(mode.anonymous_pull);
            for route in routes() {
                house.compare(mode, who, &route).await;
            }
            house.open.verify().await;
            cells += house.cells;
            wrong.append(&mut house.wrong);
        }
    }
    println!("isolation: {cells} cells, {} wrong answers", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {cells}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// docs/operate/registry-isolation.md.
fn markdown() -> String {
    let all = routes();
    let cells = modes().len() * EVERYBODY.len() * all.len() * PLACES.len();
    let mut out = format!(
        "# Registries: who learns of what\n\nMade from the rule that `crates/registry/tests/isolation` asks {cells} \
         requests by: {} ways to set up, reach and log in, {} callers, {} requests, each about something that the \
         registry has, that only another organisation's has, and that nobody has. The answers for the last two are the \
         same to everybody, byte by byte but for the names in the request itself, and those for all three to who may \
         not know. Each cell: the answer if it is here / if it isn't; one number where it makes no difference.\n\n\
         With `anonymous_pull` nobody is answered as its reader is where the reader needs to pull, and `/oauth2/token` \
         gives a token for that; another's password stays 401.\n\n",
        modes().len(),
        EVERYBODY.len(),
        all.len(),
    );
    let titles: Vec<&str> = EVERYBODY.into_iter().map(Who::title).collect();
    out.push_str(&format!(
        "| request | {} |\n| --- |{}\n",
        titles.join(" | "),
        " --- |".repeat(6)
    ));
    let mode = Mode {
        organisation: 0,
        anonymous_pull: false,
        mirrored: false,
        shown: Shown::Password,
    };
    for route in &all {
        let answers = EVERYBODY.map(|who| {
            let here = expected(mode, who, route, There::Here);
            match expected(mode, who, route, There::Nowhere) {
                absent if absent == here => here.to_string(),
                absent => format!("{here} / {absent}"),
            }
        });
        let kind = match route.kind {
            "" => String::new(),
            kind => format!(": {kind}"),
        };
        out.push_str(&format!(
            "| {}{kind} (`{}`) | {} |\n",
            route.operation,
            route.method,
            answers.join(" | ")
        ));
    }
    out
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/operate/registry-isolation.md"
    );
    if std::env::var_os("STABBUR_BLESS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == markdown(),
        "docs/operate/registry-isolation.md is old: run this test with STABBUR_BLESS=1"
    );
}
