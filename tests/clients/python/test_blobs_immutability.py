"""Immutability policies and legal holds, with azure-storage-blob against a server that takes them."""

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobBlock, BlobClient, BlobSasPermissions, BlobServiceClient, ImmutabilityPolicy, RetentionPolicy,
    generate_blob_sas,
)

import raw_http
from conftest import running
from server import BLOBS_ACCOUNT, BLOBS_KEY, Server
from test_blobs_access import hours

HELD = (409, "BlobImmutableDueToLegalHold")
KEPT = (409, "BlobImmutableDueToPolicy")


@pytest.fixture(scope="module")
def immutable():
    yield from running(Server(options=["--blob-versioning", "--blob-immutability"]))


@pytest.fixture(scope="module")
def service(immutable):
    with BlobServiceClient.from_connection_string(immutable.endpoints.blobs_connection_string) as client:
        yield client


@pytest.fixture
def container(service):
    return service.create_container(f"test-{uuid.uuid4().hex[:12]}")


def refused(action, *arguments, **named):
    """Status and code; the client gives errors of these operations as they came."""
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.response.headers["x-ms-error-code"]


def until(**later):
    return (datetime.now(timezone.utc) + timedelta(**later)).replace(microsecond=0)


def policy(mode, **later):
    return ImmutabilityPolicy(expiry_time=until(**later), policy_mode=mode)


def shown(properties):
    return properties.immutability_policy.expiry_time, properties.immutability_policy.policy_mode


def wait(immutable, seconds):
    body = json.dumps({"advanceSeconds": seconds})
    headers = {"content-type": "application/json"}
    assert raw_http.request("POST", f"{immutable.endpoints.admin}/dev/clock", headers, body).status == 200


def test_a_policy_is_set_changed_locked_and_deleted(container):
    blob = container.upload_blob("a", b"1")
    before = blob.get_blob_properties()
    assert shown(before) == (None, None) and before.has_legal_hold is None
    first = policy("Unlocked", days=2)
    answer = blob.set_immutability_policy(first)
    assert answer["immutability_policy_until_date"] == first.expiry_time
    assert answer["immutability_policy_mode"] == "unlocked"
    after = blob.get_blob_properties()
    assert shown(after) == (first.expiry_time, "unlocked")
    assert (after.etag, after.last_modified, after.version_id) == (before.etag, before.last_modified, before.version_id)
    (listed,) = container.list_blobs(include=["immutabilitypolicy", "legalhold"])
    assert shown(listed) == (first.expiry_time, "unlocked")
    (listed,) = container.list_blobs()
    assert shown(listed) == (None, None)
    assert shown(blob.download_blob().properties) == (first.expiry_time, "unlocked")
    for refuse in [blob.delete_blob, lambda: blob.set_blob_metadata({"m": "1"}), blob.set_http_headers]:
        assert refused(refuse) == KEPT
    blob.set_blob_tags({"t": "1"})
    blob.set_standard_blob_tier("Cool")
    shorter = policy("Unlocked", days=1)
    blob.set_immutability_policy(shorter)
    assert shown(blob.get_blob_properties()) == (shorter.expiry_time, "unlocked")
    blob.delete_immutability_policy()
    assert shown(blob.get_blob_properties()) == (None, None)
    blob.set_blob_metadata({"m": "1"})
    locked = policy("Locked", days=1)
    blob.set_immutability_policy(locked)
    assert refused(blob.set_immutability_policy, policy("Locked", hours=1)) == KEPT
    assert refused(blob.set_immutability_policy, policy("Unlocked", days=3)) == KEPT
    assert refused(blob.delete_immutability_policy) == (409, "ImmutabilityPolicyDeleteOnLockedPolicy")
    longer = policy("Locked", days=3)
    blob.set_immutability_policy(longer)
    assert shown(blob.get_blob_properties()) == (longer.expiry_time, "locked")
    assert refused(blob.set_immutability_policy, policy("Locked", days=-1)) == (400, "InvalidHeaderValue")


