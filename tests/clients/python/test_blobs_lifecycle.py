"""Lifecycle rules, with azure-storage-blob against servers whose clock is moved; the clients' signatures hold longer."""

import contextlib
import json
import re
import time

from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas
from azure.storage.blob.changefeed import ChangeFeedClient

import raw_http
from server import BLOBS_ACCOUNT, BLOBS_KEY, Server
from test_blobs_access import hours

DAY_SECONDS = 86_400


def rule(name, actions, prefixes=(), **filters):
    filters = {"blobTypes": ["blockBlob"], "prefixMatch": list(prefixes), **filters}
    return {"name": name, "enabled": True, "type": "Lifecycle", "definition": {"actions": actions, "filters": filters}}


@contextlib.contextmanager
def serving(tmp_path, rules, *options):
    """A server with rules, and a client that it believes for weeks."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"rules": rules}), encoding="utf-8")
    server = Server(options=["--blob-lifecycle", str(path), *options])
    server.start()
    try:
        sas = generate_account_sas(
            BLOBS_ACCOUNT, BLOBS_KEY, ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, list=True, create=True, tag=True), hours(24 * 60))
        with BlobServiceClient(server.endpoints.blobs_account, sas) as service:
            yield server, service, sas
        server.stop()
        assert not server.unexpected_log_lines()
    finally:
        server.remove()


def move_clock(server, days):
    body = json.dumps({"advanceSeconds": round(days * DAY_SECONDS)})
    clock = f"{server.endpoints.admin}/dev/clock"
    assert raw_http.request("POST", clock, {"Content-Type": "application/json"}, body).status == 200


def wait(ready):
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.3)


def metric(server, name):
    text = raw_http.request("GET", f"{server.endpoints.admin}/metrics", {}).text
    return int(re.search(rf'{name}\D+(\d+)$', text, re.MULTILINE).group(1))


def test_blobs_cool_down_and_go_as_they_grow_old(tmp_path):
    rules = [
        rule("cool", {"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 2}}}),
        rule("logs", {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}},
                      "snapshot": {"delete": {"daysAfterCreationGreaterThan": 5}}}, ["box/logs/"]),
        rule("tagged", {"baseBlob": {"delete": {"daysAfterCreationGreaterThan": 5}}}, ["box/"],
             blobIndexMatch=[{"name": "keep", "op": "==", "value": "no"}]),
    ]
    with serving(tmp_path, rules, "--blob-change-feed") as (server, service, sas):
        box = service.create_container("box")
        for name in ("logs/a", "logs/leased", "other"):
            box.upload_blob(name, b"x")
        box.upload_blob("tagged", b"x", tags={"keep": "no"})
        lease = box.get_blob_client("logs/leased").acquire_lease()
        box.get_blob_client("logs/a").create_snapshot()
        feed = service.get_container_client("$blobchangefeed")
        wait(lambda: feed.exists() and "a lifecycle run is over" in server.log())
        names = lambda: [blob.name for blob in box.list_blobs()]
        tiers = lambda: {blob.name: blob.blob_tier for blob in box.list_blobs()}
        assert set(tiers().values()) == {"Hot"}
        move_clock(server, 3)
        wait(lambda: set(tiers().values()) == {"Cool"})
        move_clock(server, 3)
        # A blob goes after its snapshots: on the next day, if the run meets it first.
        wait(lambda: "tagged" not in names())
        move_clock(server, 1.5)
        wait(lambda: names() == ["logs/leased", "other"])
        lease.release()
        move_clock(server, 1.5)
        wait(lambda: names() == ["other"])
        assert metric(server, "blobs_lifecycle_refused") >= 1
        told = lambda: {(event["eventType"], event["subject"].rsplit("/blobs/", 1)[1])
                        for event in ChangeFeedClient(server.endpoints.blobs_account, sas).list_changes()
                        if event["data"]["clientRequestId"] == "lifecycle"}
        gone = {("BlobDeleted", name) for name in ("logs/a", "logs/leased", "tagged")}
        wait(lambda: told() == gone)


def test_a_dry_run_says_what_would_go(tmp_path):
    rules = [rule("all", {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 5}}})]
    with serving(tmp_path, rules, "--blob-lifecycle-dry-run") as (server, service, _):
        box = service.create_container("box")
        box.upload_blob("a", b"x")
        move_clock(server, 6)
        wait(lambda: "dry run: a lifecycle rule would do this" in server.log())
        assert [blob.name for blob in box.list_blobs()] == ["a"]


def test_rules_that_are_not_known_stop_the_start(tmp_path):
    def refused(rules):
        path = tmp_path / "rules.json"
        path.write_text(json.dumps(rules), encoding="utf-8")
        server = Server(options=["--blob-lifecycle", str(path)])
        try:
            server.start()
        except RuntimeError as error:
            return str(error)
        finally:
            server.stop()
            server.remove()
        raise AssertionError("it starts")

    wrong = rule("r", {"baseBlob": {"delete": {"daysAfterLastAccessTimeGreaterThan": 5}}})
    assert "last_access_time_tracking" in refused({"rules": [wrong]})
    wrong = rule("r", {"snapshot": {"delete": {"daysAfterModificationGreaterThan": 5}}})
    assert re.search(r'rules\.json: rule "r": .*snapshots and versions', refused({"rules": [wrong]}))
    assert "unknown field `Rules`" in refused({"Rules": []})


def test_what_nobody_reads_goes(tmp_path):
    rules = [rule("unread", {"baseBlob": {"delete": {"daysAfterLastAccessTimeGreaterThan": 5}}}, ["box/"])]
    with serving(tmp_path, rules, "--blob-last-access") as (server, service, _):
        box = service.create_container("box")
        for name in ("read", "unread"):
            box.upload_blob(name, b"x")
        blob = box.get_blob_client("read")
        made = blob.get_blob_properties()
        # What was read before the first run is unknown, so it counts from then.
        wait(lambda: "a lifecycle run is over" in server.log())
        assert made.last_accessed_on is not None
        move_clock(server, 4)
        assert blob.download_blob().readall() == b"x"
        read = blob.get_blob_properties()
        assert (read.last_accessed_on - made.last_accessed_on).days == 4
        assert (read.etag, read.last_modified) == (made.etag, made.last_modified)
        assert {one.name: one.last_accessed_on for one in box.list_blobs()}["read"] == read.last_accessed_on
        move_clock(server, 1.5)
        wait(lambda: [one.name for one in box.list_blobs()] == ["read"])
