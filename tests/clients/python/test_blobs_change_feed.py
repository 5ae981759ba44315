"""The blobs' change feed, with the original's reader against a server whose account has one."""

import base64
import datetime
import json
import time
import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions, BlobServiceClient, ContentSettings, ResourceTypes, generate_account_sas,
)
from azure.storage.blob.changefeed import ChangeFeedClient

import raw_http
from conftest import running
from server import BLOBS_ACCOUNT, BLOBS_KEY, Server
from test_blobs_access import hours

# The background work goes round each 5 s.
FEED_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def feeding():
    yield from running(Server(options=["--blob-change-feed", "--blob-versioning"]))


@pytest.fixture(scope="module")
def service(feeding):
    with BlobServiceClient.from_connection_string(feeding.endpoints.blobs_connection_string) as client:
        yield client


@pytest.fixture
def container(service):
    wait(lambda: service.get_container_client("$blobchangefeed").exists())
    container = service.create_container(f"test-{uuid.uuid4().hex[:12]}")
    yield container
    container.delete_container()


def wait(ready):
    deadline = time.monotonic() + FEED_SECONDS_MAX
    while not (found := ready()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.5)
    return found


def move_clock(server, seconds):
    body = json.dumps({"advanceSeconds": seconds}).encode()
    clock = f"{server.endpoints.admin}/dev/clock"
    assert raw_http.request("POST", clock, {"Content-Type": "application/json"}, body).status == 200


def reader(server):
    return ChangeFeedClient.from_connection_string(server.endpoints.blobs_connection_string)


def of(container, events):
    """Event, operation and blob of what is about a container."""
    prefix = f"/blobServices/default/containers/{container.container_name}/blobs/"
    return [
        (event["eventType"], event["data"]["api"], event["subject"].removeprefix(prefix))
        for event in events
        if event["subject"].startswith(prefix)
    ]


def until(server, container, count, **rest):
    """All events of a container, once there are so many."""
    def ready():
        events = list(reader(server).list_changes(**rest))
        return events if len(of(container, events)) >= count else None
    return wait(ready)


def test_each_change_is_read_in_its_order(feeding, service, container):
    blob = container.get_blob_client("a/b c.txt")
    made = blob.upload_blob(b"12345", content_settings=ContentSettings(content_type="text/plain"))
    blob.set_blob_metadata({"k": "v"})
    blob.set_http_headers(ContentSettings(content_type="text/html", cache_control="no-store"))
    blob.set_blob_tags({"k": "v"})
    blob.set_standard_blob_tier("Cool")
    snapshot = blob.create_snapshot()
    blob.stage_block(base64.b64encode(b"1").decode(), b"678")
    blob.commit_block_list([base64.b64encode(b"1").decode()])
    copy = container.get_blob_client("copy")
    copy.start_copy_from_url(blob.url)
    blob.delete_blob(delete_snapshots="include")
    events = until(feeding, container, 10)
    mine = [event for event in events if container.container_name in event["subject"]]
    assert of(container, events) == [
        ("BlobCreated", "PutBlob", "a/b c.txt"),
        ("BlobPropertiesUpdated", "SetBlobMetadata", "a/b c.txt"),
        ("BlobPropertiesUpdated", "SetBlobProperties", "a/b c.txt"),
        ("BlobPropertiesUpdated", "SetBlobTags", "a/b c.txt"),
        ("BlobTierChanged", "SetBlobTier", "a/b c.txt"),
        ("BlobSnapshotCreated", "SnapshotBlob", "a/b c.txt"),
        ("BlobCreated", "PutBlockList", "a/b c.txt"),
        ("BlobCreated", "CopyBlob", "copy"),
        ("BlobDeleted", "DeleteBlob", "a/b c.txt"),
        ("BlobDeleted", "DeleteBlob", "a/b c.txt"),
    ]
    data = [event["data"] for event in mine]
    assert (data[0]["etag"], data[0]["blobVersion"]) == (made["etag"].strip('"'), made["version_id"])
    assert (data[0]["contentLength"], data[0]["contentType"]) == (5, "text/plain")
    assert (data[0]["blobType"], data[0]["requestId"]) == ("BlockBlob", made["request_id"])
    assert data[0]["clientRequestId"] == made["client_request_id"]
    assert data[2]["blobPropertiesUpdated"]["ContentType"] == {"previous": "text/plain", "current": "text/html"}
    assert data[3]["blobTagsUpdated"] == {"previous": {}, "current": {"k": "v"}}
    assert data[4]["previousInfo"]["PreviousTier"] == "Hot"
    assert data[5]["snapshot"] == snapshot["snapshot"] == data[8]["snapshot"]
    assert data[6]["contentLength"] == 3
    sequencers = [part["sequencer"] for part in data]
    assert sequencers == sorted(set(sequencers))
    assert len({event["id"] for event in mine}) == 10
    times = [datetime.datetime.fromisoformat(event["eventTime"]) for event in mine]
    assert times == sorted(times)


