//! What a platform has beside its storage: a register of parties with a user each, and policies like those that
//! Altinn's templates begin with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::context::Context;

/// Numbers of the first party and its user, and the apps, as the load generator knows them.
const FIRST_PARTY: u64 = 600_000;
const FIRST_USER: u64 = 20_000;
const APPS: [(&str, &str); 4] = [
    ("ttd", "bench-forms"),
    ("ttd", "bench-reports"),
    ("ttd", "bench-rare"),
    ("brg", "bench-other"),
];

/// A person's role for itself.
const ROLE: &str = "PRIV";

const SUBJECT: &str = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
const RESOURCE: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
const ACTION: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:action";

/// A register in a file, which goes when this is dropped.
pub(super) struct Register(PathBuf);

impl Register {
    /// Writes one of so many parties.
    pub(super) fn write(context: &Context, parties: u64) -> Result<Self> {
        let folder = context.local().join("run");
        std::fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
        let path = folder.join(format!("bench-register-{}.json", std::process::id()));
        std::fs::write(&path, people(parties).to_string())
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(Self(path))
    }

    /// What starts a server with it.
    pub(super) fn arguments(&self) -> [String; 2] {
        ["--register".to_owned(), self.0.to_string_lossy().into_owned()]
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn people(parties: u64) -> Value {
    let numbers = 0..parties;
    let users: Vec<Value> = numbers
        .clone()
        .map(|number| {
            let party = FIRST_PARTY + number;
            json!({"userId": FIRST_USER + number, "partyId": party, "username": format!("person{number}"),
                "roles": {party.to_string(): [ROLE]}})
        })
        .collect();
    let parties: Vec<Value> = numbers
        .map(|number| {
            json!({"partyId": FIRST_PARTY + number, "name": format!("Person {number}"),
                "personNumber": format!("{:011}", 1_000_000 + number)})
        })
        .collect();
    json!({"parties": parties, "users": users})
}

/// Writes a policy for each app into a server's data.
pub(super) fn write_policies(data: &Path) -> Result<()> {
    for (org, app) in APPS {
        let folder = data.join("policies").join(org).join(app);
        std::fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
        std::fs::write(folder.join("policy.xml"), policy()).context("can't write a policy")?;
    }
    Ok(())
}

/// As of Altinn's templates: a rule for the roles that may do all, one for each kind of end user's actions, some for the
/// owner, and a level of authentication.
fn policy() -> String {
    let role = (SUBJECT, "urn:altinn:rolecode", ROLE);
    let manager = (SUBJECT, "urn:altinn:rolecode", "DAGL");
    let owner = (SUBJECT, "urn:altinn:org", "[ORG]");
    let in_task = |task: &'static str| (RESOURCE, "urn:altinn:task", task);
    let ended = (RESOURCE, "urn:altinn:end-event", "EndEvent_1");
    let rules = [
        rule(&[manager, role], None, &["instantiate", "read"]),
        rule(
            &[manager, role],
            Some(in_task("Task_1")),
            &["read", "write", "delete"],
        ),
        rule(
            &[manager, role],
            Some(in_task("Task_2")),
            &["read", "confirm", "reject"],
        ),
        rule(&[manager, role], Some(ended), &["read", "delete"]),
        rule(&[owner], None, &["instantiate", "read", "write", "complete"]),
        rule(&[owner], Some(ended), &["complete"]),
    ];
    format!(
        "<Policy RuleCombiningAlgId=\"urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides\"><Target/>\
         {}<ObligationExpressions><ObligationExpression ObligationId=\"level\" FulfillOn=\"Permit\">\
         <AttributeAssignmentExpression AttributeId=\"level\" Category=\"urn:altinn:minimum-authenticationlevel\">\
         <AttributeValue>2</AttributeValue></AttributeAssignmentExpression></ObligationExpression></ObligationExpressions>\
         </Policy>",
        rules.concat()
    )
}

type Attribute<'a> = (&'a str, &'a str, &'a str);

/// Permits any of the actions to any of the subjects.
fn rule(subjects: &[Attribute<'_>], place: Option<Attribute<'_>>, actions: &[&str]) -> String {
    let one = |(category, attribute, value): Attribute<'_>| {
        format!(
            "<Match MatchId=\"urn:oasis:names:tc:xacml:1.0:function:string-equal\"><AttributeValue>{value}</AttributeValue>\
             <AttributeDesignator AttributeId=\"{attribute}\" Category=\"{category}\"/></Match>"
        )
    };
    let mut place_and_app = one((RESOURCE, "urn:altinn:org", "[ORG]"));
    place_and_app += &one((RESOURCE, "urn:altinn:app", "[APP]"));
    place_and_app.extend(place.map(one));
    let any = |all: &[String]| {
        let all: String = all
            .iter()
            .map(|matches| format!("<AllOf>{matches}</AllOf>"))
            .collect();
        format!("<AnyOf>{all}</AnyOf>")
    };
    let subjects: Vec<String> = subjects.iter().copied().map(one).collect();
    let action = "urn:oasis:names:tc:xacml:1.0:action:action-id";
    let actions: Vec<String> = actions.iter().map(|name| one((ACTION, action, name))).collect();
    format!(
        "<Rule RuleId=\"r\" Effect=\"Permit\"><Target>{}{}{}</Target></Rule>",
        any(&subjects),
        any(&[place_and_app]),
        any(&actions)
    )
}
