//! Certificates: from files, or from a development authority of our own.
//!
//! Invariant: private keys are written readable for their owner only, and never logged.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::GatewayError;
use crate::limits::{AUTHORITY_DAYS, CERTIFICATE_DAYS, CERTIFICATE_DAYS_LEFT_MIN, PEM_BYTES_MAX};

/// Names that the development certificate is for.
const DEVELOPMENT_NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "*.blob.localhost",
    "*.documents.localhost",
    "*.vault.localhost",
];

/// A listener's certificate and key. `Debug` shows nothing of the key.
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// [`GatewayError::TlsFile`], [`GatewayError::TlsContent`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, GatewayError> {
        let chain_pem = read(certificate)?;
        let key_pem = read(key)?;
        let content = |path: &Path, cause: String| GatewayError::TlsContent {
            path: path.to_owned(),
            cause,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|error| content(certificate, format!("not a PEM certificate chain: {error}")))?;
        if chain.is_empty() {
            return Err(content(
                certificate,
                "holds no certificate; it must be a PEM chain".to_owned(),
            ));
        }
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
            content(
                key,
                "holds no PEM private key (PKCS#8, PKCS#1 or SEC 1)".to_owned(),
            )
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| content(certificate, format!("certificate and key don't fit: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The development certificate in `folder`, made or renewed if need be; also the file of the
    /// authority that clients must trust.
    ///
    /// # Errors
    /// [`GatewayError::TlsFile`], [`GatewayError::Certificate`].
    pub fn development(folder: &Path, now: Timestamp) -> Result<(Self, PathBuf), GatewayError> {
        let authority = folder.join("ca.pem");
        let (certificate, key) = (folder.join("server.pem"), folder.join("server-key.pem"));
        if !still_valid(folder, now) {
            make(folder, now)?;
        }
        Ok((Self::from_files(&certificate, &key)?, authority))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, GatewayError> {
    let file = |cause| GatewayError::TlsFile {
        path: path.to_owned(),
        cause,
    };
    let length = fs::metadata(path).map_err(file)?.len();
    if length > PEM_BYTES_MAX {
        let cause = format!("has {length} bytes; a PEM file has at most {PEM_BYTES_MAX}");
        return Err(GatewayError::TlsContent {
            path: path.to_owned(),
            cause,
        });
    }
    fs::read(path).map_err(file)
}

/// Whether everything is there and has some days left.
fn still_valid(folder: &Path, now: Timestamp) -> bool {
    let all = ["ca.pem", "server.pem", "server-key.pem"]
        .iter()
        .all(|name| folder.join(name).is_file());
    let until = fs::read_to_string(folder.join("valid-until"))
        .ok()
        .and_then(|text| text.trim().parse::<Timestamp>().ok());
    // One of an older release lacks names that came later.
    let names = fs::read_to_string(folder.join("names")).unwrap_or_default();
    let all = all && names == DEVELOPMENT_NAMES.join("\n");
    let needed = now.checked_add((CERTIFICATE_DAYS_LEFT_MIN * 24).hours());
    all && until.is_some_and(|until| needed.is_ok_and(|needed| until > needed))
}

fn make(folder: &Path, now: Timestamp) -> Result<(), GatewayError> {
    let failed = |error: &dyn std::fmt::Display| GatewayError::Certificate(error.to_string());
    let file = |path: &Path| {
        let path = path.to_owned();
        move |cause| GatewayError::TlsFile {
            path: path.clone(),
            cause,
        }
    };
    fs::create_dir_all(folder).map_err(file(folder))?;
    let in_days = |days: i64| {
        now.checked_add((days * 24).hours())
            .map_err(|error| failed(&error))
    };

    let authority_key = KeyPair::generate().map_err(|error| failed(&error))?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "Stabbur development authority");
    set_validity(&mut authority, in_days(-1)?, in_days(AUTHORITY_DAYS)?);
    let authority_pem = authority
        .self_signed(&authority_key)
        .map_err(|error| failed(&error))?
        .pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let names: Vec<String> = DEVELOPMENT_NAMES.map(str::to_owned).into();
    let mut server = CertificateParams::new(names).map_err(|error| failed(&error))?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let until = in_days(CERTIFICATE_DAYS)?;
    set_validity(&mut server, in_days(-1)?, until);
    let server_pem = server
        .signed_by(&key, &issuer)
        .map_err(|error| failed(&error))?
        .pem();

    // The authority's key is not kept: a renewed certificate comes with a new authority.
    write(&folder.join("ca.pem"), &authority_pem, 0o644)?;
    write(
        &folder.join("server.pem"),
        &format!("{server_pem}{authority_pem}"),
        0o644,
    )?;
    write(&folder.join("server-key.pem"), &key.serialize_pem(), 0o600)?;
    write(&folder.join("names"), &DEVELOPMENT_NAMES.join("\n"), 0o644)?;
    write(&folder.join("valid-until"), &until.to_string(), 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), GatewayError> {
    let file = |cause| GatewayError::TlsFile {
        path: path.to_owned(),
        cause,
    };
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(file(cause)),
        _ => {}
    }
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(file)?;
    out.write_all(text.as_bytes()).map_err(file)
}

/// Sets from when until when a certificate is valid, in whole days.
fn set_validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let day = |at: Timestamp| {
        let date = TimeZone::UTC.to_datetime(at).date();
        let part = |value: i8| u8::try_from(value).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(from);
    params.not_after = day(until);
}
