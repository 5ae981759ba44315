"""Container registries: the clients that people push and pull with, and a kill in mid-upload."""

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid

import oras.client
import pytest
import requests
from azure.containerregistry import ArtifactManifestOrder, ArtifactTagOrder, ContainerRegistryClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from server import Server

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
AUDIENCE = "https://containerregistry.azure.net"
MIB = 1024 * 1024


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def repository():
    """A repository of the test's own."""
    return f"test/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def closed_server():
    """A server whose registry asks for a login, and lets nobody else in but to pull."""
    server = Server(options=["--registry-login", "--registry-anonymous-pull"])
    server.start()
    yield server
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    assert not loud, loud


def tls_endpoint(endpoints):
    return "https://localhost:" + str(urllib.parse.urlsplit(endpoints.registry).port)


class TestToken:
    """What an application's credential would give."""

    __test__ = False

    def __init__(self, endpoints, who):
        self.address = f"{endpoints.platform}/Home/GetTestStorageToken/{who}?resource={AUDIENCE}"

    def get_token(self, *_scopes, **_options):
        token = requests.get(self.address, timeout=30)
        token.raise_for_status()
        return AccessToken(token.text, int(time.time()) + 600)


def azure_client(endpoints, credential=None):
    return ContainerRegistryClient(
        tls_endpoint(endpoints), credential, audience=AUDIENCE, connection_verify=endpoints.ready["ca"]
    )


def push_image(client, name, tag, layer):
    config = b'{"architecture":"amd64","os":"linux"}'
    config_digest, config_size = client.upload_blob(name, io.BytesIO(config))
    layer_digest, layer_size = client.upload_blob(name, io.BytesIO(layer))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size,
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_size},
        ],
    }
    return client.set_manifest(name, manifest, tag=tag), layer_digest


def exercise_azure_client(client):
    name = repository()
    layer = os.urandom(5 * MIB + 17)
    first, layer_digest = push_image(client, name, "v1", layer)
    push_image(client, name, "v2", b"another layer")
    assert name in list(client.list_repository_names())
    stream = client.download_blob(name, layer_digest)
    assert b"".join(stream) == layer
    found = client.get_manifest(name, "v1")
    assert (found.digest, found.media_type) == (first, MANIFEST)
    tags = [tag.name for tag in client.list_tag_properties(name, order_by=ArtifactTagOrder.LAST_UPDATED_ON_DESCENDING)]
    assert tags == ["v2", "v1"]
    manifests = list(
        client.list_manifest_properties(name, order_by=ArtifactManifestOrder.LAST_UPDATED_ON_ASCENDING)
    )
    assert [manifest.tags for manifest in manifests] == [["v1"], ["v2"]]
    assert str(manifests[0].architecture) in ("amd64", "ArtifactArchitecture.AMD64")
    properties = client.get_repository_properties(name)
    assert (properties.manifest_count, properties.tag_count) == (2, 2)
    client.update_tag_properties(name, "v1", can_write=False)
    with pytest.raises(HttpResponseError) as locked:
        client.delete_manifest(name, first)
    assert locked.value.status_code == 405
    client.update_tag_properties(name, "v1", can_write=True)
    client.delete_tag(name, "v2")
    client.delete_manifest(name, first)
    with pytest.raises(ResourceNotFoundError):
        client.get_manifest_properties(name, first)
    client.delete_repository(name)
    assert name not in list(client.list_repository_names())


def test_azure_client_on_an_open_registry(endpoints):
    with azure_client(endpoints) as client:
        exercise_azure_client(client)


def test_azure_client_with_an_applications_token(closed_server):
    with azure_client(closed_server.endpoints, TestToken(closed_server.endpoints, "owner")) as client:
        exercise_azure_client(client)


def test_roles_bound_what_a_token_opens(closed_server):
    endpoints = closed_server.endpoints
    name = repository()
    with azure_client(endpoints, TestToken(endpoints, "contributor")) as client:
        push_image(client, name, "v1", b"layer")
    with azure_client(endpoints, TestToken(endpoints, "reader")) as client:
        client.get_manifest(name, "v1")
        with pytest.raises(ClientAuthenticationError):
            client.upload_blob(name, io.BytesIO(b"more"))
    with azure_client(endpoints) as client:
        client.get_manifest(name, "v1")
        with pytest.raises(ClientAuthenticationError):
            list(client.list_repository_names())


@pytest.mark.parametrize("login", [False, True])
def test_oras_pushes_and_pulls(server, closed_server, login, tmp_path, monkeypatch):
    endpoints = (closed_server if login else server).endpoints
    host = urllib.parse.urlsplit(endpoints.registry).netloc
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="token")
    if login:
        client.auth.set_basic_auth("dev", "dev")
    (tmp_path / "artifact.txt").write_text("an artifact's content")
    target = f"{host}/{repository()}:v1"
    pushed = client.push(target=target, files=["artifact.txt"], manifest_annotations={"a": "b"})
    assert pushed.status_code == 201
    (tmp_path / "artifact.txt").unlink()
    files = client.pull(target=target, outdir=str(tmp_path / "out"))
    assert len(files) == 1
    with open(files[0], encoding="utf-8") as file:
        assert file.read() == "an artifact's content"
    assert client.get_tags(target) == ["v1"]


