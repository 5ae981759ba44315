//! GET instances: the list, by org, app or party.

use http::{Response, StatusCode};
use http_semantics::Body;
use serde_json::json;

use crate::Platform;
use crate::auth::{Caller, SCOPE_INSTANCES_READ, SCOPE_SYNC_ADAPTER};
use crate::decision::{Question, Resource};
use crate::error::PlatformError;
use crate::model::Instance;
use crate::rules::list_query::ListQuery;
use crate::rules::names::AppId;
use crate::service::Call;
use crate::store::Candidates;
use crate::wire::answer;

/// Names the party by a person's or an organisation's number.
const IDENTIFIER_HEADER: &str = "x-ai-instanceowneridentifier";

/// What a list is walked by, and whether each of its instances must be asked about.
struct Walk {
    lists: Candidates,
    /// The caller sees everything of its own org's instances.
    is_owner: bool,
    /// Each instance is asked about.
    asks: bool,
}

pub(crate) async fn list(platform: &Platform, call: &Call) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut query = ListQuery::parse(&call.query).map_err(PlatformError::BadRequest)?;
    let own = format!("{}/instances?{}", call.links.storage(), call.query.text());
    let none = || {
        let nothing: [Instance; 0] = [];
        let body = json!({"count": 0, "self": own, "next": null, "instances": nothing});
        answer::json(StatusCode::OK, &body)
    };
    let identified = identifier(call, &query)?;
    if let Some(number) = identified {
        match platform.register.current()?.party_by_number(&number) {
            Some(party) => query.party = Some(party.party_id.to_string()),
            None => return none(),
        }
    }
    let walk = walk(platform, caller, &query).await?;
    if !walk.is_owner && !caller.has_scope(SCOPE_SYNC_ADAPTER) {
        if query.is_hard_deleted == Some(true) {
            return none();
        }
        query.is_hard_deleted = Some(false);
    }
    let view = platform.view().await?;
    let page = platform.list_page(&view, &walk.lists, &query).await?;
    let readable = if walk.asks {
        let asked = page.instances.iter();
        let asked = asked.map(|instance| Question::new("read", Resource::instance(instance)));
        platform.permits_each(caller, &asked.collect::<Vec<_>>()).await?
    } else {
        vec![true; page.instances.len()]
    };
    let mut instances = Vec::with_capacity(page.instances.len());
    for (instance, readable) in page.instances.into_iter().zip(readable) {
        if !readable {
            continue;
        }
        let filled = if query.include_data_elements {
            platform.fill_elements(&view, &instance, walk.is_owner).await?
        } else {
            Instance {
                data: Some(Vec::new()),
                ..instance
            }
        };
        instances.push(call.links.instance(filled));
    }
    let next = page.next.map(|at| {
        let query = call.query.with("continuationToken", &at.write());
        format!("{}/instances?{query}", call.links.storage())
    });
    let body = json!({"count": instances.len(), "self": own, "next": next, "instances": instances});
    answer::json(StatusCode::OK, &body)
}

/// The number in the header, if it is there.
fn identifier(call: &Call, query: &ListQuery) -> Result<Option<String>, PlatformError> {
    let Some(header) = call.headers.get(IDENTIFIER_HEADER) else {
        return Ok(None);
    };
    let bad = || {
        PlatformError::bad_request(
            "X-Ai-InstanceOwnerIdentifier must be Person:{11 digits} or Organisation:{9 digits}, without instanceOwner.partyId.",
        )
    };
    if query.party.is_some() {
        return Err(bad());
    }
    let text = header.to_str().map_err(|_| bad())?;
    let (kind, number) = text.split_once(':').ok_or_else(bad)?;
    let digits = if kind.trim().eq_ignore_ascii_case("person") {
        11
    } else if kind.trim().eq_ignore_ascii_case("organisation") {
        9
    } else {
        return Err(bad());
    };
    let number = number.trim();
    if number.len() != digits || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    Ok(Some(number.to_owned()))
}

/// Who may list what.
async fn walk(platform: &Platform, caller: &Caller, query: &ListQuery) -> Result<Walk, PlatformError> {
    let by_party = query.party.as_deref().map(Candidates::of_party);
    if let Some(own) = &caller.org {
        if !caller.has_scope(SCOPE_INSTANCES_READ) && !caller.has_scope(SCOPE_SYNC_ADAPTER) {
            return Err(PlatformError::Forbidden(format!(
                "The scope {SCOPE_INSTANCES_READ} is required."
            )));
        }
        let app = query.app_id.as_deref().map(AppId::parse);
        let asked = match (&query.org, app) {
            (None, None) => return Err(PlatformError::bad_request("org or appId is required.")),
            (_, Some(None)) => return Err(PlatformError::bad_request("appId must be like org/app.")),
            (Some(org), None) => org.clone(),
            (_, Some(Some(app))) => app.org,
        };
        let is_owner = asked == *own && query.org.as_ref().is_none_or(|org| org == own);
        if !is_owner && !caller.has_scope(SCOPE_SYNC_ADAPTER) {
            let foreign = || {
                PlatformError::forbidden(
                    "Another org's instances are listed by app, if its policy permits it.",
                )
            };
            let app = query
                .app_id
                .as_deref()
                .and_then(AppId::parse)
                .ok_or_else(foreign)?;
            platform
                .require(caller, "read", &Resource::app(&app.org, &app.app, None))
                .await?;
        }
        return Ok(Walk {
            lists: by_party.unwrap_or_else(|| Candidates::of_org(&asked, query)),
            is_owner,
            // Another org may list an app's instances and still be refused some of them.
            asks: !is_owner,
        });
    }
    if caller.is_user() {
        let lists = by_party.ok_or_else(|| {
            PlatformError::bad_request("instanceOwner.partyId, or X-Ai-InstanceOwnerIdentifier, is required.")
        })?;
        return Ok(Walk {
            lists,
            is_owner: false,
            asks: true,
        });
    }
    Err(PlatformError::bad_request(
        "The token names neither an org nor a user.",
    ))
}
