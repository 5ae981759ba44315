//! What an app asks of Altinn's other services while it is developed: Authorization, Register, Profile,
//! Authentication, Events. Answered by the test register and the decision point inside.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_semantics::Body;
use ledger::{Direction, KeyRange, LogRecord, Scan, Transaction};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Development;
use crate::Platform;
use crate::auth;
use crate::decision::{Party, Register, User};
use crate::error::PlatformError;
use crate::limits::{DEVELOPMENT_EVENTS_KEPT_MAX, DEVELOPMENT_EVENTS_SHOWN_MAX, JSON_BYTES_MAX};
use crate::model::relaxed;
use crate::store::keys;
use crate::wire::answer;
use crate::wire::query::Query;

/// A person's category and an organisation's, as Register numbers them.
const PARTY_PERSON: i64 = 1;
const PARTY_ORGANISATION: i64 = 2;

/// A user as Profile numbers its kinds: one who logs in with an identity number.
const USER_KIND_SSN: i64 = 1;

fn party_json(party: &Party) -> Value {
    let mut names = party.name.split_whitespace();
    let first = names.next().unwrap_or_default();
    let last = names.next_back().unwrap_or_default();
    let middle: Vec<&str> = names.collect();
    let uuid = uuid::Builder::from_random_bytes(u128::try_from(party.party_id).unwrap_or(0).to_be_bytes())
        .into_uuid();
    json!({
        "partyId": party.party_id,
        "partyUuid": uuid,
        "partyTypeName": if party.organisation_number.is_some() { PARTY_ORGANISATION } else { PARTY_PERSON },
        "orgNumber": party.organisation_number,
        "ssn": party.person_number,
        "unitType": party.organisation_number.as_ref().map(|_| "AS"),
        "name": party.name,
        "isDeleted": false,
        "onlyHierarchyElementWithNoAccess": false,
        "person": party.person_number.as_ref().map(|number| json!({
            "ssn": number, "name": party.name, "firstName": first, "middleName": middle.join(" "), "lastName": last,
        })),
        "organization": party.organisation_number.as_ref().map(|number| json!({
            "orgNumber": number, "name": party.name, "unitType": "AS", "unitStatus": "N",
        })),
        "childParties": null,
    })
}

fn user_json(user: &User, register: &Register) -> Value {
    json!({
        "userId": user.user_id, "userName": user.username, "partyId": user.party_id,
        "party": register.party(user.party_id).map(party_json), "userType": USER_KIND_SSN,
        "email": format!("{}@example.org", user.username.to_lowercase()), "phoneNumber": "90000000",
        "profileSettingPreference": {"language": "nb", "preSelectedPartyId": 0, "doNotPromptForParty": false},
    })
}

fn found(value: Option<Value>, what: &str) -> Result<Response<Body>, PlatformError> {
    match value {
        Some(value) => answer::json(StatusCode::OK, &value),
        None => Err(PlatformError::not_found(format!(
            "The test register has no such {what}."
        ))),
    }
}

fn number<T: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<T, PlatformError> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| PlatformError::bad_request(format!("{name} must be a number.")))
}

/// Who is looked for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartyLookup {
    org_no: Option<String>,
    ssn: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CloudEvent {
    source: Option<String>,
    subject: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    specversion: Option<String>,
}

