"""A full disk: clear errors, nothing half-written, reads go on, and so do writes once there is room."""

import hashlib
import os
import subprocess
import tempfile
import uuid

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.cosmos import PartitionKey, exceptions

import life_steps
import life_views
from server import Server, is_all_in_its_folder

# Room for the store's own first files (its journal is allocated ahead) and some content.
DISK_MEBIBYTES = 192
CHUNK = 1024 * 1024

# A disk of ours is full, not the database's or the object store's.
pytestmark = pytest.mark.skipif(not is_all_in_its_folder(), reason="ledger or content isn't on the disk that gets full")


@pytest.fixture(scope="module")
def small_disk():
    folder = tempfile.mkdtemp(prefix="stabbur-small-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEBIBYTES}m", "tmpfs", folder],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        os.rmdir(folder)
        pytest.skip(f"mounting a tmpfs isn't permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    os.rmdir(folder)


@pytest.fixture
def server(small_disk):
    server = Server(data=os.path.join(small_disk, uuid.uuid4().hex))
    # The log is meant to be loud here: it says that the disk is full.
    server.expect_log(".*")
    server.start()
    yield server
    server.stop()
    server.remove()
    subprocess.run(["rm", "-rf", str(server.data)], check=True)


class Ballast:
    """Takes all the room that is left, and gives it back."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "ballast")

    def take_all(self):
        with open(self.path, "ab") as file:
            for size in (CHUNK, 4096):
                try:
                    while True:
                        os.write(file.fileno(), b"x" * size)
                except OSError:
                    pass

    def give_back(self):
        os.unlink(self.path)


def upload_until_refused(container, content):
    """Names that were acknowledged, and the first refusal."""
    written = []
    for number in range(10 * DISK_MEBIBYTES):
        name = f"blob-{number:04}"
        try:
            container.upload_blob(name, content(number))
        except HttpResponseError as refusal:
            return written, refusal
        written.append(name)
    pytest.fail("the disk never got full")


def healthy(server):
    return requests.get(f"{server.endpoints.admin}/health/live", timeout=10).status_code == 200


def test_blobs_on_a_full_disk(server):
    with life_views.blobs_client(server.endpoints) as service:
        service._config.retry_policy.total_retries = 0
        container = service.create_container("full")

        def content(number):
            return hashlib.sha256(str(number).encode()).digest() * (CHUNK // 32)

        written, refusal = upload_until_refused(container, content)
        assert refusal.status_code >= 500, refusal
        assert refusal.error_code, "a refusal has a code"
        assert written and healthy(server)
        assert [b.name for b in container.list_blobs()] == written, "nothing half-written is listed"
        for number, name in enumerate(written):
            assert container.download_blob(name).readall() == content(number), "what was acknowledged is whole"
    server.stop()
    # Freed from outside: the disk has room again for a restart.
    restarted = Server(data=server.data)
    restarted.expect_log(".*")
    restarted.start()
    try:
        with life_views.blobs_client(restarted.endpoints) as service:
            container = service.get_container_client("full")
            assert [b.name for b in container.list_blobs()] == written
            for name in written[: len(written) // 2]:
                container.delete_blob(name)
    finally:
        restarted.stop()
        restarted.remove()


def test_it_works_again_after_freeing(server, small_disk):
    ballast = Ballast(small_disk)
    cosmos = life_views.documents_client(server.endpoints)
    items = cosmos.create_database("full").create_container("items", partition_key=PartitionKey(path="/pk"))
    text = "x" * 100_000
    with life_views.blobs_client(server.endpoints) as service:
        service._config.retry_policy.total_retries = 0
        blobs = service.create_container("full")
        blobs.upload_blob("before", b"y" * CHUNK)
        items.create_item({"id": "before", "pk": "a"})
        ballast.take_all()
        refused_blob = refused_item = None
        acknowledged = []
        for number in range(3000):
            try:
                items.create_item({"id": f"item-{number}", "pk": "a", "text": text})
                acknowledged.append(f"item-{number}")
            except exceptions.CosmosHttpResponseError as refusal:
                refused_item = refusal
                break
        try:
            blobs.upload_blob("during", b"y" * CHUNK)
        except HttpResponseError as refusal:
            refused_blob = refusal
        assert refused_blob is not None and refused_blob.status_code >= 500
        assert refused_item is None or refused_item.status_code >= 400
        assert [b.name for b in blobs.list_blobs()] == ["before"]
        assert blobs.download_blob("before").readall() == b"y" * CHUNK
        assert items.read_item("before", partition_key="a")["id"] == "before"
        ballast.give_back()
    if refused_item is not None:
        # A write to the journal that failed is final by design: a restart recovers.
        server.stop()
        server.start()
    cosmos = life_views.documents_client(server.endpoints)
    items = cosmos.get_database_client("full").get_container_client("items")
    names = [row["id"] for row in items.query_items("SELECT c.id FROM c", partition_key="a")]
    assert sorted(names) == sorted(["before", *acknowledged]), "all that was acknowledged, and nothing else"
    items.create_item({"id": "after", "pk": "a", "text": text})
    with life_views.blobs_client(server.endpoints) as service:
        service.get_container_client("full").upload_blob("after", b"z" * CHUNK)
        assert service.get_container_client("full").download_blob("after").readall() == b"z" * CHUNK


def test_platform_on_a_full_disk(server, small_disk):
    if not server.endpoints.platform:
        pytest.skip("Platform Storage isn't served yet")
    ballast = Ballast(small_disk)
    life = life_steps.Life(server.endpoints)
    life.prepare()
    life_steps.create(life)
    life_steps.add_model(life)
    ballast.take_all()
    answer = life.session.post(
        life.endpoints.storage + life.at("/data?dataType=attachment"), data=b"x" * (8 * CHUNK), timeout=60,
        headers={"Authorization": f"Bearer {life.user}", "Content-Type": "application/pdf",
                 "Content-Disposition": "attachment; filename=a.pdf"})
    assert answer.status_code >= 500, answer.text
    elements = life.read()["data"]
    assert [element["id"] for element in elements] == [life.model], "no element without its bytes"
    assert life.call("GET", life.at(f"/data/{life.model}"), 200, life.user).content == life_steps.MODEL
    ballast.give_back()
