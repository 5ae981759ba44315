//! Policies: the part of XACML 3.0 that Altinn's apps use, read and evaluated.
//!
//! A policy has rules; a rule permits (or denies) where its target matches; deny overrides. A
//! target is an AND of ORs of ANDs of comparisons (section 7.7). What a policy says beyond that
//! (conditions, variables, other functions) makes the whole policy unreadable: a part that is
//! skipped would permit what it was written to deny.

use super::attributes::{Attributes, Category};
use super::policy_xml::{self, Element};

/// Why a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy can't be used: {0}")]
pub struct PolicyError(pub String);

/// What a policy says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Yes, if the obligations are met.
    Permit(Obligations),
    /// No.
    Deny,
    /// No rule is about the question: a no.
    NotApplicable,
}

/// What a permit asks of whoever enforces it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// The least level that the caller must be identified with.
    pub minimum_level: Option<i64>,
    /// The least level that is enough for a service owner.
    pub minimum_level_org: Option<i64>,
}

/// Demands a level of everybody.
const MINIMUM_LEVEL: &str = "urn:altinn:minimum-authenticationlevel";
/// Demands a level of service owners.
const MINIMUM_LEVEL_ORG: &str = "urn:altinn:minimum-authenticationlevel-org";

impl Obligations {
    /// Those of a decision's assignments, category and value each; `None` if a level is no number. Other obligations
    /// than levels aren't this service's to meet.
    #[must_use]
    pub fn of_assignments<'a>(assignments: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut all = Self::default();
        for (category, value) in assignments {
            let level = match category {
                MINIMUM_LEVEL => &mut all.minimum_level,
                MINIMUM_LEVEL_ORG => &mut all.minimum_level_org,
                _ => continue,
            };
            *level = (*level).max(Some(value.trim().parse().ok()?));
        }
        Some(all)
    }

    /// Whether a caller identified with `level` meets them.
    #[must_use]
    pub fn are_met(&self, level: i64, is_org: bool) -> bool {
        self.minimum_level.is_none_or(|least| level >= least)
            || (is_org && self.minimum_level_org.is_some_and(|least| level >= least))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    IgnoreCase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Match {
    comparison: Comparison,
    value: String,
    category: Category,
    attribute: String,
}

/// AND of ORs of ANDs; an empty AND is true.
type Target = Vec<Vec<Vec<Match>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    permits: bool,
    target: Target,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    target: Target,
    rules: Vec<Rule>,
    obligations: Obligations,
}

/// Elements that say nothing that decides.
const SILENT: [&str; 4] = [
    "Description",
    "PolicyIssuer",
    "PolicyDefaults",
    "CombinerParameters",
];

impl Policy {
    /// Reads a policy; `[ORG]` and `[APP]` stand for the app's own.
    ///
    /// # Errors
    /// [`PolicyError`] says what can't be read or isn't understood.
    pub fn parse(text: &str, org: &str, app: &str) -> Result<Self, PolicyError> {
        let root = policy_xml::read(text)?;
        if root.name != "Policy" {
            return Err(PolicyError(format!(
                "<Policy> was expected, <{}> found",
                root.name
            )));
        }
        let combining = root.required("RuleCombiningAlgId")?;
        let known = combining.ends_with(":deny-overrides") || combining.ends_with(":ordered-deny-overrides");
        if !known {
            return Err(PolicyError(format!(
                "rules are combined by {combining}; deny-overrides is understood"
            )));
        }
        let mut policy = Self {
            target: Vec::new(),
            rules: Vec::new(),
            obligations: Obligations::default(),
        };
        let own = Placeholders { org, app };
        for child in &root.children {
            match child.name.as_str() {
                "Target" => policy.target = target(child, &own)?,
                "Rule" => policy.rules.push(rule(child, &own)?),
                "ObligationExpressions" => obligations(child, &mut policy.obligations)?,
                name if SILENT.contains(&name) => {}
                name => return Err(not_understood(name)),
            }
        }
        Ok(policy)
    }

