//! What clients write and read, and what they were promised of it: each item has a name that
//! nobody else uses, so what may be there is known exactly.

use anyhow::{Result, ensure};
use http::Method;
use ledger::random::{Random as _, SeededRandom};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, Client, Site};
use crate::instances;

const COLLECTION: &str = "dbs/nodes/colls/items";
const CONTAINER: &str = "/nodes";
const SMALL_BYTES_MAX: u64 = 4 * 1024;
/// More than lies inline in the ledger, so it goes to the object store.
const LARGE_BYTES: u64 = 100 * 1024;

/// Content by its SHA-256.
pub(crate) type Hash = [u8; 32];

/// Which service holds an item, and where its content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Document,
    SmallBlob,
    LargeBlob,
    Instance,
    /// A data element of an instance.
    Element,
}

impl Item {
    /// For people.
    pub(crate) fn place(&self) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        format!("{:?} {}/{} {id}", self.kind, self.owner, self.name)
    }

    /// Takes the id that the server gave it.
    pub(crate) fn take_id(&mut self, answer: &Answer) {
        if self.kind.is_platform() && answer.status == 201 {
            let made: Option<Value> = serde_json::from_slice(&answer.body).ok();
            let id = made.as_ref().and_then(|made| made.get("id")?.as_str());
            self.id = id.map(str::to_owned);
        }
    }
}

impl Kind {
    pub(crate) fn is_blob(self) -> bool {
        matches!(self, Self::SmallBlob | Self::LargeBlob)
    }

    pub(crate) fn is_platform(self) -> bool {
        matches!(self, Self::Instance | Self::Element)
    }
}

/// An item: what it is called and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// Who wrote it; an element's instance.
    pub(crate) owner: String,
    pub(crate) name: String,
    /// The one that the server gave it, where it does and where that is known.
    pub(crate) id: Option<String>,
    pub(crate) hash: Hash,
}

/// What a client knows of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// It was told that nothing was written.
    Refused,
    /// It was told that this isn't known, or nothing at all.
    Unknown,
}

/// What was found wrong with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Acknowledged, and not there.
    Lost,
    /// Refused, and there.
    Lied,
    /// There, and not what was sent.
    Torn,
    /// Its record is there and can't be read.
    Dangling,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Database, collection, container and application; repeatable.
pub(crate) fn prepare(client: &Client, site: &Site) -> Result<()> {
    let database = json!({"id": "nodes"}).to_string();
    let collection =
        json!({"id": "items", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}).to_string();
    let post = |place, body: &str| client.document(site, &Method::POST, place, None, Some(body.as_bytes()));
    for answer in [
        post(("dbs", "", "dbs"), &database)?,
        post(("colls", "dbs/nodes", "dbs/nodes/colls"), &collection)?,
        client.blob(
            site,
            &Method::PUT,
            CONTAINER,
            &[("restype", "container")],
            Some(&[]),
        )?,
    ] {
        ensure!(
            matches!(answer.status, 201 | 409),
            "preparing: {}",
            answer.shown()
        );
    }
    instances::prepare(client, site)
}

/// An item by chance, and the body that puts it. `instance` gets the elements.
pub(crate) fn invent(
    random: &SeededRandom,
    owner: &str,
    number: u64,
    instance: Option<&str>,
) -> (Item, Vec<u8>) {
    let kind = match random.u64() % 16 {
        0..=4 => Kind::Document,
        5..=8 => Kind::SmallBlob,
        9..=10 => Kind::LargeBlob,
        11..=14 if instance.is_some() => Kind::Element,
        _ => Kind::Instance,
    };
    let length = match kind {
        Kind::LargeBlob => LARGE_BYTES + random.u64() % 1_000,
        Kind::Element if random.u64().is_multiple_of(2) => LARGE_BYTES,
        _ => 1 + random.u64() % SMALL_BYTES_MAX,
    };
    let mut content = vec![0; usize::try_from(length).unwrap_or(1)];
    random.fill(&mut content);
    let name = format!("item-{number}");
    let mut item = Item {
        kind,
        owner: owner.to_owned(),
        name: name.clone(),
        id: None,
        hash: hash(&content),
    };
    let body = match kind {
        Kind::Document => {
            let payload = hex(&content);
            item.hash = hash(payload.as_bytes());
            json!({"id": name, "pk": owner, "payload": payload})
                .to_string()
                .into_bytes()
        }
        Kind::SmallBlob | Kind::LargeBlob => content,
        Kind::Instance => instances::body(&hex(&item.hash)),
        Kind::Element => {
            item.owner = instance.unwrap_or_default().to_owned();
            content
        }
    };
    (item, body)
}

