//! Which provider, which bucket, whose keys; what a request may cost.
//!
//! Invariants: a secret is read from its file or variable when the store is opened, and nothing
//! prints it; without TLS only a loopback address is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use content::ContentError;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use zeroize::Zeroizing;

use crate::failure::Failures;
use crate::request_ids::Connector;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a file; white space around it doesn't count.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
    /// Here: for tests.
    Given(Zeroizing<String>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::Given(_) => f.write_str("Given(***)"),
        }
    }
}

impl Secret {
    fn read(&self, what: &str) -> Result<Zeroizing<String>, ContentError> {
        let failed = |cause: String| ContentError::Io(format!("{what}: {cause}"));
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| failed(format!("reading {}: {error}", path.display())))?,
            Self::Environment(name) => std::env::var(name)
                .map_err(|error| failed(format!("the variable {name}: {error}; set it or name a file")))?,
            Self::Given(text) => text.to_string(),
        };
        let text = Zeroizing::new(text);
        let trimmed = Zeroizing::new(text.trim().to_owned());
        if trimmed.is_empty() {
            return Err(failed("it is empty".to_owned()));
        }
        Ok(trimmed)
    }
}

/// A bucket of an S3 service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The service's address; AWS's own for the region if it isn't given.
    pub endpoint: Option<String>,
    /// The region, as it goes into signatures.
    pub region: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The access key's id.
    pub access_key_id: Secret,
    /// The access key.
    pub secret_access_key: Secret,
}

/// A container of an Azure storage account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// The account's blob address, with the account where it is part of the path; Azure's own for
    /// the account if it isn't given.
    pub endpoint: Option<String>,
    /// The account.
    pub account: String,
    /// The container, which must exist.
    pub container: String,
    /// One of the account's keys, in Base64.
    pub key: Secret,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcs {
    /// The bucket, which must exist.
    pub bucket: String,
    /// The service account's JSON.
    pub service_account: Secret,
}

/// Who keeps the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// S3, AWS's or another's.
    S3(S3),
    /// Azure Blob.
    Azure(Azure),
    /// Google Cloud Storage.
    Gcs(Gcs),
}

/// How long and how often a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest that one try may take, with its body.
    pub request: Duration,
    /// Retries of one request at most, of answers 5xx and 429 and of cut connections.
    pub retries_max: usize,
    /// Time behind which no retry begins, counted from the first try.
    pub retrying: Duration,
    /// The pause before the first retry; it doubles from one to the next, with chance in it.
    pub pause: Duration,
}

impl Default for Patience {
    /// 30 s a try, 6 retries within 40 s: longer than a provider's hiccup, shorter than clients
    /// wait.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            retries_max: 6,
            retrying: Duration::from_secs(40),
            pause: Duration::from_millis(100),
        }
    }
}

/// What [`crate::ObjectContent::open`] needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectOptions {
    /// Who keeps the objects.
    pub provider: Provider,
    /// What all names begin with; nothing else may lie below it. Empty for the whole bucket.
    pub prefix: String,
    /// How long and how often a request is tried.
    pub patience: Patience,
}

/// Longest pause between two tries.
const PAUSE_SECONDS_MAX: u64 = 5;

impl ObjectOptions {
    /// The provider's client, and what sorts its errors.
    pub(crate) fn connect(&self) -> Result<(Arc<dyn ObjectStore>, Failures), ContentError> {
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.patience.pause,
                max_backoff: Duration::from_secs(PAUSE_SECONDS_MAX).max(self.patience.pause),
                base: 2.0,
            },
            max_retries: self.patience.retries_max,
            retry_timeout: self.patience.retrying,
        };
        let client = |plain| {
            ClientOptions::new()
                .with_timeout(self.patience.request)
                .with_connect_timeout(self.patience.request)
                .with_allow_http(plain)
        };
        let (built, secrets): (object_store::Result<Arc<dyn ObjectStore>>, Vec<_>) = match &self.provider {
            Provider::S3(s3) => {
                let (id, key) = (
                    s3.access_key_id.read("the access key's id")?,
                    s3.secret_access_key.read("the access key")?,
                );
                let mut builder = AmazonS3Builder::new()
                    .with_region(&s3.region)
                    .with_bucket_name(&s3.bucket)
                    .with_access_key_id(id.as_str())
                    .with_secret_access_key(key.as_str())
                    // One object at a time: not every service knows the deletion of many.
                    .with_disable_bulk_delete(true)
                    .with_http_connector(Connector::default())
                    .with_retry(retry);
                let plain = is_plain(s3.endpoint.as_deref())?;
                if let Some(endpoint) = &s3.endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                let built = builder.with_client_options(client(plain)).build();
                (built.map(|store| Arc::new(store) as _), vec![id, key])
            }
            Provider::Azure(azure) => {
                let key = azure.key.read("the account's key")?;
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_account(&azure.account)
                    .with_container_name(&azure.container)
                    .with_access_key(key.as_str())
                    .with_http_connector(Connector::default())
                    .with_retry(retry);
                let plain = is_plain(azure.endpoint.as_deref())?;
                if let Some(endpoint) = &azure.endpoint {
                    builder = builder.with_endpoint(endpoint.clone());
                }
                let built = builder.with_client_options(client(plain)).build();
                (built.map(|store| Arc::new(store) as _), vec![key])
            }
            Provider::Gcs(gcs) => {
                let account = gcs.service_account.read("the service account")?;
                let built = GoogleCloudStorageBuilder::new()
                    .with_bucket_name(&gcs.bucket)
                    .with_service_account_key(account.as_str())
                    .with_http_connector(Connector::default())
                    .with_retry(retry)
                    .with_client_options(client(false))
                    .build();
                (built.map(|store| Arc::new(store) as _), vec![account])
            }
        };
        let failures = Failures::new(secrets);
        let store = built.map_err(|error| failures.sort("the object store's settings", &error))?;
        Ok((store, failures))
    }
}

