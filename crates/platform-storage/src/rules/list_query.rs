//! The query of an instance list: its parameters, which rows pass, and the continuation token.

use uuid::Uuid;

use super::row::Row;
use crate::limits::{LIST_SIZE_DEFAULT, LIST_SIZE_MAX, REPEATED_PARAMETERS_MAX};
use crate::model::{Instance, Moment};
use crate::wire::query::Query;

/// How a time is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `eq`
    Equal,
    /// `gt`
    Greater,
    /// `gte`
    GreaterOrEqual,
    /// `lt`
    Less,
    /// `lte`
    LessOrEqual,
}

/// A comparison with a moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCondition {
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub microseconds: i64,
}

impl TimeCondition {
    /// Reads `op:date`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (operator, date) = text.split_once(':')?;
        let comparison = match operator.trim().to_ascii_lowercase().as_str() {
            "eq" => Comparison::Equal,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            _ => return None,
        };
        Some(Self {
            comparison,
            microseconds: Moment::parse(date)?.microseconds(),
        })
    }

    /// Whether `time` passes; an absent one never does.
    #[must_use]
    pub fn holds(&self, time: Option<i64>) -> bool {
        time.is_some_and(|time| match self.comparison {
            Comparison::Equal => time == self.microseconds,
            Comparison::Greater => time > self.microseconds,
            Comparison::GreaterOrEqual => time >= self.microseconds,
            Comparison::Less => time < self.microseconds,
            Comparison::LessOrEqual => time <= self.microseconds,
        })
    }
}

/// Where a list goes on: behind this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continuation {
    /// Its last change, in microseconds since 1970.
    pub last_changed: i64,
    /// Its guid: instances that changed in the same microsecond are in the order of their guids.
    pub guid: Uuid,
}

impl Continuation {
    /// Reads a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, guid) = text.split_once(';')?;
        Some(Self {
            last_changed: time.parse().ok()?,
            guid: Uuid::parse_str(guid).ok()?,
        })
    }

    /// Writes a token.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{};{}", self.last_changed, self.guid)
    }
}

/// What a list asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListQuery {
    /// `org`
    pub org: Option<String>,
    /// `appId`
    pub app_id: Option<String>,
    /// `instanceOwner.partyId`
    pub party: Option<String>,
    /// `process.currentTask`
    pub task: Option<String>,
    /// `process.isComplete`
    pub is_complete: Option<bool>,
    /// `process.ended`
    pub ended: Vec<TimeCondition>,
    /// `created`
    pub created: Vec<TimeCondition>,
    /// `lastChanged`
    pub last_changed: Vec<TimeCondition>,
    /// `dueBefore`
    pub due_before: Vec<TimeCondition>,
    /// `visibleAfter`
    pub visible_after: Vec<TimeCondition>,
    /// `status.isArchived`
    pub is_archived: Option<bool>,
    /// `status.isSoftDeleted`
    pub is_soft_deleted: Option<bool>,
    /// `status.isHardDeleted`
    pub is_hard_deleted: Option<bool>,
    /// `confirmed`
    pub confirmed: Option<bool>,
    /// `excludeConfirmedBy`
    pub exclude_confirmed_by: Option<String>,
    /// `searchString`, in lower case
    pub search: Option<String>,
    /// `A3Ref`, in lower case
    pub reference: Option<String>,
    /// `dataValues.A2ArchRef`
    pub archive_reference: Option<String>,
    /// Whether `mainVersionInclude` and `mainVersionExclude` leave anything: all is version 3.
    pub excludes_this_version: bool,
    /// `includeDataElements`
    pub include_data_elements: bool,
    /// `order` is `desc:lastChanged`
    pub descending: bool,
    /// `size`
    pub size: usize,
    /// `continuationToken`
    pub continuation: Option<Continuation>,
}

/// The version of Altinn whose instances these all are.
const MAIN_VERSION: i64 = 3;

