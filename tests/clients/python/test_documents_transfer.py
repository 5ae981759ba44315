"""`stabbur documents export` and `import`, between servers of which azure-cosmos sees what is there."""

import base64
import hashlib
import json
import os
import subprocess

import pytest
from azure.cosmos import CosmosClient, PartitionKey

from conftest import running
from server import DOCUMENTS_KEY, Server, is_all_in_its_folder

pytestmark = pytest.mark.skipif(not is_all_in_its_folder(), reason="the commands are given a data folder here")

COUNT = 250


def container_of(server):
    client = CosmosClient(server.endpoints.documents, credential=DOCUMENTS_KEY)
    database = client.create_database_if_not_exists("d")
    return database.create_container_if_not_exists("c", partition_key=PartitionKey(path="/pk"))


def run(data, verb, file, *more, succeeds=True):
    command = [os.environ["STABBUR_BINARY"], "documents", verb, "--data", str(data), "--database", "d",
               "--container", "c", "--file", str(file), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stdout + done.stderr


def whole(rows):
    """Items without what a service sets."""
    return {row["id"]: {name: value for name, value in row.items() if not name.startswith("_")} for row in rows}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder of a stopped server with items, the file they were exported to, and the items."""
    data = tmp_path_factory.mktemp("source") / "data"
    server = Server(data=data)
    for started in running(server):
        container = container_of(started)
        for number in range(COUNT):
            container.create_item({
                "id": f"item-{number}", "pk": f"p{number % 3}", "text": "æ\n\t\"å\" \u2028" * 3,
                "exact": 9007199254740993 + number, "half": 0.1, "nested": {"list": [1, None, True]}})
        items = list(container.read_all_items())
        rid = container.read()["_rid"]
    file = data.parent / "items.jsonl"
    assert f"{COUNT} items exported" in run(data, "export", file)
    return data, file, items, rid


def test_what_comes_out_is_what_is_there(exported):
    data, file, items, _ = exported
    lines = file.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == items
    assert not file.with_name("items.jsonl.progress").exists()
    assert "is there already" in run(data, "export", file, succeeds=False)


def test_an_export_goes_on(exported):
    data, file, items, rid = exported
    lines = file.read_bytes().splitlines(keepends=True)
    number = int.from_bytes(base64.b64decode(items[100]["_rid"].replace("-", "/"))[8:], "little")
    begun = file.with_name("begun.jsonl")
    done = b"".join(lines[:100])
    begun.write_bytes(done + b'{"half a li')
    note = begun.with_name("begun.jsonl.progress")
    noted = {"kind": "export", "container": rid, "bytes": len(done), "sha256": hashlib.sha256(done).hexdigest(),
             "items": 100, "next": number}
    note.write_text(json.dumps(noted))
    assert "an export with this file" in run(data, "import", begun, succeeds=False)
    assert f"{COUNT} items exported" in run(data, "export", begun)
    assert begun.read_bytes() == file.read_bytes()
    assert not note.exists()
    note.write_text(json.dumps({**noted, "container": "other"}))
    assert "another container" in run(data, "export", begun, succeeds=False)
    note.unlink()


def test_an_import_stops_at_a_bad_line_and_goes_on(exported, tmp_path):
    _, file, items, _ = exported
    data = tmp_path / "data"
    for _ in running(Server(data=data)):
        pass
    assert "--partition-key" in run(data, "import", file, succeeds=False)
    lines = file.read_bytes().splitlines(keepends=True)
    bad = tmp_path / "bad.jsonl"
    # An item twice: the later line counts. A blank line is none.
    again = json.dumps({"id": "item-0", "pk": "p0", "second": True}).encode() + b"\n"
    bad.write_bytes(b"".join(lines[:150]) + b"\n" + again + b'{"pk": "no id"}\n' + b"".join(lines[150:]))
    said = run(data, "import", bad, "--partition-key", "/pk", succeeds=False)
    assert f"byte {len(b''.join(lines[:150])) + 1 + len(again)}" in said and "'id; '" in said
    assert "151 items are in" in said
    held = bad.read_bytes()
    assert "an import with this file" in run(data, "export", bad, succeeds=False)
    assert bad.read_bytes() == held
    bad.write_bytes(bad.read_bytes().replace(b'{"pk": "no id"}', b'{"id":"x","pk":0}'))
    assert f"{COUNT + 2} items imported" in run(data, "import", bad)
    for started in running(Server(data=data)):
        container = container_of(started)
        found = whole(container.read_all_items())
        expected = whole(items)
        expected["item-0"] = {"id": "item-0", "pk": "p0", "second": True}
        expected["x"] = {"id": "x", "pk": 0}
        assert found == expected
        query = "SELECT VALUE COUNT(1) FROM c WHERE c.pk = 'p1'"
        assert list(container.query_items(query, enable_cross_partition_query=True)) == [COUNT // 3]
    verified = subprocess.run([os.environ["STABBUR_BINARY"], "ledger", "verify", "--data", str(data)],
                              capture_output=True, text=True, timeout=120, check=False)
    assert verified.returncode == 0 and "0 faults" in verified.stdout
