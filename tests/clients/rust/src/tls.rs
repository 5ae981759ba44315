//! Both clients over https with the development authority, in a process of its own: the variable that names
//! the authority is read once.

use std::process::Command;

use crate::server::{DOCUMENTS_KEY, Server};
use crate::{blobs, documents};

const DOCUMENTS: &str = "STABBUR_TLS_DOCUMENTS";
const BLOBS: &str = "STABBUR_TLS_BLOBS";

/// Runs itself once more, with the authority and addresses in its environment.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls() {
    if let (Ok(documents), Ok(blobs)) = (std::env::var(DOCUMENTS), std::env::var(BLOBS)) {
        return in_a_process_of_its_own(&documents, &blobs).await;
    }
    let server = Server::start();
    let secure = |address: String| address.replace("http://", "https://");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "tls::over_tls"])
        .env("SSL_CERT_FILE", server.authority())
        .env(DOCUMENTS, secure(server.documents()))
        .env(BLOBS, secure(server.blobs()));
    let ended = child.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    // Without the authority it's a stranger that isn't trusted.
    let stranger = child.env_remove("SSL_CERT_FILE").output().unwrap();
    assert!(!stranger.status.success());
    server.stop();
}

async fn in_a_process_of_its_own(documents: &str, blobs: &str) {
    let client = documents::client(documents, DOCUMENTS_KEY).await.unwrap();
    client.create_database("tls", None).await.unwrap();
    client.database_client("tls").delete(None).await.unwrap();
    let container = blobs::service(blobs).blob_container_client("tls");
    container.create(None).await.unwrap();
    blobs::upload(&container, "a", "over tls").await;
    assert_eq!(blobs::text(&container.blob_client("a")).await, "over tls");
}