impl Development {
    /// The answer to what an app asks of other services; `None` if this is no such path, with the body given back.
    pub(super) async fn other_service(
        &self,
        platform: &Platform,
        (method, uri, headers): (&Method, &Uri, &HeaderMap),
        body: Body,
    ) -> Result<Result<Response<Body>, Body>, PlatformError> {
        let path = uri.path().to_ascii_lowercase();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let [service, "api", "v1", rest @ ..] = segments.as_slice() else {
            return Ok(Err(body));
        };
        let query = Query::parse(uri.query());
        let register = self.register.current()?;
        let caller = async || auth::authenticate(&platform.verifier, headers).await;
        Ok(Ok(match (method.as_str(), *service, rest) {
            ("POST", "authorization", ["decision"]) => {
                let text = body.read_bounded(JSON_BYTES_MAX).await?;
                super::decision::answer(platform, self.decision.as_ref(), &text).await?
            }
            ("GET", "authorization", ["parties"]) => {
                caller().await?;
                let user = register.user(number(query.get("userId"), "userId")?);
                let parties = user.map(|user| parties_of(user, &register));
                found(parties.map(Value::Array), "user")?
            }
            ("GET", "authorization", ["parties", party, "validate"]) => {
                caller().await?;
                let party: i64 = number(Some(party), "the party")?;
                let user = register.user(number(query.get("userId"), "userId")?);
                let valid = user.is_some_and(|user| user.roles.contains_key(&party));
                answer::json(StatusCode::OK, &valid)?
            }
            ("GET", "authorization", ["roles"]) => {
                let user: i64 = number(query.get("coveredByUserId"), "coveredByUserId")?;
                if caller().await?.user_id != Some(user) {
                    return Err(PlatformError::forbidden("Roles are told to who holds them."));
                }
                let party = query.get("offeredByPartyId").unwrap_or_default();
                let roles: Vec<Value> = register
                    .roles(user, party)
                    .iter()
                    .map(|role| json!({"type": "altinn", "value": role}))
                    .collect();
                answer::json(StatusCode::OK, &roles)?
            }
            ("GET", "register", ["parties", party]) => {
                caller().await?;
                found(
                    register.party(number(Some(party), "the party")?).map(party_json),
                    "party",
                )?
            }
            ("POST", "register", ["parties", "lookup"]) => {
                let sent: PartyLookup = answer::read_json(body).await?;
                let wanted = sent.org_no.or(sent.ssn).filter(|number| !number.is_empty());
                let wanted = wanted.ok_or_else(|| PlatformError::bad_request("orgNo or ssn is required."))?;
                found(register.party_by_number(&wanted).map(party_json), "party")?
            }
            ("GET", "register", ["persons"]) => {
                caller().await?;
                found(person(headers, &register)?, "person")?
            }
            ("GET", "register", ["organizations", wanted]) => {
                let party = register.party_by_number(wanted).map(party_json);
                let organization = party.and_then(|party| party.get("organization").cloned());
                found(organization.filter(|found| !found.is_null()), "organisation")?
            }
            ("GET", "profile", ["users", "current"]) => {
                let user = caller().await?.user_id.and_then(|id| register.user(id));
                found(user.map(|user| user_json(user, &register)), "user")?
            }
            ("GET", "profile", ["users", id]) => {
                caller().await?;
                let user = register.user(number(Some(id), "the user")?);
                found(user.map(|user| user_json(user, &register)), "user")?
            }
            ("GET", "authentication", ["refresh"]) => self.refresh(platform, headers, uri).await?,
            ("POST", "events", ["app"]) => {
                let text = body.read_bounded(JSON_BYTES_MAX).await?;
                self.take_event(platform, &text).await?
            }
            ("GET", "events", ["app" | "events"]) => shown_events(platform).await?,
            _ => return Ok(Err(body)),
        }))
    }

