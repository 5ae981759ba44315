//! Values at the edges of their types, documents of them, and the paths that queries ask for.

use serde_json::{Map, Value, json};

use crate::chance::Chance;

/// Paths to single values, with those through arrays by number.
pub(crate) const PATHS: &[&str] = &[
    "c.a",
    "c.a",
    "c.b",
    "c.b",
    "c.n.x",
    "c.n.y.z",
    "c.n",
    "c[\"odd name\"]",
    "c[\"é\"]",
    "c.pk",
    "c.id",
    "c.missing",
    "c.tags[0]",
    "c.list[1].v",
    "c.tags",
    "c.a.x",
];

/// The same as an indexing policy names them, and those of arrays' elements.
const POLICY_PATHS: &[&str] = &[
    "/a/?",
    "/a/*",
    "/b/?",
    "/n/x/?",
    "/n/y/*",
    "/n/*",
    "/\"odd name\"/?",
    "/\"é\"/?",
    "/pk/?",
    "/tags/[]/?",
    "/tags/*",
    "/list/[]/v/?",
    "/list/[]/{w,u}/?",
    "/list/*",
];

const PIECES: &[&str] = &[
    "",
    "a",
    "a",
    "b",
    "B",
    "ab",
    "z",
    "\0",
    "\u{1}",
    "\u{1}\0",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "ſ",
    "Å",
    "\u{7f}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ffff}",
    "\u{10000}",
    "😀",
    "\u{10ffff}",
    "%",
    "_",
    "[",
    "'",
    "\"",
    "\\",
    " ",
    "\n",
    "2026-01-01T00:00:00Z",
];

pub(crate) fn text(chance: &mut Chance) -> String {
    let mut text = String::new();
    if chance.one_in(8) {
        // About as long as what an index keeps of a string.
        let unit = *chance.pick(&["x", "\0", "é", "😀"]);
        let bytes = documents::limits::INDEX_STRING_BYTES_MAX - 4 + chance.below(6);
        text = unit.repeat(bytes / unit.len());
    }
    for _ in 0..chance.below(3) {
        text.push_str(chance.pick::<&str>(PIECES));
    }
    text
}

fn edge(chance: &mut Chance) -> Value {
    match chance.below(20) {
        0 => json!(-0.0),
        1 => json!(1e308),
        2 => json!(-1e308),
        3 => json!(f64::MAX),
        4 => json!(5e-324),
        5 => json!(9_007_199_254_740_991_i64),
        6 => json!(9_007_199_254_740_992_i64),
        7 => json!(9_007_199_254_740_993_i64),
        8 => json!(9_007_199_254_740_992.0),
        9 => json!(9_007_199_254_740_994.0),
        10 => json!(-9_007_199_254_740_993_i64),
        11 => json!(i64::MAX),
        12 => json!(i64::MIN),
        13 => json!(u64::MAX),
        14 => json!(18_446_744_073_709_551_616.0),
        15 => json!(0.1 + 0.2),
        16 => json!(1.5),
        17 => json!(-1),
        18 => json!(2.0),
        _ => json!(9_223_372_036_854_775_808.0),
    }
}

pub(crate) fn scalar(chance: &mut Chance) -> Value {
    match chance.below(12) {
        0..=3 => json!(chance.below(4)),
        4 => edge(chance),
        5..=8 => Value::from(text(chance)),
        9 | 10 => json!(chance.one_in(2)),
        _ => Value::Null,
    }
}

pub(crate) fn value(chance: &mut Chance, depth: usize) -> Value {
    if depth == 0 || !chance.one_in(6) {
        return scalar(chance);
    }
    if chance.one_in(2) {
        let items = 0..chance.below(3);
        Value::Array(items.map(|_| value(chance, depth - 1)).collect())
    } else {
        let mut object = Map::new();
        for _ in 0..chance.below(3) {
            let name = *chance.pick(&["x", "y", "z", "é"]);
            object.insert(name.to_owned(), value(chance, depth - 1));
        }
        Value::Object(object)
    }
}

/// A partition key's value, or none.
pub(crate) fn owner(chance: &mut Chance) -> Option<Value> {
    match chance.below(10) {
        0 => None,
        1 => Some(Value::Null),
        2 => Some(json!(1)),
        3 => Some(json!(true)),
        4 => Some(json!("é😀")),
        5 | 6 => Some(json!("b")),
        _ => Some(json!("a")),
    }
}

/// A document; properties are missing often.
pub(crate) fn document(chance: &mut Chance, id: &str, owner: Option<&Value>) -> Value {
    let mut document = Map::new();
    document.insert("id".to_owned(), json!(id));
    if let Some(owner) = owner {
        document.insert("pk".to_owned(), owner.clone());
    }
    for name in ["a", "b", "odd name", "é"] {
        if !chance.one_in(4) {
            document.insert(name.to_owned(), value(chance, 3));
        }
    }
    match chance.below(4) {
        0 => {}
        1 => {
            document.insert("n".to_owned(), value(chance, 2));
        }
        _ => {
            let inner = json!({"x": scalar(chance), "y": {"z": scalar(chance)}});
            document.insert("n".to_owned(), inner);
        }
    }
    match chance.below(5) {
        0 => {}
        1 => {
            document.insert("tags".to_owned(), value(chance, 2));
        }
        _ => {
            let tags = 0..chance.below(4);
            document.insert("tags".to_owned(), tags.map(|_| value(chance, 2)).collect());
        }
    }
    if !chance.one_in(4) {
        let list = 0..chance.below(4);
        let list = list.map(|_| match chance.below(5) {
            0 => value(chance, 1),
            1 => json!({"w": scalar(chance)}),
            _ => json!({"v": scalar(chance), "w": scalar(chance)}),
        });
        document.insert("list".to_owned(), list.collect());
    }
    Value::Object(document)
}

/// An indexing policy; the default one often.
pub(crate) fn policy(chance: &mut Chance) -> Value {
    let mut some = |most: usize| {
        let mut paths: Vec<&str> = (0..=chance.below(most))
            .map(|_| *chance.pick(POLICY_PATHS))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    };
    let list = |paths: &[&str]| paths.iter().map(|path| json!({"path": path})).collect::<Vec<_>>();
    let (few, others) = (some(5), some(3));
    match chance.below(8) {
        0 => json!({"indexingMode": "none", "automatic": false}),
        1..=3 => json!({
            "includedPaths": [{"path": "/*"}],
            "excludedPaths": list(&few),
        }),
        4..=6 => {
            let mut included = few;
            included.retain(|path| !others.contains(path));
            let mut excluded = others;
            excluded.push("/*");
            json!({"includedPaths": list(&included), "excludedPaths": list(&excluded)})
        }
        _ => json!({"includedPaths": [{"path": "/*"}], "excludedPaths": []}),
    }
}

/// All values in a document, with those inside.
pub(crate) fn gather(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Object(members) => members.values().for_each(|member| gather(member, found)),
        _ => {}
    }
    found.push(value.clone());
}
