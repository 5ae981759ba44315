//! The only place that knows code, status and public text of the Blob service's errors.
//!
//! Source: "Status and error codes" and "Blob Storage error codes" of the REST reference.

use content::ContentError;
use http::StatusCode;
use http_semantics::BodyError;
use ledger::LedgerError;

macro_rules! codes {
    ($($name:ident $status:literal $text:literal;)*) => {
        /// An error code of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        pub enum ErrorCode { $($name),* }

        impl ErrorCode {
            /// The code as clients see it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Its status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                let number = match self { $(Self::$name => $status),* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// Its text.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

codes! {
    AccessTierNotSupportedForBlobType 400 "The access tier is not supported for this blob type.";
    AccountRequiresHttps 400 "The account being accessed does not support http.";
    AppendPositionConditionNotMet 412 "The append position condition specified was not met.";
    AuthenticationFailed 403 "Server failed to authenticate the request. Make sure the value of the Authorization header is formed correctly including the signature.";
    AuthorizationFailure 403 "This request is not authorized to perform this operation.";
    AuthorizationPermissionMismatch 403 "This request is not authorized to perform this operation using this permission.";
    AuthorizationProtocolMismatch 403 "This request is not authorized to perform this operation using this protocol.";
    AuthorizationResourceTypeMismatch 403 "This request is not authorized to perform this operation using this resource type.";
    AuthorizationServiceMismatch 403 "This request is not authorized to perform this operation using this service.";
    AuthorizationSourceIPMismatch 403 "This request is not authorized to perform this operation using this source IP.";
    BlobAlreadyExists 409 "The specified blob already exists.";
    BlobArchived 409 "This operation is not permitted on an archived blob.";
    BlobCustomerSpecifiedEncryptionMismatch 409 "The given customer specified encryption does not match the encryption used to encrypt the blob.";
    BlobDoesNotUseCustomerSpecifiedEncryption 409 "The blob is not encrypted with customer specified encryption, but one was provided in the request.";
    BlobImmutableDueToLegalHold 409 "This operation is not permitted as the blob is immutable due to one or more legal holds.";
    BlobImmutableDueToPolicy 409 "This operation is not permitted as the blob is immutable due to a policy.";
    BlobIsSealed 409 "The specified blob is sealed, and its contents can't be modified unless the blob is re-created after a delete.";
    BlobNotFound 404 "The specified blob does not exist.";
    BlobOverwritten 409 "The blob has been recreated since the previous snapshot was taken.";
    BlobSnapshotNotSoftDeleted 409 "The specified snapshot or version is not soft-deleted.";
    BlobUsesCustomerSpecifiedEncryption 409 "The blob is encrypted with customer specified encryption, but it was not provided in the request.";
    BlockCountExceedsLimit 409 "The committed block count cannot exceed the maximum limit of 50,000 blocks.";
    BlockListTooLong 400 "The block list may not contain more than 50,000 blocks.";
    BothCrc64AndMd5HeaderPresent 400 "Both x-ms-content-crc64 header and Content-MD5 header are present.";
    CannotVerifyCopySource 404 "The specified copy source could not be read by this service.";
    ConditionNotMet 412 "The condition specified using HTTP conditional header(s) is not met.";
    ContainerAlreadyExists 409 "The specified container already exists.";
    ContainerImmutableStorageWithVersioningEnabled 409 "The container has immutable storage with versioning enabled, so it can be deleted only once it is empty: of blobs, snapshots, versions and what is kept of deleted ones.";
    ContainerNotFound 404 "The specified container does not exist.";
    CorsPreflightFailure 403 "CORS not enabled or no matching rule found for this request.";
    Crc64Mismatch 400 "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.";
    DuplicateTagNames 400 "The tags specified contain duplicate names.";
    EmptyTagName 400 "The name of one of the tags specified is empty.";
    ImmutabilityPolicyDeleteOnLockedPolicy 409 "A locked immutability policy can't be deleted.";
    FeatureVersionMismatch 409 "Stored access policy contains a permission that is not supported by this version.";
    HierarchicalNamespaceNotEnabled 400 "Hierarchical namespace is not enabled for this account.";
    IncrementalCopyBlobMismatch 409 "The specified source blob is different than the copy source of the existing incremental copy blob.";
    IncrementalCopyOfEarlierSnapshotNotAllowed 409 "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob.";
    IncrementalCopySourceMustBeSnapshot 409 "The source for incremental copy request must be a snapshot.";
    InsufficientAccountPermissions 403 "The account being accessed does not have sufficient permissions to execute this operation.";
    InternalError 500 "The server encountered an internal error. Please retry the request.";
    InvalidAuthenticationInfo 400 "The authentication information was not provided in the correct format. Verify the value of Authorization header.";
    InvalidBlobOrBlock 400 "The specified blob or block content is invalid.";
    InvalidBlobType 409 "The blob type is invalid for this operation.";
    InvalidBlockId 400 "The specified block ID is invalid. The block ID must be Base64-encoded.";
    InvalidBlockList 400 "The specified block list is invalid.";
    InvalidHeaderValue 400 "The value for one of the HTTP headers is not in the correct format.";
    InvalidInput 400 "One of the request inputs is not valid.";
    InvalidMd5 400 "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded.";
    InvalidMetadata 400 "The specified metadata is invalid. It includes characters that are not permitted.";
    InvalidOperation 409 "The operation is not possible in the state in which the blob or its account is.";
    InvalidPageRange 416 "The page range specified is invalid.";
    InvalidQueryParameterValue 400 "Value for one of the query parameters specified in the request URI is invalid.";
    InvalidRange 416 "The range specified is invalid for the current size of the resource.";
    InvalidResourceName 400 "The specified resource name contains invalid characters.";
    InvalidTag 400 "The tags specified are invalid. They contain characters that are not permitted.";
    InvalidUri 400 "The requested URI does not represent any resource on the server.";
    InvalidXmlDocument 400 "The XML specified is not syntactically valid.";
    InvalidXmlNodeValue 400 "The value provided for one of the XML nodes in the request body was not in the correct format.";
    KeyBasedAuthenticationNotPermitted 403 "Key based authentication is not permitted on this storage account.";
    LeaseAlreadyPresent 409 "There is already a lease present.";
    LeaseIdMismatchWithBlobOperation 412 "The lease ID specified did not match the lease ID for the blob.";
    LeaseIdMismatchWithContainerOperation 412 "The lease ID specified did not match the lease ID for the container.";
    LeaseIdMismatchWithLeaseOperation 409 "The lease ID specified did not match the lease ID of the lease.";
    LeaseIdMissing 412 "There is currently a lease on the resource and no lease ID was specified in the request.";
    LeaseIsBreakingAndCannotBeAcquired 409 "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.";
    LeaseIsBreakingAndCannotBeChanged 409 "The lease ID matched, but the lease is currently in breaking state and cannot be changed.";
    LeaseIsBrokenAndCannotBeRenewed 409 "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.";
    LeaseLost 412 "A lease ID was specified, but the lease for the resource has expired.";
    LeaseNotPresentWithBlobOperation 412 "There is currently no lease on the blob.";
    LeaseNotPresentWithContainerOperation 412 "There is currently no lease on the container.";
    LeaseNotPresentWithLeaseOperation 409 "There is currently no lease on the resource.";
    MaxBlobSizeConditionNotMet 412 "The max blob size condition specified was not met.";
    Md5Mismatch 400 "The MD5 value specified in the request did not match with the MD5 value calculated by the server.";
    MetadataTooLarge 400 "The size of the specified metadata exceeds the maximum size permitted.";
    MissingContentLengthHeader 411 "The Content-Length header was not specified.";
    MissingRequiredHeader 400 "A required HTTP header was not specified.";
    MissingRequiredQueryParameter 400 "A required query parameter was not specified for this request.";
    MultipleConditionHeadersNotSupported 400 "Multiple condition headers are not supported.";
    MutuallyExclusiveQueryParameters 400 "Two query parameters that exclude each other were specified: snapshot and versionid.";
    NoAuthenticationInformation 401 "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
    NoPendingCopyOperation 409 "There is currently no pending copy operation.";
    NotImplemented 501 "The requested operation is not implemented by this server; docs/compat/blobs.md lists what is.";
    OperationTimedOut 500 "The operation could not be completed within the permitted time.";
    OperationNotAllowedOnIncrementalCopyBlob 409 "The specified operation is not allowed on an incremental copy blob.";
    OperationNotAllowedOnRootBlob 403 "The specified operation is not allowed on the blob itself, which is its current version.";
    OutOfRangeInput 400 "One of the request inputs is out of range.";
    OutOfRangeQueryParameterValue 400 "One of the query parameters specified in the request URI is outside the permissible range.";
    PreviousSnapshotCannotBeNewer 400 "The prevsnapshot query parameter value cannot be newer than the snapshot query parameter value.";
    PreviousSnapshotNotFound 409 "The previous snapshot is not found.";
    PublicAccessNotPermitted 409 "Public access is not permitted on this storage account.";
    RequestForbiddenByContainerEncryptionPolicy 403 "The request is forbidden by the container encryption policy.";
    RequestBodyTooLarge 413 "The request body is too large and exceeds the maximum permissible limit.";
    ResourceNotFound 404 "The specified resource does not exist.";
    SequenceNumberConditionNotMet 412 "The sequence number condition specified was not met.";
    ServerBusy 503 "The server is currently unable to receive requests. Please retry your request.";
    SnapshotsPresent 409 "This operation is not permitted while the blob has snapshots.";
    SourceConditionNotMet 412 "The source condition specified using HTTP conditional header(s) is not met.";
    TagsTooLarge 400 "The tags specified exceed the maximum permissible limit.";
    UnsatisfiableCondition 400 "The request included an unsatisfiable condition for this operation.";
    UnsupportedHttpVerb 405 "The resource doesn't support the specified HTTP verb.";
    WebContentNotFound 404 "The requested content does not exist.";
}

/// A failed operation, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .code.name(), .detail.as_deref().unwrap_or(.code.text()))]
pub struct BlobsError {
    /// The protocol's code.
    pub code: ErrorCode,
    /// What exactly, and what to do: goes into the body. Never a secret.
    pub detail: Option<String>,
    /// The status, where it isn't the code's own: a copy source's.
    pub status: Option<u16>,
    /// The length of the blob whose range couldn't be satisfied.
    pub length_bytes: Option<u64>,
}

impl BlobsError {
    /// An error with more to say than its code does.
    #[must_use]
    pub fn with(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: Some(detail.into()),
            status: None,
            length_bytes: None,
        }
    }

    /// The answer's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let own = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        own.unwrap_or(self.code.status())
    }
}

impl From<ErrorCode> for BlobsError {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            detail: None,
            status: None,
            length_bytes: None,
        }
    }
}