    /// The caller's token, good for as long again.
    async fn refresh(
        &self,
        platform: &Platform,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Response<Body>, PlatformError> {
        let claims = auth::verified(&platform.verifier, headers).await?;
        let issuer = claims.text("iss").unwrap_or_default();
        let kept: Map<String, Value> = claims
            .iter()
            .filter(|(name, _)| !matches!(*name, "iss" | "iat" | "nbf" | "exp"))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        let token = self.issue(&issuer, kept, &Query::parse(uri.query())).await?;
        answer::json(StatusCode::OK, &token)
    }

    /// Keeps a cloud event; nobody subscribes to it, and it is shown.
    async fn take_event(&self, platform: &Platform, text: &[u8]) -> Result<Response<Body>, PlatformError> {
        let malformed = |error: serde_json::Error| {
            PlatformError::bad_request(format!("The event can't be understood: {error}."))
        };
        let sent: CloudEvent = relaxed::from_slice(text).map_err(malformed)?;
        let has = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if !(has(&sent.source) && has(&sent.subject) && has(&sent.kind) && has(&sent.specversion)) {
            return Err(PlatformError::bad_request(
                "source, subject, type and specversion are required.",
            ));
        }
        let mut event: Map<String, Value> = serde_json::from_slice(text).map_err(malformed)?;
        let id = platform.random.uuid().to_string();
        event.insert("id".to_owned(), id.clone().into());
        if event.get("time").is_none_or(Value::is_null) {
            event.insert("time".to_owned(), platform.clock.now().to_string().into());
        }
        let mut tx = Transaction::new();
        tx.put_sequenced(
            keys::development_events(),
            Bytes::new(),
            Value::Object(event).to_string(),
        );
        tx.record(LogRecord {
            keyspace: ledger::Keyspace::Platform,
            kind: crate::LOG_KIND_OPERATION,
            payload: json!({"op": "developmentEvent", "subject": sent.subject})
                .to_string()
                .into(),
        });
        stage_oldest_events_end(platform, &mut tx).await?;
        platform.ledger.commit(tx).await?;
        answer::json(StatusCode::CREATED, &id)
    }
}

/// The parties that a user may choose among: itself first.
fn parties_of(user: &User, register: &Register) -> Vec<Value> {
    let others = user.roles.keys().filter(|party| **party != user.party_id);
    std::iter::once(&user.party_id)
        .chain(others)
        .filter_map(|party| register.party(*party).map(party_json))
        .collect()
}

/// The person whose number and last name are in headers; names are in base64, as they needn't be ASCII.
fn person(headers: &HeaderMap, register: &Register) -> Result<Option<Value>, PlatformError> {
    use base64::Engine as _;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(number), Some(name)) = (header("x-ai-nationalidentitynumber"), header("x-ai-lastname")) else {
        return Err(PlatformError::bad_request(
            "X-Ai-NationalIdentityNumber and X-Ai-LastName are required.",
        ));
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(name).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let name = decoded.as_deref().unwrap_or(name).to_lowercase();
    let party = register
        .party_by_number(number)
        .filter(|party| party.person_number.is_some())
        .filter(|party| party.name.to_lowercase().split_whitespace().next_back() == Some(name.as_str()));
    Ok(party.and_then(|party| party_json(party).get("person").cloned()))
}

/// Stages that the oldest events go, so that with one more there are [`DEVELOPMENT_EVENTS_KEPT_MAX`].
async fn stage_oldest_events_end(platform: &Platform, tx: &mut Transaction) -> Result<(), PlatformError> {
    let snapshot = platform.ledger.snapshot().await?;
    let range = KeyRange::prefix(&keys::development_events());
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Backward);
    let (mut seen, mut ended) = (1, 0);
    while ended < DEVELOPMENT_EVENTS_SHOWN_MAX
        && let Some(entry) = scan.next().await?
    {
        if seen >= DEVELOPMENT_EVENTS_KEPT_MAX {
            tx.delete(entry.key);
            ended += 1;
        }
        seen += 1;
    }
    Ok(())
}

/// The newest events first.
async fn shown_events(platform: &Platform) -> Result<Response<Body>, PlatformError> {
    let snapshot = platform.ledger.snapshot().await?;
    let range = KeyRange::prefix(&keys::development_events());
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Backward);
    let mut events = Vec::new();
    while events.len() < DEVELOPMENT_EVENTS_SHOWN_MAX
        && let Some(entry) = scan.next().await?
    {
        let event: Value = serde_json::from_slice(&entry.versioned.value)
            .map_err(|error| PlatformError::Internal(format!("a development event: {error}")))?;
        events.push(event);
    }
    answer::json(StatusCode::OK, &events)
}
