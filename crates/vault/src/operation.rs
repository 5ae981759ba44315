//! Every public operation of Key Vault's data plane, served or not: how it is asked for, which action it
//! needs, how far it is served. docs/compat/vault.md is made from this table.
//!
//! Source: the REST references "Key Vault secrets", "keys" and "certificates".

use crate::rules::names::Kind;

/// How far an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As documented.
    Yes,
    /// With what is missing.
    Partial(&'static str),
    /// Answered with `NotImplemented` (501), to whoever may do it.
    No,
}

macro_rules! operations {
    ($($name:ident $kind:ident $request:literal $action:literal $support:expr;)*) => {
        /// An operation, by the name that the audit has for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(#[doc = $request] $name,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the audit calls it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Method and path.
            #[must_use]
            pub fn request(self) -> &'static str {
                match self { $(Self::$name => $request,)* }
            }

            /// The data action that it needs, without `Microsoft.KeyVault/vaults/`.
            #[must_use]
            pub fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)* }
            }

            /// How far it is served.
            #[must_use]
            pub fn support(self) -> Support {
                match self { $(Self::$name => $support,)* }
            }

            /// What it is about.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

use Support::{No, Partial, Yes};

operations! {
    SecretSet Secret "PUT /secrets/{n}" "secrets/setSecret/action" Yes;
    SecretGet Secret "GET /secrets/{n}/{v}" "secrets/getSecret/action" Partial("no outContentType: there are no certificates");
    SecretUpdate Secret "PATCH /secrets/{n}/{v}" "secrets/update/action" Yes;
    SecretList Secret "GET /secrets" "secrets/readMetadata/action" Yes;
    SecretListVersions Secret "GET /secrets/{n}/versions" "secrets/readMetadata/action" Yes;
    SecretDelete Secret "DELETE /secrets/{n}" "secrets/delete" Yes;
    SecretListDeleted Secret "GET /deletedsecrets" "secrets/readMetadata/action" Yes;
    SecretGetDeleted Secret "GET /deletedsecrets/{n}" "secrets/readMetadata/action" Yes;
    SecretRecover Secret "POST /deletedsecrets/{n}/recover" "secrets/recover/action" Yes;
    SecretPurge Secret "DELETE /deletedsecrets/{n}" "secrets/purge/action" Yes;
    SecretBackup Secret "POST /secrets/{n}/backup" "secrets/backup/action" Partial("up to 9 MiB of versions");
    SecretRestore Secret "POST /secrets/restore" "secrets/restore/action" Yes;
    KeyCreate Key "POST /keys/{n}/create" "keys/create/action" Partial("RSA and EC; no HSM types, no oct (the original has it in pools), no release policies");
    KeyImport Key "PUT /keys/{n}" "keys/import/action" Partial("RSA and EC as JSON Web Keys; no HSM types, no key_hsm");
    KeyGet Key "GET /keys/{n}/{v}" "keys/read" Yes;
    KeyUpdate Key "PATCH /keys/{n}/{v}" "keys/update/action" Partial("no release policies");
    KeyList Key "GET /keys" "keys/read" Yes;
    KeyListVersions Key "GET /keys/{n}/versions" "keys/read" Yes;
    KeyDelete Key "DELETE /keys/{n}" "keys/delete" Yes;
    KeyListDeleted Key "GET /deletedkeys" "keys/read" Yes;
    KeyGetDeleted Key "GET /deletedkeys/{n}" "keys/read" Yes;
    KeyRecover Key "POST /deletedkeys/{n}/recover" "keys/recover/action" Yes;
    KeyPurge Key "DELETE /deletedkeys/{n}" "keys/purge/action" Yes;
    KeyBackup Key "POST /keys/{n}/backup" "keys/backup/action" Yes;
    KeyRestore Key "POST /keys/restore" "keys/restore/action" Yes;
    KeyEncrypt Key "POST /keys/{n}/{v}/encrypt" "keys/encrypt/action" Partial("RSA-OAEP, RSA-OAEP-256, RSA1_5");
    KeyDecrypt Key "POST /keys/{n}/{v}/decrypt" "keys/decrypt/action" Partial("RSA-OAEP, RSA-OAEP-256, RSA1_5");
    KeyWrap Key "POST /keys/{n}/{v}/wrapkey" "keys/wrap/action" Partial("RSA-OAEP, RSA-OAEP-256, RSA1_5");
    KeyUnwrap Key "POST /keys/{n}/{v}/unwrapkey" "keys/unwrap/action" Partial("RSA-OAEP, RSA-OAEP-256, RSA1_5");
    KeySign Key "POST /keys/{n}/{v}/sign" "keys/sign/action" Partial("RS, PS and ES of all sizes, ES256K; no RSNULL, which the library doesn't do");
    KeyVerify Key "POST /keys/{n}/{v}/verify" "keys/verify/action" Partial("as sign");
    KeyRotate Key "POST /keys/{n}/rotate" "keys/rotate/action" Yes;
    KeyGetRotationPolicy Key "GET /keys/{n}/rotationpolicy" "keyrotationpolicies/read" Yes;
    KeySetRotationPolicy Key "PUT /keys/{n}/rotationpolicy" "keyrotationpolicies/write" Partial("Rotate is done within seconds of its time; Notify is kept, and nobody is notified: there are no events yet");
    KeyRelease Key "POST /keys/{n}/{v}/release" "keys/release/action" No;
    KeyGetAttestation Key "GET /keys/{n}/{v}/attestation" "keys/read" No;
    KeyGetRandomBytes Key "POST /rng" "rng/action" No;
    CertificateCreate Certificate "POST /certificates/{n}/create" "certificates/create/action" No;
    CertificateImport Certificate "POST /certificates/{n}/import" "certificates/import/action" No;
    CertificateGet Certificate "GET /certificates/{n}/{v}" "certificates/read" No;
    CertificateUpdate Certificate "PATCH /certificates/{n}/{v}" "certificates/update/action" No;
    CertificateList Certificate "GET /certificates" "certificates/read" No;
    CertificateListVersions Certificate "GET /certificates/{n}/versions" "certificates/read" No;
    CertificateDelete Certificate "DELETE /certificates/{n}" "certificates/delete" No;
    CertificateListDeleted Certificate "GET /deletedcertificates" "certificates/read" No;
    CertificateGetDeleted Certificate "GET /deletedcertificates/{n}" "certificates/read" No;
    CertificateRecover Certificate "POST /deletedcertificates/{n}/recover" "certificates/recover/action" No;
    CertificatePurge Certificate "DELETE /deletedcertificates/{n}" "certificates/purge/action" No;
    CertificateBackup Certificate "POST /certificates/{n}/backup" "certificates/backup/action" No;
    CertificateRestore Certificate "POST /certificates/restore" "certificates/restore/action" No;
    CertificatePolicyGet Certificate "GET /certificates/{n}/policy" "certificates/read" No;
    CertificatePolicySet Certificate "PATCH /certificates/{n}/policy" "certificates/update/action" No;
    CertificatePendingGet Certificate "GET /certificates/{n}/pending" "certificates/read" No;
    CertificatePendingUpdate Certificate "PATCH /certificates/{n}/pending" "certificates/update/action" No;
    CertificatePendingDelete Certificate "DELETE /certificates/{n}/pending" "certificates/delete" No;
    CertificatePendingMerge Certificate "POST /certificates/{n}/pending/merge" "certificates/create/action" No;
    CertificateContactsGet Certificate "GET /certificates/contacts" "certificates/read" No;
    CertificateContactsSet Certificate "PUT /certificates/contacts" "certificatecontacts/write" No;
    CertificateContactsDelete Certificate "DELETE /certificates/contacts" "certificatecontacts/write" No;
    CertificateIssuersList Certificate "GET /certificates/issuers" "certificatecas/read" No;
    CertificateIssuersGet Certificate "GET /certificates/issuers/{i}" "certificatecas/read" No;
    CertificateIssuersSet Certificate "PUT /certificates/issuers/{i}" "certificatecas/write" No;
    CertificateIssuersUpdate Certificate "PATCH /certificates/issuers/{i}" "certificatecas/write" No;
    CertificateIssuersDelete Certificate "DELETE /certificates/issuers/{i}" "certificatecas/delete" No;
}

