//! Messages that were put aside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ledger::{Key, KeyWriter, Keyspace, Ledger as _, SystemClock, Transaction};
use ledger_embedded::EmbeddedLedger;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, Target};

/// Takes what is posted, for as long as the test runs.
fn sink() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            if tell.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, told)
}

/// As the deliveries put messages aside (docs of the platform's keyspace).
async fn put_aside(target: &Target, rows: &[(Key, String)]) {
    let folder = target.data.join("ledger");
    let ledger = EmbeddedLedger::open(
        &folder,
        Arc::new(SystemClock),
        ledger_embedded::Options::default(),
    )
    .unwrap();
    let mut tx = Transaction::new();
    for (at, (key, row)) in rows.iter().enumerate() {
        let writer = KeyWriter::new(Keyspace::Platform).u8(13);
        let letter = writer
            .i64(1_000_000 * i64::try_from(at).unwrap())
            .raw(key.as_bytes());
        let value = json!({"cause": "it answered 400", "row": row}).to_string();
        tx.put(letter.finish(), value.into_bytes());
    }
    ledger.commit(tx).await.unwrap();
    ledger.close().await.unwrap();
}

fn listed(target: &Target, more: &[&str]) -> Vec<Value> {
    let said = target.done(&[&["messages", "list"], more].concat());
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn messages_are_listed_delivered_again_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::new(folder.path());
    let said = target.refused(&["messages", "list"]);
    assert!(said.contains("holds no ledger"), "{said}");
    drop(Server::start(&target.data, &[]).await);
    let instance = Uuid::from_u128(7);
    let portal = KeyWriter::new(Keyspace::Platform)
        .u8(10)
        .raw(instance.as_bytes())
        .finish();
    let row = json!({"appId": "ttd/a", "partyId": "1", "instanceId": instance, "eventType": "Saved", "due": 5, "refusals": 50});
    let scan = KeyWriter::new(Keyspace::Platform)
        .u8(9)
        .i64(3)
        .raw(instance.as_bytes())
        .str("v")
        .finish();
    let rows = [
        (portal.clone(), row.to_string()),
        (portal, "{".to_owned()),
        (scan, "[]".to_owned()),
    ];
    put_aside(&target, &rows).await;
    let all = listed(&target, &[]);
    assert_eq!(all.len(), 3);
    assert_eq!(
        (&all[0]["outbox"], &all[0]["about"], &all[0]["cause"]),
        (
            &json!("portal"),
            &json!(format!("1/{instance}")),
            &json!("it answered 400")
        )
    );
    assert_eq!(all[0]["putAside"], "1970-01-01T00:00:00Z");
    assert_eq!(listed(&target, &["--outbox", "scan"]), all[2..]);
    for nothing in [["messages", "retry"], ["messages", "drop"]] {
        assert!(target.refused(&nothing).contains("--all"));
    }
    let said = target.refused(&["messages", "retry", "--id", "0123456789abcdef"]);
    assert!(said.contains("no message 0123456789abcdef"), "{said}");
    // The one that can be read goes; the others stay.
    let said = target.refused(&["messages", "retry", "--all"]);
    assert!(
        said.contains("1 messages are delivered again") && said.contains("2 messages can't be read"),
        "{said}"
    );
    assert_eq!(listed(&target, &[]), all[1..]);
    {
        let (url, told) = sink();
        let server = Server::start(&target.data, &["--platform-portal-url", &url]).await;
        let message = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(message["InstanceId"], json!(instance));
        drop(server);
    }
    let id = all[1]["id"].as_str().unwrap();
    assert!(
        target
            .done(&["messages", "drop", "--id", id])
            .contains("1 messages dropped")
    );
    assert!(
        target
            .done(&["messages", "drop", "--all"])
            .contains("1 messages dropped")
    );
    assert!(listed(&target, &[]).is_empty());
    target.is_sound();
}

#[tokio::test]
async fn elements_that_wait_for_nobody_are_asked_about_or_wait_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::new(folder.path());
    let types = json!({"dataTypes": [{"id": "model", "enableFileScan": true}]});
    let (id, element) = {
        // Nobody listens there: the message waits.
        let server = Server::start(&target.data, &["--platform-scan-url", "http://127.0.0.1:1/"]).await;
        server.publish("skannes", types).await;
        let id = server.instance("skannes").await;
        let element = server
            .element(&id, "model", "attachment; filename=a", b"a".to_vec())
            .await;
        (id, element)
    };
    let said = target.done(&["scans", "ask"]);
    assert!(
        said.contains("asked about 0 elements, it was about 1 before"),
        "{said}"
    );
    // As a release before the outbox: no message.
    let ledger = EmbeddedLedger::open(
        &target.data.join("ledger"),
        Arc::new(SystemClock),
        ledger_embedded::Options::default(),
    )
    .unwrap();
    let prefix = KeyWriter::new(Keyspace::Platform).u8(9).finish();
    let snapshot = ledger.snapshot().await.unwrap();
    let range = ledger::KeyRange::prefix(&prefix);
    let mut scan = ledger::Scan::new(snapshot.as_ref(), range, ledger::Direction::Forward);
    let mut tx = Transaction::new();
    while let Some(entry) = scan.next().await.unwrap() {
        tx.delete(entry.key);
    }
    ledger.commit(tx).await.unwrap();
    drop(scan);
    drop(snapshot);
    ledger.close().await.unwrap();
    drop(ledger);
    assert!(target.done(&["scans", "ask"]).contains("asked about 1 elements"));
    {
        let (url, told) = sink();
        let server = Server::start(&target.data, &["--platform-scan-url", &url]).await;
        let message = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(message["dataElementId"], json!(element));
        let instance = server.get(&format!("/instances/{id}")).await.json();
        assert_eq!(instance["data"][0]["fileScanResult"], "Pending");
    }
    assert!(
        target
            .done(&["scans", "waive"])
            .contains("1 elements wait no longer")
    );
    let server = Server::start(&target.data, &[]).await;
    let instance = server.get(&format!("/instances/{id}")).await.json();
    assert_eq!(instance["data"][0]["fileScanResult"], "NotApplicable");
}