/// Creates it.
pub(crate) fn put(client: &Client, site: &Site, item: &Item, body: &[u8]) -> Result<Answer> {
    if item.kind.is_platform() {
        return instances::put(client, site, item, body);
    }
    if item.kind.is_blob() {
        let path = format!("{CONTAINER}/{}/{}", item.owner, item.name);
        return client.blob(site, &Method::PUT, &path, &[], Some(body));
    }
    let path = format!("{COLLECTION}/docs");
    let place = ("docs", COLLECTION, path.as_str());
    client.document(site, &Method::POST, place, Some(&item.owner), Some(body))
}

/// Reads it.
pub(crate) fn get(client: &Client, site: &Site, item: &Item) -> Result<Answer> {
    if item.kind.is_platform() {
        return instances::get(client, site, item);
    }
    if item.kind.is_blob() {
        let path = format!("{CONTAINER}/{}/{}", item.owner, item.name);
        return client.blob(site, &Method::GET, &path, &[], None);
    }
    let link = format!("{COLLECTION}/docs/{}", item.name);
    let place = ("docs", link.as_str(), link.as_str());
    client.document(site, &Method::GET, place, Some(&item.owner), None)
}

/// Whether an answer holds what was put.
pub(crate) fn holds(item: &Item, answer: &Answer) -> bool {
    match item.kind {
        Kind::SmallBlob | Kind::LargeBlob | Kind::Element => hash(&answer.body) == item.hash,
        Kind::Instance => instances::hash_of(answer) == Some(hex(&item.hash)),
        Kind::Document => {
            let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
            let payload = found.as_ref().and_then(|found| found.get("payload")?.as_str());
            payload.is_some_and(|payload| hash(payload.as_bytes()) == item.hash)
        }
    }
}

/// Reads back what was written, and compares with what was promised.
pub(crate) fn check(client: &Client, site: &Site, promises: &[(Item, Fate)]) -> Vec<(Fault, String)> {
    let mut faults = Vec::new();
    // An instance has no name but its id: without one there is nothing to look for.
    let nameless = |item: &Item| item.kind == Kind::Instance && item.id.is_none();
    for (item, fate) in promises.iter().filter(|(item, _)| !nameless(item)) {
        let place = item.place();
        let fault = match get(client, site, item) {
            Ok(answer) => {
                judge(item, *fate, &answer).map(|fault| (fault, format!("{place}: {}", answer.status)))
            }
            Err(error) => Some((Fault::Dangling, format!("{place}: {error:#}"))),
        };
        faults.extend(fault);
    }
    faults
}

fn judge(item: &Item, fate: Fate, answer: &Answer) -> Option<Fault> {
    match (answer.status, fate) {
        (404, Fate::Acknowledged) => Some(Fault::Lost),
        (404, _) => None,
        (200, _) if !holds(item, answer) => Some(Fault::Torn),
        (200, Fate::Refused) => Some(Fault::Lied),
        (200, _) => None,
        _ => Some(Fault::Dangling),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_lost_from_lied_from_torn_from_fine() {
        let item = Item {
            kind: Kind::SmallBlob,
            owner: String::new(),
            name: String::new(),
            id: None,
            hash: hash(b"mine"),
        };
        let answer = |status, body: &[u8]| Answer {
            status,
            headers: http::HeaderMap::new(),
            body: body.to_vec(),
        };
        let (absent, mine, other) = (answer(404, b""), answer(200, b"mine"), answer(200, b"min"));
        let judged = |fate, answer| judge(&item, fate, answer);
        assert_eq!(judged(Fate::Acknowledged, &mine), None);
        assert_eq!(judged(Fate::Acknowledged, &absent), Some(Fault::Lost));
        assert_eq!(judged(Fate::Refused, &absent), None);
        assert_eq!(judged(Fate::Refused, &mine), Some(Fault::Lied));
        assert_eq!(judged(Fate::Unknown, &absent), None);
        assert_eq!(judged(Fate::Unknown, &mine), None);
        assert_eq!(judged(Fate::Unknown, &other), Some(Fault::Torn));
        assert_eq!(judged(Fate::Unknown, &answer(500, b"")), Some(Fault::Dangling));
    }
}
