//! Master keys: an HMAC over verb, resource type, resource link and date.
//!
//! Source: "Access control in the Azure Cosmos DB SQL API" of the REST reference. Links by
//! resource id are lower case and name only the last id; links by name keep their case. Which of
//! the two a client used can't be seen from the signature, so both are tried; either names the
//! same resource.

use http::Method;
use http_semantics::date;
use identity::SharedKey;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::authorise::Caller;
use crate::Account;
use crate::error::DocumentsError;
use crate::limits::CLOCK_SKEW_SECONDS_MAX;

/// The parts of an authorization header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// `master`, `resource` or `aad`.
    pub kind: String,
    /// `1.0`.
    pub version: String,
    /// Base64, or a token.
    pub signature: String,
}

const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Reads an authorization header: `type=master&ver=1.0&sig=..`, percent-encoded.
#[must_use]
pub fn parse_authorization(header: &str) -> Option<Authorization> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let decoded = percent_decode_str(header).decode_utf8().ok()?;
    let (kind, rest) = decoded.strip_prefix("type=")?.split_once('&')?;
    let (version, signature) = rest.strip_prefix("ver=")?.split_once('&')?;
    let signature = signature.strip_prefix("sig=")?;
    Some(Authorization {
        kind: kind.to_owned(),
        version: version.to_owned(),
        signature: signature.to_owned(),
    })
}

/// What a signature covers, apart from the dates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    /// The path's segments, decoded.
    pub(crate) segments: &'a [String],
}

impl Signed<'_> {
    /// The resource type and the links that may stand for the resource, the one by name first.
    fn type_and_links(self) -> Vec<(String, String)> {
        let segments = self.segments;
        let (kind, link): (&str, &[String]) = match segments {
            [] => ("", &[]),
            [.., operations, name] if operations == "operations" && name == "partitionkeydelete" => {
                let owner = segments
                    .get(..segments.len().saturating_sub(2))
                    .unwrap_or_default();
                let mut forms = forms("colls", owner);
                forms.extend(self::forms("partitionkey", owner));
                return forms;
            }
            // A feed, or a creation in it: the owner's link.
            [owner @ .., feed] if segments.len() % 2 == 1 => (feed, owner),
            [.., kind, _] => (kind, segments),
            [_] => ("", &[]),
        };
        forms(kind, link)
    }
}

fn forms(kind: &str, link: &[String]) -> Vec<(String, String)> {
    let kind = kind.to_lowercase();
    let name = link.join("/");
    let rid = link.last().map(|rid| rid.to_lowercase()).unwrap_or_default();
    let mut forms = vec![(kind.clone(), name)];
    if !link.is_empty() {
        forms.push((kind, rid));
    }
    forms
}

fn string_to_sign(method: &Method, kind: &str, link: &str, x_ms_date: &str, date: &str) -> String {
    format!(
        "{}\n{kind}\n{link}\n{}\n{}\n",
        method.as_str().to_lowercase(),
        x_ms_date.to_lowercase(),
        date.to_lowercase()
    )
}

/// The authorization header of a request that an account's key signs.
///
/// `segments` are the path's, decoded and by name; `x_ms_date` is sent in the header of that name.
#[must_use]
pub fn sign_request(key: &SharedKey, method: &Method, segments: &[String], x_ms_date: &str) -> String {
    let (kind, link) = Signed { method, segments }
        .type_and_links()
        .into_iter()
        .next()
        .unwrap_or_default();
    let signature = key.sign(&string_to_sign(method, &kind, &link, x_ms_date, ""));
    let header = format!("type=master&ver=1.0&sig={signature}");
    utf8_percent_encode(&header, NON_ALPHANUMERIC).to_string()
}

fn unauthorized(text: &str) -> DocumentsError {
    DocumentsError::Unauthorized(text.to_owned())
}

/// Reads the header that says who calls.
///
/// # Errors
/// 401 if it is missing or malformed.
pub(crate) fn authorization(header: Option<&str>) -> Result<Authorization, DocumentsError> {
    let header = header.ok_or_else(|| {
        unauthorized(
            "Required Header authorization is missing. Ensure a valid Authorization token is passed.",
        )
    })?;
    parse_authorization(header).ok_or_else(|| {
        unauthorized("Invalid Authorization header. It must be the percent-encoded text type=master&ver=1.0&sig=<signature>.")
    })
}

