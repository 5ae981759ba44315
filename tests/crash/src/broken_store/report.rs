//! What the load on a broken object store found: requests, errors by what clients see of them, and
//! whether the server kept its word, check by check.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::store::Faults;
use super::worker::Outcome;
use crate::client::Answer;

/// Findings that are printed one by one.
const FINDINGS_SHOWN_MAX: usize = 10;

/// The proxy's kinds of fault.
const KINDS: &[&str] = &[
    "answered 500",
    "answered 503",
    "slow",
    "request cut",
    "answer cut",
];

/// Kinds of request that are frequent enough to have succeeded in the shortest run.
const REQUESTS: &[&str] = &["put, one object", "put, in parts", "read", "read, a range"];

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rate_percent: u64,
    seed: u64,
    seconds: u64,
    /// Requests by kind: those that succeeded, and the others.
    requests: BTreeMap<&'static str, (u64, u64)>,
    /// What clients saw instead of an answer that they hoped for.
    errors: BTreeMap<String, u64>,
    pub(crate) acknowledged: u64,
    /// Keys that held, at the end, what was acknowledged last.
    pub(crate) kept: u64,
    lost: u64,
    torn: u64,
    corrupt: u64,
    unclear: u64,
    unanswered: u64,
    findings: Vec<String>,
    /// Whether `stabbur ledger verify` found nothing.
    pub(crate) verified: bool,
    pub(crate) faults: Faults,
}

impl Report {
    pub(crate) fn new(rate_percent: u64, seed: u64, seconds: u64) -> Self {
        Self {
            rate_percent,
            seed,
            seconds,
            ..Self::default()
        }
    }

    /// Notes what became of a request; whether it succeeded.
    pub(crate) fn outcome(
        &mut self,
        kind: &'static str,
        path: &str,
        outcome: &Outcome,
        expected: u16,
    ) -> bool {
        let (good, bad) = self.requests.entry(kind).or_default();
        if outcome.body(expected).is_some() {
            *good += 1;
            return true;
        }
        *bad += 1;
        let seen = match outcome {
            Outcome::Answered(answer) => match error_code(answer) {
                Ok(code) => format!("{} {code}", answer.status),
                Err(what) => {
                    self.unclear += 1;
                    self.find(format!("unclear: {kind} {path}: {} {what}", answer.status));
                    format!("{} of no clear form", answer.status)
                }
            },
            // The status went out before the store failed; what is missing can't be taken for whole.
            Outcome::BrokenOff(status) => format!("{status}, cut in the body"),
            Outcome::Unanswered(why) => {
                self.unanswered += 1;
                self.find(format!("no answer: {kind} {path}: {why}"));
                "no answer".to_owned()
            }
        };
        *self.errors.entry(seen).or_default() += 1;
        false
    }

    pub(crate) fn lost(&mut self, place: &str) {
        self.lost += 1;
        self.find(format!("lost: {place}"));
    }

    pub(crate) fn torn(&mut self, place: &str) {
        self.torn += 1;
        self.find(format!("neither the old nor the new: {place}"));
    }

    pub(crate) fn corrupt(&mut self, place: &str) {
        self.corrupt += 1;
        self.find(format!("wrong bytes: {place}"));
    }

    fn find(&mut self, text: String) {
        if self.findings.len() < FINDINGS_SHOWN_MAX {
            self.findings.push(text);
        }
    }

    /// Adds a worker's numbers.
    pub(crate) fn take_over(&mut self, other: Self) {
        for (kind, (good, bad)) in other.requests {
            let sum = self.requests.entry(kind).or_default();
            *sum = (sum.0 + good, sum.1 + bad);
        }
        for (error, number) in other.errors {
            *self.errors.entry(error).or_default() += number;
        }
        self.acknowledged += other.acknowledged;
        self.kept += other.kept;
        self.lost += other.lost;
        self.torn += other.torn;
        self.corrupt += other.corrupt;
        self.unclear += other.unclear;
        self.unanswered += other.unanswered;
        other.findings.into_iter().for_each(|text| self.find(text));
    }

    /// Each check, and whether it held.
    fn checks(&self) -> Vec<(&'static str, bool)> {
        let every_kind = KINDS
            .iter()
            .all(|kind| self.faults.by_kind.get(*kind).is_some_and(|number| *number > 0));
        let succeeded = REQUESTS
            .iter()
            .all(|kind| self.requests.get(kind).is_some_and(|(good, _)| *good > 0));
        vec![
            (
                "nothing that was acknowledged is lost",
                self.lost == 0 && self.kept > 0,
            ),
            ("nothing that was refused is there", self.torn == 0),
            ("nothing that was read is wrong", self.corrupt == 0),
            (
                "each error tells clients in the protocol's own form to come back",
                self.unclear == 0,
            ),
            ("each request has an answer", self.unanswered == 0),
            ("ledger and references are whole", self.verified),
            ("each kind of fault happened", every_kind),
            (
                "requests of each kind succeeded, and some failed",
                succeeded && !self.errors.is_empty(),
            ),
        ]
    }

