"""What is wrong is refused with the protocol's own error, and nothing has changed after it."""

import base64
import datetime
import hashlib
import json
import urllib.parse

import pytest
from azure.cosmos import PartitionKey
from azure.storage.blob import BlobSasPermissions, generate_blob_sas

import raw_http
import signing
from server import BLOBS_ACCOUNT, BLOBS_KEY

WRONG_KEY = base64.b64encode(b"a key that nobody gave out").decode()
KEPT = b"what was there before"
# What a server's folder holds.
EXPECTED_FILES = ("data", "ready.json", "server.log", "content.toml")


@pytest.fixture
def blob(blob_container):
    """A blob whose content must be the same after each refused write."""
    made = blob_container.upload_blob("kept", KEPT)
    yield made
    assert made.download_blob().readall() == KEPT
    assert [b.name for b in blob_container.list_blobs(include=["uncommittedblobs"])] == ["kept"]


@pytest.fixture
def items(database):
    """A container with one item that must be the same after each refused write."""
    container = database.create_container("items", partition_key=PartitionKey(path="/pk"))
    before = container.create_item({"id": "kept", "pk": "a", "n": 1})
    yield container
    assert list(container.read_all_items()) == [before]


def put_blob(url, body, headers=None, length=None, key=BLOBS_KEY):
    headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "text/plain", **(headers or {})}
    signed = signing.blob_headers("PUT", url, headers, length=len(body) if length is None else length, key=key)
    return raw_http.request("PUT", url, signed, body)


def post_item(endpoints, items, body, partition_key='["a"]', headers=None):
    database = items.container_link.split("/")[1]
    link = f"dbs/{database}/colls/items"
    signed = signing.document_headers("POST", "docs", link, {
        "Content-Type": "application/json", "x-ms-documentdb-partitionkey": partition_key, **(headers or {})})
    return raw_http.request("POST", f"{endpoints.documents}/{link}/docs", signed, body)


def expect_blob_error(answer, status, code):
    assert answer.status == status, answer.text
    assert answer.headers["x-ms-error-code"] == code
    assert f"<Code>{code}</Code>" in answer.text
    assert answer.headers["x-ms-request-id"]


def expect_document_error(answer, status, code):
    assert answer.status == status, answer.text
    error = json.loads(answer.body)
    assert error["code"] == code and error["message"]


# Blobs


def test_truncated_blob(blob):
    headers = signing.blob_headers("PUT", blob.url, {"x-ms-blob-type": "BlockBlob"}, length=100)
    answer = raw_http.truncated("PUT", blob.url, headers, announced=100, sent=b"x" * 50)
    assert answer is None or 400 <= answer.status < 500, answer.text


