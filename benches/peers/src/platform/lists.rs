//! Lists and searches of message boxes: each kind, in both orders, the first page and pages by continuation.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};

use super::client::{Call, Client, as_json};
use super::estate::{Estate, ORG, RARE, Tokens, party};
use crate::chance;
use crate::load::{Plan, Until, Worker, slice};
use crate::sample::Sample;

/// At once; twice this machine's cores. A list is work for a core, so that more at once would measure a queue.
const CONNECTIONS: usize = 4;

/// Pages whose continuations are remembered.
const PAGES: usize = 40;

/// Of the time of other measurements: there are many kinds.
const PART: u32 = 2;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A user's own.
    Party,
    Org,
    /// The app of few among many.
    App,
    /// Those of an app that wait in a task.
    Task,
    /// An org's ended ones that it hasn't confirmed.
    Unconfirmed,
    /// The same of the app of few.
    AppUnconfirmed,
    /// An owner's, of one party.
    OrgAndParty,
    /// An org's that pass a filter that none does: as many rows are looked at as a page may.
    Nothing,
    /// A user's message box.
    Box,
    /// The same, with a word that is looked for in texts.
    BoxSearch,
}

impl Kind {
    const LISTS: [Self; 8] = [
        Self::Party,
        Self::Org,
        Self::App,
        Self::Task,
        Self::Unconfirmed,
        Self::AppUnconfirmed,
        Self::OrgAndParty,
        Self::Nothing,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Party => "party",
            Self::Org => "org",
            Self::App => "org and app",
            Self::Task => "app and current task",
            Self::Unconfirmed => "org, ended, excludeConfirmedBy",
            Self::AppUnconfirmed => "app, ended, excludeConfirmedBy",
            Self::OrgAndParty => "org and party",
            Self::Nothing => "org, a filter that none passes",
            Self::Box => "message box of a party",
            Self::BoxSearch => "message box, searched for a word",
        }
    }

    /// The query, without order; `number` is a party's.
    fn query(self, number: u64) -> String {
        let party = party(number);
        let rare = RARE.id();
        match self {
            Self::Party => format!("instanceOwner.partyId={party}"),
            Self::Org => format!("org={ORG}"),
            Self::App => format!("org={ORG}&appId={rare}"),
            Self::Task => format!("appId={rare}&process.currentTask=Task_2"),
            Self::Unconfirmed => format!("org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}"),
            Self::AppUnconfirmed => {
                format!("org={ORG}&appId={rare}&process.isComplete=true&excludeConfirmedBy={ORG}")
            }
            Self::OrgAndParty => format!("org={ORG}&instanceOwner.partyId={party}"),
            Self::Nothing => format!("org={ORG}&status.isSoftDeleted=true"),
            Self::Box | Self::BoxSearch => String::new(),
        }
    }

    /// Whether it is of one party, so that it has few pages.
    fn is_of_a_party(self) -> bool {
        matches!(
            self,
            Self::Party | Self::OrgAndParty | Self::Box | Self::BoxSearch
        )
    }

    /// Whether a user asks, not the owner.
    fn is_a_users(self) -> bool {
        matches!(self, Self::Party | Self::Box | Self::BoxSearch)
    }
}

/// A connection that asks for lists.
struct Reader {
    client: Client,
    tokens: Tokens,
    kind: Kind,
    descending: bool,
    /// Paths to choose from, with the number of the party whose they are.
    paths: Rc<[(u64, String)]>,
}

impl Reader {
    fn token(&self, number: u64) -> Result<String> {
        if !self.kind.is_a_users() {
            return Ok(self.tokens.owner.to_string());
        }
        let index = usize::try_from(number)?;
        let token = self.tokens.users.get(index);
        Ok(token.context("a party without a user")?.clone())
    }

    async fn get(&mut self, number: u64, path: &str) -> Result<Bytes> {
        let found = self.get_even_empty(number, path).await?;
        let is_empty = found.starts_with(b"{\"count\":0,");
        ensure!(
            is_empty == (self.kind == Kind::Nothing),
            "a page of {path} that is empty and shouldn't be, or the other way round"
        );
        Ok(found)
    }

    async fn search(&mut self, number: u64) -> Result<()> {
        let token = self.token(number)?;
        let mut asked = json!({"instanceOwnerPartyIdList": [party(number)], "language": "nb"});
        if self.kind == Kind::BoxSearch {
            asked["searchString"] = json!("kari");
        }
        let call = Call {
            method: "POST",
            path: "/sbl/instances/search",
            token: &token,
            headers: &as_json(),
            body: asked.to_string().into(),
            status: 200,
        };
        let found = self.client.call(call).await?;
        // A party may have nothing with the word.
        ensure!(
            self.kind == Kind::BoxSearch || found.len() > 2,
            "nothing in the box of party {}",
            party(number)
        );
        Ok(())
    }