    /// What the policy says to a question.
    #[must_use]
    pub fn evaluate(&self, attributes: &Attributes) -> Outcome {
        if !matches(&self.target, attributes) {
            return Outcome::NotApplicable;
        }
        let mut permits = false;
        for rule in self.rules.iter().filter(|rule| matches(&rule.target, attributes)) {
            if !rule.permits {
                return Outcome::Deny;
            }
            permits = true;
        }
        if permits {
            Outcome::Permit(self.obligations.clone())
        } else {
            Outcome::NotApplicable
        }
    }
}

struct Placeholders<'a> {
    org: &'a str,
    app: &'a str,
}

fn matches(target: &Target, attributes: &Attributes) -> bool {
    target.iter().all(|any_of| {
        any_of
            .iter()
            .any(|all_of| all_of.iter().all(|one| holds(one, attributes)))
    })
}

fn holds(one: &Match, attributes: &Attributes) -> bool {
    attributes
        .values(one.category, &one.attribute)
        .any(|value| match one.comparison {
            Comparison::Exact => value == one.value,
            Comparison::IgnoreCase => value.to_lowercase() == one.value.to_lowercase(),
        })
}

fn not_understood(name: &str) -> PolicyError {
    PolicyError(format!("<{name}> isn't understood here"))
}

fn rule(element: &Element, own: &Placeholders<'_>) -> Result<Rule, PolicyError> {
    let permits = match element.required("Effect")? {
        "Permit" => true,
        "Deny" => false,
        other => return Err(PolicyError(format!("effect {other:?}"))),
    };
    let mut rule = Rule {
        permits,
        target: Vec::new(),
    };
    for child in &element.children {
        match child.name.as_str() {
            "Target" => rule.target = target(child, own)?,
            "Description" => {}
            name => return Err(not_understood(name)),
        }
    }
    Ok(rule)
}

fn target(element: &Element, own: &Placeholders<'_>) -> Result<Target, PolicyError> {
    nested(element, "AnyOf", |any_of| {
        nested(any_of, "AllOf", |all_of| {
            nested(all_of, "Match", |one| comparison(one, own))
        })
    })
}

/// The children of `element`, all of which must be called `name`.
fn nested<T>(
    element: &Element,
    name: &str,
    read: impl Fn(&Element) -> Result<T, PolicyError>,
) -> Result<Vec<T>, PolicyError> {
    element
        .children
        .iter()
        .map(|child| {
            if child.name == name {
                read(child)
            } else {
                Err(not_understood(&child.name))
            }
        })
        .collect()
}

fn comparison(element: &Element, own: &Placeholders<'_>) -> Result<Match, PolicyError> {
    let function = element.required("MatchId")?;
    let comparison = match function.rsplit_once(':').map_or(function, |(_, name)| name) {
        "string-equal" | "anyURI-equal" | "integer-equal" => Comparison::Exact,
        "string-equal-ignore-case" => Comparison::IgnoreCase,
        _ => return Err(PolicyError(format!("the function {function} isn't understood"))),
    };
    let mut value = None;
    let mut designator = None;
    for child in &element.children {
        match child.name.as_str() {
            "AttributeValue" if value.is_none() => value = Some(child.text.trim()),
            "AttributeDesignator" if designator.is_none() => designator = Some(child),
            name => return Err(not_understood(name)),
        }
    }
    let (Some(value), Some(designator)) = (value, designator) else {
        return Err(PolicyError("a <Match> needs a value and a designator".to_owned()));
    };
    let category = designator.required("Category")?;
    Ok(Match {
        comparison,
        value: value.replace("[ORG]", own.org).replace("[APP]", own.app),
        category: Category::parse(category)
            .ok_or_else(|| PolicyError(format!("the category {category} isn't understood")))?,
        attribute: designator.required("AttributeId")?.to_owned(),
    })
}