impl From<LedgerError> for BlobsError {
    fn from(error: LedgerError) -> Self {
        match error {
            // A conflict that is left: others changed the same thing without pause. What a request demands
            // is decided anew at each attempt, so it isn't its condition that failed.
            LedgerError::Unavailable(_) | LedgerError::Closed | LedgerError::Conflict(_) => {
                ErrorCode::ServerBusy.into()
            }
            // Clients repeat it, as they do after the original's own time-outs.
            LedgerError::Unknown(_) => Self::with(
                ErrorCode::ServerBusy,
                "The store went away while it wrote; the change is there whole, or not at all.",
            ),
            // A full disk isn't a passing load: clients shouldn't retry for long, people should act.
            LedgerError::Full => Self::with(ErrorCode::InternalError, "The server's disk is full."),
            LedgerError::TooLarge(_) => ErrorCode::RequestBodyTooLarge.into(),
            other => {
                tracing::error!(error = %other, "the ledger failed");
                ErrorCode::InternalError.into()
            }
        }
    }
}

impl From<ContentError> for BlobsError {
    fn from(error: ContentError) -> Self {
        if error == ContentError::Full {
            return Self::with(ErrorCode::InternalError, "The server's disk is full.");
        }
        if matches!(error, ContentError::Unavailable(_)) {
            tracing::warn!(%error, "a request needs content that is out of reach");
            return ErrorCode::ServerBusy.into();
        }
        tracing::error!(%error, "the content store failed");
        ErrorCode::InternalError.into()
    }
}

impl From<BodyError> for BlobsError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => ErrorCode::RequestBodyTooLarge.into(),
            BodyError::TimedOut { .. } => ErrorCode::OperationTimedOut.into(),
            other => Self::with(ErrorCode::InvalidInput, other.to_string()),
        }
    }
}
