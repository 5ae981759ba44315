"""Writes whose content is another blob's, with azure-storage-blob."""

import hashlib
import os

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    ContainerSasPermissions,
    ContentSettings,
    PublicAccess,
    generate_blob_sas,
    generate_container_sas,
)

from server import BLOBS_ACCOUNT, BLOBS_KEY
from test_blobs_access import hours, refused


@pytest.fixture(params=[10, 100_000], ids=["inline", "stored"])
def content(request):
    return os.urandom(request.param)


@pytest.fixture
def source(blob_container, content):
    return blob_container.upload_blob("source", content, metadata={"m": "1"}, tags={"t": "1"},
                                      content_settings=ContentSettings(content_type="text/plain"))


def signed(blob, **permissions):
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob.container_name, blob.blob_name, account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(**permissions), expiry=hours(1))
    return f"{blob.url}?{sas}"


def test_a_blob_is_put_from_an_address(blob_container, source, content):
    target = blob_container.get_blob_client("target")
    target.upload_blob_from_url(signed(source, read=True))
    properties = target.get_blob_properties()
    assert target.download_blob().readall() == content
    assert (properties.content_settings.content_type, properties.metadata) == ("text/plain", {"m": "1"})
    assert properties.copy.status is None
    target.upload_blob_from_url(source.url, overwrite=True, metadata={"m": "2"}, include_source_blob_properties=False,
                                tags={"own": "1"}, content_settings=ContentSettings(content_type="a/b"))
    properties = target.get_blob_properties()
    assert (properties.content_settings.content_type, properties.metadata) == ("a/b", {"m": "2"})
    assert target.get_blob_tags() == {"own": "1"}
    target.upload_blob_from_url(source.url, overwrite=True, headers={"x-ms-copy-source-tag-option": "COPY"})
    assert target.get_blob_tags() == {"t": "1"}
    md5 = bytearray(hashlib.md5(content).digest())
    target.upload_blob_from_url(source.url, overwrite=True, source_content_md5=md5)
    assert target.get_blob_properties().content_settings.content_md5 == md5
    assert refused(target.upload_blob_from_url, source.url, overwrite=True, source_content_md5=bytearray(16)) == \
        (400, "Md5Mismatch")
    source.delete_blob()
    assert target.download_blob().readall() == content


def test_blocks_are_put_from_addresses(blob_container, source, content):
    target = blob_container.get_blob_client("target")
    target.stage_block_from_url("MDAx", signed(source, read=True))
    target.stage_block_from_url("MDAy", source.url, source_offset=2, source_length=5)
    target.commit_block_list([BlobBlock("MDAx"), BlobBlock("MDAy")])
    assert target.download_blob().readall() == content + content[2:7]
    log = blob_container.get_blob_client("log")
    log.create_append_blob()
    log.append_block_from_url(source.url, source_offset=3, source_length=4)
    log.append_block(b" and ")
    log.append_block_from_url(signed(source, read=True), source_offset=0, source_length=3)
    assert log.download_blob().readall() == content[3:7] + b" and " + content[:3]
    beyond = refused(target.stage_block_from_url, "MDAz", source.url, source_offset=len(content), source_length=5)
    assert beyond == (416, "InvalidRange")


def test_a_copy_needs_the_right_to_read_its_source(endpoints, blob_service, blob_container, source, content):
    write = generate_container_sas(BLOBS_ACCOUNT, blob_container.container_name, account_key=BLOBS_KEY,
                                   permission=ContainerSasPermissions(write=True, create=True), expiry=hours(1))
    url = f"{endpoints.blobs_account}/{blob_container.container_name}/target"
    writer = BlobClient.from_blob_url(f"{url}?{write}")
    assert refused(writer.start_copy_from_url, source.url) == (401, "CannotVerifyCopySource")
    assert refused(writer.start_copy_from_url, signed(source, write=True)) == (403, "CannotVerifyCopySource")
    forged = signed(source, read=True).replace("sp=r", "sp=rw")
    assert refused(writer.start_copy_from_url, forged) == (403, "CannotVerifyCopySource")
    writer.start_copy_from_url(signed(source, read=True))
    target = blob_container.get_blob_client("target")
    assert target.download_blob().readall() == content
    copied = target.get_blob_properties().copy
    assert copied.status == "success" and "sig=" not in copied.source
    blob_container.set_container_access_policy({}, public_access=PublicAccess.BLOB)
    writer.start_copy_from_url(source.url)
    elsewhere = "http://example.org/devstoreaccount1/box/source"
    assert refused(target.start_copy_from_url, elsewhere) == (404, "CannotVerifyCopySource")
    assert refused(target.start_copy_from_url, source.url + "-none") == (404, "CannotVerifyCopySource")


def test_conditions_on_the_source(blob_container, source):
    target = blob_container.get_blob_client("target")
    etag = source.get_blob_properties().etag
    missed = (412, "SourceConditionNotMet")
    with pytest.raises(HttpResponseError) as caught:
        target.start_copy_from_url(source.url, headers={"x-ms-source-if-match": '"0x1"'})
    assert (caught.value.status_code, caught.value.error_code) == missed
    with pytest.raises(HttpResponseError) as caught:
        target.start_copy_from_url(source.url, headers={"x-ms-source-if-none-match": etag})
    assert (caught.value.status_code, caught.value.error_code) == missed
    target.start_copy_from_url(source.url, headers={"x-ms-source-if-match": etag})


def test_there_is_no_copy_to_abort(blob_container, source):
    target = blob_container.get_blob_client("target")
    copy = target.start_copy_from_url(source.url)
    assert refused(target.abort_copy, copy["copy_id"]) == (409, "NoPendingCopyOperation")
    synchronous = target.start_copy_from_url(source.url, requires_sync=True)
    assert synchronous["copy_status"] == "success"
