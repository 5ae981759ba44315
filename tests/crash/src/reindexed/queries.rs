//! Queries that an index may serve, and what a scan says that they must answer.

use std::collections::BTreeSet;

use anyhow::Result;
use http::Method;
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::operations::{group, number, tag};
use super::policies::{Composite, Policy};
use super::read_all;
use crate::book::below;
use crate::client::Client;

/// Conditions, each in every round.
#[derive(Debug)]
enum Condition {
    Everything,
    Group(String),
    Numbers(usize, usize),
    Tag(String),
    GroupFrom(String, usize),
}

/// A query and its answer's oracle.
#[derive(Debug)]
pub(super) struct Query {
    condition: Condition,
    /// Paths, and whether they go down; of none the order is left open.
    order: Vec<(&'static str, bool)>,
}

impl Condition {
    fn any(random: &SeededRandom) -> Vec<Self> {
        let low = number(random);
        vec![
            Self::Everything,
            Self::Group(group(random)),
            Self::Numbers(low, low + 40),
            Self::Tag(tag(random)),
            Self::GroupFrom(group(random), low),
        ]
    }

    fn text(&self) -> String {
        match self {
            Self::Everything => String::new(),
            Self::Group(group) => format!(" WHERE c[\"group\"] = '{group}'"),
            Self::Numbers(low, high) => format!(" WHERE c.n >= {low} AND c.n < {high}"),
            Self::Tag(tag) => format!(" WHERE ARRAY_CONTAINS(c.tags, '{tag}')"),
            Self::GroupFrom(group, low) => format!(" WHERE c[\"group\"] = '{group}' AND c.n > {low}"),
        }
    }

    fn holds(&self, item: &Value) -> bool {
        let is_of = |group: &String| item.get("group").and_then(Value::as_str) == Some(group);
        let n = item
            .get("n")
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok());
        match self {
            Self::Everything => true,
            Self::Group(group) => is_of(group),
            Self::Numbers(low, high) => n.is_some_and(|n| n >= *low && n < *high),
            Self::Tag(tag) => {
                let tags = item.get("tags").and_then(Value::as_array);
                tags.is_some_and(|tags| tags.iter().any(|one| one.as_str() == Some(tag)))
            }
            Self::GroupFrom(group, low) => is_of(group) && n.is_some_and(|n| n > *low),
        }
    }
}

/// What may be asked under a policy: conditions always, orders where it has an index for them.
pub(super) fn under(policy: &Policy, random: &SeededRandom) -> Vec<Query> {
    let mut orders: Vec<Composite> = vec![&[]];
    orders.extend(policy.composites);
    if policy.orders_by_number {
        orders.extend([&[("n", false)] as Composite, &[("n", true)]]);
    }
    // There are more conditions than orders: each is asked for, every time with other conditions.
    let first = below(random, orders.len());
    let orders = orders.iter().cycle().skip(first);
    let pairs = Condition::any(random).into_iter().zip(orders);
    pairs
        .map(|(condition, order)| Query {
            condition,
            order: order.to_vec(),
        })
        .collect()
}

impl Query {
    pub(super) fn text(&self) -> String {
        let mut text = format!("SELECT * FROM c{}", self.condition.text());
        for (at, (path, down)) in self.order.iter().enumerate() {
            let begin = if at == 0 { " ORDER BY" } else { "," };
            let direction = if *down { "DESC" } else { "ASC" };
            text.push_str(&format!("{begin} c[\"{path}\"] {direction}"));
        }
        text
    }

    /// Asks it.
    pub(super) fn ask(&self, client: &Client) -> Result<Vec<Value>> {
        let headers = vec![
            ("x-ms-documentdb-isquery", "True".to_owned()),
            ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
            ("content-type", "application/query+json".to_owned()),
        ];
        let body = json!({"query": self.text(), "parameters": []}).to_string();
        read_all(client, &Method::POST, &headers, Some(body.as_bytes()))
    }

    /// What is wrong with an answer, if everything that there is is `all`.
    pub(super) fn fault(&self, answer: &[Value], all: &[Value]) -> Option<String> {
        let wanted: BTreeSet<String> = all
            .iter()
            .filter(|item| self.condition.holds(item))
            .map(Value::to_string)
            .collect();
        let found: BTreeSet<String> = answer.iter().map(Value::to_string).collect();
        let first = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).next().cloned();
        if let Some(missing) = first(&wanted, &found) {
            let number = wanted.difference(&found).count();
            return Some(format!(
                "{number} of {} items are missing, like {missing}",
                wanted.len()
            ));
        }
        if let Some(extra) = first(&found, &wanted) {
            return Some(format!("{extra} is there and shouldn't be"));
        }
        if found.len() != answer.len() {
            return Some(format!("{} items come twice", answer.len() - found.len()));
        }
        let mut pairs = answer.iter().zip(answer.iter().skip(1));
        let wrong = pairs.find(|(one, next)| !self.in_order(one, next))?;
        Some(format!("{} comes before {}", wrong.0, wrong.1))
    }

    fn in_order(&self, one: &Value, next: &Value) -> bool {
        for (path, down) in &self.order {
            let order = match (one.get(path), next.get(path)) {
                (Some(Value::String(one)), Some(Value::String(next))) => one.cmp(next),
                (Some(one), Some(next)) => one.as_u64().cmp(&next.as_u64()),
                _ => return false,
            };
            if order.is_ne() {
                return order.is_lt() != *down;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(numbers: &[u64]) -> Vec<Value> {
        let item = |n: &u64| json!({"id": format!("{n}"), "group": "group-1", "n": n, "tags": []});
        numbers.iter().map(item).collect()
    }

    #[test]
    fn an_answer_that_a_scan_does_not_give_is_wrong() {
        let query = Query {
            condition: Condition::Numbers(2, 5),
            order: vec![("group", false), ("n", true)],
        };
        assert_eq!(
            query.text(),
            "SELECT * FROM c WHERE c.n >= 2 AND c.n < 5 ORDER BY c[\"group\"] ASC, c[\"n\"] DESC"
        );
        let all = items(&[1, 2, 3, 4, 5]);
        let wrong = |answer: &[u64]| query.fault(&items(answer), &all);
        assert_eq!(wrong(&[4, 3, 2]), None);
        assert!(wrong(&[4, 3]).unwrap().contains("missing"));
        assert!(wrong(&[5, 4, 3, 2]).unwrap().contains("shouldn't"));
        assert!(wrong(&[4, 3, 3, 2]).unwrap().contains("twice"));
        assert!(wrong(&[2, 3, 4]).unwrap().contains("before"));
    }

    #[test]
    fn every_order_of_a_policy_is_asked_for() {
        for policy in &super::super::policies::ALL {
            let queries = under(policy, &SeededRandom::new(1));
            let asked: BTreeSet<String> = queries.iter().map(|query| format!("{:?}", query.order)).collect();
            let orders = policy.composites.len() + if policy.orders_by_number { 2 } else { 0 };
            assert_eq!(asked.len(), orders + 1, "{}", policy.name);
        }
    }
}
