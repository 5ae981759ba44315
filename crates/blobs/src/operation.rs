//! Every public operation of Azure Blob Storage's REST API, served or not. docs/compat/blobs.md
//! is made from this table.

/// How far an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// As documented.
    Yes,
    /// With what is missing.
    Partial(&'static str),
    /// Answered with `NotImplemented` (501).
    No,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its documented name.
    pub name: &'static str,
    /// Method, and what of path and query picks it.
    pub request: &'static str,
    /// How far it is served.
    pub support: Support,
}

const fn yes(name: &'static str, request: &'static str) -> Operation {
    Operation {
        name,
        request,
        support: Support::Yes,
    }
}

const fn partial(name: &'static str, request: &'static str, missing: &'static str) -> Operation {
    Operation {
        name,
        request,
        support: Support::Partial(missing),
    }
}

const fn no(name: &'static str, request: &'static str) -> Operation {
    Operation {
        name,
        request,
        support: Support::No,
    }
}

/// The operations, in the order of the REST reference.
pub const OPERATIONS: &[Operation] = &[
    partial(
        "List Containers",
        "GET /?comp=list",
        "of the system containers `$blobchangefeed` alone exists (include=system)",
    ),
    partial(
        "Set Blob Service Properties",
        "PUT /?restype=service&comp=properties",
        "CORS, soft delete with AllowPermanentDelete, default version, static websites where the settings name a host for them; logging and metrics are refused",
    ),
    yes(
        "Get Blob Service Properties",
        "GET /?restype=service&comp=properties",
    ),
    yes("Preflight Blob Request", "OPTIONS"),
    partial(
        "Get Blob Service Stats",
        "GET /?restype=service&comp=stats",
        "there is one region: the secondary host answers as that of an account without read access to a secondary, with InsufficientAccountPermissions",
    ),
    yes("Get Account Information", "GET ?restype=account&comp=properties"),
    partial(
        "Get User Delegation Key",
        "POST /?restype=service&comp=userdelegationkey",
        "for one tenant; roles that a principal has by a group alone make no key",
    ),
    yes(
        "Find Blobs by Tags",
        "GET /?comp=blobs, GET /c?restype=container&comp=blobs",
    ),
    yes(
        "Blob Batch",
        "POST /?comp=batch, POST /c?restype=container&comp=batch",
    ),
    yes("Create Container", "PUT /c?restype=container"),
    yes("Get Container Properties", "GET, HEAD /c?restype=container"),
    yes(
        "Get Container Metadata",
        "GET, HEAD /c?restype=container&comp=metadata",
    ),
    yes("Set Container Metadata", "PUT /c?restype=container&comp=metadata"),
    yes("Get Container ACL", "GET /c?restype=container&comp=acl"),
    yes("Set Container ACL", "PUT /c?restype=container&comp=acl"),
    partial(
        "Delete Container",
        "DELETE /c?restype=container",
        "the name is free at once; kept as long as DeleteRetentionPolicy says, for which the original has a setting outside of this protocol; one with immutable storage is deleted if it is empty, which there only the management does",
    ),
    yes("Restore Container", "PUT /c?restype=container&comp=undelete"),
    yes("Lease Container", "PUT /c?restype=container&comp=lease"),
    yes("List Blobs", "GET /c?restype=container&comp=list"),
    yes("Put Blob", "PUT /c/b"),
    partial(
        "Put Blob from URL",
        "PUT /c/b + x-ms-copy-source, x-ms-blob-type",
        "sources of this service, of any kind: the blob is a block blob, as the original makes it, and takes a page blob's holes as zeros",
    ),
    yes("Get Blob", "GET /c/b"),
    yes("Get Blob Properties", "HEAD /c/b"),
    yes("Set Blob Properties", "PUT /c/b?comp=properties"),
    yes("Get Blob Metadata", "GET, HEAD /c/b?comp=metadata"),
    yes("Set Blob Metadata", "PUT /c/b?comp=metadata"),
    yes("Lease Blob", "PUT /c/b?comp=lease"),
    yes("Snapshot Blob", "PUT /c/b?comp=snapshot"),
    partial(
        "Copy Blob",
        "PUT /c/b + x-ms-copy-source",
        "sources of this service: with the account's key, a bearer token, a signature, or open to anybody; finishes at once, for page blobs after a record for each 4 MiB that is written, into another encryption scope after it is written anew; page blobs aren't copied into another scope",
    ),
    yes("Abort Copy Blob", "PUT /c/b?comp=copy"),
    yes("Delete Blob", "DELETE /c/b"),
    yes("Undelete Blob", "PUT /c/b?comp=undelete"),
    partial(
        "Set Blob Tier",
        "PUT /c/b?comp=tier",
        "as of a general-purpose v2 account: block blobs' tiers; page blobs' (P4 to P80) and append blobs' are refused as that account refuses them, with AccessTierNotSupportedForBlobType; a blob leaves the archive at once",
    ),
    yes("Get, Set Blob Tags", "GET, PUT /c/b?comp=tags"),
    partial(
        "Set Blob Expiry",
        "PUT /c/b?comp=expiry",
        "as of an account without a hierarchical namespace: HierarchicalNamespaceNotEnabled",
    ),
    partial(
        "Set, Delete Immutability Policy",
        "PUT, DELETE /c/b?comp=immutabilityPolicies",
        "policies of versions; no default policies of accounts and containers, no policies of containers as a whole",
    ),
    yes("Set Blob Legal Hold", "PUT /c/b?comp=legalhold"),
    no("Query Blob Contents", "POST /c/b?comp=query"),
    yes("Put Block", "PUT /c/b?comp=block"),
    partial(
        "Put Block from URL",
        "PUT /c/b?comp=block + x-ms-copy-source",
        "sources of this service",
    ),
    partial(
        "Put Block List",
        "PUT /c/b?comp=blocklist",
        "a list past what a record of 4 MiB holds (about 25,000 to 40,000 blocks, by the length of their ids) is refused",
    ),
    yes("Get Block List", "GET /c/b?comp=blocklist"),
    partial(
        "Put Page",
        "PUT /c/b?comp=page",
        "clearing more than 1 GiB of written pages goes in steps, which readers see",
    ),
    partial(
        "Put Page from URL",
        "PUT /c/b?comp=page + x-ms-copy-source",
        "sources of this service",
    ),
    yes("Get Page Ranges", "GET /c/b?comp=pagelist"),
    partial(
        "Incremental Copy Blob",
        "PUT /c/b?comp=incrementalcopy",
        "sources of this service; finishes at once",
    ),
    partial(
        "Append Block",
        "PUT /c/b?comp=appendblock",
        "each append writes the blob's list of blocks anew, about 70 bytes a block",
    ),
    partial(
        "Append Block from URL",
        "PUT /c/b?comp=appendblock + x-ms-copy-source",
        "sources of this service",
    ),
    yes("Append Blob Seal", "PUT /c/b?comp=seal"),
];

