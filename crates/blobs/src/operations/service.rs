//! Get Account Information; Get and Set Blob Service Properties; Get Blob Service Stats.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::auth::Access;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{CORS_RULES_MAX, RETENTION_DAYS_MAX, WEBSITE_NAME_CHARACTERS_MAX, XML_BYTES_MAX};
use crate::operations::demands::overtaken;
use crate::operations::website;
use crate::rules::cors::{CorsRule, METHODS};
use crate::rules::roles::Action;
use crate::service::Call;
use crate::store::account::{ServiceRecord, WebsiteRecord};
use crate::wire::transfer;
use crate::wire::xml_tree::Element;
use crate::wire::{render, xml};

pub(crate) fn information(call: &Call) -> Result<Response<Body>, BlobsError> {
    // Of signatures any will do; roles have an action for it.
    let rights = match &call.access {
        Access::Bearer(_, rights) => Some(rights),
        Access::Sas(grant) => grant.signer.as_ref(),
        Access::Key | Access::Anonymous(_) => None,
    };
    if rights.is_some_and(|rights| !rights.allow(Action::AccountInformation)) {
        return Err(ErrorCode::AuthorizationPermissionMismatch.into());
    }
    let mut response = render::empty(StatusCode::OK);
    let headers = response.headers_mut();
    render::set(headers, "x-ms-sku-name", "Standard_LRS");
    render::set(headers, "x-ms-account-kind", "StorageV2");
    render::set(headers, "x-ms-is-hns-enabled", "false");
    Ok(response)
}

/// Get Blob Service Stats: there is one region, so the secondary host answers as one that is closed to reads of this
/// kind.
pub(crate) fn stats(call: &Call) -> Result<Response<Body>, BlobsError> {
    call.permit('s', "r")?;
    if call.target.secondary {
        return Err(ErrorCode::InsufficientAccountPermissions.into());
    }
    let text = "comp=stats is asked of the account's secondary host.";
    Err(BlobsError::with(ErrorCode::InvalidQueryParameterValue, text))
}

pub(crate) async fn properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('s', "r")?;
    let snapshot = blobs.ledger.snapshot().await?;
    let (record, _) = blobs
        .service_record(snapshot.as_ref(), &call.target.account)
        .await?;
    let off = "<Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>";
    let cors: String = record.cors.iter().map(cors_element).collect();
    let version = record.default_version.as_deref();
    let version = version.map_or_else(String::new, |version| {
        xml::element("DefaultServiceVersion", version)
    });
    let retention = match record.delete_retention_days {
        Some(days) => format!(
            "<Enabled>true</Enabled><Days>{days}</Days><AllowPermanentDelete>{}</AllowPermanentDelete>",
            record.allows_permanent_delete
        ),
        None => "<Enabled>false</Enabled>".to_owned(),
    };
    Ok(render::document(format!(
        "{}<StorageServiceProperties><Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read>\
         <Write>false</Write><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>\
         <HourMetrics>{off}</HourMetrics><MinuteMetrics>{off}</MinuteMetrics><Cors>{cors}</Cors>{version}\
         <DeleteRetentionPolicy>{retention}</DeleteRetentionPolicy>\
         <StaticWebsite>{}</StaticWebsite></StorageServiceProperties>",
        xml::DECLARATION,
        website_elements(record.website.as_ref())
    )))
}

fn website_elements(website: Option<&WebsiteRecord>) -> String {
    let Some(website) = website else {
        return "<Enabled>false</Enabled>".to_owned();
    };
    let mut out = "<Enabled>true</Enabled>".to_owned();
    for (tag, value) in [
        ("IndexDocument", &website.index_document),
        ("DefaultIndexDocumentPath", &website.default_index_path),
        ("ErrorDocument404Path", &website.error_document),
    ] {
        if let Some(value) = value {
            out.push_str(&xml::element(tag, value));
        }
    }
    out
}

/// What is said of the website; `served` is whether there is a host for it.
fn website_of(part: &Element, served: bool) -> Result<Option<WebsiteRecord>, BlobsError> {
    let invalid = |text: &str| BlobsError::with(ErrorCode::InvalidXmlDocument, text);
    match part.text_of("Enabled") {
        "false" => return Ok(None),
        "true" if served => {}
        "true" => {
            return Err(unserved(
                "StaticWebsite without web_host_suffixes in the settings",
            ));
        }
        _ => return Err(invalid("StaticWebsite is Enabled or not: true or false.")),
    }
    let said = |tag: &str| {
        let text = part.text_of(tag).trim();
        (!text.is_empty()).then(|| text.trim_start_matches('/').to_owned())
    };
    let website = WebsiteRecord {
        index_document: said("IndexDocument"),
        default_index_path: said("DefaultIndexDocumentPath"),
        error_document: said("ErrorDocument404Path"),
    };
    let named = [
        &website.index_document,
        &website.default_index_path,
        &website.error_document,
    ];
    let is_long = |name: &&Option<String>| {
        let characters = name.as_ref().map_or(0, |name| name.chars().count());
        characters > WEBSITE_NAME_CHARACTERS_MAX
    };
    if named.iter().any(is_long) {
        return Err(invalid("A page of StaticWebsite has at most 255 characters."));
    }
    if website
        .index_document
        .as_ref()
        .is_some_and(|name| name.contains('/'))
    {
        return Err(invalid(
            "IndexDocument is a name in each folder, without a slash; DefaultIndexDocumentPath is a path.",
        ));
    }
    if website.index_document.is_some() && website.default_index_path.is_some() {
        return Err(invalid(
            "Give IndexDocument or DefaultIndexDocumentPath, not both.",
        ));
    }
    Ok(Some(website))
}

