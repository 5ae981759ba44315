"""Append blobs, with azure-storage-blob."""

import concurrent.futures
import hashlib
import os

import pytest
from azure.core.exceptions import HttpResponseError


def refused(action, *arguments, **named):
    with pytest.raises(HttpResponseError) as caught:
        action(*arguments, **named)
    return caught.value.status_code, caught.value.error_code


@pytest.fixture
def log(blob_container):
    blob = blob_container.get_blob_client("log")
    blob.create_append_blob(metadata={"kind": "log"})
    return blob


def test_what_is_appended_is_read_whole_and_in_ranges(blob_container, log):
    properties = log.get_blob_properties()
    assert (properties.size, properties.blob_type, properties.append_blob_committed_block_count) == (0, "AppendBlob", 0)
    assert log.download_blob().readall() == b""
    large = os.urandom(300_000)
    first = log.append_block(b"first ")
    assert (first["blob_append_offset"], first["blob_committed_block_count"]) == ("0", 1)
    second = log.append_block(large)
    assert (second["blob_append_offset"], second["blob_committed_block_count"]) == ("6", 2)
    assert second["etag"] != first["etag"]
    whole = b"first " + large
    assert log.download_blob().readall() == whole
    assert log.download_blob(offset=3, length=100).readall() == whole[3:103]
    properties = log.get_blob_properties()
    assert (properties.size, properties.append_blob_committed_block_count) == (len(whole), 2)
    assert properties.metadata == {"kind": "log"}
    listed = next(iter(blob_container.list_blobs()))
    assert (listed.blob_type, listed.size) == ("AppendBlob", len(whole))
    log.create_append_blob()
    assert log.get_blob_properties().size == 0


def test_conditions_of_an_append(log):
    log.append_block(b"12345", appendpos_condition=0, maxsize_condition=5)
    assert refused(log.append_block, b"6", appendpos_condition=4) == (412, "AppendPositionConditionNotMet")
    assert refused(log.append_block, b"6", maxsize_condition=5) == (412, "MaxBlobSizeConditionNotMet")
    lease = log.acquire_lease()
    assert refused(log.append_block, b"6") == (412, "LeaseIdMissing")
    log.append_block(b"6", lease=lease)
    assert log.download_blob().readall() == b"123456"
    with pytest.raises(HttpResponseError) as caught:
        log.append_block(b"7", lease=lease, headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert caught.value.error_code == "Md5Mismatch"


def test_a_sealed_blob_takes_no_more(blob_container, log):
    log.append_block(b"all")
    assert refused(log.seal_append_blob, appendpos_condition=1) == (412, "AppendPositionConditionNotMet")
    assert log.seal_append_blob()["blob_sealed"] is True
    log.seal_append_blob()
    assert refused(log.append_block, b"more") == (409, "BlobIsSealed")
    copy = blob_container.get_blob_client("copy")
    copy.start_copy_from_url(log.url)
    copy.append_block(b" and more")
    assert copy.download_blob().readall() == b"all and more"
    assert log.download_blob().readall() == b"all"
    sealed = blob_container.get_blob_client("sealed")
    sealed.start_copy_from_url(log.url, seal_destination_blob=True)
    assert refused(sealed.append_block, b"more") == (409, "BlobIsSealed")


def test_kinds_of_blobs_dont_mix(blob_container, log):
    block = blob_container.upload_blob("block", b"x")
    wrong = (409, "InvalidBlobType")
    assert refused(block.append_block, b"y") == wrong
    assert refused(block.seal_append_blob) == wrong
    assert refused(log.stage_block, "MDAx", b"y") == wrong
    assert refused(log.commit_block_list, []) == wrong
    assert refused(log.get_block_list) == wrong
    assert refused(log.start_copy_from_url, block.url) == wrong
    assert refused(blob_container.get_blob_client("none").append_block, b"y") == (404, "BlobNotFound")


def test_appends_at_the_same_time_are_all_there(log):
    lines = [hashlib.sha256(bytes([number])).hexdigest().encode() + b"\n" for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(log.append_block, lines))
    assert sorted(log.download_blob().readall().splitlines(keepends=True)) == sorted(lines)
    assert log.get_blob_properties().append_blob_committed_block_count == len(lines)
