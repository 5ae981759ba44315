"""Customer-provided keys, with azure-storage-blob over https, as it sends no key without."""

import base64
import hashlib
import os

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient, BlobType, CustomerProvidedEncryptionKey

from server import BLOBS_ACCOUNT, BLOBS_KEY, Server, is_all_in_its_folder
from test_tls import authority

MARKER = b"nobody may find this text in any file "
USES = "BlobUsesCustomerSpecifiedEncryption"
OTHER = "BlobCustomerSpecifiedEncryptionMismatch"
SIZES = [0, 1, 512, 16 * 1024 + 1, 65_520, 65_521, 300_000]


def marked(length):
    return (MARKER * (length // len(MARKER) + 1))[:length]


class Planted:
    def __init__(self):
        self.bytes = os.urandom(32)
        self.text = base64.b64encode(self.bytes).decode()
        self.sha256 = base64.b64encode(hashlib.sha256(self.bytes).digest()).decode()
        self.cpk = CustomerProvidedEncryptionKey(key_value=self.text, key_hash=self.sha256)


@pytest.fixture(scope="module")
def server():
    server = Server()
    server.start()
    yield server
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    assert not loud, loud[:20]


@pytest.fixture(scope="module")
def container(server):
    credential = {"account_name": BLOBS_ACCOUNT, "account_key": BLOBS_KEY}
    service = BlobServiceClient(server.endpoints.tls("blobs"), credential=credential,
                                connection_verify=authority(server), max_block_size=128 * 1024,
                                max_single_put_size=128 * 1024)
    return service.create_container("keys")


def code_of(call, *args, **rest):
    with pytest.raises(HttpResponseError) as refused:
        call(*args, **rest)
    assert refused.value.status_code in (400, 409), refused.value
    return refused.value.error_code


def test_every_kind_of_blob_is_under_the_key(server, container):
    key, other = Planted(), Planted()
    held = {}
    for size in SIZES:
        blob = container.get_blob_client(f"put-{size}")
        made = blob.upload_blob(marked(size), cpk=key.cpk)
        assert made["encryption_key_sha256"] == key.sha256 and made["request_server_encrypted"]
        held[blob.blob_name, None] = marked(size)
    blob = container.get_blob_client("blocks")
    parts = [marked(10), marked(200_000)]
    for number, part in enumerate(parts):
        blob.stage_block(f"{number:04}", part, cpk=key.cpk)
    assert code_of(blob.commit_block_list, [BlobBlock("0000"), BlobBlock("0001")]) == USES
    assert code_of(blob.commit_block_list, [BlobBlock("0000"), BlobBlock("0001")], cpk=other.cpk) == OTHER
    blob.commit_block_list([BlobBlock("0000"), BlobBlock("0001")], cpk=key.cpk)
    held["blocks", None] = b"".join(parts)
    blob = container.get_blob_client("append")
    blob.create_append_blob(cpk=key.cpk)
    for part in parts:
        blob.append_block(part, cpk=key.cpk)
    assert code_of(blob.append_block, b"x") == USES
    held["append", None] = b"".join(parts)
    blob = container.get_blob_client("pages")
    blob.create_page_blob(1024 * 1024, cpk=key.cpk)
    blob.upload_page(marked(512), 512, 512, cpk=key.cpk)
    blob.upload_page(marked(300_032), 1024, 300_032, cpk=key.cpk)
    blob.clear_page(1024, 512, cpk=key.cpk)
    assert code_of(blob.upload_page, marked(512), 0, 512, cpk=other.cpk) == OTHER
    pages = bytearray(1024 * 1024)
    pages[512:1024] = marked(512)
    pages[1024:1024 + 300_032] = marked(300_032)
    pages[1024:1536] = bytes(512)
    held["pages", None] = bytes(pages)
    for name in ("put-300000", "append", "pages"):
        taken = container.get_blob_client(name).create_snapshot(cpk=key.cpk)["snapshot"]
        held[name, taken] = held[name, None]
    blob = container.get_blob_client("put-512")
    blob.set_blob_metadata({"a": "b"}, cpk=key.cpk)
    assert code_of(blob.set_blob_metadata, {"a": "c"}) == USES

    for (name, at), content in held.items():
        blob = container.get_blob_client(name, snapshot=at)
        got = blob.download_blob(cpk=key.cpk)
        assert got.readall() == content, name
        properties = blob.get_blob_properties(cpk=key.cpk)
        assert properties.encryption_key_sha256 == key.sha256 and properties.server_encrypted
        assert code_of(blob.download_blob) == USES
        assert code_of(blob.download_blob, cpk=other.cpk) == OTHER
        assert code_of(blob.get_blob_properties) == USES
        assert blob.exists()
        if len(content) > 70_000:
            part = blob.download_blob(offset=65_000, length=2_000, cpk=key.cpk)
            assert part.readall() == content[65_000:67_000]
    listed = {blob.name: blob for blob in container.list_blobs(include=["metadata"])}
    assert listed["put-512"].encrypted_metadata and listed["put-512"].metadata in (None, {})
    assert listed["pages"].server_encrypted

    # Neither what was written nor the key lies in a file or in the log.
    if is_all_in_its_folder():
        wanted = [MARKER, key.bytes, key.text.encode(), key.bytes.hex().encode(), other.bytes, other.text.encode()]
        files = [path for path in server.folder.rglob("*") if path.is_file()]
        assert server.log_path in files and len(files) > 5
        for path in files:
            content = path.read_bytes()
            assert not any(text in content for text in wanted), path
        log = server.log()
        assert key.text not in log and key.bytes.hex() not in log


def test_copies_from_an_address(container):
    key, other = Planted(), Planted()
    source = container.get_blob_client("source")
    source.upload_blob(marked(100_000), cpk=key.cpk)
    target = container.get_blob_client("target")
    assert code_of(target.start_copy_from_url, source.url) == "CannotVerifyCopySource"
    own = {"x-ms-source-encryption-key": key.text, "x-ms-source-encryption-key-sha256": key.sha256,
           "x-ms-source-encryption-algorithm": "AES256"}
    target.upload_blob_from_url(source.url, cpk=other.cpk, headers=own, overwrite=True)
    assert target.download_blob(cpk=other.cpk).readall() == marked(100_000)
    target.upload_blob_from_url(source.url, headers=own, overwrite=True)
    assert target.download_blob().readall() == marked(100_000)
    plain = target.url
    target = container.get_blob_client("under-a-key")
    target.upload_blob_from_url(plain, cpk=other.cpk)
    assert target.download_blob(cpk=other.cpk).readall() == marked(100_000)


def test_malformed_keys(container):
    key = Planted()
    blob = container.get_blob_client("malformed")
    for text, sha256 in ((base64.b64encode(b"short").decode(), key.sha256), (key.text, Planted().sha256), ("x!", "y!")):
        bad = CustomerProvidedEncryptionKey(key_value=text, key_hash=sha256)
        assert code_of(blob.upload_blob, b"x", cpk=bad) == "InvalidHeaderValue"
    assert not blob.exists()