fn cors_element(rule: &CorsRule) -> String {
    let list = |tag: &str, values: &[String]| xml::element(tag, &values.join(","));
    format!(
        "<CorsRule>{}{}{}{}{}</CorsRule>",
        list("AllowedOrigins", &rule.origins),
        list("AllowedMethods", &rule.methods),
        list("AllowedHeaders", &rule.headers),
        list("ExposedHeaders", &rule.exposed),
        xml::element("MaxAgeInSeconds", &rule.max_age_seconds.to_string())
    )
}

pub(crate) async fn set_properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('s', "w")?;
    let body = call.take_body().read_bounded(XML_BYTES_MAX).await?;
    transfer::check(&call.headers, &body)?;
    let sent = Element::parse(&body, "StorageServiceProperties")?;
    let serves_websites = !blobs.settings.web_host_suffixes.is_empty();
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (mut record, version) = blobs
            .service_record(snapshot.as_ref(), &call.target.account)
            .await?;
        apply(&sent, &mut record, serves_websites)?;
        if record.website.is_some() {
            blobs
                .ensure_container(&call.target.account, website::CONTAINER)
                .await?;
        }
        let mut tx = Transaction::new();
        blobs.stage_service_record(&mut tx, &call.target.account, version, &record)?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(render::empty(StatusCode::ACCEPTED)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Changes the parts that were sent; the others stay.
fn apply(sent: &Element, record: &mut ServiceRecord, serves_websites: bool) -> Result<(), BlobsError> {
    let invalid = |text: &str| BlobsError::with(ErrorCode::InvalidXmlDocument, text);
    for part in &sent.children {
        match part.tag.as_str() {
            "Cors" => {
                if part.children.len() > CORS_RULES_MAX {
                    return Err(invalid("An account has at most five CORS rules."));
                }
                record.cors = part.children.iter().map(cors_rule).collect::<Result<_, _>>()?;
            }
            "DeleteRetentionPolicy" => {
                let days = part.text_of("Days").parse::<u32>().ok();
                record.delete_retention_days = match (part.text_of("Enabled"), days) {
                    ("false", _) => None,
                    ("true", Some(days)) if (1..=RETENTION_DAYS_MAX).contains(&days) => Some(days),
                    _ => return Err(invalid("DeleteRetentionPolicy is off, or for 1 to 365 Days.")),
                };
                record.allows_permanent_delete = match part.text_of("AllowPermanentDelete") {
                    "true" => record.delete_retention_days.is_some(),
                    "" | "false" => false,
                    _ => return Err(invalid("AllowPermanentDelete is true or false.")),
                };
            }
            "DefaultServiceVersion" => {
                let version = part.text.trim();
                if version.parse::<jiff::civil::Date>().is_err() {
                    return Err(invalid("DefaultServiceVersion is a version such as 2021-12-02."));
                }
                record.default_version = Some(version.to_owned());
            }
            // What isn't done mustn't be taken for done.
            "Logging"
                if ["Delete", "Read", "Write"]
                    .iter()
                    .any(|tag| part.text_of(tag) == "true") =>
            {
                return Err(unserved("Logging into $logs"));
            }
            "StaticWebsite" => record.website = website_of(part, serves_websites)?,
            "HourMetrics" | "MinuteMetrics" if part.text_of("Enabled") == "true" => {
                return Err(unserved(&part.tag));
            }
            "Logging" | "HourMetrics" | "MinuteMetrics" => {}
            _ => return Err(invalid("A part of StorageServiceProperties isn't known.")),
        }
    }
    Ok(())
}

fn unserved(what: &str) -> BlobsError {
    BlobsError::with(ErrorCode::NotImplemented, format!("{what} is not served."))
}

fn cors_rule(element: &Element) -> Result<CorsRule, BlobsError> {
    let invalid = |text: &str| BlobsError::with(ErrorCode::InvalidXmlDocument, text);
    let list = |tag: &str| -> Vec<String> {
        let values = element.text_of(tag).split(',').map(str::trim);
        values
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let rule = CorsRule {
        origins: list("AllowedOrigins"),
        methods: list("AllowedMethods"),
        headers: list("AllowedHeaders"),
        exposed: list("ExposedHeaders"),
        max_age_seconds: element
            .text_of("MaxAgeInSeconds")
            .trim()
            .parse()
            .map_err(|_| invalid("MaxAgeInSeconds is a number."))?,
    };
    if element.tag != "CorsRule" || rule.origins.is_empty() || rule.methods.is_empty() {
        return Err(invalid("A CorsRule has AllowedOrigins and AllowedMethods."));
    }
    if !rule
        .methods
        .iter()
        .all(|method| METHODS.contains(&method.as_str()))
    {
        return Err(invalid("AllowedMethods has a method that isn't known."));
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(body: &str, record: ServiceRecord) -> Result<ServiceRecord, ErrorCode> {
        let body = format!("<StorageServiceProperties>{body}</StorageServiceProperties>");
        let sent = Element::parse(body.as_bytes(), "StorageServiceProperties").unwrap();
        let mut record = record;
        apply(&sent, &mut record, false).map_err(|error| error.code)?;
        Ok(record)
    }

    #[test]
    fn a_website_is_on_or_off_as_a_whole() {
        let read = |body: &str, served: bool| {
            let body = format!("<StaticWebsite>{body}</StaticWebsite>");
            let part = Element::parse(body.as_bytes(), "StaticWebsite").unwrap();
            website_of(&part, served).map_err(|error| error.code)
        };
        let on = "<Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>\
                  <ErrorDocument404Path>errors/404.html</ErrorDocument404Path>";
        let website = read(on, true).unwrap().unwrap();
        assert_eq!(website.index_document.as_deref(), Some("index.html"));
        assert_eq!(website.error_document.as_deref(), Some("errors/404.html"));
        let shown = format!(
            "<StaticWebsite>{}</StaticWebsite>",
            website_elements(Some(&website))
        );
        let part = Element::parse(shown.as_bytes(), "StaticWebsite").unwrap();
        assert_eq!(website_of(&part, true).unwrap(), Some(website));
        assert_eq!(read("<Enabled>false</Enabled>", false), Ok(None));
        assert_eq!(read(on, false), Err(ErrorCode::NotImplemented));
        let long = format!(
            "<Enabled>true</Enabled><IndexDocument>{}</IndexDocument>",
            "a".repeat(256)
        );
        for bad in [
            "<Enabled>maybe</Enabled>",
            "<Enabled>true</Enabled><IndexDocument>a/b</IndexDocument>",
            "<Enabled>true</Enabled><IndexDocument>a</IndexDocument>\
             <DefaultIndexDocumentPath>b</DefaultIndexDocumentPath>",
            &long,
        ] {
            assert_eq!(read(bad, true), Err(ErrorCode::InvalidXmlDocument), "{bad}");
        }
    }

    #[test]
    fn what_is_omitted_stays() {
        let rule = "<CorsRule><AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET,PUT</AllowedMethods>\
                    <AllowedHeaders/><ExposedHeaders/><MaxAgeInSeconds>5</MaxAgeInSeconds></CorsRule>";
        let keep = "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days></DeleteRetentionPolicy>";
        let record = applied(keep, ServiceRecord::default()).unwrap();
        let record = applied(&format!("<Cors>{rule}</Cors>"), record).unwrap();
        assert_eq!((record.delete_retention_days, record.cors.len()), (Some(7), 1));
        assert_eq!(record.cors[0].methods, ["GET", "PUT"]);
        let record = applied("<Cors/>", record).unwrap();
        assert_eq!((record.delete_retention_days, record.cors.len()), (Some(7), 0));
        let off = "<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>";
        assert_eq!(applied(off, record).unwrap(), ServiceRecord::default());
        let six = format!("<Cors>{}</Cors>", rule.repeat(6));
        let table = [
            (six.as_str(), ErrorCode::InvalidXmlDocument),
            ("<Cors><CorsRule/></Cors>", ErrorCode::InvalidXmlDocument),
            (
                "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>366</Days></DeleteRetentionPolicy>",
                ErrorCode::InvalidXmlDocument,
            ),
            (
                "<DefaultServiceVersion>new</DefaultServiceVersion>",
                ErrorCode::InvalidXmlDocument,
            ),
            ("<Other/>", ErrorCode::InvalidXmlDocument),
            ("<Logging><Read>true</Read></Logging>", ErrorCode::NotImplemented),
            (
                "<StaticWebsite><Enabled>true</Enabled></StaticWebsite>",
                ErrorCode::NotImplemented,
            ),
        ];
        for (body, code) in table {
            assert_eq!(applied(body, ServiceRecord::default()), Err(code), "{body}");
        }
    }
}