/// Checks a request's signature; whether a key signed it that may write.
///
/// # Errors
/// 401 if it is malformed or wrong; 403 if its date is too far from `now`.
pub(crate) fn verify(
    account: &Account,
    signed: Signed<'_>,
    authorization: &Authorization,
    x_ms_date: Option<&str>,
    date_header: Option<&str>,
    now: Timestamp,
) -> Result<Caller, DocumentsError> {
    match authorization.kind.as_str() {
        "master" => {}
        "aad" => {
            return Err(unauthorized(
                "Tokens of type aad are not accepted by this server; sign with the account's key.",
            ));
        }
        _ => {
            return Err(unauthorized(
                "Invalid Authorization header: the type must be master or resource.",
            ));
        }
    }
    if authorization.version != "1.0" {
        return Err(unauthorized("Invalid Authorization header: ver must be 1.0."));
    }
    let sent = x_ms_date.or(date_header).ok_or_else(|| {
        unauthorized("The input date header is missing. Send x-ms-date in the form of RFC 1123.")
    })?;
    let at = date::parse(sent).ok_or_else(|| {
        unauthorized("The input date header is invalid format. Please pass in RFC 1123 style date format.")
    })?;
    let (x_ms_date, date_header) = match x_ms_date {
        Some(x_ms_date) => (x_ms_date, ""),
        None => ("", sent),
    };
    let candidates = signed.type_and_links();
    // Which form or key fits is no secret, so the first that does ends the search; each comparison
    // takes the same time however much of a signature is right.
    let signed_with = |keys: &[SharedKey]| {
        candidates.iter().any(|(kind, link)| {
            let text = string_to_sign(signed.method, kind, link, x_ms_date, date_header);
            keys.iter().any(|key| key.verify(&text, &authorization.signature))
        })
    };
    let caller = if signed_with(&account.keys) {
        Some(Caller::Owner)
    } else if signed_with(&account.read_only_keys) {
        Some(Caller::Reader)
    } else {
        None
    };
    let Some(caller) = caller else {
        let (kind, link) = candidates.into_iter().next().unwrap_or_default();
        let expected = string_to_sign(signed.method, &kind, &link, x_ms_date, date_header);
        return Err(DocumentsError::Unauthorized(format!(
            "The input authorization token can't serve the request. Please check that the expected payload is built as per the protocol, and check the key being used. Server used the following payload to sign: '{}'",
            expected.escape_debug()
        )));
    };
    let skew_seconds = at.as_second().abs_diff(now.as_second());
    if skew_seconds > CLOCK_SKEW_SECONDS_MAX.unsigned_abs() {
        return Err(DocumentsError::Forbidden(format!(
            "The authorization token is not valid at the current time. Token time: {sent}, server time: {}, difference {skew_seconds} seconds, at most {CLOCK_SKEW_SECONDS_MAX}.",
            date::format(now)
        )));
    }
    Ok(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            name: "a".to_owned(),
            keys: vec![
                SharedKey::from_base64("c2VjcmV0").unwrap(),
                SharedKey::from_base64("b3RoZXI=").unwrap(),
            ],
            read_only_keys: vec![SharedKey::from_base64("cmVhZA==").unwrap()],
            hosts: Vec::new(),
        }
    }

    const DATE: &str = "Thu, 27 Apr 2017 00:51:12 GMT";

    fn check(path: &str, text: &str, key: usize, now_offset: i64) -> Result<Caller, DocumentsError> {
        let account = account();
        let segments: Vec<String> = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        let keys = [&account.keys[..], &account.read_only_keys].concat();
        let signature = keys[key].sign(text);
        let header = format!(
            "type%3Dmaster%26ver%3D1.0%26sig%3D{}",
            signature
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D")
        );
        let now = Timestamp::from_second(date::parse(DATE).unwrap().as_second() + now_offset).unwrap();
        let signed = Signed {
            method: &Method::GET,
            segments: &segments,
        };
        verify(
            &account,
            signed,
            &authorization(Some(&header))?,
            Some(DATE),
            None,
            now,
        )
    }

    #[test]
    fn what_is_signed_here_is_taken_here() {
        for path in [
            "",
            "dbs",
            "dbs/D d",
            "dbs/D/colls/Ø/docs",
            "dbs/D/colls/C/pkranges",
        ] {
            let segments: Vec<String> = path
                .split('/')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect();
            let account = account();
            let check = |key: &SharedKey, method: &Method| {
                let header = sign_request(key, &Method::GET, &segments, DATE);
                let signed = Signed {
                    method,
                    segments: &segments,
                };
                let now = date::parse(DATE).unwrap();
                verify(
                    &account,
                    signed,
                    &authorization(Some(&header))?,
                    Some(DATE),
                    None,
                    now,
                )
            };
            assert_eq!(check(&account.keys[1], &Method::GET), Ok(Caller::Owner), "{path}");
            assert_eq!(
                check(&account.read_only_keys[0], &Method::GET),
                Ok(Caller::Reader)
            );
            assert!(check(&account.keys[0], &Method::POST).is_err());
            assert!(check(&SharedKey::from_bytes(vec![9]), &Method::GET).is_err());
        }
    }

    #[test]
    fn links_by_name_and_by_rid() {
        let date = DATE.to_lowercase();
        let table = [
            ("/", format!("get\n\n\n{date}\n\n")),
            ("/dbs", format!("get\ndbs\n\n{date}\n\n")),
            ("/dbs/ToDo", format!("get\ndbs\ndbs/ToDo\n{date}\n\n")),
            ("/dbs/ToDo/colls", format!("get\ncolls\ndbs/ToDo\n{date}\n\n")),
            (
                "/dbs/D/colls/C/docs/I",
                format!("get\ndocs\ndbs/D/colls/C/docs/I\n{date}\n\n"),
            ),
            (
                "/dbs/D/colls/C/docs",
                format!("get\ndocs\ndbs/D/colls/C\n{date}\n\n"),
            ),
            (
                "/dbs/AAAA/colls/AbC=/docs",
                format!("get\ndocs\nabc=\n{date}\n\n"),
            ),
            ("/offers/XyZ", format!("get\noffers\nxyz\n{date}\n\n")),
            (
                "/dbs/D/colls/C/operations/partitionkeydelete",
                format!("get\ncolls\ndbs/D/colls/C\n{date}\n\n"),
            ),
            (
                "/dbs/D/colls/C/operations/partitionkeydelete",
                format!("get\npartitionkey\ndbs/D/colls/C\n{date}\n\n"),
            ),
        ];
        for (path, text) in table {
            for key in 0..2 {
                assert_eq!(check(path, &text, key, 0), Ok(Caller::Owner), "{path}");
            }
            assert_eq!(check(path, &text, 2, 0), Ok(Caller::Reader), "{path}");
            let wrong = check(path, &text.replace("get", "put"), 0, 0).unwrap_err();
            assert_eq!(wrong.status(), 401);
            assert!(wrong.to_string().contains("payload to sign: 'get\\n"), "{wrong}");
        }
    }

    #[test]
    fn dates_and_malformed_headers() {
        let text = format!("get\ndbs\n\n{}\n\n", DATE.to_lowercase());
        assert_eq!(check("/dbs", &text, 0, 899), Ok(Caller::Owner));
        assert_eq!(check("/dbs", &text, 0, -899), Ok(Caller::Owner));
        assert_eq!(check("/dbs", &text, 0, 901).unwrap_err().status(), 403);
        for bad in [
            "",
            "type=master",
            "type=master&ver=1.0",
            "Bearer x",
            "%FF",
            "type=master&ver=2.0&sig=x",
            "type=aad&ver=1.0&sig=x",
            "type=master&ver=1.0&sig=",
        ] {
            let signed = Signed {
                method: &Method::GET,
                segments: &[],
            };
            let now = date::parse(DATE).unwrap();
            let check = |header, date| {
                let authorization = authorization(header)?;
                verify(&account(), signed, &authorization, date, None, now)
            };
            assert_eq!(check(Some(bad), Some(DATE)).unwrap_err().status(), 401, "{bad}");
            assert_eq!(check(None, Some(DATE)).unwrap_err().status(), 401);
            assert_eq!(check(Some(bad), None).unwrap_err().status(), 401);
        }
    }
}
