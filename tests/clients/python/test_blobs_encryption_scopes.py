"""Encryption scopes, with azure-storage-blob against a server that has two, and one that is disabled."""

import datetime

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (BlobBlock, BlobClient, BlobSasPermissions, BlobServiceClient, ContainerEncryptionScope,
                                generate_blob_sas)

from server import BLOBS_ACCOUNT, BLOBS_KEY, Server
from test_blobs_encryption import key_file, options


def scoped(path, enabled=("one", "two"), disabled=("closed",)):
    named = [part for name in enabled for part in ("--encryption-scope", name)]
    return options(path) + named + [part for name in disabled for part in ("--encryption-scope-disabled", name)]


@pytest.fixture
def server(tmp_path):
    server = Server(options=scoped(key_file(tmp_path)))
    server.key = tmp_path / "kek"
    server.start()
    yield server
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    assert not loud, loud[:20]


def service(server):
    return BlobServiceClient.from_connection_string(server.endpoints.blobs_connection_string)


def refused(call, *args, **rest):
    with pytest.raises(HttpResponseError) as error:
        call(*args, **rest)
    return error.value.status_code, error.value.error_code


def test_scopes(server):
    client = service(server)
    free = client.create_container("free")
    hard = client.create_container("hard", container_encryption_scope=ContainerEncryptionScope(
        default_encryption_scope="one", prevent_encryption_scope_override=True))
    found = hard.get_container_properties()
    assert found.encryption_scope.default_encryption_scope == "one"
    assert found.encryption_scope.prevent_encryption_scope_override
    assert {one.name: one.encryption_scope.default_encryption_scope for one in client.list_containers()} == {
        "free": "$account-encryption-key", "hard": "one"}
    for size in (10, 200_000):
        made = free.get_blob_client(f"a-{size}").upload_blob(b"x" * size, encryption_scope="two")
        assert made["encryption_scope"] == "two"
        hard.upload_blob(f"b-{size}", b"y" * size)
        blob = hard.get_blob_client(f"b-{size}")
        assert blob.get_blob_properties().encryption_scope == "one"
        assert blob.download_blob().readall() == b"y" * size
    assert refused(hard.upload_blob, "c", b"x", encryption_scope="two") == (
        403, "RequestForbiddenByContainerEncryptionPolicy")
    assert refused(free.upload_blob, "c", b"x", encryption_scope="closed")[0] == 403
    assert refused(free.upload_blob, "c", b"x", encryption_scope="none")[0] == 400
    blocks = free.get_blob_client("blocks")
    blocks.stage_block("AAAA", b"1", encryption_scope="one")
    blocks.commit_block_list([BlobBlock("AAAA")], encryption_scope="one")
    append = free.get_blob_client("append")
    append.create_append_blob(encryption_scope="one")
    append.append_block(b"1", encryption_scope="one")
    assert refused(append.append_block, b"2", encryption_scope="two") == (
        409, "BlobCustomerSpecifiedEncryptionMismatch")
    assert refused(append.create_snapshot, encryption_scope="two") == (
        409, "BlobCustomerSpecifiedEncryptionMismatch")
    pages = free.get_blob_client("pages")
    pages.create_page_blob(1024, encryption_scope="one")
    pages.upload_page(b"p" * 512, 0, 512, encryption_scope="one")
    listed = {blob.name: blob.encryption_scope for blob in free.list_blobs()}
    assert listed == {"a-10": "two", "a-200000": "two", "blocks": "one", "append": "one", "pages": "one"}
    copy = hard.get_blob_client("copy")
    copy.start_copy_from_url(free.get_blob_client("a-200000").url)
    assert copy.get_blob_properties().encryption_scope == "one"
    assert copy.download_blob().readall() == b"x" * 200_000

    # What a signature names.
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    sas = generate_blob_sas(BLOBS_ACCOUNT, "free", "signed", account_key=BLOBS_KEY, expiry=expiry,
                            permission=BlobSasPermissions(read=True, create=True, write=True), encryption_scope="two")
    signed = BlobClient.from_blob_url(f"{free.get_blob_client('signed').url}?{sas}")
    signed.upload_blob(b"x")
    assert signed.get_blob_properties().encryption_scope == "two"

    # A scope that is disabled is out of reach, and comes back.
    server.stop()
    server.options = scoped(server.key, enabled=("two",), disabled=("one", "closed"))
    server.start()
    client = service(server)
    assert refused(client.get_blob_client("hard", "b-10").download_blob)[0] == 403
    assert refused(client.get_container_client("hard").upload_blob, "c", b"x")[0] == 403
    assert client.get_blob_client("free", "a-10").download_blob().readall() == b"x" * 10
    server.stop()
    server.options = scoped(server.key)
    server.start()
    assert service(server).get_blob_client("hard", "b-10").download_blob().readall() == b"y" * 10