/// The page docs/compat/vault.md.
#[must_use]
pub fn compat_markdown() -> String {
    let mut out = String::from(
        "# Key Vault\n\nMade from `crates/vault/src/operation.rs`. What isn't served answers with `NotImplemented` (501) to \
         whoever may do it, and with 403 to others. Access is by roles (docs/operate/vault.md); access policies, \
         Managed HSM pools, managed storage accounts, events and throttling aren't there. Any well-formed \
         `api-version` is taken, and answered in the newest shape.\n\nWhat a client may notice: attributes show no \
         `exportable` and no `hsmPlatform`; a backup restores into the vault it was made of alone; versions are \
         listed by their ids.\n\n| operation | request | action | served |\n| --- | --- | --- | --- |\n",
    );
    for operation in Operation::ALL {
        let support = match operation.support() {
            Yes => "yes".to_owned(),
            Partial(missing) => format!("partly: {missing}"),
            No => "no".to_owned(),
        };
        out.push_str(&format!(
            "| {} | `{}` | `{}` | {support} |\n",
            operation.name(),
            operation.request(),
            operation.action()
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compat_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat/vault.md");
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, compat_markdown()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == compat_markdown(),
            "docs/compat/vault.md is old: run this test with STABBUR_BLESS=1"
        );
    }
}
