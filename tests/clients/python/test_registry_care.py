"""Container registries over time: soft delete, retention, webhooks, import, purge, a cache, pushes that break off."""

import hashlib
import http.server
import json
import os
import random
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest
import requests

from server import Server

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DAY = 24 * 3_600
MIB = 1024 * 1024


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def repository():
    """A repository of the test's own."""
    return f"test/{uuid.uuid4().hex[:12]}"


class Running:
    """A server of the test's own, gone with it."""

    def __init__(self, *options, expected=()):
        self.server = Server(options=options)
        for pattern in expected:
            self.server.expect_log(pattern)

    def __enter__(self):
        self.server.start()
        return self.server

    def __exit__(self, kind, *_):
        self.server.stop()
        loud = self.server.unexpected_log_lines()
        self.server.remove()
        assert kind or not loud, loud


def push_blob(registry, name, content):
    digest = digest_of(content)
    pushed = requests.post(f"{registry}/v2/{name}/blobs/uploads/?digest={digest}", data=content, timeout=60)
    assert pushed.status_code == 201, pushed.text
    return digest


def push_image(registry, name, tag, layer):
    """Pushes an image: its digest."""
    config = push_blob(registry, name, b'{"architecture":"amd64","os":"linux"}')
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 37},
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": push_blob(registry, name, layer), "size": len(layer),
        }],
    }).encode()
    return put_manifest(registry, name, tag or digest_of(manifest), MANIFEST, manifest)


def put_manifest(registry, name, reference, media_type, manifest):
    pushed = requests.put(
        f"{registry}/v2/{name}/manifests/{reference}", data=manifest, headers={"Content-Type": media_type}, timeout=30
    )
    assert pushed.status_code == 201, pushed.text
    return digest_of(manifest)


def pulled(registry, name, reference):
    """The layers' bytes of an image, or nothing."""
    manifest = requests.get(f"{registry}/v2/{name}/manifests/{reference}", timeout=60)
    if manifest.status_code == 404:
        return None
    assert manifest.status_code == 200, manifest.text
    layers = [layer["digest"] for layer in manifest.json()["layers"]]
    blobs = [requests.get(f"{registry}/v2/{name}/blobs/{layer}", timeout=60) for layer in layers]
    assert all(blob.status_code == 200 for blob in blobs)
    return [blob.content for blob in blobs]


def advance(endpoints, seconds):
    moved = requests.post(f"{endpoints.admin}/dev/clock", json={"advanceSeconds": seconds}, timeout=30)
    assert moved.status_code == 200, moved.text