def test_a_reader_goes_on_where_it_was(feeding, container):
    names = [f"{number:03}" for number in range(120)]
    for name in names[:90]:
        container.upload_blob(name, b"x")
    until(feeding, container, 90)
    read, token = [], None
    for _ in range(3):
        pages = reader(feeding).list_changes(results_per_page=17).by_page(continuation_token=token)
        read += list(next(pages))
        token = pages.continuation_token
    for name in names[90:]:
        container.upload_blob(name, b"x")
    until(feeding, container, 120)
    # What was written behind the place is read from it on, once.
    while page := next(pages := reader(feeding).list_changes(results_per_page=17).by_page(token), None):
        read += list(page)
        token = pages.continuation_token
    assert [blob for _, _, blob in of(container, read)] == names
    ids = [event["id"] for event in read]
    assert len(ids) == len(set(ids))
    # From the very end on, too.
    container.upload_blob("later", b"x")
    until(feeding, container, 121)
    page = next(reader(feeding).list_changes(results_per_page=17).by_page(token))
    assert [blob for _, _, blob in of(container, list(page))] == ["later"]


def test_hours_are_read_by_their_time():
    """With a signature that holds for longer than the clock is moved."""
    server = Server(options=["--blob-change-feed"])
    server.start()
    try:
        sas = generate_account_sas(
            BLOBS_ACCOUNT, BLOBS_KEY, ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, list=True, create=True), hours(9))
        with BlobServiceClient(server.endpoints.blobs_account, sas) as service:
            feed = service.get_container_client("$blobchangefeed")
            wait(feed.exists)
            container = service.create_container("box")
            first = container.upload_blob("first", b"x").get_blob_properties().last_modified
            client = ChangeFeedClient(server.endpoints.blobs_account, sas)
            read = lambda **rest: [blob for _, _, blob in of(container, client.list_changes(**rest))]
            document = lambda path: json.loads(feed.download_blob(path).readall())
            wait(lambda: read() == ["first"])
            begin = first.replace(minute=0, second=0, microsecond=0, tzinfo=None)
            end = begin + datetime.timedelta(hours=1)
            path = begin.strftime("idx/segments/%Y/%m/%d/%H00/meta.json")
            assert document("meta/segments.json")["lastConsumable"] == begin.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            assert document(path)["status"] == "Publishing"
            move_clock(server, 2 * 3_600)
            container.upload_blob("second", b"x")
            wait(lambda: read() == ["first", "second"])
            assert document(path)["status"] == "Finalized"
            assert document("meta/segments.json")["lastConsumable"] == end.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            assert read(end_time=end - datetime.timedelta(seconds=1)) == ["first"]
            assert read(start_time=end) == ["second"]
        server.stop()
        assert not server.unexpected_log_lines()
    finally:
        server.remove()


def test_a_feed_is_read_only_and_out_of_the_way(service, container):
    feed = service.get_container_client("$blobchangefeed")
    for refused in (
        lambda: feed.upload_blob("x", b"x"),
        lambda: feed.delete_blob("meta/segments.json"),
        lambda: feed.get_blob_client("meta/segments.json").set_blob_metadata({"k": "v"}),
        feed.delete_container,
    ):
        with pytest.raises(HttpResponseError) as error:
            refused()
        assert (error.value.status_code, error.value.error_code) == (403, "InsufficientAccountPermissions")
    assert "$blobchangefeed" not in [found.name for found in service.list_containers()]
    assert "$blobchangefeed" in [found.name for found in service.list_containers(include_system=True)]
    types = {blob.name.rsplit(".", 1)[-1]: blob.blob_type for blob in feed.list_blobs()}
    assert types == {"json": "BlockBlob", "avro": "AppendBlob"}


def test_a_server_that_is_killed_loses_no_event_and_tells_none_twice():
    server = Server(options=["--blob-change-feed"])
    server.start()
    try:
        with BlobServiceClient.from_connection_string(server.endpoints.blobs_connection_string) as client:
            wait(lambda: client.get_container_client("$blobchangefeed").exists())
            container = client.create_container("box")
        written = []
        for round_ in range(4):
            with BlobServiceClient.from_connection_string(server.endpoints.blobs_connection_string) as client:
                deadline = time.monotonic() + 4 + round_ * 0.7
                while time.monotonic() < deadline:
                    name = f"{len(written):05}"
                    client.get_blob_client("box", name).upload_blob(b"x")
                    written.append(name)
            server.process.kill()
            server.process.wait()
            server.start()
        events = until(server, container, len(written))
        assert [blob for _, _, blob in of(container, events)] == written
        server.stop()
        assert not server.unexpected_log_lines()
    finally:
        server.remove()
