//! Who and what there is: parties with a user each, orgs, apps, and the state of the `n`th instance. The
//! register and the policies that the server is started with say the same of parties and apps.

use std::rc::Rc;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Call, Client, as_json};
use crate::chance;

/// Numbers of the first party and its user; the others follow.
const FIRST_PARTY: u64 = 600_000;
const FIRST_USER: u64 = 20_000;

/// The owner of most apps, and another.
pub const ORG: &str = "ttd";
const OTHER_ORG: &str = "brg";

/// What owners may, as their tokens say.
const SCOPES: &str = "altinn:serviceowner/instances.read%20altinn:serviceowner/instances.write";

/// An app and how many of a hundred instances are of it.
pub struct App {
    pub org: &'static str,
    pub name: &'static str,
    share: u64,
}

const fn app(org: &'static str, name: &'static str, share: u64) -> App {
    App { org, name, share }
}

/// All apps; the first is the one that virtual users fill in.
pub const APPS: [App; 4] = [
    app(ORG, "bench-forms", 50),
    app(ORG, "bench-reports", 20),
    app(ORG, "bench-rare", 5),
    app(OTHER_ORG, "bench-other", 25),
];

/// The app of few instances among many.
pub const RARE: &App = &APPS[2];

impl App {
    /// As instances name it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }
}

/// Where an instance's process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    FormFilling,
    Confirmation,
    Ended,
    /// Ended, and its owner has said that it has it.
    Confirmed,
}

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub struct Estate {
    pub instances: u64,
    pub parties: u64,
}

impl Estate {
    pub fn new(instances: u64, parties: u64) -> Result<Self> {
        ensure!(
            parties > 0 && instances >= parties,
            "each party has an instance at least"
        );
        Ok(Self { instances, parties })
    }

    /// The party of the `n`th instance.
    pub fn party_of(self, n: u64) -> u64 {
        party(n % self.parties)
    }
}

/// The number of a party.
pub fn party(number: u64) -> u64 {
    FIRST_PARTY + number
}

/// The number of its user.
pub fn user(number: u64) -> u64 {
    FIRST_USER + number
}

/// The app of the `n`th instance.
pub fn app_of(n: u64) -> &'static App {
    let mut rest = chance::number(n) % 100;
    for app in &APPS {
        if rest < app.share {
            return app;
        }
        rest -= app.share;
    }
    &APPS[0]
}

/// The stage of the `n`th instance: half are being filled in, a tenth waits to be confirmed by its user.
pub fn stage_of(n: u64) -> Stage {
    match chance::number(n ^ 0x5A5A_0000_0000) % 100 {
        0..50 => Stage::FormFilling,
        50..60 => Stage::Confirmation,
        60..80 => Stage::Ended,
        _ => Stage::Confirmed,
    }
}

/// Now, as JSON has it.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The process in a task.
pub fn in_task(stage: Stage) -> Value {
    let (id, kind) = match stage {
        Stage::FormFilling => ("Task_1", "data"),
        _ => ("Task_2", "confirmation"),
    };
    let now = now();
    json!({"started": now, "startEvent": "StartEvent_1", "currentTask": {"flow": 2, "started": now, "elementId": id,
        "name": "Utfylling", "altinnTaskType": kind, "flowType": "CompleteCurrentMoveToNext"}})
}

/// The process at its end.
pub fn ended() -> Value {
    let now = now();
    json!({"started": now, "startEvent": "StartEvent_1", "ended": now, "endEvent": "EndEvent_1"})
}

/// Tokens of everybody who calls.
#[derive(Clone)]
pub struct Tokens {
    /// Users of the first parties, in order.
    pub users: Rc<[String]>,
    pub owner: Rc<str>,
    other_owner: Rc<str>,
    studio: Rc<str>,
}

impl Tokens {
    /// Gets those of the owners, of Studio and of the users of the first `users` parties.
    pub async fn fetch(url: &str, estate: Estate, users: usize) -> Result<Self> {
        let mut client = Client::open(url).await?;
        let mut tokens = Vec::new();
        for number in 0..estate.parties.min(users as u64) {
            let path = format!("/Home/GetTestUserToken/{}?authenticationLevel=2", user(number));
            tokens.push(client.read(&path).await?);
        }
        let owner = |org: &str| format!("/Home/GetTestOrgToken/{org}?orgNumber=991825827&scopes={SCOPES}");
        Ok(Self {
            users: tokens.into(),
            owner: client.read(&owner(ORG)).await?.into(),
            other_owner: client.read(&owner(OTHER_ORG)).await?.into(),
            studio: client.read("/Home/GetTestStudioToken").await?.into(),
        })
    }

    /// The owner's of an app.
    pub fn of(&self, app: &App) -> &Rc<str> {
        if app.org == ORG {
            &self.owner
        } else {
            &self.other_owner
        }
    }
}

/// Publishes the apps with their texts.
pub async fn publish(url: &str, tokens: &Tokens) -> Result<()> {
    let mut client = Client::open(url).await?;
    for app in &APPS {
        let metadata = json!({"id": app.id(), "org": app.org, "title": {"nb": "Et skjema"}, "processId": "Process_1",
            "dataTypes": [
                {"id": "model", "allowedContentTypes": ["application/xml"], "taskId": "Task_1", "maxCount": 1,
                 "minCount": 1, "appLogic": {"autoCreate": true, "classRef": "App.Models.Form"}},
                {"id": "attachment", "allowedContentTypes": ["application/pdf"], "taskId": "Task_1", "maxCount": 0},
                {"id": "ref-data-as-pdf", "allowedContentTypes": ["application/pdf"]}],
            "partyTypesAllowed": {"person": true, "organisation": true}});
        let texts = json!({"language": "nb", "resources": [{"id": "appName", "value": "Et skjema"}]});
        for (path, body, status) in [
            (format!("/applications?appId={}", app.id()), metadata, 201),
            (format!("/applications/{}/texts", app.id()), texts, 200),
        ] {
            let call = Call {
                method: "POST",
                path: &path,
                token: &tokens.studio,
                headers: &as_json(),
                body: body.to_string().into(),
                status,
            };
            client.call(call).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_and_stages_have_their_shares() {
        let count = 10_000;
        let of = |wanted: &App| (0..count).filter(|n| app_of(*n).name == wanted.name).count();
        assert!((4_800..5_200).contains(&of(&APPS[0])) && (400..600).contains(&of(RARE)));
        let confirmed = (0..count).filter(|n| stage_of(*n) == Stage::Confirmed).count();
        assert!((1_900..2_100).contains(&confirmed));
        // Each app has instances of each stage.
        let rare_and_ended = |n: &u64| app_of(*n).name == RARE.name && stage_of(*n) == Stage::Ended;
        assert!((0..count).any(|n| rare_and_ended(&n)));
    }
}
