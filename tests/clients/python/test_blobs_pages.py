"""Page blobs, with azure-storage-blob."""

import os

import pytest

from test_blobs_access import refused

PAGE = 512


@pytest.fixture
def disk(blob_container):
    blob = blob_container.get_blob_client("disk")
    blob.create_page_blob(16 * 1024 * 1024, metadata={"m": "1"})
    return blob


def ranges(blob, **query):
    return [(entry.start, entry.end, entry.cleared) for entry in blob.list_page_ranges(**query)]


def test_pages_are_put_and_cleared(disk):
    small, large = os.urandom(4096), os.urandom(4 * 1024 * 1024)
    disk.upload_page(small, offset=8192, length=4096)
    # Across the border of what one record is about.
    disk.upload_page(large, offset=3 * 1024 * 1024, length=len(large))
    expected = bytearray(16 * 1024 * 1024)
    expected[8192:12288] = small
    expected[3 * 1024 * 1024:7 * 1024 * 1024] = large
    assert disk.download_blob().readall() == bytes(expected)
    assert disk.download_blob(offset=8000, length=500).readall() == bytes(expected[8000:8500])
    assert ranges(disk) == [(8192, 12287, False), (3 * 1024 * 1024, 7 * 1024 * 1024 - 1, False)]
    disk.clear_page(offset=4 * 1024 * 1024, length=PAGE)
    expected[4 * 1024 * 1024:4 * 1024 * 1024 + PAGE] = bytes(PAGE)
    assert disk.download_blob().readall() == bytes(expected)
    assert len(ranges(disk, results_per_page=1)) == 3
    assert ranges(disk, offset=8192 + PAGE, length=PAGE) == [(8192 + PAGE, 8192 + 2 * PAGE - 1, False)]
    properties = disk.get_blob_properties()
    assert (properties.blob_type, properties.size, properties.metadata) == ("PageBlob", len(expected), {"m": "1"})


def test_a_blob_of_8_tib_takes_no_place(blob_container):
    blob = blob_container.get_blob_client("huge")
    blob.create_page_blob(8 * 1024**4)
    last = 8 * 1024**4 - PAGE
    blob.upload_page(b"x" * PAGE, offset=last, length=PAGE)
    assert blob.download_blob(offset=last - PAGE, length=2 * PAGE).readall() == bytes(PAGE) + b"x" * PAGE
    assert ranges(blob) == [(last, last + PAGE - 1, False)]
    blob.clear_page(offset=0, length=8 * 1024**4)
    assert ranges(blob) == []
    assert refused(lambda: blob.upload_page(b"x" * PAGE, offset=8 * 1024**4, length=PAGE)) == (416, "InvalidPageRange")


def test_the_sequence_number_and_the_length(disk):
    assert disk.set_sequence_number("update", "7")["blob_sequence_number"] == 7
    assert disk.set_sequence_number("max", "5")["blob_sequence_number"] == 7
    assert disk.set_sequence_number("increment")["blob_sequence_number"] == 8
    page = b"x" * PAGE
    for condition in ({"if_sequence_number_lt": 8}, {"if_sequence_number_lte": 7}, {"if_sequence_number_eq": 7}):
        failed = refused(lambda: disk.upload_page(page, offset=0, length=PAGE, **condition))
        assert failed == (412, "SequenceNumberConditionNotMet")
    assert disk.upload_page(page, offset=0, length=PAGE, if_sequence_number_eq=8)["blob_sequence_number"] == 8
    disk.upload_page(page, offset=8 * 1024 * 1024, length=PAGE)
    disk.resize_blob(1024 * 1024)
    disk.resize_blob(16 * 1024 * 1024)
    assert ranges(disk) == [(0, PAGE - 1, False)]
    properties = disk.get_blob_properties()
    assert (properties.page_blob_sequence_number, properties.size) == (8, 16 * 1024 * 1024)


def test_snapshots_and_what_differs(disk, blob_container):
    disk.upload_page(b"a" * 4096, offset=0, length=4096)
    disk.upload_page(b"b" * 4096, offset=8192, length=4096)
    first = disk.create_snapshot()
    disk.upload_page(b"c" * PAGE, offset=PAGE, length=PAGE)
    disk.clear_page(offset=8192, length=PAGE)
    kept = blob_container.get_blob_client("disk", snapshot=first)
    assert kept.download_blob(offset=0, length=4096).readall() == b"a" * 4096
    assert kept.download_blob(offset=8192, length=4096).readall() == b"b" * 4096
    assert ranges(disk, previous_snapshot=first) == [(PAGE, 2 * PAGE - 1, False), (8192, 8192 + PAGE - 1, True)]
    second = disk.create_snapshot()
    later = blob_container.get_blob_client("disk", snapshot=second)
    assert ranges(later, previous_snapshot=first) == [(PAGE, 2 * PAGE - 1, False), (8192, 8192 + PAGE - 1, True)]
    assert refused(lambda: ranges(kept, previous_snapshot=second)) == (400, "PreviousSnapshotCannotBeNewer")
    listed = list(blob_container.list_blobs(include=["snapshots"]))
    assert [entry.blob_type for entry in listed] == ["PageBlob"] * 3


def test_copies(disk, blob_container):
    disk.upload_page(b"a" * 4096, offset=0, length=4096)
    taken = disk.create_snapshot()
    copy = blob_container.get_blob_client("copy")
    copy.start_copy_from_url(disk.url)
    disk.upload_page(b"b" * 4096, offset=0, length=4096)
    copy.upload_page(b"c" * PAGE, offset=0, length=PAGE)
    assert copy.download_blob(offset=0, length=4096).readall() == b"c" * PAGE + b"a" * (4096 - PAGE)
    assert disk.download_blob(offset=0, length=PAGE).readall() == b"b" * PAGE
    copy.upload_pages_from_url(disk.url, offset=4096, length=PAGE, source_offset=0)
    assert copy.download_blob(offset=4096, length=PAGE).readall() == b"b" * PAGE
    backup = blob_container.get_blob_client("backup")
    source = blob_container.get_blob_client("disk", snapshot=taken)
    backup.start_copy_from_url(source.url, incremental_copy=True)
    (held, _) = blob_container.list_blobs(name_starts_with="backup", include=["snapshots"])
    kept = blob_container.get_blob_client("backup", snapshot=held.snapshot)
    assert kept.download_blob(offset=0, length=4096).readall() == b"a" * 4096
    assert refused(lambda: backup.upload_page(b"x" * PAGE, offset=0, length=PAGE)) == \
        (409, "OperationNotAllowedOnIncrementalCopyBlob")
    block = blob_container.get_blob_client("block")
    block.upload_blob_from_url(source.url)
    found = block.get_blob_properties()
    assert (found.blob_type, found.size) == ("BlockBlob", disk.get_blob_properties().size)
    assert block.download_blob(offset=0, length=8192).readall() == b"a" * 4096 + bytes(4096)


def test_a_lease_and_other_kinds(disk, blob_container):
    page = b"x" * PAGE
    lease = disk.acquire_lease()
    assert refused(lambda: disk.upload_page(page, offset=0, length=PAGE)) == (412, "LeaseIdMissing")
    disk.upload_page(page, offset=0, length=PAGE, lease=lease)
    lease.release()
    other = blob_container.upload_blob("block", b"x")
    assert refused(lambda: other.upload_page(page, offset=0, length=PAGE)) == (409, "InvalidBlobType")
    assert refused(lambda: disk.stage_block("AA==", b"x")) == (409, "InvalidBlobType")
