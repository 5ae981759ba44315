"""azure-storage-blob against the blobs endpoint."""

import base64
import datetime
import hashlib
import os
import uuid

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import (
    AccountSasPermissions,
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    BlobType,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from server import BLOBS_ACCOUNT, BLOBS_KEY


def hours(number):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=number)


def code(caught):
    return caught.value.error_code


# Containers


def test_containers(blob_service):
    name = f"test-{uuid.uuid4().hex[:12]}"
    container = blob_service.create_container(name, metadata={"purpose": "test"})
    assert container.exists()
    assert container.get_container_properties().metadata == {"purpose": "test"}
    with pytest.raises(ResourceExistsError) as twice:
        blob_service.create_container(name)
    assert code(twice) == "ContainerAlreadyExists"
    container.set_container_metadata({"purpose": "other"})
    listed = {c.name: c for c in blob_service.list_containers(name_starts_with=name, include_metadata=True)}
    assert listed[name].metadata == {"purpose": "other"}
    container.delete_container()
    with pytest.raises(ResourceNotFoundError) as gone:
        container.get_container_properties()
    assert code(gone) == "ContainerNotFound"


def test_blob_in_a_missing_container(blob_service):
    with pytest.raises(ResourceNotFoundError) as missing:
        blob_service.get_blob_client("no-such-container", "a").upload_blob(b"x")
    assert code(missing) == "ContainerNotFound"


# Content


def test_small_blob_with_all_its_properties(blob_container):
    blob = blob_container.get_blob_client("folder/æ ø+å.txt")
    settings = ContentSettings(content_type="text/plain", content_language="nb", cache_control="no-store",
                               content_disposition="inline", content_encoding="identity")
    written = blob.upload_blob("hei på deg", metadata={"case": "42"}, content_settings=settings)
    properties = blob.get_blob_properties()
    assert properties.etag == written["etag"] and properties.size == len("hei på deg".encode())
    assert properties.metadata == {"case": "42"} and properties.blob_type == "BlockBlob"
    assert properties.content_settings.content_type == "text/plain"
    assert properties.content_settings.content_language == "nb"
    assert properties.content_settings.cache_control == "no-store"
    assert properties.content_settings.content_disposition == "inline"
    assert properties.content_settings.content_md5 == hashlib.md5("hei på deg".encode()).digest()
    assert blob.download_blob(encoding="utf-8").readall() == "hei på deg"
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError) as gone:
        blob.download_blob()
    assert code(gone) == "BlobNotFound"


def test_empty_blob(blob_container):
    blob = blob_container.upload_blob("empty", b"")
    assert blob.download_blob().readall() == b""
    assert blob.get_blob_properties().size == 0


def test_twenty_mebibytes_in_blocks(endpoints, blob_container):
    content = os.urandom(20 * 1024 * 1024)
    with BlobClient.from_connection_string(endpoints.blobs_connection_string, blob_container.container_name, "large",
                                           max_block_size=4 * 1024 * 1024, max_single_put_size=1024 * 1024,
                                           max_single_get_size=4 * 1024 * 1024, max_chunk_get_size=3 * 1024 * 1024) as blob:
        blob.upload_blob(content, max_concurrency=4)
        committed, uncommitted = blob.get_block_list("all")
        assert len(committed) == 5 and not uncommitted
        assert blob.download_blob(max_concurrency=4).readall() == content
        middle = blob.download_blob(offset=4 * 1024 * 1024 - 10, length=20).readall()
        assert middle == content[4 * 1024 * 1024 - 10:4 * 1024 * 1024 + 10]


def test_single_put_larger_than_inline(blob_container):
    content = os.urandom(3 * 1024 * 1024 + 17)
    blob = blob_container.upload_blob("one-put", content)
    assert hashlib.sha256(blob.download_blob().readall()).digest() == hashlib.sha256(content).digest()


def test_blocks_by_hand(blob_container):
    blob = blob_container.get_blob_client("blocks")
    names = [f"{number:06}" for number in range(3)]
    for name in names:
        blob.stage_block(name, name.encode())
    _, uncommitted = blob.get_block_list("uncommitted")
    assert [block.size for block in uncommitted] == [6, 6, 6]
    assert not blob.exists()
    blob.commit_block_list([BlobBlock(names[2]), BlobBlock(names[0])])
    assert blob.download_blob().readall() == b"000002000000"
    with pytest.raises(HttpResponseError) as unknown:
        blob.commit_block_list([BlobBlock("999999")])
    assert code(unknown) == "InvalidBlockList"
    assert blob.download_blob().readall() == b"000002000000"