def test_truncated_large_blob(blob):
    size = 8 * 1024 * 1024
    headers = signing.blob_headers("PUT", blob.url, {"x-ms-blob-type": "BlockBlob"}, length=size)
    answer = raw_http.truncated("PUT", blob.url, headers, announced=size, sent=b"x" * (size // 2))
    assert answer is None or 400 <= answer.status < 500, answer.text


def test_truncated_block(blob):
    url = f"{blob.url}?comp=block&blockid={urllib.parse.quote(base64.b64encode(b'000001').decode())}"
    headers = signing.blob_headers("PUT", url, length=100)
    answer = raw_http.truncated("PUT", url, headers, announced=100, sent=b"x" * 50)
    assert answer is None or 400 <= answer.status < 500, answer.text


def test_length_other_than_signed(blob):
    expect_blob_error(put_blob(blob.url, b"x" * 20, length=10), 403, "AuthenticationFailed")


def test_wrong_md5(blob):
    md5 = base64.b64encode(hashlib.md5(b"something else").digest()).decode()
    expect_blob_error(put_blob(blob.url, b"x" * 20, {"Content-MD5": md5}), 400, "Md5Mismatch")


def test_wrong_md5_of_a_large_blob(blob):
    md5 = base64.b64encode(hashlib.md5(b"something else").digest()).decode()
    expect_blob_error(put_blob(blob.url, b"x" * 300_000, {"Content-MD5": md5}), 400, "Md5Mismatch")


def test_malformed_md5(blob):
    expect_blob_error(put_blob(blob.url, b"x", {"Content-MD5": "not base64"}), 400, "InvalidMd5")


def test_wrong_blob_key(blob):
    expect_blob_error(put_blob(blob.url, b"x", key=WRONG_KEY), 403, "AuthenticationFailed")


def test_no_blob_credentials(blob):
    answer = raw_http.request("PUT", blob.url, {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}, b"x")
    expect_blob_error(answer, 401, "NoAuthenticationInformation")


def test_old_signature(blob):
    headers = signing.blob_headers("PUT", blob.url, {
        "x-ms-blob-type": "BlockBlob", "x-ms-date": signing.http_date(seconds_ahead=-3600)}, length=1)
    expect_blob_error(raw_http.request("PUT", blob.url, headers, b"x"), 403, "AuthenticationFailed")


def test_expired_sas(blob):
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
    sas = generate_blob_sas(BLOBS_ACCOUNT, blob.container_name, "kept", account_key=BLOBS_KEY,
                            permission=BlobSasPermissions(read=True, write=True), expiry=then)
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
    expect_blob_error(raw_http.request("PUT", f"{blob.url}?{sas}", headers, b"x"), 403, "AuthenticationFailed")


@pytest.mark.parametrize("body", [
    b"<BlockList><Latest>", b"not xml", b"", b"<Other/>", b"<BlockList><Latest>?</Latest></BlockList>",
    b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><BlockList><Latest>&e;</Latest></BlockList>",
    b"<a>" * 10_000,
])
def test_malformed_block_list(blob, body):
    url = f"{blob.url}?comp=blocklist"
    answer = raw_http.request("PUT", url, signing.blob_headers("PUT", url, length=len(body)), body)
    if body in (b"", b"<BlockList></BlockList>"):
        assert answer.status == 400
    else:
        assert answer.status == 400 and answer.headers["x-ms-error-code"] in (
            "InvalidXmlDocument", "InvalidXmlNodeValue", "InvalidBlockId", "InvalidBlockList"), answer.text


def test_malformed_range(blob):
    headers = signing.blob_headers("GET", blob.url, {"x-ms-range": "bytes=5-2"})
    answer = raw_http.request("GET", blob.url, headers)
    # RFC 9110 lets a server ignore what isn't a range; the SDK never sends this one.
    assert answer.status in (200, 400, 416)


def test_query_value_out_of_range(endpoints, blob):
    url = f"{endpoints.blobs_account}/{blob.container_name}?restype=container&comp=list&maxresults=0"
    answer = raw_http.request("GET", url, signing.blob_headers("GET", url))
    expect_blob_error(answer, 400, "OutOfRangeQueryParameterValue")


@pytest.mark.parametrize("name", ["UPPER", "a", "two--hyphens", "-start", "under_score", "a" * 64, "..", "a%2F..%2Fb"])
def test_container_names(endpoints, name):
    url = f"{endpoints.blobs_account}/{name}?restype=container"
    answer = raw_http.request("PUT", url, signing.blob_headers("PUT", url))
    assert answer.status == 400, answer.text
    assert answer.headers["x-ms-error-code"] in ("InvalidResourceName", "OutOfRangeInput", "InvalidUri")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..%2f..%2f..%2fescaped", "a/../../b", "%2e%2e/%2e%2e/c", "./."])
def test_dots_in_blob_names_are_only_a_name(endpoints, server, blob_container, name):
    url = f"{endpoints.blobs_account}/{blob_container.container_name}/{name}"
    answer = put_blob(url, b"x" * 20_000)
    assert answer.status in (201, 400), answer.text
    if answer.status == 201:
        assert [b.name for b in blob_container.list_blobs()] == [urllib.parse.unquote(name)]
        read = raw_http.request("GET", url, signing.blob_headers("GET", url))
        assert read.status == 200 and read.body == b"x" * 20_000
    outside = [path for path in server.data.parent.iterdir() if path.name not in EXPECTED_FILES]
    assert not outside


def test_nul_in_a_blob_name(endpoints, blob):
    url = f"{endpoints.blobs_account}/{blob.container_name}/a%00b"
    assert put_blob(url, b"x").status in (400, 403)


# Documents


def test_truncated_item(endpoints, items):
    database = items.container_link.split("/")[1]
    link = f"dbs/{database}/colls/items"
    headers = signing.document_headers("POST", "docs", link, {"x-ms-documentdb-partitionkey": '["a"]'})
    body = b'{"id":"new","pk":"a"}'
    answer = raw_http.truncated("POST", f"{endpoints.documents}/{link}/docs", headers, len(body) + 50, body)
    assert answer is None or answer.status == 400, answer.text


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"text"', b'{"id":"a","pk":"a",}', b'{"id":"a" "pk":"a"}', b"\xff\xfe",
    b'{"id":"a","pk":"a","n":NaN}', b'{"id":"\xc3\x28","pk":"a"}', b"<xml/>",
])
def test_malformed_json(endpoints, items, body):
    expect_document_error(post_item(endpoints, items, body), 400, "BadRequest")


