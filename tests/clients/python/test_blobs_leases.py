"""Leases on blobs and containers, with azure-storage-blob; time passes by the development clock."""

import json
import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobLeaseClient, BlobServiceClient, ContentSettings

import raw_http

A, B = str(uuid.uuid4()), str(uuid.uuid4())


def refused(action, *arguments, **named):
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.error_code


@pytest.fixture(scope="module")
def box(own_server):
    """A container on a server whose clock the tests move; signatures allow for 15 minutes."""
    service = BlobServiceClient.from_connection_string(own_server.endpoints.blobs_connection_string, retry_total=0)
    yield service.create_container("leases")


@pytest.fixture
def pass_time(own_server):
    def advance(seconds):
        body = json.dumps({"advanceSeconds": seconds})
        url = f"{own_server.endpoints.admin}/dev/clock"
        answer = raw_http.request("POST", url, {"Content-Type": "application/json"}, body)
        assert answer.status == 200, answer.text
    return advance


@pytest.fixture
def blob(box):
    return box.upload_blob(f"blob-{uuid.uuid4().hex[:8]}", b"one")


def state(resource):
    get = getattr(resource, "get_blob_properties", None) or resource.get_container_properties
    return get().lease.state


def test_the_life_of_a_blobs_lease(box, blob, pass_time):
    etag = blob.get_blob_properties().etag
    lease = blob.acquire_lease(lease_duration=15, lease_id=A)
    assert lease.id == A
    properties = blob.get_blob_properties()
    assert (properties.lease.status, properties.lease.state, properties.lease.duration) == ("locked", "leased", "fixed")
    assert properties.etag == etag, "a lease is no change of the blob"
    listed = next(entry for entry in box.list_blobs() if entry.name == blob.blob_name)
    assert (listed.lease.status, listed.lease.state, listed.lease.duration) == ("locked", "leased", "fixed")
    assert refused(blob.acquire_lease, lease_duration=15, lease_id=B) == (409, "LeaseAlreadyPresent")
    lease.renew()
    lease.change(B)
    assert lease.id == B
    assert refused(BlobLeaseClient(blob, A).renew) == (409, "LeaseIdMismatchWithLeaseOperation")
    pass_time(16)
    assert state(blob) == "expired"
    assert refused(blob.upload_blob, b"two", overwrite=True, lease=B) == (412, "LeaseLost")
    lease.renew()
    assert state(blob) == "leased"
    lease.release()
    assert state(blob) == "available"
    assert refused(blob.upload_blob, b"two", overwrite=True, lease=B) == (412, "LeaseNotPresentWithBlobOperation")
    assert refused(BlobLeaseClient(blob, A).break_lease) == (409, "LeaseNotPresentWithLeaseOperation")


def test_breaking(blob, pass_time):
    lease = blob.acquire_lease(lease_duration=-1)
    assert blob.get_blob_properties().lease.duration == "infinite"
    assert lease.break_lease(lease_break_period=30) == 30
    assert state(blob) == "breaking"
    assert refused(blob.delete_blob) == (412, "LeaseIdMissing")
    blob.set_blob_metadata({"still": "writable"}, lease=lease)
    assert refused(blob.acquire_lease, lease_id=lease.id) == (409, "LeaseIsBreakingAndCannotBeAcquired")
    assert refused(lease.renew) == (409, "LeaseIsBrokenAndCannotBeRenewed")
    assert refused(lease.change, B) == (409, "LeaseIsBreakingAndCannotBeChanged")
    pass_time(31)
    assert state(blob) == "broken"
    assert lease.break_lease() == 0
    blob.acquire_lease(lease_id=A).release()


def test_an_expired_lease_is_lost_by_a_write(blob, pass_time):
    lease = blob.acquire_lease(lease_duration=15)
    pass_time(16)
    blob.set_blob_metadata({"by": "another"})
    assert refused(lease.renew) == (409, "LeaseIdMismatchWithLeaseOperation")


