//! A question's attributes: bags of values by category and name (XACML 3.0, section 7.3).

use super::Resource;
use crate::auth::Caller;

/// Whose attribute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Who asks.
    Subject,
    /// What is to be done.
    Action,
    /// To what.
    Resource,
    /// Where and when. A question never has attributes of it.
    Environment,
}

impl Category {
    /// Reads a category's URN.
    #[must_use]
    pub fn parse(urn: &str) -> Option<Self> {
        Some(match urn {
            "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject" => Self::Subject,
            "urn:oasis:names:tc:xacml:3.0:attribute-category:action" => Self::Action,
            "urn:oasis:names:tc:xacml:3.0:attribute-category:resource" => Self::Resource,
            "urn:oasis:names:tc:xacml:3.0:attribute-category:environment" => Self::Environment,
            _ => return None,
        })
    }
}

/// The attributes of a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(Category, String, String)>);

impl Attributes {
    /// Those of `caller`, who holds `roles` for the resource's party, asking to do `action`.
    #[must_use]
    pub fn of(caller: &Caller, roles: &[String], action: &str, resource: &Resource) -> Self {
        let mut all = Self::default();
        for (name, value) in &caller.attributes {
            all.add(Category::Subject, name, value);
        }
        for role in roles {
            all.add(Category::Subject, "urn:altinn:rolecode", role);
        }
        all.add(
            Category::Action,
            "urn:oasis:names:tc:xacml:1.0:action:action-id",
            action,
        );
        let Resource {
            org,
            app,
            party,
            instance,
            task,
            end_event,
        } = resource;
        all.add(Category::Resource, "urn:altinn:org", org);
        all.add(Category::Resource, "urn:altinn:app", app);
        all.add(
            Category::Resource,
            "urn:altinn:resource",
            &format!("app_{org}_{app}"),
        );
        let optional = [
            ("urn:altinn:partyid", party),
            ("urn:altinn:task", task),
            ("urn:altinn:end-event", end_event),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                all.add(Category::Resource, name, value);
            }
        }
        if let (Some(party), Some(instance)) = (party, instance) {
            all.add(
                Category::Resource,
                "urn:altinn:instance-id",
                &format!("{party}/{instance}"),
            );
        }
        all
    }

    /// Adds a value to a bag.
    pub fn add(&mut self, category: Category, name: &str, value: &str) {
        self.0.push((category, name.to_owned(), value.to_owned()));
    }

    /// All names and values of a category.
    pub fn all(&self, category: Category) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(of, _, _)| *of == category)
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
    }

    /// The values of a bag.
    pub fn values<'a>(&'a self, category: Category, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(of, named, _)| *of == category && named == name)
            .map(|(_, _, value)| value.as_str())
    }
}