@pytest.mark.parametrize("deep", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_json_of_depth_ten_thousand(endpoints, items, deep):
    body = b'{"id":"deep","pk":"a","x":' + deep + b"}"
    expect_document_error(post_item(endpoints, items, body), 400, "BadRequest")


def test_item_of_three_mebibytes(endpoints, items):
    body = json.dumps({"id": "big", "pk": "a", "text": "x" * (3 * 1024 * 1024)}).encode()
    expect_document_error(post_item(endpoints, items, body), 413, "RequestEntityTooLarge")


def test_item_under_the_limit_is_taken(endpoints, database):
    container = database.create_container("items", partition_key=PartitionKey(path="/pk"))
    body = json.dumps({"id": "big", "pk": "a", "text": "x" * (2 * 1024 * 1024 - 1000)}).encode()
    assert post_item(endpoints, container, body).status == 201


def test_wrong_documents_key(endpoints, items):
    database = items.container_link.split("/")[1]
    link = f"dbs/{database}/colls/items"
    headers = signing.document_headers("POST", "docs", link, key=WRONG_KEY)
    answer = raw_http.request("POST", f"{endpoints.documents}/{link}/docs", headers, b'{"id":"a","pk":"a"}')
    expect_document_error(answer, 401, "Unauthorized")


def test_no_documents_key(endpoints, items):
    database = items.container_link.split("/")[1]
    answer = raw_http.request("GET", f"{endpoints.documents}/dbs/{database}/colls/items/docs/kept",
                              {"x-ms-version": "2020-07-15", "x-ms-date": signing.http_date()})
    expect_document_error(answer, 401, "Unauthorized")


@pytest.mark.parametrize(("body", "partition_key"), [
    (b'{"id":"a","pk":"b"}', '["a"]'),
    (b'{"id":"a","pk":"a"}', "not json"),
    (b'{"id":"a","pk":"a"}', '["a","b"]'),
    (b'{"id":"a","pk":{"an":"object"}}', '["a"]'),
])
def test_partition_key_that_does_not_fit(endpoints, items, body, partition_key):
    expect_document_error(post_item(endpoints, items, body, partition_key), 400, "BadRequest")


@pytest.mark.parametrize("name", ["", "x" * 1024, "a/b", "a\\b", "a?b", "a#b", 7, None])
def test_item_ids(endpoints, items, name):
    body = json.dumps({"id": name, "pk": "a"}).encode()
    expect_document_error(post_item(endpoints, items, body), 400, "BadRequest")


def test_deep_query(endpoints, items):
    query = "SELECT * FROM c WHERE " + "(" * 10_000 + "true" + ")" * 10_000
    body = json.dumps({"query": query, "parameters": []}).encode()
    answer = post_item(endpoints, items, body, headers={
        "x-ms-documentdb-isquery": "True", "Content-Type": "application/query+json"})
    expect_document_error(answer, 400, "BadRequest")


@pytest.mark.parametrize("path", ["/dbs/../../etc/passwd", "/dbs/%2e%2e/colls/..", "/dbs/a/colls/b/docs/..%2f..", "/nothing"])
def test_paths_that_lead_nowhere(endpoints, path):
    kind, link = ("dbs", path.strip("/"))
    answer = raw_http.request("GET", f"{endpoints.documents}{path}", signing.document_headers("GET", kind, link))
    assert answer.status in (400, 401, 404, 405), answer.text


# Whatever a listener is told


@pytest.mark.parametrize("name", ["blobs", "documents", "platform", "admin"])
@pytest.mark.parametrize("sent", [
    b"NOT HTTP AT ALL\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
    b"\x00\x01\x02\x03", b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
])
def test_bytes_that_are_no_request(endpoints, name, sent):
    import socket

    parts = urllib.parse.urlsplit(getattr(endpoints, name))
    with socket.create_connection((parts.hostname, parts.port), 20) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            received = connection.recv(65_536)
        except OSError:  # the server has closed already
            received = b""
    assert not received or b" 4" in received[:15] or b" 505 " in received[:15] or received[0] == 0x15, received[:100]
    health = raw_http.request("GET", f"{endpoints.admin}/health/live")
    assert health.status == 200
