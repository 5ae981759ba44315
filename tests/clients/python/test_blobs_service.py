"""Properties of the blob service, CORS and soft delete, with azure-storage-blob; on a server of its own, as
these settings hold for the whole account."""

import json
import time
import uuid

import pytest
from azure.storage.blob import BlobServiceClient, CorsRule, RetentionPolicy, StaticWebsite

import raw_http
from signing import blob_headers
from test_blobs_access import refused


@pytest.fixture(scope="module")
def service(own_server):
    return BlobServiceClient.from_connection_string(own_server.endpoints.blobs_connection_string, retry_total=0)


@pytest.fixture
def box(service):
    yield service.create_container(f"box-{uuid.uuid4().hex[:8]}")
    service.set_service_properties(cors=[], delete_retention_policy=RetentionPolicy(enabled=False))


# Properties and CORS


def test_properties_that_are_omitted_stay(service, box):
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=3))
    service.set_service_properties(cors=[CorsRule(["https://a.example"], ["GET"], max_age_in_seconds=9)])
    found = service.get_service_properties()
    assert (found["delete_retention_policy"].enabled, found["delete_retention_policy"].days) == (True, 3)
    assert [rule.allowed_origins for rule in found["cors"]] == ["https://a.example"]
    both = StaticWebsite(enabled=True, index_document="a.html", default_index_document_path="b.html")
    assert refused(service.set_service_properties, static_website=both) == (400, "InvalidXmlDocument")
    assert service.get_service_properties()["delete_retention_policy"].days == 3