def test_ranges(blob_container):
    blob = blob_container.upload_blob("digits", b"0123456789")
    assert blob.download_blob(offset=2, length=3).readall() == b"234"
    assert blob.download_blob(offset=8, length=100).readall() == b"89"
    with pytest.raises(HttpResponseError) as beyond:
        blob.download_blob(offset=10, length=1).readall()
    assert beyond.value.status_code == 416 and code(beyond) == "InvalidRange"


def test_overwriting(blob_container):
    first = blob_container.upload_blob("a", b"one", metadata={"m": "1"}).get_blob_properties()
    with pytest.raises(ResourceExistsError) as exists:
        blob_container.upload_blob("a", b"two")
    assert code(exists) == "BlobAlreadyExists"
    blob = blob_container.upload_blob("a", b"three", overwrite=True)
    after = blob.get_blob_properties()
    assert after.etag != first.etag and after.metadata == {} and after.size == 5
    assert blob.download_blob().readall() == b"three"


def test_conditions(blob_container):
    blob = blob_container.upload_blob("a", b"one")
    old = blob.get_blob_properties().etag
    blob.upload_blob(b"two", overwrite=True, etag=old, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError) as stale:
        blob.upload_blob(b"three", overwrite=True, etag=old, match_condition=MatchConditions.IfNotModified)
    assert code(stale) == "ConditionNotMet"
    with pytest.raises(ResourceModifiedError):
        blob.delete_blob(etag=old, match_condition=MatchConditions.IfNotModified)
    now = blob.get_blob_properties().etag
    with pytest.raises(HttpResponseError) as same:
        blob.download_blob(etag=now, match_condition=MatchConditions.IfModified)
    assert same.value.status_code == 304
    assert blob.download_blob().readall() == b"two"


def test_metadata_and_headers_are_set_on_their_own(blob_container):
    blob = blob_container.upload_blob("a", b"x", metadata={"a": "1"})
    blob.set_blob_metadata({"b": "2", "MixedCase": "3"})
    assert {k.lower(): v for k, v in blob.get_blob_properties().metadata.items()} == {"b": "2", "mixedcase": "3"}
    blob.set_http_headers(ContentSettings(content_type="application/json"))
    properties = blob.get_blob_properties()
    assert properties.content_settings.content_type == "application/json"
    assert properties.size == 1 and blob.download_blob().readall() == b"x"


def test_copy_within_the_account(blob_container):
    source = blob_container.upload_blob("source", os.urandom(100_000), metadata={"m": "1"})
    target = blob_container.get_blob_client("target")
    answer = target.start_copy_from_url(source.url)
    assert answer["copy_status"] == "success" and answer["copy_id"]
    assert target.download_blob().readall() == source.download_blob().readall()
    assert target.get_blob_properties().metadata == {"m": "1"}
    assert target.get_blob_properties().copy.status == "success"
    with pytest.raises(ResourceNotFoundError):
        target.start_copy_from_url(source.url + "-missing")


# Lists


def test_list_flat_in_pages(blob_container):
    names = [f"n{number:03}" for number in range(25)]
    for name in reversed(names):
        blob_container.upload_blob(name, b"x", metadata={"m": name})
    pages = [[b.name for b in page] for page in blob_container.list_blobs(results_per_page=10).by_page()]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [name for page in pages for name in page] == names
    some = list(blob_container.list_blobs(name_starts_with="n01", include=["metadata"]))
    assert [b.name for b in some] == [f"n{number:03}" for number in range(10, 20)]
    assert some[0].metadata == {"m": "n010"} and some[0].size == 1


def test_list_as_a_tree(blob_container):
    for name in ("a", "b/1", "b/2", "b/c/3", "d/4"):
        blob_container.upload_blob(name, b"x")
    # The client gives a page's prefixes before its blobs.
    assert [entry.name for entry in blob_container.walk_blobs()] == ["b/", "d/", "a"]
    assert [entry.name for entry in blob_container.walk_blobs("b/")] == ["b/c/", "b/1", "b/2"]


def test_names_keep_their_characters(blob_container):
    names = sorted(["a b", "a+b", "a%2Fb", "æ/ø å", "x//y", "semi;colon", "&amp;<tag>", "q?uestion"])
    for name in names:
        blob_container.upload_blob(name, name.encode())
    assert sorted(b.name for b in blob_container.list_blobs()) == names
    for name in names:
        assert blob_container.download_blob(name).readall() == name.encode()


# Shared access signatures


def account_client(endpoints, **arguments):
    sas = generate_account_sas(BLOBS_ACCOUNT, account_key=BLOBS_KEY, **arguments)
    return BlobServiceClient(endpoints.blobs_account, credential=sas)


