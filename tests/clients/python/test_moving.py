"""A server moves to another ledger with `stabbur ledger copy`: what its clients hold (ETags, positions in a
change feed) goes on there, and the content is where it was, or in a copy of its folder."""

import hashlib
import os
import shutil
import subprocess

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError
from azure.cosmos import PartitionKey, exceptions

import life_steps
import life_views
from server import Server

SIZES = [0, 100, 16 * 1024 + 1, 3 * 1024 * 1024]


def command(*arguments):
    return subprocess.run([os.environ["STABBUR_BINARY"], *arguments], capture_output=True, text=True, check=False)


def pattern(size):
    return hashlib.sha256(str(size).encode()).digest() * (size // 32) + b"x" * (size % 32)


def feed(container, continuation=None):
    """Everything behind the continuation (without: from the beginning), and the next one."""
    start = {"continuation": continuation} if continuation else {"start_time": "Beginning"}
    items = list(container.query_items_change_feed(**start))
    return [item["id"] for item in items], container.client_connection.last_response_headers["etag"]


class Moved:
    """What clients held before, and the server that they find afterwards."""


def write(server, moved):
    cosmos = life_views.documents_client(server.endpoints)
    container = cosmos.create_database("moving").create_container("items", PartitionKey("/owner"))
    for number in range(20):
        container.create_item({"id": f"item-{number}", "owner": "a", "number": number})
    for number in range(5):
        container.upsert_item({"id": f"item-{number}", "owner": "a", "number": 100 + number})
    container.delete_item("item-19", "a")
    moved.items = {item["id"]: item for item in container.read_all_items()}
    moved.seen, moved.continuation = feed(container)
    blobs = life_views.blobs_client(server.endpoints).create_container("moving")
    moved.blob_etags = {}
    for size in SIZES:
        moved.blob_etags[size] = blobs.upload_blob(f"blob-{size}", pattern(size)).get_blob_properties().etag
    # What the life of an instance leaves: its last step moves the clock and deletes it.
    for result in life_steps.walk(life_steps.Life(server.endpoints)):
        assert result.error is None


@pytest.fixture(scope="module")
def moved():
    moved = Moved()
    old = Server()
    if old.database:
        old.database.drop()
        old.database = None
    old.start()
    write(old, moved)
    old.stop()
    content = old.content[1] if old.content else None
    if os.environ.get("STABBUR_POSTGRES"):
        # The content stays where it is: the same data folder is named, or the same place in an object store.
        new = Server(data=old.data, content_config=content)
        to = new.database.arguments()[1]
    else:
        new = Server(content_config=content)
        to = str(new.data)
        if not content:
            shutil.copytree(old.data / "content", new.data / "content")
    moved.copied = command("ledger", "copy", "--from", str(old.data), "--to", to)
    assert moved.copied.returncode == 0, moved.copied.stderr
    if new.data != old.data:
        # It isn't in the ledger: whoever has a copy of that has no secret yet.
        shutil.copy2(old.data / "vault-root.key", new.data)
    new.start()
    moved.server = new
    yield moved
    new.stop()
    loud = old.unexpected_log_lines() + new.unexpected_log_lines()
    engine = new.database.arguments() if new.database else []
    verified = command("ledger", "verify", "--data", str(new.data), *engine, *new.content)
    old.remove()
    new.remove()
    assert not loud, loud
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert ": 0 faults" in verified.stdout, verified.stdout


@pytest.fixture
def items(moved):
    return life_views.documents_client(moved.server.endpoints).get_database_client("moving").get_container_client("items")


def test_the_sums_are_printed_and_nothing_else(moved):
    assert moved.copied.stdout.count("BLAKE3, both sides") == 2
    assert moved.copied.stderr == ""


def test_every_item_is_there_as_it_was(moved, items):
    assert len(moved.items) == 19
    assert {item["id"]: item for item in items.read_all_items()} == moved.items


def test_the_change_feed_goes_on_where_it_was(moved, items):
    assert sorted(moved.seen) == sorted(moved.items)
    assert feed(items, moved.continuation)[0] == []
    assert feed(items)[0] == moved.seen
    old = moved.items["item-3"]
    items.replace_item("item-3", {**old, "number": 7}, etag=old["_etag"], match_condition=MatchConditions.IfNotModified)
    items.create_item({"id": "new", "owner": "a"})
    assert feed(items, moved.continuation)[0] == ["item-3", "new"]
    with pytest.raises(exceptions.CosmosAccessConditionFailedError):
        items.replace_item("item-3", old, etag=old["_etag"], match_condition=MatchConditions.IfNotModified)


def test_blobs_and_their_content(moved):
    blobs = life_views.blobs_client(moved.server.endpoints).get_container_client("moving")
    for size in SIZES:
        blob = blobs.get_blob_client(f"blob-{size}")
        assert blob.get_blob_properties().etag == moved.blob_etags[size]
        assert blob.download_blob().readall() == pattern(size)
    blob = blobs.get_blob_client(f"blob-{SIZES[-1]}")
    held = {"etag": moved.blob_etags[SIZES[-1]], "match_condition": MatchConditions.IfNotModified}
    blob.upload_blob(b"another", overwrite=True, **held)
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(b"lost", overwrite=True, **held)
    assert blob.download_blob().readall() == b"another"


def test_a_life_of_an_instance_begins_there_too(moved):
    # The last one: its last step moves the clock.
    life = life_steps.Life(moved.server.endpoints)
    results = list(life_steps.walk(life))
    assert [result.error for result in results] == [None] * 17
