"""Stored access policies and anonymous reads, with azure-storage-blob."""

import datetime

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    AccessPolicy,
    BlobClient,
    ContainerClient,
    ContainerSasPermissions,
    PublicAccess,
    generate_container_sas,
)

from server import BLOBS_ACCOUNT, BLOBS_KEY


def hours(number):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=number)


def refused(action, *arguments, **named):
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.error_code


def with_policy(endpoints, container, policy_id, **own):
    sas = generate_container_sas(BLOBS_ACCOUNT, container.container_name, account_key=BLOBS_KEY,
                                 policy_id=policy_id, **own)
    return ContainerClient(endpoints.blobs_account, container.container_name, credential=sas)


def test_policies_are_kept_as_they_were_set(blob_container):
    etag = blob_container.get_container_properties().etag
    blob_container.set_container_access_policy({
        "readers": AccessPolicy(ContainerSasPermissions(read=True, list=True), start=hours(-1), expiry=hours(1)),
        "later": AccessPolicy(),
    })
    found = blob_container.get_container_access_policy()
    assert found["public_access"] is None
    policies = {policy.id: policy.access_policy for policy in found["signed_identifiers"]}
    assert set(policies) == {"readers", "later"}
    assert policies["readers"].permission == "rl"
    assert blob_container.get_container_properties().etag != etag
    blob_container.set_container_access_policy({})
    assert blob_container.get_container_access_policy()["signed_identifiers"] == []


def test_a_signature_by_a_policy(endpoints, blob_container):
    blob_container.upload_blob("a", b"x")
    blob_container.set_container_access_policy(
        {"readers": AccessPolicy(ContainerSasPermissions(read=True, list=True), expiry=hours(1))})
    client = with_policy(endpoints, blob_container, "readers")
    assert [blob.name for blob in client.list_blobs()] == ["a"]
    assert client.download_blob("a").readall() == b"x"
    assert refused(client.upload_blob, "b", b"x") == (403, "AuthorizationPermissionMismatch")
    # What both say is refused, and so is a policy that isn't there.
    twice = with_policy(endpoints, blob_container, "readers", expiry=hours(1))
    assert refused(twice.download_blob, "a") == (403, "AuthenticationFailed")
    other = with_policy(endpoints, blob_container, "writers")
    assert refused(other.download_blob, "a") == (403, "AuthenticationFailed")
    # A policy is withdrawn for the signatures that are out already.
    blob_container.set_container_access_policy(
        {"readers": AccessPolicy(ContainerSasPermissions(read=True), expiry=hours(-1))})
    assert refused(client.download_blob, "a") == (403, "AuthenticationFailed")
    blob_container.set_container_access_policy({})
    assert refused(client.download_blob, "a") == (403, "AuthenticationFailed")


def test_anonymous_reads(endpoints, blob_service, blob_container):
    blob_container.upload_blob("a", b"for all")
    anonymous = ContainerClient(endpoints.blobs_account, blob_container.container_name)
    blob = BlobClient.from_blob_url(f"{endpoints.blobs_account}/{blob_container.container_name}/a")
    closed = (401, "NoAuthenticationInformation")
    assert refused(blob.download_blob) == closed
    blob_container.set_container_access_policy({}, public_access=PublicAccess.BLOB)
    assert blob_container.get_container_properties().public_access == "blob"
    listed = {c.name: c for c in blob_service.list_containers(name_starts_with=blob_container.container_name)}
    assert listed[blob_container.container_name].public_access == "blob"
    assert blob.download_blob().readall() == b"for all"
    assert refused(lambda: list(anonymous.list_blobs())) == closed
    assert refused(blob.upload_blob, b"mine", overwrite=True) == closed
    blob_container.set_container_access_policy({}, public_access=PublicAccess.CONTAINER)
    assert [entry.name for entry in anonymous.list_blobs()] == ["a"]
    assert anonymous.get_container_properties().public_access == "container"
    assert refused(anonymous.delete_container) == closed
    blob_container.set_container_access_policy({})
    assert refused(blob.download_blob) == closed
