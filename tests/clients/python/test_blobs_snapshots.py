"""Snapshots of blobs, with azure-storage-blob."""

import os

import pytest
from azure.storage.blob import BlobClient, BlobSasPermissions, generate_blob_sas

from server import BLOBS_ACCOUNT, BLOBS_KEY
from test_blobs_access import hours, refused


@pytest.fixture(params=[10, 100_000], ids=["inline", "stored"])
def content(request):
    return os.urandom(request.param)


def test_a_snapshot_keeps_what_was(blob_container, content):
    blob = blob_container.upload_blob("a", content, metadata={"m": "1"}, tags={"t": "1"})
    before = blob.get_blob_properties()
    taken = blob.create_snapshot()
    assert taken["etag"] == before.etag
    blob.upload_blob(b"new", overwrite=True)
    kept = blob_container.get_blob_client("a", snapshot=taken)
    assert kept.download_blob().readall() == content
    assert kept.download_blob(offset=3, length=4).readall() == content[3:7]
    properties = kept.get_blob_properties()
    assert (properties.etag, properties.metadata, properties.size) == (before.etag, {"m": "1"}, len(content))
    assert kept.get_blob_tags() == {"t": "1"}
    assert blob.download_blob().readall() == b"new"
    own = blob_container.get_blob_client("a", snapshot=blob.create_snapshot(metadata={"m": "2"}))
    assert own.get_blob_properties().metadata == {"m": "2"}
    assert refused(blob_container.get_blob_client("a", snapshot="2000-01-01T00:00:00.0000000Z").download_blob) == \
        (404, "BlobNotFound")


def test_snapshots_are_listed_before_their_blob(blob_container):
    for name in ("a", "b"):
        blob_container.upload_blob(name, b"x")
    times = [blob_container.get_blob_client("a").create_snapshot()["snapshot"] for _ in range(3)]
    assert times == sorted(times) and len(set(times)) == 3
    assert [blob.name for blob in blob_container.list_blobs()] == ["a", "b"]
    listed = [(blob.name, blob.snapshot) for blob in blob_container.list_blobs(include=["snapshots"], results_per_page=2)]
    assert listed == [("a", times[0]), ("a", times[1]), ("a", times[2]), ("a", None), ("b", None)]


def test_deleting(blob_container):
    blob = blob_container.upload_blob("a", b"x")
    first, second = blob.create_snapshot(), blob.create_snapshot()
    assert refused(blob.delete_blob) == (409, "SnapshotsPresent")
    blob_container.get_blob_client("a", snapshot=first).delete_blob()
    assert [entry.snapshot for entry in blob_container.list_blobs(include=["snapshots"])] == [second["snapshot"], None]
    blob.delete_blob(delete_snapshots="only")
    assert [entry.snapshot for entry in blob_container.list_blobs(include=["snapshots"])] == [None]
    blob.create_snapshot()
    blob.delete_blob(delete_snapshots="include")
    assert list(blob_container.list_blobs(include=["snapshots"])) == []


def test_promoting(blob_container, content):
    blob = blob_container.upload_blob("a", content)
    taken = blob.create_snapshot()
    blob.upload_blob(b"a mistake", overwrite=True)
    blob.start_copy_from_url(f"{blob.url}?snapshot={taken['snapshot']}")
    assert blob.download_blob().readall() == content
    assert refused(blob.start_copy_from_url, f"{blob.url}?snapshot=2000-01-01T00:00:00.0000000Z") == \
        (404, "CannotVerifyCopySource")
    assert blob.download_blob().readall() == content


def test_a_snapshot_isnt_written(blob_container):
    blob = blob_container.upload_blob("a", b"x")
    kept = blob_container.get_blob_client("a", snapshot=blob.create_snapshot())
    lease = blob.acquire_lease()
    assert kept.get_blob_properties().lease.state == "available"
    blob.create_snapshot(lease=lease)
    lease.release()
    assert refused(kept.set_blob_metadata, {"m": "1"}) == (400, "InvalidQueryParameterValue")


def test_a_signature_for_a_snapshot_alone(endpoints, blob_container):
    blob = blob_container.upload_blob("a", b"old")
    taken = blob.create_snapshot()["snapshot"]
    blob.upload_blob(b"new", overwrite=True)
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob_container.container_name, "a", snapshot=taken, account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(read=True), expiry=hours(1))
    url = f"{endpoints.blobs_account}/{blob_container.container_name}/a"
    assert BlobClient.from_blob_url(f"{url}?{sas}", snapshot=taken).download_blob().readall() == b"old"
    plain = "&".join(part for part in sas.split("&") if not part.startswith("snapshot="))
    assert refused(BlobClient.from_blob_url(f"{url}?{plain}").download_blob) == (403, "AuthenticationFailed")
