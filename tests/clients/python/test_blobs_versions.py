"""Versions of blobs, with azure-storage-blob against a server whose blob account has versioning."""

import os
import uuid

import pytest
from azure.storage.blob import (
    BlobClient, BlobSasPermissions, BlobServiceClient, ContainerSasPermissions, RetentionPolicy, generate_blob_sas,
    generate_container_sas,
)

import raw_http
from conftest import running
from server import BLOBS_ACCOUNT, BLOBS_KEY, Server
from signing import blob_headers
from test_blobs_access import hours, refused


@pytest.fixture(scope="module")
def versioning():
    yield from running(Server(options=["--blob-versioning"]))


@pytest.fixture(scope="module")
def service(versioning):
    with BlobServiceClient.from_connection_string(versioning.endpoints.blobs_connection_string) as client:
        yield client


@pytest.fixture
def container(service):
    container = service.create_container(f"test-{uuid.uuid4().hex[:12]}")
    yield container
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=False))
    container.delete_container()


@pytest.fixture
def kept(service, container):
    """A container of an account that keeps what is deleted for a while."""
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=2))
    return container


@pytest.fixture(params=[10, 100_000], ids=["inline", "stored"])
def content(request):
    return os.urandom(request.param)


def put(container, name, content):
    """The version that it becomes."""
    return container.get_blob_client(name).upload_blob(content, overwrite=True)["version_id"]


def ids(container, include=("versions",), **rest):
    return [(blob.version_id, blob.is_current_version) for blob in container.list_blobs(include=list(include), **rest)]


def test_each_write_is_a_version(container, content):
    first = put(container, "a", content)
    blob = container.get_blob_client("a")
    blob.set_blob_tags({"t": "old"})
    second = put(container, "a", b"new")
    third = blob.set_blob_metadata({"m": "1"})["version_id"]
    assert first < second < third and len(first) == len("2024-01-31T12:00:00.0000000Z")
    assert blob.download_blob(version_id=first).readall() == content
    assert blob.download_blob(version_id=first, offset=3, length=4).readall() == content[3:7]
    assert blob.download_blob().readall() == b"new"
    assert ids(container) == [(first, None), (second, None), (third, True)]
    assert ids(container, results_per_page=1) == ids(container)
    assert [entry.name for entry in container.list_blobs()] == ["a"]
    old, now = blob.get_blob_properties(version_id=first), blob.get_blob_properties()
    assert (old.version_id, old.is_current_version, old.metadata, old.size) == (first, None, {}, len(content))
    assert (now.version_id, now.is_current_version, now.metadata) == (third, True, {"m": "1"})
    assert blob.get_blob_tags(version_id=first) == {"t": "old"}
    assert container.get_blob_client("a", version_id=second).get_blob_properties().version_id == second
    assert blob.exists(version_id=second) and not blob.exists(version_id="2000-01-01T00:00:00.0000000Z")
    # These change the version that is current.
    blob.set_http_headers()
    blob.set_blob_tags({"t": "new"})
    lease = blob.acquire_lease()
    lease.release()
    assert ids(container)[-1] == (third, True)


def test_the_whole_way_from_a_deletion_back(kept, content):
    first, second = put(kept, "a", content), put(kept, "a", b"a mistake")
    blob = kept.get_blob_client("a")
    blob.delete_blob()
    assert not blob.exists()
    assert list(kept.list_blobs()) == []
    assert ids(kept) == [(first, None), (second, None)]
    (alone,) = kept.list_blobs(include=["deletedwithversions"])
    assert (alone.name, alone.has_versions_only, alone.version_id) == ("a", True, None)
    blob.delete_blob(version_id=first)
    assert not blob.exists(version_id=first)
    assert ids(kept) == [(second, None)]
    found = [(entry.version_id, entry.deleted) for entry in kept.list_blobs(include=["versions", "deleted"])]
    assert found == [(first, True), (second, None)]
    blob.undelete_blob()
    assert not blob.exists(), "no version becomes the blob by itself"
    assert ids(kept) == [(first, None), (second, None)]
    promoted = blob.start_copy_from_url(f"{blob.url}?versionid={first}")
    assert promoted["copy_status"] == "success"
    assert blob.download_blob().readall() == content
    assert ids(kept) == [(first, None), (second, None), (promoted["version_id"], True)]
    assert list(kept.list_blobs(include=["deletedwithversions"]))[0].has_versions_only is None


def test_blocks_copies_and_addresses_make_versions(container):
    source = container.upload_blob("source", b"source")
    blob = container.get_blob_client("a")
    made = []
    for number in range(2):
        blob.stage_block("MDAx", f"block {number}".encode())
        made.append(blob.commit_block_list(["MDAx"])["version_id"])
    made.append(blob.start_copy_from_url(source.url)["version_id"])
    made.append(blob.upload_blob_from_url(source.url, overwrite=True)["version_id"])
    assert made == sorted(made) and len(set(made)) == 4
    contents = [blob.download_blob(version_id=version).readall() for version in made]
    assert contents == [b"block 0", b"block 1", b"source", b"source"]
    assert len(ids(container, name_starts_with="a")) == 4


