//! Which operation a request means, and of which object.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::{ErrorCode, VaultError};
use crate::operation::Operation;
use crate::rules::names::{Kind, Version, is_name};

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    /// The object; as the client wrote it.
    pub(crate) name: Option<String>,
    /// One of its versions; `None`: the newest.
    pub(crate) version: Option<String>,
}

impl Target {
    /// The object's name, well formed.
    pub(crate) fn name(&self) -> Result<&str, VaultError> {
        self.name.as_deref().filter(|name| is_name(name)).ok_or_else(|| {
            VaultError::bad(
                "The request URI contains an invalid name: 1 to 127 letters, digits and dashes are allowed.",
            )
        })
    }

    /// The version that is named.
    pub(crate) fn version(&self) -> Result<Option<Version>, VaultError> {
        let Some(text) = &self.version else {
            return Ok(None);
        };
        let read = Version::parse(text);
        read.map(Some).ok_or_else(|| {
            VaultError::bad("The request URI contains an invalid version: it has 32 hexadecimal digits.")
        })
    }
}

/// Reads method and path. Collections and verbs are compared without case; an empty last segment stands for
/// the newest version, and slashes before the collection for nothing.
pub(crate) fn route(method: &Method, path: &str) -> Result<Target, VaultError> {
    let decoded: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let lower: Vec<String> = decoded
        .iter()
        .map(|segment| segment.to_ascii_lowercase())
        .collect();
    let mut segments: Vec<&str> = lower.iter().map(String::as_str).collect();
    // `/secrets/` is the collection; behind an object it is the newest version.
    if segments.len() == 2 && segments.last().is_some_and(|last| last.is_empty()) {
        segments.pop();
    }
    let unknown = || VaultError::new(ErrorCode::NotFound, "The request URI isn't one of the vault's.");
    let (collection, rest) = segments.split_first().ok_or_else(unknown)?;
    let is_deleted = collection.starts_with("deleted");
    let (operation, name, version) =
        match Kind::of_collection(collection.strip_prefix("deleted").unwrap_or(collection)) {
            Some(kind) if is_deleted => deleted(method, kind, rest),
            Some(Kind::Secret) => secrets(method, rest),
            Some(Kind::Key) => keys(method, rest),
            Some(Kind::Certificate) => certificates(method, rest),
            None if *collection == "rng" && rest.is_empty() && method == Method::POST => {
                Some((Operation::KeyGetRandomBytes, None, None))
            }
            None => None,
        }
        .ok_or_else(unknown)?;
    let at = |index: Option<usize>| {
        let segment = decoded.get(index? + 1)?;
        (!segment.is_empty()).then(|| segment.clone())
    };
    Ok(Target {
        operation,
        name: at(name),
        version: at(version),
    })
}

/// The operation, and where behind the collection name and version stand.
type Found = Option<(Operation, Option<usize>, Option<usize>)>;

fn deleted(method: &Method, kind: Kind, rest: &[&str]) -> Found {
    let [list, get, recover, purge] = match kind {
        Kind::Secret => [
            Operation::SecretListDeleted,
            Operation::SecretGetDeleted,
            Operation::SecretRecover,
            Operation::SecretPurge,
        ],
        Kind::Key => [
            Operation::KeyListDeleted,
            Operation::KeyGetDeleted,
            Operation::KeyRecover,
            Operation::KeyPurge,
        ],
        Kind::Certificate => [
            Operation::CertificateListDeleted,
            Operation::CertificateGetDeleted,
            Operation::CertificateRecover,
            Operation::CertificatePurge,
        ],
    };
    match (method, rest) {
        (&Method::GET, []) => Some((list, None, None)),
        (&Method::GET, [_] | [_, ""]) => Some((get, Some(0), None)),
        (&Method::POST, [_, "recover"]) => Some((recover, Some(0), None)),
        (&Method::DELETE, [_] | [_, ""]) => Some((purge, Some(0), None)),
        _ => None,
    }
}