def until(what, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it doesn't come")


def command(*arguments):
    done = subprocess.run(
        [os.environ["STABBUR_BINARY"], "registry", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


class Receiver:
    """Takes webhooks' messages; turns the first away."""

    def __init__(self, refusals=0):
        self.messages = []
        self.refusals = refusals
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.refusals > 0:
                    outer.refusals -= 1
                    self.send_response(503)
                else:
                    outer.messages.append(json.loads(body))
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()


def test_what_is_deleted_is_restored_after_a_restart_and_purged_in_the_end():
    with Running("--registry-soft-delete-days", "7") as server:
        registry, name, layer = server.endpoints.registry, repository(), os.urandom(100_000)
        digest = push_image(registry, name, "v1", layer)
        assert requests.delete(f"{registry}/acr/v1/{name}", timeout=30).status_code == 202
        server.stop()
        server.start()
        registry = server.endpoints.registry
        assert pulled(registry, name, "v1") is None
        catalog = requests.get(f"{registry}/acr/v1/_deleted/_catalog", timeout=30).json()
        assert name in catalog["repositories"]
        tags = requests.get(f"{registry}/acr/v1/_deleted/{name}/_tags", timeout=30).json()["tags"]
        assert [(tag["tag"], tag["digest"]) for tag in tags] == [("v1", digest)]
        restored = requests.post(
            f"{registry}/acr/v1/_deleted/{name}/_manifests/{digest}", params={"force": False}, json={"tag": "v1"}, timeout=30
        )
        assert restored.status_code == 200, restored.text
        assert pulled(registry, name, "v1") == [layer]
        requests.delete(f"{registry}/v2/{name}/manifests/{digest}", timeout=30)
        advance(server.endpoints, 8 * DAY)
        deleted = f"{registry}/acr/v1/_deleted/{name}/_manifests"
        until(lambda: requests.get(deleted, timeout=30).json()["manifests"] == [], 120)


def test_webhooks_are_told_once_they_take_messages():
    receiver = Receiver(refusals=2)
    try:
        with Running("--registry-webhook", receiver.url, expected=["message wasn't taken"]) as server:
            registry, name = server.endpoints.registry, repository()
            digest = push_image(registry, name, "v1", b"layer")
            requests.delete(f"{registry}/v2/{name}/manifests/{digest}", timeout=30)
            until(lambda: len(receiver.messages) >= 2)
            assert {message["action"] for message in receiver.messages} == {"push", "delete"}
            push = next(message for message in receiver.messages if message["action"] == "push")
            target = push["target"]
            assert (target["repository"], target["tag"], target["digest"]) == (name, "v1", digest)
            assert push["request"]["host"] == urllib.parse.urlsplit(registry).netloc
            assert push["request"]["useragent"].startswith("python-requests")
    finally:
        receiver.stop()


def test_images_are_imported_from_another_registry(endpoints):
    target, name, layer = endpoints.registry, repository(), os.urandom(9 * MIB + 5)
    with Running("--registry-login", "--registry-anonymous-pull") as source:
        from_ = source.endpoints.registry
        session = requests.Session()
        session.auth = ("dev", "dev")
        post, put, requests.post, requests.put = requests.post, requests.put, session.post, session.put
        try:
            first = push_image(from_, name, "v1", layer)
            second = push_image(from_, name, None, b"arm64")
            index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {"mediaType": MANIFEST, "digest": digest, "size": 9} for digest in (first, second)
            ]}).encode()
            whole = put_manifest(from_, name, "all", INDEX, index)
        finally:
            requests.post, requests.put = post, put
        code, out, err = command("import", f"{from_}/{name}:all", f"{target}/{name}:imported")
        assert code == 0, err
        assert whole in out and "3 blobs" in out
        assert pulled(target, name, first) == [layer]
        code, out, err = command("import", f"{from_}/{name}", f"{target}/{name}")
        assert code == 0, err
        assert "0 blobs" in out
        tags = requests.get(f"{target}/v2/{name}/tags/list", timeout=30).json()["tags"]
        assert tags == ["all", "imported", "v1"]
        code, _, err = command("import", f"{from_}/{name}:nosuch", f"{target}/{name}")
        assert code != 0 and "there is no nosuch" in err
        code, _, err = command("import", "http://192.0.2.1/a:v1", f"{target}/{name}")
        assert code != 0 and "only https" in err


def test_old_tags_are_purged_but_for_the_newest_and_the_locked(endpoints):
    registry, name = endpoints.registry, repository()
    for number in range(5):
        push_image(registry, name, f"v{number}", b"layer %d" % number)
    locked = requests.patch(f"{registry}/acr/v1/{name}/_tags/v1", json={"deleteEnabled": False}, timeout=30)
    assert locked.status_code == 200
    wanted = ["--filter", f"{name}:v[0-9]+", "--ago", "0d", "--keep", "2"]
    code, out, err = command("purge", registry, *wanted, "--dry-run")
    assert code == 0, err
    assert "2 tags would go" in out
    code, out, err = command("purge", registry, *wanted)
    assert code == 0, err
    assert "2 tags are gone" in out
    tags = requests.get(f"{registry}/v2/{name}/tags/list", timeout=30).json()["tags"]
    assert tags == ["v1", "v3", "v4"]