    /// Follows `next` from the first page; the paths of the pages behind it.
    async fn walk(&mut self, number: u64, first: String) -> Result<Vec<(u64, String)>> {
        let mut paths = Vec::new();
        let mut path = first;
        while paths.len() < PAGES {
            let page: Value = serde_json::from_slice(&self.get(number, &path).await?)?;
            let Some(next) = page["next"].as_str() else { break };
            path = path_of(next)?.to_owned();
            // Behind the last row there may be a page without any.
            let found: Value = serde_json::from_slice(&self.get_even_empty(number, &path).await?)?;
            if found["count"] == 0 {
                break;
            }
            paths.push((number, path.clone()));
        }
        Ok(paths)
    }

    async fn get_even_empty(&mut self, number: u64, path: &str) -> Result<Bytes> {
        let token = self.token(number)?;
        let call = Call {
            method: "GET",
            path,
            token: &token,
            headers: &[],
            body: Bytes::new(),
            status: 200,
        };
        self.client.call(call).await
    }

    fn first_path(&self, number: u64) -> String {
        let order = if self.descending {
            "&order=desc:lastChanged"
        } else {
            ""
        };
        // A party has few: smaller pages, so that there are some.
        let size = if self.kind.is_of_a_party() { 50 } else { 100 };
        format!("/instances?{}&size={size}{order}", self.kind.query(number))
    }
}

impl Worker for Reader {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let pick = usize::try_from(chance::number(n) % self.paths.len() as u64)?;
        let (number, path) = self.paths.get(pick).context("no path to ask for")?.clone();
        match self.kind {
            Kind::Box | Kind::BoxSearch => self.search(number).await,
            _ => self.get(number, &path).await.map(drop),
        }
    }
}

/// What is behind scheme and host of an address.
fn path_of(address: &str) -> Result<&str> {
    let (_, rest) = address.split_once("://").context("a whole address")?;
    let slash = rest.find('/').context("an address with a path")?;
    rest.get(slash..).context("an address with a path")
}

/// Measures all kinds.
pub async fn run(plan: &Plan, url: &str, estate: Estate, tokens: &Tokens) -> Result<()> {
    let mut readers = Vec::new();
    for _ in 0..CONNECTIONS {
        readers.push(Reader {
            client: Client::open(url).await?,
            tokens: tokens.clone(),
            kind: Kind::Party,
            descending: false,
            paths: Rc::default(),
        });
    }
    let known = estate.parties.min(tokens.users.len() as u64);
    for kind in Kind::LISTS {
        for descending in [false, true] {
            for reader in &mut readers {
                (reader.kind, reader.descending) = (kind, descending);
            }
            let first = readers.first_mut().context("no connection")?;
            let parties = if kind.is_of_a_party() { known } else { 1 };
            let firsts: Vec<(u64, String)> = (0..parties)
                .map(|number| (number, first.first_path(number)))
                .collect();
            let mut later = Vec::new();
            if kind != Kind::Nothing {
                for (number, path) in firsts.clone() {
                    later.extend(first.walk(number, path).await?);
                }
            }
            let order = if descending {
                "newest first"
            } else {
                "oldest first"
            };
            let name = kind.name();
            step(plan, format!("{name}, {order}: first page"), firsts, &mut readers).await?;
            if !later.is_empty() {
                step(
                    plan,
                    format!("{name}, {order}: page by continuation"),
                    later,
                    &mut readers,
                )
                .await?;
            }
        }
    }
    for kind in [Kind::Box, Kind::BoxSearch] {
        for reader in &mut readers {
            reader.kind = kind;
        }
        let parties = (0..known).map(|number| (number, String::new())).collect();
        step(plan, kind.name().to_owned(), parties, &mut readers).await?;
    }
    Ok(())
}

async fn step(plan: &Plan, name: String, paths: Vec<(u64, String)>, readers: &mut Vec<Reader>) -> Result<()> {
    let paths: Rc<[(u64, String)]> = paths.into();
    for reader in readers.iter_mut() {
        reader.paths = paths.clone();
    }
    let mut sample = Sample::new(format!("list: {name}"));
    slice(&mut sample, &plan.pids, Until::Time(plan.time / PART), readers).await?;
    sample.print();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_followed_by_its_path() {
        let path = path_of("http://127.0.0.1:1/storage/api/v1/instances?a=b&c=1%3B2").unwrap();
        assert_eq!(path, "/storage/api/v1/instances?a=b&c=1%3B2");
        assert!(path_of("/storage").is_err());
    }
}