def test_a_hold_is_set_and_let_go(container):
    blob = container.upload_blob("a", b"1")
    assert blob.set_legal_hold(True)["legal_hold"] is True
    assert blob.get_blob_properties().has_legal_hold is True
    assert [entry.has_legal_hold for entry in container.list_blobs(include=["legalhold"])] == [True]
    assert refused(blob.delete_blob) == HELD
    assert refused(blob.set_blob_metadata, {"m": "1"}) == HELD
    assert blob.set_legal_hold(False)["legal_hold"] is False
    assert blob.get_blob_properties().has_legal_hold is False
    blob.delete_blob()
    none = container.get_blob_client("none")
    assert refused(none.set_legal_hold, True) == (404, "BlobNotFound")
    assert refused(none.delete_immutability_policy) == (404, "BlobNotFound")


def test_what_is_protected_stays_as_a_version(container, immutable):
    blob = container.get_blob_client("a")
    # Backup programs write an empty blob over one that they may not delete, and delete that.
    lock = policy("Locked", minutes=10)
    first = blob.upload_blob(b"kept", immutability_policy=lock, legal_hold=False)["version_id"]
    assert shown(blob.get_blob_properties()) == (lock.expiry_time, "locked")
    assert refused(blob.delete_blob) == KEPT
    second = blob.upload_blob(b"", overwrite=True)["version_id"]
    assert shown(blob.get_blob_properties()) == (None, None)
    blob.delete_blob()
    assert not blob.exists()
    assert refused(blob.delete_blob, version_id=first) == KEPT
    assert blob.download_blob(version_id=first).readall() == b"kept"
    blob.delete_blob(version_id=second)
    assert [entry.version_id for entry in container.list_blobs(include=["versions"])] == [first]
    old = BlobClient(blob.url.rsplit("/", 2)[0], container.container_name, "a", credential=BLOBS_KEY_CREDENTIAL,
                     version_id=first)
    old.set_legal_hold(True, version_id=first)
    assert old.get_blob_properties().has_legal_hold is True
    # Less than a signature's date may be off.
    wait(immutable, 601)
    assert refused(blob.delete_blob, version_id=first) == HELD
    old.set_legal_hold(False, version_id=first)
    blob.delete_blob(version_id=first)
    assert list(container.list_blobs(include=["versions"])) == []


BLOBS_KEY_CREDENTIAL = {"account_name": BLOBS_ACCOUNT, "account_key": BLOBS_KEY}


def test_each_write_takes_a_policy_and_a_hold(container):
    source = container.upload_blob("source", b"source")

    def check(name, **how):
        properties = container.get_blob_client(name).get_blob_properties()
        assert shown(properties) == (how["immutability_policy"].expiry_time, "unlocked"), name
        assert properties.has_legal_hold is True, name

    how = {"immutability_policy": policy("Unlocked", days=1), "legal_hold": True}
    container.upload_blob("put", b"1", **how)
    container.upload_blob("blocks", b"1" * 5_000_000, **how)
    blocks = container.get_blob_client("list")
    blocks.stage_block("MDAx", b"1")
    blocks.commit_block_list([BlobBlock("MDAx")], **how)
    container.get_blob_client("append").create_append_blob(**how)
    container.get_blob_client("page").create_page_blob(512, **how)
    container.get_blob_client("copy").start_copy_from_url(source.url, **how)
    container.get_blob_client("sync").start_copy_from_url(source.url, requires_sync=True, **how)
    for name in ["put", "blocks", "list", "append", "page", "copy", "sync"]:
        check(name, **how)
    append = container.get_blob_client("append")
    assert refused(append.append_block, b"1") == HELD
    append.set_legal_hold(False)
    assert refused(append.append_block, b"1") == KEPT
    page = container.get_blob_client("page")
    page.set_legal_hold(False)
    assert refused(page.upload_page, b"1" * 512, 0, 512) == KEPT
    assert refused(page.resize_blob, 1024) == KEPT
    page.delete_immutability_policy()
    page.upload_page(b"1" * 512, 0, 512)