def oci_layout(folder, layer):
    """An image on disk, for skopeo."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content):
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
        return {"digest": digest_of(content), "size": len(content)}

    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(json.dumps(config).encode())},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **put(layer)}],
    }
    described = {"mediaType": MANIFEST, **put(json.dumps(manifest).encode())}
    described["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))


def run(*arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, check=False, **options)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout


needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo isn't installed")
needs_buildah = pytest.mark.skipif(
    not (shutil.which("buildah") and shutil.which("podman")), reason="buildah and podman aren't installed"
)


@needs_skopeo
@pytest.mark.parametrize("login", [False, True])
def test_skopeo_copies_mounts_and_deletes(server, closed_server, login, tmp_path):
    endpoints = (closed_server if login else server).endpoints
    host = urllib.parse.urlsplit(endpoints.registry).netloc
    # It compresses the layer on its way, so the digest is its own.
    oci_layout(tmp_path / "image", os.urandom(3 * MIB))
    first, second = (f"docker://{host}/{repository()}:v1" for _ in range(2))
    to = ["--insecure-policy", "copy", "--dest-tls-verify=false"]
    from_to = [*to, "--src-tls-verify=false"]
    creds = ["dev:dev"] if login else []
    dest = [f"--dest-creds={login}" for login in creds]
    both = [*dest, *(f"--src-creds={login}" for login in creds)]
    one = [f"--creds={login}" for login in creds]
    run("skopeo", *to, *dest, f"oci:{tmp_path / 'image'}:v1", first)
    run("skopeo", *from_to, *both, first, second)
    found = json.loads(run("skopeo", "inspect", "--tls-verify=false", *one, second))
    source = json.loads(run("skopeo", "inspect", "--tls-verify=false", *one, first))
    assert (found["Digest"], found["RepoTags"]) == (source["Digest"], ["v1"])
    run("skopeo", *from_to, *(f"--src-creds={login}" for login in creds), second, f"dir:{tmp_path / 'back'}")
    run("skopeo", "delete", "--tls-verify=false", *one, second)
    gone = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", *one, second], capture_output=True, text=True, check=False
    )
    assert gone.returncode != 0 and "manifest unknown" in gone.stderr


@needs_buildah
def test_buildah_pushes_what_podman_pulls(endpoints, tmp_path):
    host = urllib.parse.urlsplit(endpoints.registry).netloc
    target = f"{host}/{repository()}:v1"
    (tmp_path / "file").write_text("content")
    places = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    container = run("buildah", *places, "from", "scratch", env=environment).strip()
    run("buildah", *places, "copy", container, str(tmp_path / "file"), "/file", env=environment)
    run("buildah", *places, "commit", container, "built", env=environment)
    run("buildah", *places, "push", "--tls-verify=false", "built", f"docker://{target}", env=environment)
    # Its folder for what runs may have 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as runroot:
        own = ["--root", str(tmp_path / "root2"), "--runroot", runroot, "--storage-driver", "vfs"]
        pulled = run("podman", *own, "pull", "--tls-verify=false", target).strip().splitlines()[-1]
    assert len(pulled) == 64


def test_an_upload_goes_on_after_a_kill():
    """What was durable stays: a client that asks where it stands goes on there, and the digest is right."""
    server = Server().start()
    try:
        registry = server.endpoints.registry
        content = os.urandom(80 * MIB)
        name = repository()
        at = requests.post(f"{registry}/v2/{name}/blobs/uploads/", timeout=30).headers["Location"]
        sized = requests.patch(registry + at, data=content[:MIB], timeout=60)
        assert (sized.status_code, sized.headers["Range"]) == (202, f"0-{MIB - 1}")
        address = urllib.parse.urlsplit(registry)
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            head = f"PATCH {at} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(content) - MIB}\r\n\r\n"
            connection.sendall(head.encode())
            connection.sendall(content[MIB:72 * MIB])
            deadline = time.monotonic() + 60
            stands = 0
            while stands <= MIB and time.monotonic() < deadline:
                time.sleep(0.1)
                stands = int(requests.get(registry + at, timeout=30).headers["Range"].split("-")[1]) + 1
            assert stands > MIB, "nothing became durable while the request went on"
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        server.start()
        registry = server.endpoints.registry
        status = requests.get(registry + at, timeout=30)
        assert status.status_code == 204
        stands = int(status.headers["Range"].split("-")[1]) + 1
        assert MIB < stands <= 72 * MIB
        rest = {"Content-Range": f"{stands}-{len(content) - 1}"}
        resumed = requests.patch(registry + at, data=content[stands:], headers=rest, timeout=120)
        assert resumed.status_code == 202, resumed.text
        digest = digest_of(content)
        done = requests.put(registry + at, params={"digest": digest}, timeout=60)
        assert done.status_code == 201, done.text
        assert requests.get(f"{registry}/v2/{name}/blobs/{digest}", timeout=120).content == content
    finally:
        server.stop()
        loud = server.unexpected_log_lines()
        server.remove()
    assert not loud, loud