fn secrets(method: &Method, rest: &[&str]) -> Found {
    let (operation, name, version) = match (method, rest) {
        (&Method::GET, []) => (Operation::SecretList, None, None),
        (&Method::POST, ["restore"]) => (Operation::SecretRestore, None, None),
        (&Method::GET, [_, "versions"]) => (Operation::SecretListVersions, Some(0), None),
        (&Method::POST, [_, "backup"]) => (Operation::SecretBackup, Some(0), None),
        (&Method::PUT, [_] | [_, ""]) => (Operation::SecretSet, Some(0), None),
        (&Method::DELETE, [_] | [_, ""]) => (Operation::SecretDelete, Some(0), None),
        (&Method::GET, [_] | [_, _]) => (Operation::SecretGet, Some(0), Some(1)),
        (&Method::PATCH, [_] | [_, _]) => (Operation::SecretUpdate, Some(0), Some(1)),
        _ => return None,
    };
    Some((operation, name, version))
}

fn crypto(verb: &str) -> Option<Operation> {
    Some(match verb {
        "encrypt" => Operation::KeyEncrypt,
        "decrypt" => Operation::KeyDecrypt,
        "wrapkey" => Operation::KeyWrap,
        "unwrapkey" => Operation::KeyUnwrap,
        "sign" => Operation::KeySign,
        "verify" => Operation::KeyVerify,
        "release" => Operation::KeyRelease,
        _ => return None,
    })
}

fn keys(method: &Method, rest: &[&str]) -> Found {
    let (operation, name, version) = match (method, rest) {
        (&Method::GET, []) => (Operation::KeyList, None, None),
        (&Method::POST, ["restore"]) => (Operation::KeyRestore, None, None),
        (&Method::GET, [_, "versions"]) => (Operation::KeyListVersions, Some(0), None),
        (&Method::GET, [_, "rotationpolicy"]) => (Operation::KeyGetRotationPolicy, Some(0), None),
        (&Method::PUT, [_, "rotationpolicy"]) => (Operation::KeySetRotationPolicy, Some(0), None),
        (&Method::GET, [_, "attestation"]) => (Operation::KeyGetAttestation, Some(0), None),
        (&Method::GET, [_, _, "attestation"]) => (Operation::KeyGetAttestation, Some(0), Some(1)),
        (&Method::POST, [_, "create"]) => (Operation::KeyCreate, Some(0), None),
        (&Method::POST, [_, "backup"]) => (Operation::KeyBackup, Some(0), None),
        (&Method::POST, [_, "rotate"]) => (Operation::KeyRotate, Some(0), None),
        (&Method::PUT, [_] | [_, ""]) => (Operation::KeyImport, Some(0), None),
        (&Method::DELETE, [_] | [_, ""]) => (Operation::KeyDelete, Some(0), None),
        (&Method::GET, [_] | [_, _]) => (Operation::KeyGet, Some(0), Some(1)),
        (&Method::PATCH, [_] | [_, _]) => (Operation::KeyUpdate, Some(0), Some(1)),
        (&Method::POST, [_, _, verb]) => (crypto(verb)?, Some(0), Some(1)),
        (&Method::POST, [_, verb]) => (crypto(verb)?, Some(0), None),
        _ => return None,
    };
    Some((operation, name, version))
}

