"""Encryption at rest, with azure-storage-blob against servers that encrypt, and one that doesn't."""

import base64
import hashlib
import os
import pathlib
import re
import signal
import subprocess
import uuid

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient

from server import Server, is_all_in_its_folder
from test_blobs_bearer import free_port, serving

MARKER = b"nobody may find this text in any file "
SIZES = [0, 1, 512, 16 * 1024, 16 * 1024 + 1, 65_520, 65_521, 65_536, 300_000, 5_000_000]


def marked(length):
    return (MARKER * (length // len(MARKER) + 1))[:length]


def key_file(folder, name="kek", mode=0o600, text=None):
    path = pathlib.Path(folder) / name
    path.write_text(text or os.urandom(32).hex(), encoding="utf-8")
    path.chmod(mode)
    return path


def options(*paths, generation=None):
    files = [part for path in paths for part in ("--encryption-key", str(path))]
    return files + (["--encryption-generation", str(generation)] if generation is not None else [])


@pytest.fixture
def server(tmp_path):
    """A server that encrypts; it can be stopped and started with other options."""
    server = Server(options=options(key_file(tmp_path)))
    server.start()
    yield server
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    assert not loud, loud[:20]


def service(server, **rest):
    return BlobServiceClient.from_connection_string(server.endpoints.blobs_connection_string, **rest)


def restart(server, *new_options):
    server.stop()
    if new_options:
        server.options = list(new_options)
    server.start()


class Held:
    """What a container should hold, by address: a name, and a snapshot's time or nothing."""

    def __init__(self, container):
        self.container = container
        self.contents = {}

    def fill(self):
        for size in SIZES:
            self.put(f"put-{size}", marked(size))
        self.blocks("blocks", [marked(10), marked(200_000), marked(70_000)])
        self.append("append", [marked(30), marked(100_000), marked(1)])
        self.pages("pages", 9 * 1024 * 1024, [(512, 1024), (4 * 1024 * 1024 - 1024, 4096), (5 * 1024 * 1024, 1024 * 1024)])
        for name in ("put-512", "put-300000", "append", "pages"):
            blob = self.container.get_blob_client(name)
            taken = blob.create_snapshot()["snapshot"]
            self.contents[name, taken] = self.contents[name, None]
            copy = self.container.get_blob_client(f"copy-of-{name}")
            copy.start_copy_from_url(blob.url)
            self.contents[copy.blob_name, None] = self.contents[name, None]
        self.put("put-300000", marked(7))
        self.pages_more("pages", 2048, b"\7" * 512)
        return self

    def put(self, name, content):
        self.container.upload_blob(name, content, overwrite=True)
        self.contents[name, None] = content

    def blocks(self, name, parts):
        blob = self.container.get_blob_client(name)
        ids = [f"{number:04}" for number in range(len(parts))]
        for block, part in zip(ids, parts):
            blob.stage_block(block, part)
        blob.commit_block_list([BlobBlock(block) for block in ids])
        self.contents[name, None] = b"".join(parts)

    def append(self, name, parts):
        blob = self.container.get_blob_client(name)
        blob.create_append_blob()
        for part in parts:
            blob.append_block(part)
        self.contents[name, None] = b"".join(parts)

    def pages(self, name, length, places):
        blob = self.container.get_blob_client(name)
        blob.create_page_blob(length)
        content = bytearray(length)
        for at, size in places:
            blob.upload_page(marked(size), at, size)
            content[at:at + size] = marked(size)
        self.contents[name, None] = bytes(content)

    def pages_more(self, name, at, part):
        self.container.get_blob_client(name).upload_page(part, at, len(part))
        content = bytearray(self.contents[name, None])
        content[at:at + len(part)] = part
        self.contents[name, None] = bytes(content)

    def check(self, container=None):
        container = container or self.container
        for (name, snapshot), content in self.contents.items():
            blob = container.get_blob_client(name, snapshot=snapshot)
            found = blob.download_blob().readall()
            assert hashlib.sha256(found).digest() == hashlib.sha256(content).digest(), (name, snapshot)
            for at, length in [(0, 1), (len(content) // 2, 70_000), (max(len(content) - 5, 0), 5), (65_510, 30)]:
                wanted = content[at:at + length]
                if wanted:
                    part = blob.download_blob(offset=at, length=length).readall()
                    assert part == wanted, (name, snapshot, at)


def corrupt_frames(server):
    metrics = requests.get(f"{server.endpoints.admin}/metrics", timeout=10).text
    return int(re.search(r'name="content_corrupt_frames"} (\d+)', metrics)[1])


def files_with(folder, text):
    found = []
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and text in path.read_bytes():
            found.append(str(path.relative_to(folder)))
    return found


def test_everything_reads_as_it_was_written(server):
    with service(server) as client:
        container = client.create_container("box")
        held = Held(container).fill()
        held.check()
        for blob in container.list_blobs(include=["snapshots"]):
            assert blob.server_encrypted is True, blob.name
        properties = container.get_blob_client("pages").get_blob_properties()
        assert properties.server_encrypted is True
        answer = container.get_blob_client("said").upload_blob(b"x")
        assert answer["request_server_encrypted"] is True
    restart(server)
    with service(server) as client:
        held.check(client.get_container_client("box"))


@pytest.mark.skipif(not is_all_in_its_folder(), reason="the files aren't in the data folder")
@pytest.mark.parametrize("encrypts", [True, False], ids=["encrypted", "plain"])
def test_no_file_holds_what_was_written(tmp_path, encrypts):
    server = Server(options=options(key_file(tmp_path)) if encrypts else ())
    server.start()
    try:
        with service(server) as client:
            # The name isn't encrypted: it shows that the files are looked into.
            name = "a-name-in-the-clear-" + uuid.uuid4().hex
            held = Held(client.create_container("box")).fill()
            held.put(name, marked(100))
            held.put(name + "-large", marked(100_000))
            assert corrupt_frames(server) == 0
        server.stop()
        assert files_with(server.data, name.encode())
        found = files_with(server.data, MARKER)
        if encrypts:
            assert found == []
        else:
            assert any(path.startswith("ledger/") for path in found) and any(path.startswith("content/") for path in found)
        assert server.unexpected_log_lines() == []
        verified = subprocess.run([os.environ["STABBUR_BINARY"], "ledger", "verify", "--data", str(server.data)],
                                  capture_output=True, text=True, check=False)
        assert verified.returncode == 0 and "0 faults" in verified.stdout, verified.stdout + verified.stderr
    finally:
        server.stop()
        server.remove()


def test_acknowledged_content_survives_a_kill(server):
    with service(server) as client:
        held = Held(client.create_container("box")).fill()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.start()
    with service(server) as client:
        held.check(client.get_container_client("box"))


def test_keys_are_replaced_without_writing_content_anew(tmp_path):
    old, new, other = (key_file(tmp_path, name) for name in ("old", "new", "other"))
    server = Server(options=options(old))
    server.start()
    try:
        with service(server) as client:
            held = Held(client.create_container("box")).fill()
        before = contents(server)
        # The new one wraps, the old one unwraps; then the old one can go.
        restart(server, *options(new, old))
        assert re.search(r"wraps nothing here", server.log()) and str(old) in server.log()
        restart(server, *options(new))
        # A new account key for what is written from now on.
        restart(server, *options(new, generation=1))
        with service(server) as client:
            held.container = client.get_container_client("box")
            held.check()
            held.put("under-the-new-key", marked(100_000))
            blob = held.container.get_blob_client("append")
            blob.append_block(marked(80_000))
            held.contents["append", None] += marked(80_000)
            held.check()
        assert before <= contents(server)
        server.stop()
        # Neither the key that went nor another one opens anything, and nothing is changed by the trial.
        for files in ([old], [other], []):
            server.options = options(*files)
            with pytest.raises(RuntimeError) as refused:
                server.start()
            text = str(refused.value)
            assert "stopped at start" in text and ("account key" in text or "encrypted" in text)
            if files:
                assert "devstoreaccount1" in text and "add the file of" in text
            else:
                assert "--encryption-key" in text
        server.options = options(new)
        server.start()
        with service(server) as client:
            held.check(client.get_container_client("box"))
        for path in (old, new, other):
            assert path.read_text() not in server.log()
    finally:
        server.stop()
        server.remove()


def contents(server):
    """Names and times of the content files: what is written anew has another one."""
    folder = server.data / "content"
    return {(path.name, path.stat().st_mtime_ns) for path in folder.rglob("*") if len(path.name) == 32}


def test_what_was_plain_stays_readable(tmp_path):
    server = Server()
    server.start()
    try:
        with service(server) as client:
            held = Held(client.create_container("box")).fill()
        restart(server, *options(key_file(tmp_path)))
        with service(server) as client:
            held.container = client.get_container_client("box")
            held.check()
            held.container.get_blob_client("append").append_block(marked(90_000))
            held.contents["append", None] += marked(90_000)
            held.pages_more("pages", 1024 * 1024, b"\7" * 512)
            held.put("new", marked(90_000))
            held.check()
            said = {blob.name: blob.server_encrypted for blob in held.container.list_blobs()}
            assert said["new"] is True and said["append"] is False and said["pages"] is False
    finally:
        server.stop()
        server.remove()


@pytest.mark.parametrize("case", ["readable", "short", "missing", "twice"])
def test_keys_that_are_not_taken(tmp_path, case):
    path = key_file(tmp_path)
    again = [path]
    if case == "readable":
        path.chmod(0o644)
        wanted = "chmod 600"
    elif case == "short":
        path.write_text("00" * 31)
        wanted = "64 hexadecimal digits"
    elif case == "missing":
        again = [tmp_path / "none"]
        wanted = "No such file"
    else:
        again = [path, key_file(tmp_path, "same", text=path.read_text() + "\n")]
        wanted = "same key"
    server = Server(options=options(*again))
    try:
        with pytest.raises(RuntimeError, match=wanted):
            server.start()
        assert path.read_text() not in server.log()
    finally:
        server.remove()


@pytest.mark.skipif(not is_all_in_its_folder(), reason="the files aren't in the data folder")
def test_a_damaged_content_is_an_error_and_counted(server):
    server.expect_log("damaged content")
    server.expect_log("the content store failed")
    server.expect_log("content .* is damaged")
    server.expect_log("request failed .*status=500")
    server.expect_log("content can.t be read")
    content = os.urandom(300_000)
    with service(server, retry_total=0) as client:
        container = client.create_container("box")
        container.upload_blob("x", content)
        [path] = [path for path in (server.data / "content").rglob("*") if len(path.name) == 32]
        stored = bytearray(path.read_bytes())
        stored[100] ^= 1
        path.write_bytes(bytes(stored))
        blob = container.get_blob_client("x")
        with pytest.raises(HttpResponseError) as refused:
            blob.download_blob(offset=0, length=10)
        assert refused.value.status_code == 500
        # The other frames are sound.
        assert blob.download_blob(offset=100_000, length=100_000).readall() == content[100_000:200_000]
        assert corrupt_frames(server) > 0


@pytest.mark.skipif(not is_all_in_its_folder(), reason="the configuration keeps everything in a folder of its own")
def test_serve_encrypts_what_its_configuration_says(tmp_path):
    kek, newer = key_file(tmp_path), key_file(tmp_path, "newer")
    account_key = base64.b64encode(os.urandom(64)).decode()
    shared = key_file(tmp_path, "shared", text=account_key)

    def config(files, account=""):
        section = f"[encryption]\nkey_files = {[str(path) for path in files]}" if files is not None else ""
        return f"""
data_dir = "{tmp_path}/data"
{section}
[blobs]
listen = "127.0.0.1:{port}"
[[blobs.accounts]]
name = "acme"
key_files = ["{shared}"]
{account}
[documents]
listen = "127.0.0.1:0"
accounts = [{{ name = "acme", key_files = ["{shared}"] }}]
[admin]
listen = "127.0.0.1:0"
"""

    port = free_port()
    connection = f"DefaultEndpointsProtocol=http;AccountName=acme;AccountKey={account_key};BlobEndpoint=http://127.0.0.1:{port}/acme;"

    def client():
        return BlobServiceClient.from_connection_string(connection, retry_total=0)

    with serving(tmp_path, config([kek])):
        held = Held(client().create_container("box")).fill()
    with serving(tmp_path, config([newer, kek], "encryption_generation = 2")) as log:
        held.container = client().get_container_client("box")
        held.check()
        held.put("new", marked(50_000))
        assert "1 of them anew" in log.read_text() and str(kek) in log.read_text()
    with serving(tmp_path, config([newer])):
        held.check()
    assert files_with(tmp_path / "data", MARKER) == []

    def refused(text):
        path = tmp_path / "refused.toml"
        path.write_text(text, encoding="utf-8")
        ended = subprocess.run([os.environ["STABBUR_BINARY"], "serve", "--config", str(path)], capture_output=True,
                               text=True, check=False, timeout=20)
        assert ended.returncode != 0
        return ended.stderr

    assert "no key-encryption key is named" in refused(config(None))
    assert "key_files names no file" in refused(config([]))
    assert "add the file of" in refused(config([kek]))
    assert "encryption_generation" in refused(config(None, "encryption_generation = 1"))