def test_browsers_are_let_in_by_rules(service, box, own_server):
    rule = CorsRule(["https://a.example"], ["GET", "PUT"], allowed_headers=["x-ms-*"], exposed_headers=["etag"],
                    max_age_in_seconds=60)
    service.set_service_properties(cors=[rule])
    url = f"{own_server.endpoints.blobs_account}/{box.container_name}/x"

    def preflight(origin, method, headers=""):
        return raw_http.request("OPTIONS", url, {
            "Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers})

    answer = preflight("https://a.example", "PUT", "x-ms-date,x-ms-version")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-ms-date,x-ms-version"
    assert answer.headers["Access-Control-Max-Age"] == "60"
    for bad in [("https://b.example", "PUT"), ("https://a.example", "DELETE"), ("https://a.example", "PUT", "other")]:
        answer = preflight(*bad)
        assert (answer.status, answer.headers["x-ms-error-code"]) == (403, "CorsPreflightFailure")
    missing = raw_http.request("OPTIONS", url, {"Origin": "https://a.example"})
    assert (missing.status, missing.headers["x-ms-error-code"]) == (400, "InvalidHeaderValue")
    # A script sees refusals as well.
    answer = raw_http.request("GET", url, {"Origin": "https://a.example", "x-ms-version": "2021-12-02"})
    assert answer.status == 401 and answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert answer.headers["Access-Control-Expose-Headers"] == "etag"
    answer = raw_http.request("GET", url, {"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers and answer.headers["Vary"] == "Origin"


# Soft delete


@pytest.fixture
def kept(service, box):
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=2))
    return box


def listed(container, *include):
    return [(blob.name, bool(blob.snapshot), bool(blob.deleted)) for blob in container.list_blobs(include=list(include))]


@pytest.mark.parametrize("content", [b"small", b"large" * 20_000], ids=["inline", "stored"])
def test_what_was_deleted_comes_back(kept, content):
    blob = kept.upload_blob("a", content, metadata={"m": "1"}, tags={"t": "1"})
    etag = blob.get_blob_properties().etag
    blob.delete_blob()
    assert refused(blob.download_blob) == (404, "BlobNotFound")
    assert listed(kept) == [] and listed(kept, "snapshots") == []
    assert listed(kept, "deleted") == [("a", False, True)]
    deleted = next(iter(kept.list_blobs(include=["deleted"])))
    assert deleted.remaining_retention_days in (1, 2) and deleted.deleted_time is not None
    blob.undelete_blob()
    assert blob.download_blob().readall() == content
    properties = blob.get_blob_properties()
    assert (properties.etag, properties.metadata, properties.tag_count) == (etag, {"m": "1"}, 1)
    assert [found.name for found in kept.find_blobs_by_tags("t = '1'")] == ["a"]
    assert listed(kept, "deleted") == [("a", False, False)]


def test_what_was_overwritten_comes_back_as_a_snapshot(kept):
    blob = kept.upload_blob("a", b"one")
    blob.upload_blob(b"two", overwrite=True)
    blob.set_blob_metadata({"m": "1"})
    assert listed(kept, "deleted") == [("a", True, True), ("a", False, False)], "metadata isn't kept"
    blob.undelete_blob()
    taken = next(blob for blob in kept.list_blobs(include=["snapshots"]) if blob.snapshot)
    assert kept.get_blob_client("a", snapshot=taken.snapshot).download_blob().readall() == b"one"
    assert blob.download_blob().readall() == b"two"


def test_snapshots_come_back_with_their_blob(kept):
    blob = kept.upload_blob("a", b"old")
    taken = blob.create_snapshot()
    blob.upload_blob(b"new", overwrite=True)
    kept.get_blob_client("a", snapshot=taken).delete_blob()
    assert refused(kept.get_blob_client("a", snapshot=taken).download_blob) == (404, "BlobNotFound")
    blob.delete_blob()
    again = kept.upload_blob("a", b"another")
    again.delete_blob()
    blob.undelete_blob()
    assert blob.download_blob().readall() == b"another"
    contents = [kept.get_blob_client("a", snapshot=entry.snapshot).download_blob().readall()
                for entry in kept.list_blobs(include=["snapshots"]) if entry.snapshot]
    assert sorted(contents) == [b"new", b"old", b"old"]


def test_a_container_that_was_deleted_comes_back(service, kept):
    name = kept.container_name
    kept.set_container_metadata({"m": "1"})
    kept.upload_blob("a", b"x" * 50_000)
    kept.delete_container()
    assert not kept.exists()
    assert [found.name for found in service.list_containers(name_starts_with=name)] == []
    (gone,) = service.list_containers(name_starts_with=name, include_deleted=True, include_metadata=True)
    assert (gone.name, gone.deleted, gone.metadata) == (name, True, {"m": "1"})
    # Its name is free, until it comes back.
    again = service.create_container(name)
    assert list(again.list_blobs()) == []
    assert refused(service.undelete_container, name, gone.version) == (409, "ContainerAlreadyExists")
    again.delete_container()
    both = list(service.list_containers(name_starts_with=name, include_deleted=True, results_per_page=1))
    assert [found.version for found in both] == sorted(found.version for found in both) and len(both) == 2
    back = service.undelete_container(name, gone.version)
    assert back.get_container_properties().metadata == {"m": "1"}
    assert back.get_blob_client("a").download_blob().readall() == b"x" * 50_000
    assert refused(service.undelete_container, name, gone.version) == (404, "ContainerNotFound")


def test_the_time_of_deleted_blobs_ends(service, own_server):
    """The last one: it moves the clock past what the client's signatures bear."""
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=2))
    container = service.create_container("ends")
    assert refused(container.get_blob_client("none").undelete_blob) == (404, "BlobNotFound")
    container.upload_blob("a", b"x" * 50_000).delete_blob()
    url = f"{own_server.endpoints.blobs_account}/ends?restype=container&comp=list&include=deleted"

    def deleted(days_ahead):
        answer = raw_http.request("GET", url, blob_headers("GET", url, days_ahead=days_ahead))
        assert answer.status == 200, answer.text
        return "<Deleted>true</Deleted>" in answer.text

    assert deleted(0)
    body = json.dumps({"advanceSeconds": 3 * 86_400})
    clock = f"{own_server.endpoints.admin}/dev/clock"
    assert raw_http.request("POST", clock, {"Content-Type": "application/json"}, body).status == 200
    deadline = time.monotonic() + 30
    while deleted(3):
        assert time.monotonic() < deadline, "the sweep hasn't removed what was deleted three days ago"
        time.sleep(0.2)