def test_append_and_page_blobs(container):
    append = container.get_blob_client("append")
    first = append.create_append_blob()["version_id"]
    append.append_block(b"1")
    second = append.set_blob_metadata({"m": "1"})["version_id"]
    append.append_block(b"2")
    assert ids(container, name_starts_with="append") == [(first, None), (second, True)]
    assert append.download_blob(version_id=first).readall() == b"1"
    assert append.download_blob().readall() == b"12"
    page = container.get_blob_client("page")
    first = page.create_page_blob(1024)["version_id"]
    page.upload_page(b"1" * 512, offset=0, length=512)
    second = page.set_blob_metadata({"m": "1"})["version_id"]
    page.upload_page(b"2" * 512, offset=512, length=512)
    assert ids(container, name_starts_with="page") == [(first, None), (second, True)]
    assert page.download_blob(version_id=first).readall() == b"1" * 512 + bytes(512)
    assert page.download_blob().readall() == b"1" * 512 + b"2" * 512
    # Versions of a name are of one kind.
    assert refused(page.upload_blob, b"a block blob", overwrite=True) == (409, "InvalidBlobType")


def test_snapshots_beside_versions(container):
    first = put(container, "a", b"1")
    blob = container.get_blob_client("a")
    taken = blob.create_snapshot()
    assert taken["version_id"] > first
    assert ids(container) == [(first, None), (taken["version_id"], True)]
    listed = list(container.list_blobs(include=["versions", "snapshots"]))
    assert [entry.snapshot for entry in listed] == [None, taken["snapshot"], None]
    assert refused(blob.delete_blob) == (409, "SnapshotsPresent")
    blob.delete_blob(delete_snapshots="include")
    assert ids(container, ("versions", "snapshots")) == [(first, None), (taken["version_id"], None)]


def test_what_is_refused(container, versioning):
    first, second = put(container, "a", b"1"), put(container, "a", b"2")
    blob = container.get_blob_client("a")
    assert refused(blob.delete_blob, version_id=second) == (403, "OperationNotAllowedOnRootBlob")
    assert refused(blob.download_blob, version_id="2000-01-01T00:00:00.0000000Z") == (404, "BlobNotFound")
    assert refused(blob.download_blob, version_id="yesterday") == (400, "InvalidQueryParameterValue")
    assert refused(blob.delete_blob, version_id=first, delete_snapshots="include") == \
        (400, "InvalidQueryParameterValue")
    url = f"{versioning.endpoints.blobs_account}/{container.container_name}/a?snapshot={second}&versionid={first}"
    answer = raw_http.request("GET", url, blob_headers("GET", url))
    assert (answer.status, answer.headers["x-ms-error-code"]) == (400, "MutuallyExclusiveQueryParameters")
    blob.delete_blob(version_id=first)
    assert ids(container) == [(second, True)]


def test_tiers_of_versions(container):
    first = put(container, "a", b"1")
    put(container, "a", b"2")
    blob = container.get_blob_client("a")
    blob.set_standard_blob_tier("Archive", version_id=first)
    assert blob.get_blob_properties(version_id=first).blob_tier == "Archive"
    assert refused(blob.download_blob, version_id=first) == (409, "BlobArchived")
    assert blob.download_blob().readall() == b"2"


def test_deleting_for_good(kept, versioning):
    first, _ = put(kept, "a", b"1"), put(kept, "a", b"2")
    url = f"{versioning.endpoints.blobs_account}/{kept.container_name}/a?versionid={first}"

    def delete(url):
        answer = raw_http.request("DELETE", url, blob_headers("DELETE", url))
        return answer.status, answer.headers.get("x-ms-error-code") or answer.headers["x-ms-delete-type-permanent"]

    at_once = f"{url}&deletetype=permanent"
    assert delete(at_once) == (409, "InvalidOperation"), "the account doesn't allow it"
    # The client has no setting for it.
    body = ("<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>2</Days>"
            "<AllowPermanentDelete>true</AllowPermanentDelete></DeleteRetentionPolicy></StorageServiceProperties>")
    properties = f"{versioning.endpoints.blobs_account}?restype=service&comp=properties"
    headers = blob_headers("PUT", properties, length=len(body))
    assert raw_http.request("PUT", properties, headers, body).status == 202
    assert delete(at_once) == (409, "BlobSnapshotNotSoftDeleted")
    assert delete(url) == (202, "false")
    assert delete(at_once) == (202, "true")
    assert delete(at_once) == (404, "BlobNotFound")
    kept.get_blob_client("a").undelete_blob()
    assert len(ids(kept)) == 1


def test_signatures(kept, versioning):
    first, second = put(kept, "a", b"1"), put(kept, "a", b"2")
    url = f"{versioning.endpoints.blobs_account}/{kept.container_name}/a"
    sas = generate_blob_sas(BLOBS_ACCOUNT, kept.container_name, "a", version_id=first, account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(read=True, delete_previous_version=True), expiry=hours(1))
    assert "sr=bv" in sas
    blob = BlobClient.from_blob_url(f"{url}?{sas}", version_id=first)
    assert blob.download_blob().readall() == b"1"
    assert refused(BlobClient.from_blob_url(f"{url}?{sas}", version_id=second).download_blob) == \
        (403, "AuthenticationFailed")
    assert refused(BlobClient.from_blob_url(f"{url}?{sas}").download_blob) == (403, "AuthenticationFailed")
    deletes = generate_container_sas(BLOBS_ACCOUNT, kept.container_name, account_key=BLOBS_KEY, expiry=hours(1),
                                     permission=ContainerSasPermissions(delete=True))
    plain = BlobClient.from_blob_url(f"{url}?{deletes}")
    assert refused(plain.delete_blob, version_id=first) == (403, "AuthorizationPermissionMismatch")
    blob.delete_blob()
    assert ids(kept) == [(second, True)]


def test_batches_delete_versions(container):
    old = [put(container, name, b"1") for name in ("a", "b")]
    for name in ("a", "b"):
        put(container, name, b"2")
    answers = container.delete_blobs(*({"name": name, "version_id": version} for name, version in zip("ab", old)))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(ids(container)) == 2 and all(current for _, current in ids(container))
