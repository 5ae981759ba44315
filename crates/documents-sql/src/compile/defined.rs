//! Which places have a value in every document that a filter lets through: an operator with an
//! undefined operand is undefined, and WHERE keeps only what is true.

use std::collections::HashSet;

use super::narrow::{Frames, path_of};
use crate::access::Path;
use crate::program::{Node, PatternNode};

/// The places that are defined where a filter is true.
pub(super) fn defined(filter: &Node, frames: &Frames) -> Vec<Path> {
    let mut seen = HashSet::new();
    let mut found = where_true(filter, frames);
    found.retain(|path| seen.insert(path.clone()));
    found
}

fn where_true(node: &Node, frames: &Frames) -> Vec<Path> {
    match node {
        Node::And(terms) => terms.iter().flat_map(|term| where_true(term, frames)).collect(),
        Node::Or(terms) => {
            let mut branches = terms.iter().map(|term| where_true(term, frames));
            let mut common = branches.next().unwrap_or_default();
            for branch in branches {
                let branch: HashSet<Path> = branch.into_iter().collect();
                common.retain(|path| branch.contains(path));
            }
            common
        }
        // Of what is undefined they are false.
        Node::Call { function, args } if function.name.starts_with("IS_") => {
            args.iter().flat_map(|arg| where_defined(arg, frames)).collect()
        }
        node => where_defined(node, frames),
    }
}

/// The places that are defined where an expression is.
fn where_defined(node: &Node, frames: &Frames) -> Vec<Path> {
    match node {
        Node::Binding(_) | Node::Path { .. } => {
            let path = path_of(node, frames).filter(|path| !path.is_empty());
            path.into_iter().collect()
        }
        Node::Not(operand) | Node::Plus(operand) | Node::Minus(operand) | Node::BitNot(operand) => {
            where_defined(operand, frames)
        }
        Node::Chain { first, rest } => {
            let operands = rest.iter().map(|(_, operand)| operand);
            let operands = std::iter::once(first.as_ref()).chain(operands);
            operands
                .flat_map(|operand| where_defined(operand, frames))
                .collect()
        }
        Node::In { value, .. } | Node::Between { value, .. } => where_defined(value, frames),
        Node::Like { value, pattern, .. } => {
            let mut found = where_defined(value, frames);
            if let PatternNode::Dynamic { pattern, .. } = pattern {
                found.extend(where_defined(pattern, frames));
            }
            found
        }
        Node::Call { function, args } if function.strict => {
            args.iter().flat_map(|arg| where_defined(arg, frames)).collect()
        }
        // Some are defined whatever is in them.
        _ => Vec::new(),
    }
}
