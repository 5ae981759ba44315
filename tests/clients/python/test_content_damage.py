"""A flipped bit on disk: found when it is read, by name, and by `stabbur content scrub`; never answered."""

import os
import pathlib
import re
import subprocess

import pytest
import requests
from azure.core.exceptions import AzureError, HttpResponseError

import life_views
from server import Server, is_all_in_its_folder

FRAME = 64 * 1024
KIB = 1024

# The bits that are flipped are in the data folder.
pytestmark = pytest.mark.skipif(not is_all_in_its_folder(), reason="content isn't in the data folder")


@pytest.fixture
def server():
    server = Server()
    server.start()
    yield server
    server.stop()
    server.remove()


def scrub(server):
    command = [os.environ["STABBUR_BINARY"], "content", "scrub", "--data", str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def contents(server):
    return sorted(path for path in pathlib.Path(server.data, "content").glob("??/*") if path.is_file())


def flip(path, at):
    """Flips a bit; again, and it is as it was."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def metric(server, name):
    text = requests.get(f"{server.endpoints.admin}/metrics", timeout=10).text
    found = re.search(rf"^\S*{name}\S* (\d+)$", text, re.MULTILINE)
    return int(found.group(1))


def test_each_damaged_content_is_named(server):
    sizes = {"large": 300 * KIB, "appended": 100 * KIB, "pages": 2048 * KIB, "staged": 150 * KIB}
    with life_views.blobs_client(server.endpoints) as service:
        box = service.create_container("box")
        box.upload_blob("a/large", os.urandom(sizes["large"]))
        taken = box.get_blob_client("a/large").create_snapshot()["snapshot"]
        appended = box.get_blob_client("appended")
        appended.create_append_blob()
        appended.append_block(os.urandom(sizes["appended"]))
        pages = box.get_blob_client("pages")
        pages.create_page_blob(4096 * KIB)
        pages.upload_page(os.urandom(sizes["pages"]), 0, sizes["pages"])
        box.get_blob_client("staged").stage_block("b1", os.urandom(sizes["staged"]))
        box.upload_blob("small", b"in the ledger")
    server.stop()
    assert scrub(server) == (0, f"4 contents, {sum(sizes.values())} bytes: 0 damaged\n")

    names = {
        "large": {"box/a/large", f"box/a/large, snapshot {taken}"},
        "appended": {"box/appended"},
        "pages": {"box/pages"},
        "staged": {"box, block YjE= that isn't committed"},
    }
    for path in contents(server):
        length = path.stat().st_size
        [which] = [name for name, size in sizes.items() if 0 < length - size < 4 * KIB]
        # In its header, in its first frame, in its last one, in its footer.
        for at in (3, 30, length - 40, length - 3):
            flip(path, at)
            code, said = scrub(server)
            flip(path, at)
            first, *owners, last = said.splitlines()
            assert code == 1 and last.endswith(": 1 damaged"), (which, at, said)
            assert first.startswith("damaged: ") and path.name in first
            assert {owner.strip() for owner in owners} == names[which]
    # One that isn't there at all is found as well.
    gone = contents(server)[0]
    moved = gone.rename(gone.with_suffix(".away"))
    code, said = scrub(server)
    moved.rename(gone)
    assert code == 1 and gone.name in said
    assert scrub(server)[0] == 0


def test_damage_is_an_error_a_figure_and_a_line_with_the_blobs_name(server):
    content = os.urandom(10 * FRAME)
    with life_views.blobs_client(server.endpoints) as service:
        service.create_container("box").upload_blob("post/letter", content)
    server.stop()
    [path] = contents(server)
    flip(path, 24 + 5 * (FRAME + 4) + 100)
    server.expect_log("damaged content|content can't be read")
    server.start()
    with life_views.blobs_client(server.endpoints) as service:
        service._config.retry_policy.total_retries = 0
        blob = service.get_blob_client("box", "post/letter")
        before = metric(server, "content_corrupt_frames")
        # What isn't damaged is answered.
        assert blob.download_blob(0, 5 * FRAME).readall() == content[:5 * FRAME]
        assert blob.download_blob(6 * FRAME, 4 * FRAME).readall() == content[6 * FRAME:]
        assert metric(server, "content_corrupt_frames") == before
        with pytest.raises(HttpResponseError) as refused:
            blob.download_blob(5 * FRAME, 10).readall()
        assert refused.value.status_code == 500
        # Of a longer answer the begin is on its way already: it is cut, and no client takes it for the whole.
        with pytest.raises(AzureError):
            blob.download_blob().readall()
        assert metric(server, "content_corrupt_frames") >= before + 2
    lines = [line for line in server.log().splitlines() if "content can't be read" in line]
    assert len(lines) >= 2 and all("box" in line and "post/letter" in line for line in lines), lines