/// Levels of authentication. An obligation that isn't understood can't be met.
fn obligations(element: &Element, into: &mut Obligations) -> Result<(), PolicyError> {
    for obligation in &element.children {
        if obligation.name != "ObligationExpression" {
            return Err(not_understood(&obligation.name));
        }
        if obligation.attribute("FulfillOn") == Some("Deny") {
            continue;
        }
        for assignment in &obligation.children {
            if assignment.name != "AttributeAssignmentExpression" {
                return Err(not_understood(&assignment.name));
            }
            let category = assignment.required("Category")?;
            let least = match category {
                MINIMUM_LEVEL => &mut into.minimum_level,
                MINIMUM_LEVEL_ORG => &mut into.minimum_level_org,
                other => return Err(PolicyError(format!("the obligation {other} isn't understood"))),
            };
            let level = assignment
                .children
                .iter()
                .find(|child| child.name == "AttributeValue")
                .and_then(|value| value.text.trim().parse().ok())
                .ok_or_else(|| PolicyError("an authentication level isn't a number".to_owned()))?;
            *least = Some(least.map_or(level, |before: i64| before.max(level)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
    const RESOURCE: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
    const ACTION: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:action";

    fn one(function: &str, category: &str, attribute: &str, value: &str) -> String {
        format!(
            "<xacml:Match MatchId=\"urn:oasis:names:tc:xacml:1.0:function:{function}\"><xacml:AttributeValue>{value}\
             </xacml:AttributeValue><xacml:AttributeDesignator AttributeId=\"{attribute}\" Category=\"{category}\" \
             MustBePresent=\"false\"/></xacml:Match>"
        )
    }

    /// AND of ORs of ANDs.
    fn target(any_ofs: &[&[&[String]]]) -> String {
        let any_of = |all_ofs: &&[&[String]]| {
            let all_ofs: String = all_ofs
                .iter()
                .map(|all_of| format!("<xacml:AllOf>{}</xacml:AllOf>", all_of.concat()))
                .collect();
            format!("<xacml:AnyOf>{all_ofs}</xacml:AnyOf>")
        };
        format!(
            "<xacml:Target>{}</xacml:Target>",
            any_ofs.iter().map(any_of).collect::<String>()
        )
    }

    fn rule(effect: &str, target: &str) -> String {
        format!(
            "<xacml:Rule RuleId=\"r\" Effect=\"{effect}\"><xacml:Description>d &amp; e</xacml:Description>{target}</xacml:Rule>"
        )
    }

    fn policy(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><!-- c --><xacml:Policy xmlns:xacml=\"x\" PolicyId=\"p\" Version=\"1.0\" \
             RuleCombiningAlgId=\"urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides\">\
             <xacml:Target/>{inside}</xacml:Policy>"
        )
    }

    fn question(role: &str, action: &str, task: &str) -> Attributes {
        let mut question = Attributes::default();
        question.add(Category::Subject, "urn:altinn:rolecode", role);
        question.add(Category::Subject, "urn:altinn:rolecode", "OTHER");
        question.add(Category::Action, "action-id", action);
        question.add(Category::Resource, "urn:altinn:org", "ttd");
        question.add(Category::Resource, "urn:altinn:app", "a");
        question.add(Category::Resource, "urn:altinn:task", task);
        question
    }

    #[test]
    fn a_target_is_an_and_of_ors_of_ands() {
        let role = |code: &str| one("string-equal-ignore-case", SUBJECT, "urn:altinn:rolecode", code);
        let action = |name: &str| one("string-equal", ACTION, "action-id", name);
        let task = |id: &str| one("string-equal", RESOURCE, "urn:altinn:task", id);
        let org = one("string-equal", RESOURCE, "urn:altinn:org", "[ORG]");
        let app = one("string-equal", RESOURCE, "urn:altinn:app", "[APP]");
        let roles: &[&[String]] = &[&[role("DAGL")], &[role("regna")]];
        let resource: &[&[String]] = &[&[org.clone(), app.clone(), task("Task_1")]];
        let actions: &[&[String]] = &[&[action("read")], &[action("write")]];
        let rules = rule("Permit", &target(&[roles, resource, actions]));
        let text = policy(&rules);
        let read = Policy::parse(&text, "ttd", "a").unwrap();
        let permits =
            |role, action, task| matches!(read.evaluate(&question(role, action, task)), Outcome::Permit(_));
        for (role, action, task, expected) in [
            ("DAGL", "read", "Task_1", true),
            ("dagl", "write", "Task_1", true),
            ("REGNA", "write", "Task_1", true),
            ("PRIV", "write", "Task_1", false),
            ("DAGL", "delete", "Task_1", false),
            ("DAGL", "Read", "Task_1", false),
            ("DAGL", "read", "Task_2", false),
        ] {
            assert_eq!(permits(role, action, task), expected, "{role} {action} {task}");
        }
        let elsewhere = Policy::parse(&text, "skd", "a").unwrap();
        assert_eq!(
            elsewhere.evaluate(&question("DAGL", "read", "Task_1")),
            Outcome::NotApplicable
        );
    }

    #[test]
    fn deny_overrides_and_an_empty_target_fits_all() {
        let never = rule(
            "Deny",
            &target(&[&[&[one("string-equal", ACTION, "action-id", "delete")]]]),
        );
        let text = policy(&format!("{}{never}", rule("Permit", "<Target/>")));
        let read = Policy::parse(&text, "ttd", "a").unwrap();
        assert_eq!(
            read.evaluate(&question("X", "read", "T")),
            Outcome::Permit(Obligations::default())
        );
        assert_eq!(read.evaluate(&question("X", "delete", "T")), Outcome::Deny);
    }

    #[test]
    fn levels_for_users_and_orgs() {
        let assign = |category: &str, level: &str| {
            format!(
                "<ObligationExpression ObligationId=\"o\" FulfillOn=\"Permit\"><AttributeAssignmentExpression \
                 AttributeId=\"a\" Category=\"urn:altinn:{category}\"><AttributeValue>{level}</AttributeValue>\
                 </AttributeAssignmentExpression></ObligationExpression>"
            )
        };
        let text = policy(&format!(
            "{}<ObligationExpressions>{}{}</ObligationExpressions>",
            rule("Permit", "<Target/>"),
            assign("minimum-authenticationlevel", "4"),
            assign("minimum-authenticationlevel-org", "2")
        ));
        let Outcome::Permit(obligations) = Policy::parse(&text, "ttd", "a")
            .unwrap()
            .evaluate(&question("X", "read", "T"))
        else {
            panic!("a permit was expected")
        };
        for (level, is_org, met) in [
            (4, false, true),
            (3, false, false),
            (3, true, true),
            (1, true, false),
        ] {
            assert_eq!(obligations.are_met(level, is_org), met, "{level} {is_org}");
        }
    }

    #[test]
    fn what_is_not_understood_makes_the_whole_policy_unusable() {
        let permit = rule("Permit", "<Target/>");
        let good = policy(&permit);
        assert!(Policy::parse(&good, "ttd", "a").is_ok());
        let unknown_function = one("string-starts-with", ACTION, "action-id", "r");
        let unknown_category = one("string-equal", "urn:other", "action-id", "r");
        for bad in [
            policy("<Rule RuleId=\"r\" Effect=\"Permit\"><Target/><Condition/></Rule>"),
            policy("<VariableDefinition/>"),
            policy("<Rule RuleId=\"r\" Effect=\"Perhaps\"/>"),
            policy("<Rule RuleId=\"r\"/>"),
            policy(&rule("Permit", &target(&[&[&[unknown_function]]]))),
            policy(&rule("Permit", &target(&[&[&[unknown_category]]]))),
            policy(&rule("Permit", "<Target><AllOf/></Target>")),
            policy(
                "<ObligationExpressions><ObligationExpression FulfillOn=\"Permit\"><AttributeAssignmentExpression \
                    Category=\"urn:altinn:something\"/></ObligationExpression></ObligationExpressions>",
            ),
            good.replace("deny-overrides", "permit-overrides"),
            good.replace("xacml:Policy", "xacml:PolicySet"),
            good.replace("</xacml:Policy>", ""),
            good.replace("<?xml", "<!DOCTYPE p [<!ENTITY e \"x\">]><?xml"),
            format!("{good}{good}"),
            format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000)),
            String::new(),
            "no XML".to_owned(),
        ] {
            assert!(Policy::parse(&bad, "ttd", "a").is_err(), "{bad:.300}");
        }
    }
}