@pytest.mark.parametrize("write", [
    lambda blob, **named: blob.upload_blob(b"two", overwrite=True, **named),
    lambda blob, **named: blob.set_blob_metadata({"a": "b"}, **named),
    lambda blob, **named: blob.set_http_headers(ContentSettings(content_type="a/b"), **named),
    lambda blob, **named: blob.stage_block("MDAx", b"block", **named),
    lambda blob, **named: blob.commit_block_list([], **named),
    lambda blob, **named: blob.delete_blob(**named),
], ids=["put", "metadata", "properties", "block", "block list", "delete"])
def test_what_is_leased_is_written_with_its_id_alone(blob, write):
    lease = blob.acquire_lease(lease_duration=-1, lease_id=A)
    assert refused(write, blob) == (412, "LeaseIdMissing")
    assert refused(write, blob, lease=B) == (412, "LeaseIdMismatchWithBlobOperation")
    write(blob, lease=lease)
    if blob.exists():
        assert state(blob) == "leased", "a write keeps the lease"


def test_copies_heed_the_leases_of_both_ends(box, blob):
    source = box.upload_blob(f"source-{uuid.uuid4().hex[:8]}", b"new")
    source.acquire_lease(lease_id=B)
    lease = blob.acquire_lease(lease_id=A)
    assert refused(blob.start_copy_from_url, source.url) == (412, "LeaseIdMissing")
    blob.start_copy_from_url(source.url, destination_lease=lease)
    assert blob.download_blob().readall() == b"new"
    lease.renew()
    target = box.get_blob_client(f"target-{uuid.uuid4().hex[:8]}")
    target.start_copy_from_url(source.url)
    assert state(target) == "available", "a lease isn't copied"


def test_reads_check_the_id_that_they_send(blob):
    lease = blob.acquire_lease(lease_duration=15)
    assert blob.download_blob().readall() == b"one"
    assert blob.download_blob(lease=lease).readall() == b"one"
    assert refused(blob.download_blob, lease=B) == (412, "LeaseIdMismatchWithBlobOperation")
    assert refused(blob.get_block_list, lease=B) == (412, "LeaseIdMismatchWithBlobOperation")
    lease.release()
    assert refused(blob.get_blob_properties, lease=B) == (412, "LeaseNotPresentWithBlobOperation")


@pytest.mark.parametrize("duration", [0, 14, 61, -2])
def test_durations_have_bounds(blob, duration):
    assert refused(blob.acquire_lease, lease_duration=duration) == (400, "InvalidHeaderValue")
    assert refused(blob.acquire_lease, lease_id="no-uuid") == (400, "InvalidHeaderValue")


def test_a_containers_lease_guards_its_deletion_alone(box):
    service = BlobServiceClient(box.url.rsplit("/", 1)[0], credential=box.credential, retry_total=0)
    container = service.create_container(f"leased-{uuid.uuid4().hex[:8]}")
    lease = container.acquire_lease(lease_duration=60)
    properties = container.get_container_properties()
    assert (properties.lease.status, properties.lease.state, properties.lease.duration) == ("locked", "leased", "fixed")
    listed = next(entry for entry in service.list_containers() if entry.name == container.container_name)
    assert listed.lease.state == "leased"
    container.upload_blob("free", b"x")
    container.set_container_metadata({"also": "free"})
    assert refused(container.set_container_metadata, {}, lease=B) == (412, "LeaseIdMismatchWithContainerOperation")
    assert refused(container.get_container_properties, lease=B) == (412, "LeaseIdMismatchWithContainerOperation")
    assert refused(container.delete_container) == (412, "LeaseIdMissing")
    assert refused(container.delete_container, lease=B) == (412, "LeaseIdMismatchWithContainerOperation")
    assert lease.break_lease(lease_break_period=0) == 0
    assert refused(container.delete_container, lease=lease.id) == (412, "LeaseLost")
    lease = container.acquire_lease(lease_id=A)
    lease.release()
    assert refused(container.delete_container, lease=A) == (412, "LeaseNotPresentWithContainerOperation")
    container.delete_container(lease=container.acquire_lease())
    assert refused(container.acquire_lease) == (404, "ContainerNotFound")