def test_a_cache_fetches_from_another_registry_and_goes_on_without_it():
    layer = os.urandom(5 * MIB)
    with Running() as source:
        digest = push_image(source.endpoints.registry, "library/app", "v1", layer)
        rule = f"hub/*={source.endpoints.registry}/library/*"
        with Running("--registry-cache", rule, expected=["its source gives nothing"]) as server:
            registry = server.endpoints.registry
            assert pulled(registry, "hub/app", "v1") == [layer]
            listed = f"{registry}/v2/hub/app/tags/list"
            until(lambda: requests.get(listed, timeout=30).json().get("tags") == ["v1"])
            assert pulled(registry, "hub/nosuch", "v1") is None
            source.stop()
            assert pulled(registry, "hub/app", "v1") == [layer]
            assert pulled(registry, "hub/app", digest) == [layer]
            source.start()


def behind(address, before):
    """Where an upload stands, once that is behind `before`."""
    status = requests.get(address, timeout=30)
    assert status.status_code == 204, status.text
    stands = int(status.headers["Range"].split("-")[1]) + 1
    return stands if stands > before + 1 else None


def test_a_push_that_breaks_off_at_twenty_points_goes_on(endpoints):
    """A client that asks where it stands and goes on there, however often its connection breaks."""
    registry, name = endpoints.registry, repository()
    chance = random.Random(20)
    content = chance.randbytes(3 * MIB)
    at = requests.post(f"{registry}/v2/{name}/blobs/uploads/", timeout=30).headers["Location"]
    address = urllib.parse.urlsplit(registry)
    stands = 0
    for _ in range(20):
        rest = len(content) - stands
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            head = (
                f"PATCH {at} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {rest}\r\n"
                f"Content-Range: {stands}-{len(content) - 1}\r\n\r\n"
            )
            connection.sendall(head.encode())
            connection.sendall(content[stands:stands + chance.randrange(2, max(3, rest // 8))])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1_000)

        before = stands
        stands = until(lambda: behind(registry + at, before))
    assert 0 < stands < len(content)
    done = requests.put(
        registry + at, params={"digest": digest_of(content)}, data=content[stands:],
        headers={"Content-Range": f"{stands}-{len(content) - 1}"}, timeout=60,
    )
    assert done.status_code == 201, done.text
    assert requests.get(f"{registry}/v2/{name}/blobs/{digest_of(content)}", timeout=60).content == content


@pytest.mark.parametrize("seed", range(3))
def test_a_push_goes_on_after_kills_in_its_middle(seed):
    """SIGKILL while a chunk is on its way: what the server says it has is there, and the digest is right."""
    chance = random.Random(seed)
    content = chance.randbytes(4 * MIB)
    server = Server().start()
    try:
        name = repository()
        at = requests.post(f"{server.endpoints.registry}/v2/{name}/blobs/uploads/", timeout=30).headers["Location"]
        acknowledged = 0
        for _ in range(3):
            registry = server.endpoints.registry
            end = acknowledged + chance.randrange(1, MIB)
            rest = {"Content-Range": f"{acknowledged}-{end - 1}"}
            sent = requests.patch(registry + at, data=content[acknowledged:end], headers=rest, timeout=60)
            assert sent.status_code == 202, sent.text
            acknowledged = end
            address = urllib.parse.urlsplit(registry)
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                head = f"PATCH {at} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {MIB}\r\n\r\n"
                connection.sendall(head.encode())
                connection.sendall(content[end:end + chance.randrange(1, MIB // 2)])
                server.process.kill()
                server.process.wait()
            server.start()
            status = requests.get(server.endpoints.registry + at, timeout=30)
            stands = int(status.headers["Range"].split("-")[1]) + 1
            assert stands >= acknowledged, "what was acknowledged is gone"
            acknowledged = stands
        registry = server.endpoints.registry
        done = requests.put(
            registry + at, params={"digest": digest_of(content)}, data=content[acknowledged:],
            headers={"Content-Range": f"{acknowledged}-{len(content) - 1}"}, timeout=60,
        )
        assert done.status_code == 201, done.text
        assert requests.get(f"{registry}/v2/{name}/blobs/{digest_of(content)}", timeout=60).content == content
    finally:
        server.stop()
        loud = server.unexpected_log_lines()
        server.remove()
    assert not loud, loud
