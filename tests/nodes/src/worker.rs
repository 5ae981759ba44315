//! A client as both scenarios have it: writes things of its own, reads what it was acknowledged, and
//! keeps in mind what it was promised.

use anyhow::Result;
use ledger::random::{Random as _, SeededRandom};

use crate::client::{Answer, Client, Site};
use crate::estate::Estate;
use crate::load::{self, Fate, Item, Kind};

/// Its state.
#[derive(Debug)]
pub(crate) struct Worker {
    client: Client,
    site: Site,
    random: SeededRandom,
    owner: String,
    next: u64,
    /// The instance that gets data elements.
    instance: Option<String>,
    /// Of `promises`, what was acknowledged.
    there: Vec<Item>,
    pub(crate) promises: Vec<(Item, Fate)>,
}

/// What it does next.
#[derive(Debug)]
pub(crate) enum Step {
    Read(Item),
    Write(Item, Vec<u8>),
}

impl Step {
    pub(crate) fn item(&self) -> &Item {
        match self {
            Self::Read(item) | Self::Write(item, _) => item,
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        let kind = self.item().kind;
        match self {
            Self::Read(_) if kind == Kind::Document => "document read",
            Self::Read(_) if kind.is_blob() => "blob read",
            Self::Read(_) => "instance or element read",
            Self::Write(..) if kind == Kind::Document => "document created",
            Self::Write(..) if kind.is_blob() => "blob written",
            Self::Write(..) => "instance or element created",
        }
    }
}

/// Every name that a step can have.
pub(crate) const NAMES: &[&str] = &[
    "document created",
    "document read",
    "blob written",
    "blob read",
    "instance or element created",
    "instance or element read",
];

impl Worker {
    pub(crate) fn new(estate: &Estate, site: &Site, number: u64, seed: u64) -> Result<Self> {
        Ok(Self {
            client: Client::new(estate)?,
            site: site.clone(),
            random: SeededRandom::new(seed.wrapping_add(number)),
            owner: format!("client-{number}"),
            next: 0,
            instance: None,
            there: Vec::new(),
            promises: Vec::new(),
        })
    }

    /// By chance.
    pub(crate) fn choose(&mut self) -> Result<Step> {
        let known = usize::try_from(self.random.u64())? % self.there.len().max(1);
        if let Some(item) = self
            .there
            .get(known)
            .filter(|_| self.random.u64().is_multiple_of(2))
        {
            return Ok(Step::Read(item.clone()));
        }
        self.next += 1;
        let (item, body) = load::invent(&self.random, &self.owner, self.next, self.instance.as_deref());
        Ok(Step::Write(item, body))
    }

    /// Sends it, once.
    pub(crate) fn send(&self, step: &Step) -> Result<Answer> {
        match step {
            Step::Read(item) => load::get(&self.client, &self.site, item),
            Step::Write(item, body) => load::put(&self.client, &self.site, item, body),
        }
    }

    /// Notes what is known of a write. `answer` is the one that acknowledged it, if one did.
    pub(crate) fn promised(&mut self, mut item: Item, fate: Fate, answer: Option<&Answer>) {
        if let Some(answer) = answer {
            item.take_id(answer);
        }
        if fate == Fate::Acknowledged {
            if item.kind == Kind::Instance {
                self.instance.clone_from(&item.id);
            }
            self.there.push(item.clone());
        }
        self.promises.push((item, fate));
    }
}