def test_account_sas(endpoints, blob_container):
    everything = ResourceTypes(service=True, container=True, object=True)
    client = account_client(endpoints, resource_types=everything, expiry=hours(1),
                            permission=AccountSasPermissions(read=True, write=True, list=True, create=True))
    blob = client.get_blob_client(blob_container.container_name, "a")
    blob.upload_blob(b"x")
    assert blob.download_blob().readall() == b"x"
    assert blob_container.container_name in [c.name for c in client.list_containers()]
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob()
    assert refused.value.status_code == 403 and code(refused) == "AuthorizationPermissionMismatch"
    objects = account_client(endpoints, resource_types=ResourceTypes(object=True), expiry=hours(1),
                             permission=AccountSasPermissions(read=True, list=True))
    with pytest.raises(HttpResponseError) as refused:
        list(objects.list_containers())
    assert code(refused) == "AuthorizationResourceTypeMismatch"


def test_blob_sas(endpoints, blob_container):
    blob_container.upload_blob("a", b"secret", content_settings=ContentSettings(content_type="text/plain"))
    blob_container.upload_blob("b", b"other")
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob_container.container_name, "a", account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(read=True), expiry=hours(1), content_type="application/pdf")
    url = f"{endpoints.blobs_account}/{blob_container.container_name}"
    download = BlobClient.from_blob_url(f"{url}/a?{sas}").download_blob()
    assert download.readall() == b"secret"
    assert download.properties.content_settings.content_type == "application/pdf"
    with pytest.raises(ClientAuthenticationError) as refused:
        BlobClient.from_blob_url(f"{url}/b?{sas}").download_blob()
    assert code(refused) == "AuthenticationFailed"
    with pytest.raises(HttpResponseError) as refused:
        BlobClient.from_blob_url(f"{url}/a?{sas}").upload_blob(b"x", overwrite=True)
    assert code(refused) == "AuthorizationPermissionMismatch"


def test_container_sas(endpoints, blob_container):
    blob_container.upload_blob("a", b"x")
    sas = generate_container_sas(BLOBS_ACCOUNT, blob_container.container_name, account_key=BLOBS_KEY,
                                 permission=ContainerSasPermissions(read=True, list=True), expiry=hours(1))
    container = ContainerClient(endpoints.blobs_account, blob_container.container_name, credential=sas)
    assert [b.name for b in container.list_blobs()] == ["a"]
    assert container.download_blob("a").readall() == b"x"
    with pytest.raises(HttpResponseError):
        container.upload_blob("b", b"x")


@pytest.mark.parametrize(("start", "end"), [(-2, -1), (1, 2)])
def test_sas_outside_its_time(endpoints, blob_container, start, end):
    blob_container.upload_blob("a", b"x")
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob_container.container_name, "a", account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(read=True), start=hours(start), expiry=hours(end))
    with pytest.raises(ClientAuthenticationError) as refused:
        BlobClient.from_blob_url(f"{endpoints.blobs_account}/{blob_container.container_name}/a?{sas}").download_blob()
    assert refused.value.status_code == 403 and code(refused) == "AuthenticationFailed"


def test_sas_by_another_key(endpoints, blob_container):
    blob_container.upload_blob("a", b"x")
    key = base64.b64encode(b"another key").decode()
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob_container.container_name, "a", account_key=key,
                            permission=BlobSasPermissions(read=True), expiry=hours(1))
    with pytest.raises(ClientAuthenticationError) as refused:
        BlobClient.from_blob_url(f"{endpoints.blobs_account}/{blob_container.container_name}/a?{sas}").download_blob()
    assert BLOBS_KEY not in str(refused.value)


def test_blobs_that_have_staged_blocks_alone_are_listed(blob_container):
    for name in ["a", "b/1", "c"]:
        blob_container.get_blob_client(name).stage_block("MDAx", b"1")
    blob_container.upload_blob("b/2", b"22")
    assert [blob.name for blob in blob_container.list_blobs()] == ["b/2"]
    for size in [1, 100]:
        listed = list(blob_container.list_blobs(include=["uncommittedblobs"], results_per_page=size))
        assert [(blob.name, blob.size) for blob in listed] == [("a", 0), ("b/1", 0), ("b/2", 2), ("c", 0)]
    (alone,) = blob_container.list_blobs(name_starts_with="a", include=["uncommittedblobs"])
    assert (alone.blob_type, alone.etag, alone.last_modified) == (BlobType.BLOCKBLOB, None, None)
    walked = [entry.name for entry in blob_container.walk_blobs(include=["uncommittedblobs"], delimiter="/")]
    assert sorted(walked) == ["a", "b/", "c"], "the client puts prefixes first"
    blob_container.get_blob_client("a").commit_block_list(["MDAx"])
    listed = blob_container.list_blobs(include=["uncommittedblobs"])
    assert [(blob.name, blob.size) for blob in listed] == [("a", 1), ("b/1", 0), ("b/2", 2), ("c", 0)]
