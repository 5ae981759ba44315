//! Reads an answer as the protocol's own clients would: was it done, was it surely not, is that
//! unknown, or is the answer none that a client understands.

use anyhow::Result;
use serde_json::Value;

use crate::client::Answer;
use crate::load::Kind;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Done,
    /// Nothing was written; come back later.
    Refused,
    /// Whether it was written isn't known.
    Unknown,
    /// Not in the protocol's own form: why.
    Unclear(String),
}

/// Reads the answer to a request that is in order.
pub(crate) fn read(kind: Kind, answer: &Result<Answer>) -> Said {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Said::Unclear(format!("{error:#}")),
    };
    let unclear = |why: &str| Said::Unclear(format!("{why}: {}", answer.shown()));
    match answer.status {
        200 | 201 => return Said::Done,
        408 if kind == Kind::Document && code(kind, answer) == "RequestTimeout" => return Said::Unknown,
        503 => {}
        _ => return unclear("another status"),
    }
    if !answer
        .header("retry-after")
        .parse()
        .is_ok_and(|seconds: u64| seconds > 0)
    {
        return unclear("no Retry-After");
    }
    let (wanted, substatus) = match kind {
        Kind::Document => ("ServiceUnavailable", "21008"),
        Kind::SmallBlob | Kind::LargeBlob => ("ServerBusy", ""),
        Kind::Instance | Kind::Element => ("Service Unavailable", ""),
    };
    if code(kind, answer) != wanted || answer.header("x-ms-substatus") != substatus {
        return unclear("not the protocol's own error");
    }
    if String::from_utf8_lossy(&answer.body).contains("went away while it wrote") {
        Said::Unknown
    } else {
        Said::Refused
    }
}

/// The code in an error's body, which a blob's header must repeat.
fn code(kind: Kind, answer: &Answer) -> String {
    if kind.is_blob() {
        let body = String::from_utf8_lossy(&answer.body);
        let code = body
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map_or("", |(code, _)| code);
        let repeated = answer.header("x-ms-error-code") == code;
        return if repeated { code.to_owned() } else { String::new() };
    }
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let name = if kind.is_platform() { "title" } else { "code" };
    let code = body.as_ref().and_then(|body| body.get(name)?.as_str());
    code.unwrap_or_default().to_owned()
}