/// Whether an endpoint is without TLS, which is for loopback addresses alone: keys aren't sent in
/// the clear, but content would be.
fn is_plain(endpoint: Option<&str>) -> Result<bool, ContentError> {
    let Some(endpoint) = endpoint else {
        return Ok(false);
    };
    let wrong = |cause: &str| ContentError::Io(format!("the object store's endpoint {endpoint:?}: {cause}"));
    let uri: http::Uri = endpoint
        .parse()
        .map_err(|_| wrong("not an address; write it as https://host[:port]"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(false),
        (Some("http"), Some("localhost")) => Ok(true),
        (Some("http"), Some(host)) => {
            let host = host.trim_matches(|c| c == '[' || c == ']');
            let loopback = host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
            if loopback {
                Ok(true)
            } else {
                Err(wrong("http:// is for loopback addresses alone; use https://"))
            }
        }
        _ => Err(wrong("write it as https://host[:port]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls() {
        for (endpoint, expected) in [
            (None, Some(false)),
            (Some("https://s3.example"), Some(false)),
            (Some("http://127.0.0.1:9000"), Some(true)),
            (Some("http://[::1]:9000"), Some(true)),
            (Some("http://localhost:9000"), Some(true)),
            (Some("http://10.0.0.1:9000"), None),
            (Some("http://localhost.example"), None),
            (Some("ftp://127.0.0.1"), None),
            (Some("127.0.0.1:9000"), None),
        ] {
            assert_eq!(is_plain(endpoint).ok(), expected, "{endpoint:?}");
        }
    }

    fn azure(endpoint: Option<&str>, key: &str) -> ObjectOptions {
        ObjectOptions {
            provider: Provider::Azure(Azure {
                endpoint: endpoint.map(str::to_owned),
                account: "account".to_owned(),
                container: "contents".to_owned(),
                key: Secret::Given(Zeroizing::new(key.to_owned())),
            }),
            prefix: String::new(),
            patience: Patience::default(),
        }
    }

    #[test]
    fn azure_and_gcs_are_made_from_their_settings_or_say_what_is_wrong() {
        let connected = |options: ObjectOptions| options.connect().map(|(store, _)| store.to_string());
        for endpoint in [
            None,
            Some("http://127.0.0.1:10000/account"),
            Some("https://blobs.example/account"),
        ] {
            let store = connected(azure(endpoint, "aGVtbWVsaWc=")).unwrap();
            assert!(store.contains("account") && store.contains("contents"), "{store}");
        }
        let error = connected(azure(None, "not base64!")).unwrap_err().to_string();
        assert!(
            error.contains("settings") && !error.contains("not base64!"),
            "{error}"
        );
        assert!(connected(azure(Some("http://blobs.example"), "aGVtbWVsaWc=")).is_err());
        let gcs = |account: &str| ObjectOptions {
            provider: Provider::Gcs(Gcs {
                bucket: "contents".to_owned(),
                service_account: Secret::Given(Zeroizing::new(account.to_owned())),
            }),
            ..azure(None, "")
        };
        let error = connected(gcs("{\"no\": \"account\"}")).unwrap_err().to_string();
        assert!(error.contains("settings"), "{error}");
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let given = Secret::Given(Zeroizing::new("  hemmelig\n".to_owned()));
        assert_eq!(given.read("x").unwrap().as_str(), "hemmelig");
        assert!(!format!("{given:?}").contains("hemmelig"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "hemmelig\n").unwrap();
        assert_eq!(Secret::File(file.clone()).read("x").unwrap().as_str(), "hemmelig");
        std::fs::write(&file, "\n").unwrap();
        assert!(Secret::File(file).read("x").is_err());
        let missing = Secret::Environment("STABBUR_NO_SUCH_VARIABLE".to_owned());
        let error = missing.read("the access key").unwrap_err().to_string();
        assert!(error.contains("STABBUR_NO_SUCH_VARIABLE"), "{error}");
    }
}
