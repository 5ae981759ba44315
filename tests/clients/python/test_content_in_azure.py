"""One server's content lies in another one's blobs: the object-store backend, with this server's own
blob service as its Azure target, below the same clients and the life of an instance."""

import hashlib
import pathlib

import pytest

import life_steps
import life_views
from server import BLOBS_ACCOUNT, BLOBS_KEY, Server

CONTAINER = "content"
SIZES = [0, 1, 16 * 1024, 64 * 1024 + 1, 3 * 1024 * 1024, 20 * 1024 * 1024]


@pytest.fixture(scope="module")
def target():
    from conftest import running

    yield from running(Server())


@pytest.fixture(scope="module")
def tenant(target, tmp_path_factory):
    from conftest import running

    folder = pathlib.Path(tmp_path_factory.mktemp("content"))
    (folder / "key").write_text(BLOBS_KEY)
    config = folder / "content.toml"
    config.write_text(
        f'provider = "azure"\nendpoint = "{target.endpoints.blobs_account}"\naccount = "{BLOBS_ACCOUNT}"\n'
        f'container = "{CONTAINER}"\nkey_file = "{folder / "key"}"\nprefix = "node"\n')
    blobs = life_views.blobs_client(target.endpoints)
    blobs.create_container(CONTAINER)
    yield from running(Server(content_config=config))


def pattern(size):
    return hashlib.sha256(str(size).encode()).digest() * (size // 32) + b"x" * (size % 32)


def test_blobs_of_all_sizes(tenant, target):
    container = life_views.blobs_client(tenant.endpoints).create_container("sizes")
    for size in SIZES:
        container.upload_blob(f"blob-{size}", pattern(size), max_concurrency=2)
    for size in SIZES:
        assert container.download_blob(f"blob-{size}").readall() == pattern(size)
    middle = container.download_blob(f"blob-{SIZES[-1]}", offset=9_000_000, length=2_000_000).readall()
    assert middle == pattern(SIZES[-1])[9_000_000:11_000_000]
    kept = life_views.blobs_client(target.endpoints).get_container_client(CONTAINER)
    names = [blob.name for blob in kept.list_blobs(name_starts_with="node/")]
    assert "node/FORMAT" in names and len(names) > 3, names


def test_a_restart_finds_it_all(tenant):
    container = life_views.blobs_client(tenant.endpoints).get_container_client("sizes")
    before = {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()}
    tenant.stop()
    tenant.start()
    container = life_views.blobs_client(tenant.endpoints).get_container_client("sizes")
    assert {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()} == before
    assert len(before) == len(SIZES)


def test_the_life_of_an_instance(tenant):
    # The last one: its last step moves the clock.
    life = life_steps.Life(tenant.endpoints)
    views = []

    def look(life):
        views.extend(life_views.read_documents(life))
        views.extend(life_views.read_blobs(life))

    results = list(life_steps.walk(life, before_deletion=look))
    assert [result.error for result in results] == [None] * 17
    assert views
