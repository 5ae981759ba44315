//! What the nodes of a scenario share: keys, certificates, a database, a bucket; and each node's
//! configuration.
//!
//! Nodes listen on loopback addresses of their own and on the same ports, as machines would.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::TokenIssuer;
use ledger::clock::SystemClock;
use ledger::memory::MemoryLedger;
use ledger::random::{Random as _, SystemRandom};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::{objects, postgres};

const CONTENT_CONFIG: &str = "content.toml";
pub(crate) const ACCOUNT: &str = "acme";
pub(crate) const BLOBS_SUFFIX: &str = "blob.example.org";
/// The app whose instances are created, and who owns them.
pub(crate) const ORG: &str = "ttd";
pub(crate) const APP: &str = "nodes";
pub(crate) const PARTY: &str = "501337";
const USER: u64 = 1337;
const ROLE: &str = "DAGL";
/// Longer than any run.
const TOKEN_SECONDS: i64 = 24 * 3_600;
pub(crate) const DOCUMENTS_SUFFIX: &str = "documents.example.org";

/// How many nodes the sample configuration of the balancer knows.
pub(crate) const NODES_MAX: usize = 3;

/// Ports that nodes listen on, each on its own address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) blobs: u16,
    pub(crate) documents: u16,
    pub(crate) platform: u16,
    pub(crate) admin: u16,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    /// The authority that signed every certificate here.
    pub(crate) authority_pem: String,
    pub(crate) blobs_key: String,
    pub(crate) documents_key: String,
    pub(crate) user_token: String,
    pub(crate) studio_token: String,
    /// The ledger's connection string.
    pub(crate) connection: String,
}

/// The address of a node, from 1.
pub(crate) fn address(node: usize) -> String {
    format!("127.0.0.{}", 10 + node)
}

/// A port that is free on this machine for now, on every loopback address in use here.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        let all: std::io::Result<Vec<TcpListener>> = (1..=NODES_MAX)
            .map(|node| TcpListener::bind((address(node).as_str(), port)))
            .collect();
        if all.is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free on all of {}", address(1))
}

impl Estate {
    /// Makes it in `folder`, whose name is the database's and the bucket's prefix as well.
    pub(crate) fn new(
        folder: &Path,
        postgres: &postgres::Server,
        objects: &objects::Server,
    ) -> Result<Arc<Self>> {
        std::fs::create_dir_all(folder)?;
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .context("the folder has no name")?;
        let key = || {
            let mut bytes = [0; 64];
            SystemRandom.fill(&mut bytes);
            STANDARD.encode(bytes)
        };
        let tokens = tokens(folder)?;
        let estate = Self {
            folder: folder.to_owned(),
            ports: Ports {
                blobs: free_port()?,
                documents: free_port()?,
                platform: free_port()?,
                admin: free_port()?,
            },
            authority_pem: certificates(folder)?,
            blobs_key: key(),
            documents_key: key(),
            user_token: tokens.0,
            studio_token: tokens.1,
            connection: postgres.database(name)?,
        };
        std::fs::write(folder.join("blobs.key"), &estate.blobs_key)?;
        std::fs::write(folder.join("documents.key"), &estate.documents_key)?;
        let content = s3_server::write_content_config(folder, CONTENT_CONFIG, objects.address)?;
        let text = std::fs::read_to_string(&content)?;
        std::fs::write(content, format!("{text}prefix = \"{name}\"\n"))?;
        for node in 1..=NODES_MAX {
            std::fs::write(estate.config(node), estate.config_text(node)?)?;
        }
        Ok(Arc::new(estate))
    }

    /// A node's configuration, for `stabbur serve`.
    pub(crate) fn config(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node{node}.toml"))
    }

    /// Where the content is, for `stabbur ledger`.
    pub(crate) fn content_config(&self) -> PathBuf {
        self.folder.join(CONTENT_CONFIG)
    }