impl ListQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// Which parameter is wrong, for the client (400).
    pub fn parse(query: &Query) -> Result<Self, String> {
        let text = |name: &str| query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let times = |name: &str| {
            let sent = query.all(name);
            if sent.len() > REPEATED_PARAMETERS_MAX {
                return Err(format!(
                    "{name} is given more than {REPEATED_PARAMETERS_MAX} times."
                ));
            }
            sent.into_iter()
                .map(|text| {
                    TimeCondition::parse(text).ok_or_else(|| {
                        format!("{name} must be like gte:2024-01-31T12:00:00Z, with eq, gt, gte, lt or lte; got {text:?}.")
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let version = |name: &str| match query.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse::<i64>()
                .map(Some)
                .map_err(|_| format!("{name} must be a number.")),
        };
        let size = match query.get("size") {
            None | Some("") => LIST_SIZE_DEFAULT,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|size| *size > 0)
                .ok_or_else(|| "size must be a number above 0.".to_owned())?
                .min(LIST_SIZE_MAX),
        };
        let continuation = match query.get("continuationToken") {
            None | Some("") => None,
            Some(token) => {
                Some(Continuation::parse(token).ok_or("continuationToken isn't one of this server's.")?)
            }
        };
        let excludes_this_version = version("mainVersionInclude")?
            .is_some_and(|version| version != MAIN_VERSION)
            || version("mainVersionExclude")? == Some(MAIN_VERSION);
        Ok(Self {
            org: text("org"),
            app_id: text("appId"),
            party: text("instanceOwner.partyId"),
            task: text("process.currentTask"),
            is_complete: query.boolean("process.isComplete")?,
            ended: times("process.ended")?,
            created: times("created")?,
            last_changed: times("lastChanged")?,
            due_before: times("dueBefore")?,
            visible_after: times("visibleAfter")?,
            is_archived: query.boolean("status.isArchived")?,
            is_soft_deleted: query.boolean("status.isSoftDeleted")?,
            is_hard_deleted: query.boolean("status.isHardDeleted")?,
            confirmed: query.boolean("confirmed")?,
            exclude_confirmed_by: text("excludeConfirmedBy"),
            search: text("searchString").map(|text| text.to_lowercase()),
            reference: text("A3Ref").map(|text| text.to_lowercase()),
            archive_reference: text("dataValues.A2ArchRef"),
            excludes_this_version,
            include_data_elements: query.boolean("includeDataElements")?.unwrap_or(true),
            descending: text("order").is_some_and(|order| order.eq_ignore_ascii_case("desc:lastChanged")),
            size,
            continuation,
        })
    }

    /// Whether a row passes every filter but that on texts, which are in the document.
    #[must_use]
    pub fn takes_row(&self, row: &Row, last_changed: i64, guid: &Uuid) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let all =
            |conditions: &[TimeCondition], time| conditions.iter().all(|condition| condition.holds(time));
        let flag = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        !self.excludes_this_version
            && same(&self.org, row.org())
            && same(&self.app_id, &row.app_id)
            && same(&self.party, &row.party)
            && self
                .task
                .as_deref()
                .is_none_or(|task| row.task.as_deref() == Some(task))
            && self.is_complete.is_none_or(|complete| {
                if complete {
                    row.ended.is_some()
                } else {
                    row.ended.is_none() && row.task.is_some()
                }
            })
            && flag(self.is_archived, row.is_archived)
            && flag(self.is_soft_deleted, row.is_soft_deleted)
            && flag(self.is_hard_deleted, row.is_hard_deleted)
            && flag(self.confirmed, row.is_confirmed())
            && !self
                .exclude_confirmed_by
                .as_ref()
                .is_some_and(|org| row.confirmed_by.contains(org))
            && all(&self.ended, row.ended)
            && all(&self.created, row.created)
            && all(&self.last_changed, Some(last_changed))
            && all(&self.due_before, row.due_before)
            && all(&self.visible_after, row.visible_after)
            && self
                .archive_reference
                .as_ref()
                .is_none_or(|wanted| row.archive_reference.as_ref() == Some(wanted))
            && self
                .reference
                .as_ref()
                .is_none_or(|wanted| guid.to_string().ends_with(wanted.as_str()))
    }

    /// Whether the instance's texts pass.
    #[must_use]
    pub fn takes_texts(&self, instance: &Instance) -> bool {
        self.search.as_ref().is_none_or(|search| {
            instance
                .presentation_texts
                .iter()
                .flatten()
                .any(|(_, text)| text.to_lowercase().contains(search))
        })
    }

    /// Whether only instances that their owner hasn't confirmed are asked for.
    #[must_use]
    pub fn wants_unconfirmed(&self, org: &str) -> bool {
        self.confirmed == Some(false) || self.exclude_confirmed_by.as_deref() == Some(org)
    }

    /// The narrowest times of the last change that can pass: from, to, both inclusive.
    #[must_use]
    pub fn last_changed_bounds(&self) -> (i64, i64) {
        let mut bounds = (i64::MIN, i64::MAX);
        for condition in &self.last_changed {
            let at = condition.microseconds;
            match condition.comparison {
                Comparison::Equal => bounds = (bounds.0.max(at), bounds.1.min(at)),
                Comparison::Greater => bounds.0 = bounds.0.max(at.saturating_add(1)),
                Comparison::GreaterOrEqual => bounds.0 = bounds.0.max(at),
                Comparison::Less => bounds.1 = bounds.1.min(at.saturating_sub(1)),
                Comparison::LessOrEqual => bounds.1 = bounds.1.min(at),
            }
        }
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ListQuery, String> {
        ListQuery::parse(&Query::parse(Some(text)))
    }

    #[test]
    fn dates() {
        for (text, comparison, second) in [
            ("gt:2020-01-01", Comparison::Greater, 1_577_836_800),
            (
                "GTE:2020-01-01T00:00:00",
                Comparison::GreaterOrEqual,
                1_577_836_800,
            ),
            ("lt:2020-01-01T02:00:00+02:00", Comparison::Less, 1_577_836_800),
            ("lte:2020-01-01T00:00:00Z", Comparison::LessOrEqual, 1_577_836_800),
            ("eq:2020-01-01T00:00:00.0Z", Comparison::Equal, 1_577_836_800),
        ] {
            let expected = TimeCondition {
                comparison,
                microseconds: second * 1_000_000,
            };
            assert_eq!(TimeCondition::parse(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "gt:",
            "gt:never",
            "about:2020-01-01",
            "2020",
            "2020-01-01T00:00:00Z",
        ] {
            assert_eq!(TimeCondition::parse(bad), None, "{bad}");
            assert!(
                parse(&format!("created={bad}")).is_err() || bad.is_empty(),
                "{bad}"
            );
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        for (text, name) in [
            ("size=0", "size"),
            ("size=x", "size"),
            ("continuationToken=x", "continuationToken"),
            ("status.isArchived=maybe", "status.isArchived"),
            ("mainVersionInclude=x", "mainVersionInclude"),
            ("process.ended=2020", "process.ended"),
        ] {
            assert!(parse(text).unwrap_err().contains(name), "{text}");
        }
    }

    #[test]
    fn rows_pass_or_do_not() {
        let row = Row {
            party: "50".to_owned(),
            app_id: "ttd/a".to_owned(),
            created: Some(0),
            task: Some("Task_1".to_owned()),
            confirmed_by: vec!["other".to_owned()],
            ..Row::default()
        };
        let guid = Uuid::from_u128(0xABCD);
        for (text, takes) in [
            ("", true),
            ("org=ttd&appId=ttd/a&instanceOwner.partyId=50", true),
            ("org=skd", false),
            ("appId=ttd/b", false),
            ("instanceOwner.partyId=5", false),
            ("process.currentTask=Task_1", true),
            ("process.currentTask=Task_2", false),
            ("process.isComplete=TRUE", false),
            ("process.isComplete=False", true),
            ("status.isArchived=false", true),
            ("status.isSoftDeleted=true", false),
            ("confirmed=false", true),
            ("excludeConfirmedBy=ttd", true),
            ("excludeConfirmedBy=other", false),
            ("created=gte:1970-01-01&created=lt:1970-01-02", true),
            ("created=gt:1970-01-01", false),
            ("dueBefore=gt:1970-01-01", false),
            ("lastChanged=eq:1970-01-01T00:00:07Z", true),
            ("A3Ref=00000000ABCD", true),
            ("A3Ref=00000000ABCE", false),
            ("dataValues.A2ArchRef=x", false),
            ("mainVersionInclude=3&mainVersionExclude=2", true),
            ("mainVersionInclude=2", false),
            ("mainVersionExclude=3", false),
        ] {
            assert_eq!(
                parse(text).unwrap().takes_row(&row, 7_000_000, &guid),
                takes,
                "{text}"
            );
        }
    }

    #[test]
    fn bounds_agree_with_the_conditions() {
        let query =
            parse("lastChanged=gt:1970-01-01T00:00:01Z&lastChanged=lte:1970-01-01T00:00:03Z").unwrap();
        assert_eq!(query.last_changed_bounds(), (1_000_001, 3_000_000));
    }

    #[test]
    fn tokens_travel() {
        let token = Continuation {
            last_changed: -5,
            guid: Uuid::from_u128(7),
        };
        assert_eq!(Continuation::parse(&token.write()), Some(token));
    }
}