/// docs/compat/blobs.md.
#[must_use]
pub fn compat_markdown() -> String {
    let mut out = String::from(
        "# Blobs: what is served\n\nMade from `crates/blobs/src/operation.rs`. What isn't served answers \
         `NotImplemented` (501).\n\nAuthentication: Shared Key, Shared Key Lite, account SAS, service SAS for \
         containers, blobs, snapshots and versions with stored access policies, bearer tokens over TLS with the roles \
         Storage Blob Data Owner, Contributor, Reader and Storage Blob Delegator (docs/operate/identity.md), user \
         delegation SAS for the same, anonymous reads where the account allows them.\nNot served: SAS for directories \
         (`sr=d`), `suoid`, attribute conditions of role assignments.\n\nVersions are made where an account's setting \
         says so (docs/operate/running.md); docs/adr/0016 has what each operation does then.\n\nImmutability \
         policies and legal holds are taken where an account's setting says so; docs/adr/0019 has what they \
         refuse.\n\nThe change feed (`$blobchangefeed`) and lifecycle rules are settings of an account \
         (docs/operate/running.md, docs/adr/0020), and so are last access times.\n\nCustomer-provided keys are taken \
         over TLS, and encryption scopes are settings of an account (docs/operate/encryption.md, docs/adr/0026). An \
         operation on a blob in a scope that names no scope takes the blob's.\n\n| operation | request | served \
         |\n| --- | --- | --- |\n",
    );
    for operation in OPERATIONS {
        let support = match operation.support {
            Support::Yes => "yes".to_owned(),
            Support::Partial(missing) => format!("partly: {missing}"),
            Support::No => "no".to_owned(),
        };
        out.push_str(&format!(
            "| {} | `{}` | {support} |\n",
            operation.name, operation.request
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compat_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat/blobs.md");
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, compat_markdown()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == compat_markdown(),
            "docs/compat/blobs.md is old: run this test with STABBUR_BLESS=1"
        );
    }
}
