//! A source that answers what a test says: failures, cut connections, ranges that split.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub range: String,
    /// `if-none-match`.
    pub after: String,
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Send half of it and hang up.
    pub is_cut: bool,
}

pub fn reply(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Reply {
    Reply {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        body: body.to_string(),
        is_cut: false,
    }
}

/// A page of items, with where it goes on.
pub fn page(after: &str, ids: std::ops::Range<u32>) -> Reply {
    let items: Vec<Value> = ids
        .map(|id| json!({"id": id.to_string(), "pk": "p", "_ts": 1, "_lsn": id}))
        .collect();
    reply(200, &[("etag", after)], &json!({"Documents": items}))
}

pub fn end(after: &str) -> Reply {
    let mut end = reply(304, &[("etag", after)], &Value::Null);
    end.body.clear();
    end
}

/// Ranges: id, bounds, parents.
pub fn ranges(ranges: &[(&str, &str, &str, &[&str])]) -> Reply {
    let listed: Vec<Value> = ranges
        .iter()
        .map(|(id, min, max, parents)| {
            json!({"id": id, "minInclusive": min, "maxExclusive": max, "parents": parents})
        })
        .collect();
    reply(200, &[], &json!({"PartitionKeyRanges": listed}))
}

type Rule = Box<dyn FnMut(&Asked, usize) -> Reply + Send>;

/// The server; `feed` answers for ranges and items, and is told how often just that was asked before.
pub struct Scripted {
    pub http: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    pub async fn start(feed: impl FnMut(&Asked, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            let mut rule: Rule = Box::new(feed);
            let mut counts: HashMap<String, usize> = HashMap::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                if head.is_empty() {
                    continue;
                }
                let header = |name: &str| {
                    head.lines()
                        .filter_map(|line| line.split_once(": "))
                        .find(|(found, _)| found.eq_ignore_ascii_case(name))
                        .map_or_else(String::new, |(_, value)| value.to_owned())
                };
                let asked = Asked {
                    path: head.split(' ').nth(1).unwrap().to_owned(),
                    range: header("x-ms-documentdb-partitionkeyrangeid"),
                    after: header("if-none-match"),
                };
                let count = counts.entry(format!("{asked:?}")).or_default();
                let reply = match asked.path.as_str() {
                    "/dbs/d/colls" => reply(200, &[], &json!({"DocumentCollections": [{"id": "c"}]})),
                    "/dbs/d/colls/c" => {
                        let key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
                        reply(200, &[], &json!({"id": "c", "_rid": "r", "partitionKey": key}))
                    }
                    "/dbs/d/colls/c/sprocs" => reply(200, &[], &json!({"StoredProcedures": []})),
                    "/dbs/d/colls/c/triggers" => reply(200, &[], &json!({"Triggers": []})),
                    "/dbs/d/colls/c/udfs" => reply(200, &[], &json!({"UserDefinedFunctions": []})),
                    _ => rule(&asked, *count),
                };
                *count += 1;
                noted.lock().unwrap().push(asked);
                let mut text = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
                if reply.status != 304 {
                    text += &format!("content-length: {}\r\n", reply.body.len());
                }
                for (name, value) in &reply.headers {
                    text += &format!("{name}: {value}\r\n");
                }
                text += "\r\n";
                text += if reply.is_cut {
                    &reply.body[..reply.body.len() / 2]
                } else {
                    &reply.body
                };
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { http, asked, task }
    }

    /// The range and continuation of each request for items since the last call.
    pub fn asked_items(&self) -> Vec<(String, String)> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let items = asked.into_iter().filter(|asked| asked.path.ends_with("/docs"));
        items.map(|asked| (asked.range, asked.after)).collect()
    }
}