fn certificates(method: &Method, rest: &[&str]) -> Found {
    use Operation as O;
    let (operation, name, version) = match (method, rest) {
        (&Method::GET, []) => (O::CertificateList, None, None),
        (&Method::POST, ["restore"]) => (O::CertificateRestore, None, None),
        (&Method::GET, ["contacts"]) => (O::CertificateContactsGet, None, None),
        (&Method::PUT, ["contacts"]) => (O::CertificateContactsSet, None, None),
        (&Method::DELETE, ["contacts"]) => (O::CertificateContactsDelete, None, None),
        (&Method::GET, ["issuers"]) => (O::CertificateIssuersList, None, None),
        (&Method::GET, ["issuers", _]) => (O::CertificateIssuersGet, None, None),
        (&Method::PUT, ["issuers", _]) => (O::CertificateIssuersSet, None, None),
        (&Method::PATCH, ["issuers", _]) => (O::CertificateIssuersUpdate, None, None),
        (&Method::DELETE, ["issuers", _]) => (O::CertificateIssuersDelete, None, None),
        (&Method::GET, [_, "versions"]) => (O::CertificateListVersions, Some(0), None),
        (&Method::GET, [_, "policy"]) => (O::CertificatePolicyGet, Some(0), None),
        (&Method::PATCH, [_, "policy"]) => (O::CertificatePolicySet, Some(0), None),
        (&Method::GET, [_, "pending"]) => (O::CertificatePendingGet, Some(0), None),
        (&Method::PATCH, [_, "pending"]) => (O::CertificatePendingUpdate, Some(0), None),
        (&Method::DELETE, [_, "pending"]) => (O::CertificatePendingDelete, Some(0), None),
        (&Method::POST, [_, "pending", "merge"]) => (O::CertificatePendingMerge, Some(0), None),
        (&Method::POST, [_, "create"]) => (O::CertificateCreate, Some(0), None),
        (&Method::POST, [_, "import"]) => (O::CertificateImport, Some(0), None),
        (&Method::POST, [_, "backup"]) => (O::CertificateBackup, Some(0), None),
        (&Method::DELETE, [_] | [_, ""]) => (O::CertificateDelete, Some(0), None),
        (&Method::GET, [_] | [_, _]) => (O::CertificateGet, Some(0), Some(1)),
        (&Method::PATCH, [_] | [_, _]) => (O::CertificateUpdate, Some(0), Some(1)),
        _ => return None,
    };
    Some((operation, name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Option<(Operation, Option<String>, Option<String>)> {
        let target = route(&Method::from_bytes(method.as_bytes()).unwrap(), path).ok()?;
        Some((target.operation, target.name, target.version))
    }

    #[test]
    fn every_operation_has_its_route() {
        for operation in Operation::ALL {
            let (method, path) = operation.request().split_once(' ').unwrap();
            let path = path
                .replace("{n}", "Name")
                .replace("{v}", "v1")
                .replace("{i}", "issuer");
            let target = found(method, &path).map(|(operation, ..)| operation);
            assert_eq!(target, Some(*operation), "{method} {path}");
        }
    }

    #[test]
    fn odd_paths_are_read() {
        let of = |operation, name: &str, version: Option<&str>| {
            Some((operation, Some(name.to_owned()), version.map(str::to_owned)))
        };
        assert_eq!(found("GET", "/secrets/N/"), of(Operation::SecretGet, "N", None));
        assert_eq!(found("GET", "//SECRETS/N"), of(Operation::SecretGet, "N", None));
        assert_eq!(
            found("GET", "/secrets/n/V"),
            of(Operation::SecretGet, "n", Some("V"))
        );
        assert_eq!(found("POST", "/keys/n//Sign"), of(Operation::KeySign, "n", None));
        assert_eq!(found("POST", "/keys/n/sign"), of(Operation::KeySign, "n", None));
        assert_eq!(
            found("GET", "/secrets/"),
            Some((Operation::SecretList, None, None))
        );
        assert_eq!(
            found("GET", "/secrets/a%2Fb"),
            of(Operation::SecretGet, "a/b", None)
        );
        for (method, path) in [
            ("GET", "/"),
            ("GET", ""),
            ("POST", "/secrets"),
            ("GET", "/secrets/a/b/c"),
            ("GET", "/deleted"),
            ("PUT", "/deletedsecrets/a"),
            ("POST", "/keys/n/v/burn"),
            ("GET", "/storage/a"),
        ] {
            assert_eq!(found(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn names_and_versions_are_checked() {
        let target = |path| route(&Method::GET, path).unwrap();
        assert!(target("/secrets/a_b").name().is_err());
        assert!(target("/secrets/a/short").version().is_err());
        assert_eq!(target("/secrets/a").version(), Ok(None));
        assert!(
            target(&format!("/secrets/a/{}", "0".repeat(32)))
                .version()
                .unwrap()
                .is_some()
        );
    }
}
