//! Where redirections lead, nothing is shown.

use std::sync::{Arc, Mutex};

use identity::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server that answers everything with `answer`: its address, and the requests that came.
async fn server(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let taken = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(length) if length > 0 => request.extend_from_slice(&piece[..length]),
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&request).to_lowercase();
            taken.lock().unwrap().push(text);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, seen)
}

fn remote(address: &str) -> Remote {
    let login = Login {
        user: "ci".to_owned(),
        password: Secret::new(b"s3cret".to_vec()),
    };
    Remote::new(address, Some(login), None).unwrap()
}

fn answer(status: &str, header: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_challenge_behind_a_redirection_is_answered_by_nobody() {
    let challenge = answer("401 Unauthorized", "www-authenticate: Basic realm=\"x\"");
    // The registry's own is.
    let (own, seen) = server(challenge.clone()).await;
    let response = remote(&own).send(&Ask::get("/v2/", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let requests = seen.lock().unwrap().clone();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].contains("authorization: basic"));
    // Another one's isn't.
    let (elsewhere, elsewhere_seen) = server(challenge).await;
    let (own, seen) = server(answer(
        "307 Temporary Redirect",
        &format!("location: {elsewhere}/x"),
    ))
    .await;
    let response = remote(&own).send(&Ask::get("/v2/", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    for seen in [&seen, &elsewhere_seen] {
        let requests = seen.lock().unwrap().clone();
        assert_eq!(requests.len(), 1);
        assert!(!requests[0].contains("authorization"));
    }
}