    /// Whether all held.
    pub(crate) fn good(&self) -> bool {
        self.checks().iter().all(|(_, held)| *held)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "broken object store: {} s of load, {} of 100 requests to the store broken, seed {}\n\
             \x20 {:>8} requests to the store\n",
            self.seconds, self.rate_percent, self.seed, self.faults.requests
        );
        for (kind, number) in &self.faults.by_kind {
            text.push_str(&format!("  {number:>8} broken: {kind}\n"));
        }
        for (kind, (good, bad)) in &self.requests {
            text.push_str(&format!("  {good:>8} {kind}; {bad} not\n"));
        }
        for (error, number) in &self.errors {
            text.push_str(&format!("  {number:>8} errors: {error}\n"));
        }
        text.push_str(&format!(
            "  {} writes acknowledged, {} blobs as acknowledged at the end\n\
             \x20 lost {}, corrupt {}, torn {}, unclear errors {}, without an answer {}",
            self.acknowledged, self.kept, self.lost, self.corrupt, self.torn, self.unclear, self.unanswered
        ));
        for finding in &self.findings {
            text.push_str(&format!("\n    {finding}"));
        }
        for (check, _) in self.checks().iter().filter(|(_, held)| !held) {
            text.push_str(&format!("\n  NOT: {check}"));
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let checks = self.checks();
        let passed = checks.iter().filter(|(_, held)| *held).count();
        json!({
            "store_requests": self.faults.requests,
            "faults": self.faults.by_kind,
            "requests": self.requests,
            "errors": self.errors,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "corrupt": self.corrupt,
            "torn": self.torn,
            "rounds_passed": passed,
            "rounds_failed": checks.len() - passed,
        })
    }
}

/// The code of an error in the Blob protocol's form that tells clients to come back, or what is
/// missing of that: the code in header and body, the request's id in both, when to come back. What
/// fails here is the store behind the server, and passes: nothing else may be said of it.
fn error_code(answer: &Answer) -> Result<String, String> {
    let body = String::from_utf8_lossy(&answer.body);
    let header = |name: &str| {
        let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("without {name}"))
    };
    let (code, request_id) = (header("x-ms-error-code")?, header("x-ms-request-id")?);
    let in_body = body.contains(&format!("<Code>{code}</Code>"))
        && body.contains(&format!("RequestId:{request_id}"))
        && body.trim_end().ends_with("</Error>");
    if answer.status != 503 || code != "ServerBusy" {
        return Err(format!("{code}, where only the store failed: {body}"));
    }
    if !in_body {
        return Err(format!("{code} with another body: {body}"));
    }
    let pause: Result<u64, _> = header("retry-after")?.parse();
    match pause {
        Ok(1..) => Ok(code.to_owned()),
        _ => Err("with a malformed retry-after".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&'static str>, body: &str) -> Answer {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-ms-request-id", http::HeaderValue::from_static("17"));
        headers.insert("retry-after", http::HeaderValue::from_static("1"));
        if let Some(code) = code {
            headers.insert("x-ms-error-code", http::HeaderValue::from_static(code));
        }
        Answer {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn only_the_protocols_own_form_is_clear() {
        let body = "<Error><Code>ServerBusy</Code><Message>Busy\nRequestId:17\n</Message></Error>";
        let clear = |answer: &Answer| error_code(answer).is_ok();
        assert!(clear(&answer(503, Some("ServerBusy"), body)));
        assert!(!clear(&answer(503, None, body)));
        assert!(!clear(&answer(500, Some("InternalError"), body)));
        assert!(!clear(&answer(404, Some("ServerBusy"), body)));
        assert!(!clear(&answer(503, Some("ServerBusy"), &body[..60])));
        let failed = body.replace("ServerBusy", "InternalError");
        assert!(!clear(&answer(500, Some("InternalError"), &failed)));
        let mut at_once = answer(503, Some("ServerBusy"), body);
        at_once.headers.remove("retry-after");
        assert!(!clear(&at_once));
    }

    #[test]
    fn each_fault_of_the_server_fails_a_check() {
        let sound = || {
            let mut report = Report::new(50, 1, 1);
            report.kept = 1;
            report.verified = true;
            for kind in REQUESTS {
                report.requests.insert(kind, (1, 1));
            }
            report.errors.insert("503 ServerBusy".to_owned(), 1);
            for kind in KINDS {
                report.faults.by_kind.insert((*kind).to_owned(), 1);
            }
            report
        };
        assert!(sound().good(), "{}", sound().text());
        let breaks: [fn(&mut Report); 7] = [
            |report| report.lost("x"),
            |report| report.torn("x"),
            |report| report.corrupt("x"),
            |report| report.verified = false,
            |report| report.faults.by_kind.clear(),
            |report| report.errors.clear(),
            |report| {
                report.outcome("read", "x", &Outcome::Unanswered("gone".to_owned()), 200);
            },
        ];
        for (number, harm) in breaks.iter().enumerate() {
            let mut report = sound();
            harm(&mut report);
            assert!(!report.good(), "{number}");
        }
    }
}