def test_containers_say_so_and_stay_while_something_is_in_them(service, container, immutable):
    assert container.get_container_properties().immutable_storage_with_versioning_enabled is True
    (listed,) = service.list_containers(name_starts_with=container.container_name)
    assert listed.immutable_storage_with_versioning_enabled is True
    assert (listed.has_immutability_policy, listed.has_legal_hold) == (False, False)
    blob = container.upload_blob("a", b"1", legal_hold=True)
    not_empty = (409, "ContainerImmutableStorageWithVersioningEnabled")
    assert refused(container.delete_container) == not_empty
    blob.set_legal_hold(False)
    version = blob.get_blob_properties().version_id
    blob.delete_blob()
    assert refused(container.delete_container) == not_empty
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=1))
    blob.delete_blob(version_id=version)
    assert refused(container.delete_container) == not_empty, "it is kept for a day"
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=False))
    blob.undelete_blob()
    blob.delete_blob(version_id=version)
    container.delete_container()
    assert not container.exists()


def test_permissions(container):
    blob = container.upload_blob("a", b"1")

    def signed(permission):
        sas = generate_blob_sas(BLOBS_ACCOUNT, container.container_name, "a", account_key=BLOBS_KEY,
                                permission=permission, expiry=hours(1))
        return BlobClient.from_blob_url(f"{blob.url}?{sas}")

    mismatch = (403, "AuthorizationPermissionMismatch")
    all_others = signed(BlobSasPermissions.from_string("racwdxytme"))
    assert refused(all_others.set_legal_hold, True) == mismatch
    assert refused(all_others.set_immutability_policy, policy("Unlocked", days=1)) == mismatch
    assert refused(all_others.upload_blob, b"2", overwrite=True, legal_hold=True) == mismatch
    allowed = signed(BlobSasPermissions(set_immutability_policy=True))
    allowed.set_immutability_policy(policy("Unlocked", days=1))
    allowed.set_legal_hold(True)
    allowed.set_legal_hold(False)
    allowed.delete_immutability_policy()
    assert refused(allowed.delete_blob) == mismatch


def test_without_the_setting(blob_container):
    blob = blob_container.upload_blob("a", b"1")
    assert blob_container.get_container_properties().immutable_storage_with_versioning_enabled is False
    not_here = (409, "InvalidOperation")
    assert refused(blob.set_legal_hold, True) == not_here
    assert refused(blob.set_immutability_policy, policy("Unlocked", days=1)) == not_here
    assert refused(blob.delete_immutability_policy) == not_here
    assert refused(blob.upload_blob, b"2", overwrite=True, legal_hold=True) == not_here
    assert blob.download_blob().readall() == b"1"


def test_protection_outlasts_a_kill_and_the_settings():
    server = Server(options=["--blob-versioning", "--blob-immutability"]).start()
    try:
        def container():
            service = BlobServiceClient.from_connection_string(server.endpoints.blobs_connection_string)
            return service.get_container_client("kept")

        container().create_container()
        lock = policy("Locked", hours=1)
        container().upload_blob("put", b"1", immutability_policy=lock)
        container().upload_blob("held", b"1").set_legal_hold(True)
        server.process.kill()
        server.process.wait()
        for options in [server.options, []]:
            server.options = options
            server.start()
            put, held = (container().get_blob_client(name) for name in ["put", "held"])
            assert shown(put.get_blob_properties()) == (lock.expiry_time, "locked")
            assert refused(put.delete_blob) == KEPT
            assert refused(held.delete_blob) == HELD
            assert refused(container().delete_container) == (409, "ContainerImmutableStorageWithVersioningEnabled")
            server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.remove()