    fn config_text(&self, node: usize) -> Result<String> {
        let (folder, address, ports) = (self.folder.display(), address(node), self.ports);
        let tls = format!("tls = {{ certificate = \"{folder}/tls.pem\", key = \"{folder}/tls-key.pem\" }}");
        let service = |name: &str, port: u16, suffix: &str| {
            format!(
                "[{name}]\nlisten = \"{address}:{port}\"\n{tls}\nhost_suffixes = [\"{suffix}\"]\n\
                 accounts = [{{ name = \"{ACCOUNT}\", key_files = [\"{folder}/{name}.key\"] }}]\n"
            )
        };
        let content = std::fs::read_to_string(self.content_config())?;
        let platform = format!(
            "[platform]\nlisten = \"{address}:{}\"\n{tls}\nenvironment = \"tt02\"\n\
             documents_account = \"{ACCOUNT}\"\nblobs_account = \"{ACCOUNT}\"\n\
             token_keys = \"{folder}/jwks.json\"\npolicies = \"{folder}/policies\"\n\
             register = \"{folder}/register.json\"\n",
            ports.platform
        );
        Ok(format!(
            "data_dir = \"{folder}/node{node}\"\n\n{}\n{}\n[ledger]\npostgres = \"{}\"\n\n\
             [content]\n{content}\n{platform}\n[admin]\nlisten = \"{address}:{}\"\n{tls}\n",
            service("blobs", ports.blobs, BLOBS_SUFFIX),
            service("documents", ports.documents, DOCUMENTS_SUFFIX),
            self.connection,
            ports.admin,
        ))
    }
}

/// Who may what on the platform, written to `folder`: keys, register, a policy; a user's token and
/// one of those who publish apps.
fn tokens(folder: &Path) -> Result<(String, String)> {
    let policies = folder.join("policies").join(ORG).join(APP);
    std::fs::create_dir_all(&policies)?;
    let designator = "AttributeId=\"urn:altinn:rolecode\" MustBePresent=\"false\" \
        Category=\"urn:oasis:names:tc:xacml:1.0:subject-category:access-subject\"";
    let policy = format!(
        "<Policy RuleCombiningAlgId=\"urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides\"><Target/>\
         <Rule RuleId=\"r\" Effect=\"Permit\"><Target><AnyOf><AllOf><Match \
         MatchId=\"urn:oasis:names:tc:xacml:1.0:function:string-equal\"><AttributeValue>{ROLE}</AttributeValue>\
         <AttributeDesignator {designator}/></Match></AllOf></AnyOf></Target></Rule></Policy>"
    );
    std::fs::write(policies.join("policy.xml"), policy)?;
    let register = json!({"parties": [{"partyId": 501_337, "name": "Sophie"}],
        "users": [{"userId": USER, "partyId": 501_337, "username": "Sophie", "roles": {PARTY: [ROLE]}}]});
    std::fs::write(folder.join("register.json"), register.to_string())?;
    let clock = Arc::new(SystemClock);
    let issuer = TokenIssuer::new(Arc::new(MemoryLedger::new(clock.clone())), clock, "nodes");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let keys = issuer.public_keys().await?;
        std::fs::write(folder.join("jwks.json"), serde_json::to_string(&*keys)?)?;
        let token = async |claims: Value| -> Result<String> {
            let claims = claims.as_object().cloned().unwrap_or_default();
            Ok(issuer
                .issue("https://platform.example.org", claims, TOKEN_SECONDS)
                .await?)
        };
        let user = json!({"urn:altinn:userid": USER, "urn:altinn:partyid": PARTY, "urn:altinn:authlevel": 3});
        Ok((
            token(user).await?,
            token(json!({"urn:altinn:app": "studio.designer"})).await?,
        ))
    })
}

/// An authority of our own and one certificate for nodes and balancer, written to `folder`; the
/// authority's.
fn certificates(folder: &Path) -> Result<String> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority of the test of several nodes");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut names = vec![
        "127.0.0.1".to_owned(),
        format!("*.{BLOBS_SUFFIX}"),
        format!("*.{DOCUMENTS_SUFFIX}"),
    ];
    for node in 1..=NODES_MAX {
        names.push(address(node));
        names.push(format!("node{node}.example.org"));
    }
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name.push(DnType::CommonName, "nodes");
    let certificate = certificate.signed_by(&key, &issuer)?.pem();
    std::fs::write(folder.join("authority.pem"), &authority_pem)?;
    std::fs::write(folder.join("tls.pem"), &certificate)?;
    std::fs::write(folder.join("tls-key.pem"), key.serialize_pem())?;
    // The balancer wants both in one file.
    std::fs::write(folder.join("balancer.pem"), certificate + &key.serialize_pem())?;
    Ok(authority_pem)
}
