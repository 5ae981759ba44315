"""What is wrong is refused by Platform Storage with a clear error, and nothing has changed after it."""

import json

import pytest

import life_steps
import raw_http
from life_steps import APP, MODEL, ORG, PARTY


@pytest.fixture(scope="module")
def life(endpoints):
    life = life_steps.Life(endpoints)
    life.prepare()
    return life


@pytest.fixture
def element(life):
    """Path of a data element; instance, element and content must be the same after each refusal."""
    life_steps.create(life)
    life_steps.add_model(life)
    before = life.read()
    yield life.at(f"/data/{life.model}")
    assert life.read() == before
    assert life.call("GET", life.at(f"/data/{life.model}"), 200, life.user).content == MODEL


def send(life, method, path, body, headers=None, token=None):
    headers = {"Authorization": f"Bearer {token or life.user}", "Content-Type": "application/json", **(headers or {})}
    return raw_http.request(method, life.endpoints.storage + path, headers, body)


def expect_problem(answer, status):
    assert answer.status == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = json.loads(answer.body)
    assert problem["status"] == status and problem["detail"], problem


@pytest.mark.parametrize("size", [100, 8 * 1024 * 1024])
@pytest.mark.parametrize("new", [False, True])
def test_truncated_content(life, element, size, new):
    method, path = ("POST", life.at("/data?dataType=attachment")) if new else ("PUT", element)
    headers = {"Authorization": f"Bearer {life.user}", "Content-Type": "application/pdf", "Content-Length": str(size)}
    answer = raw_http.truncated(method, life.endpoints.storage + path, headers, announced=size, sent=b"x" * (size // 2))
    assert answer is None or 400 <= answer.status < 500, answer.text


def test_multipart_that_ends_early(life, element):
    body = b'--b\r\nContent-Disposition: form-data; filename="a.pdf"\r\n\r\ncontent without an end'
    answer = send(life, "PUT", element, body, {"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status == 400, answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"instanceOwner": 7}', b'{"instanceOwner": {}} x',
                                  b'{"instanceOwner": {"partyId": "../1"}}', b'{"instanceOwner": {"partyId": ""}}'])
def test_malformed_instance(life, element, body):
    expect_problem(send(life, "POST", f"/instances?appId={ORG}/{APP}", body), 400)


@pytest.mark.parametrize("deep", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_deep_json(life, element, deep):
    expect_problem(send(life, "POST", f"/instances?appId={ORG}/{APP}", deep), 400)
    expect_problem(send(life, "PUT", life.at("/datavalues"), b'{"values":' + deep + b"}"), 400)
    expect_problem(send(life, "POST", f"/applications?appId={ORG}/deep", deep, token=life.studio), 400)


def test_too_large_json(life, element):
    values = json.dumps({"values": {"key": "x" * (3 * 1024 * 1024)}}).encode()
    expect_problem(send(life, "PUT", life.at("/datavalues"), values), 413)


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"values": 7}', b'{"values": {"a": {}}}', b'{"values": []}'])
def test_malformed_values(life, element, body):
    expect_problem(send(life, "PUT", life.at("/datavalues"), body), 400)


@pytest.mark.parametrize("path", [
    "/data/../../../etc/passwd", "/data/..%2f..%2f..%2fetc%2fpasswd", "/data/%2e%2e/lock", "/nothing", "/data/a/b/c/d",
])
def test_paths_that_lead_nowhere(life, element, path):
    assert send(life, "PUT", life.at(path), b"<x/>").status in (400, 404, 405)


@pytest.mark.parametrize("path", ["/instances/a/b", f"/instances/{PARTY}/x", f"/instances/{10**30}/x", "/instances/-/x/data"])
def test_ids_that_are_none(life, path):
    assert send(life, "GET", path, b"").status in (400, 404)


def test_what_is_not_served_says_so(life):
    expect_problem(send(life, "POST", "/migration/instance", b"{}"), 501)
    expect_problem(send(life, "PATCH", f"/instances/{PARTY}/00000000-0000-0000-0000-000000000000/events", b"{}"), 405)


def test_lock_bodies(life, element):
    for body in (b"", b"{}", b'{"ttlSeconds": "soon"}', b'{"ttlSeconds": 1e99}', b'{"ttlSeconds": -1}'):
        expect_problem(send(life, "POST", life.at("/lock"), body), 400)
