"""Platform Storage beside the app: the message box, Studio, versions and mutations, scans, the portal, other services."""

import http.server
import json
import threading
import time
import urllib.parse
import uuid

import pytest
import requests

import life_steps
from conftest import running
from life_steps import APP, MODEL, ORG, PARTY
from server import Server
from test_platform import XML, Storage


class Receiver:
    """An HTTP server of the test's own: keeps what is posted, answers as it is told."""

    def __init__(self):
        self.received, self.status, self.answer = [], 200, lambda body: b"{}"
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802, the library's name
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.received.append(body)
                answer = receiver.answer(body)
                self.send_response(receiver.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, what, seconds=20):
        """What was received and satisfies `what`, as soon as there is some."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [body for body in list(self.received) if what(body)]
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"nothing came; received: {self.received}")


@pytest.fixture(scope="module")
def scanner():
    return Receiver()


@pytest.fixture(scope="module")
def portal():
    return Receiver()


@pytest.fixture(scope="module")
def told_server(scanner, portal):
    options = ["--platform-scan-url", scanner.url, "--platform-portal-url", portal.url, "--platform-refuse-infected"]
    yield from running(Server(options=options))


@pytest.fixture(scope="module")
def storage(told_server):
    return Storage(told_server.endpoints)


def search(storage, token=None, **query):
    body = {"instanceOwnerPartyIdList": [int(PARTY)], **query}
    answer = storage.call("POST", "/sbl/instances/search", token or storage.user, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def guid(instance):
    return instance.rsplit("/", 1)[1]


def own_app(storage, **more):
    """An app of the test's own."""
    app = f"box-{uuid.uuid4().hex[:8]}"
    body = {**life_steps.application(app, False), **more}
    assert storage.call("POST", f"/applications?appId={ORG}/{app}", storage.studio, json=body).status_code == 201
    return app


# Message box and Studio


def test_box_search(storage):
    app = own_app(storage, title={"nb": f"Skjema {uuid.uuid4().hex}"})
    first, second, third = (storage.instance(app) for _ in range(3))
    storage.call("PUT", f"{second}/presentationtexts", storage.user, json={"texts": {"navn": "Åse Østby"}})
    assert storage.call("DELETE", third, storage.user).status_code == 200
    here = {"appId": f"{ORG}/{app}"}
    assert [item["id"] for item in search(storage, **here)] == [guid(third), guid(second), guid(first)]
    assert [item["id"] for item in search(storage, includeDeleted=True, **here)] == [guid(third)]
    assert [item["id"] for item in search(storage, searchString="østby", **here)] == [guid(second)]
    assert search(storage, archiveReference=guid(first)[24:], **here) == []
    item = search(storage, searchString="østby", **here)[0]
    assert item["title"].endswith(", Åse Østby") and item["allowDelete"] is True and item["dueDateTime"] is None
    stranger = storage.token("GetTestUserToken/12345?authenticationLevel=2")
    assert search(storage, stranger, **here) == []
    one = storage.call("GET", f"/sbl{second}?language=nb", storage.user).json()
    assert one["id"] == guid(second) and one["processCurrentTask"] == "FormFilling"


def test_box_events(storage):
    instance = storage.instance()
    element = storage.model(instance)
    for _ in range(3):
        assert storage.call("PUT", element, storage.user, data=MODEL, headers=XML).status_code == 200
    events = storage.call("GET", f"/sbl{instance}/events", storage.user).json()
    assert [event["eventType"] for event in events] == ["Created", "Saved"]


def test_studio(storage):
    app = own_app(storage)
    made = [guid(storage.instance(app)) for _ in range(3)]
    path = f"/studio/instances/{ORG}/{app}"
    assert storage.call("GET", path, storage.user).status_code == 403
    page = storage.call("GET", f"{path}?size=2", storage.studio).json()
    rest = storage.call("GET", f"{path}?size=2&continuationToken={page['next']}", storage.studio).json()
    assert [item["id"] for item in page["instances"] + rest["instances"]] == made
    assert storage.call("DELETE", f"{path}/{made[0]}", storage.studio).status_code == 204
    assert storage.call("GET", f"{path}/{made[0]}", storage.studio).json()["softDeletedAt"]


# Versions and mutations


def test_versions_and_entity_tags(storage):
    instance = storage.instance()
    element = storage.model(instance)
    read = storage.call("GET", element, storage.user)
    tag, version = read.headers["ETag"], read.headers["Instance-Version"]
    put = lambda **headers: storage.call("PUT", element, storage.user, data=b"<b/>", headers={**XML, **headers})  # noqa: E731
    assert put(**{"If-Match": tag, "If-Instance-Version-Match": version}).status_code == 200
    assert put(**{"If-Match": tag}).status_code == 412
    stale = put(**{"If-Instance-Version-Match": version})
    assert stale.status_code == 412 and stale.json()["type"] == "instance_version_mismatch"
    assert int(stale.headers["Instance-Version"]) == int(version) + 1


def test_mutation(storage):
    instance = storage.instance()
    version = storage.call("GET", instance, storage.user).headers["Instance-Version"]
    mutation = {
        "createDataElements": [{"dataType": "model", "contentPartName": "a"}, {"dataType": "attachment", "contentPartName": "b"}],
        "dataValues": {"x": "1"}, "presentationTexts": {"t": "Kari"},
    }
    headers = {"If-Instance-Version-Match": version, "Idempotency-Key": str(uuid.uuid4())}
    large = bytes(range(256)) * 8192

    def send():
        parts = [("mutation", (None, json.dumps(mutation), "application/json")),
                 ("a", ("a.xml", MODEL, "application/xml")), ("b", ("b.bin", large, "application/octet-stream"))]
        return storage.call("POST", f"{instance}/mutations", storage.user, files=parts, headers=headers)

    done = send()
    assert done.status_code == 200, done.text
    assert done.json()["replayed"] is False and len(done.json()["instance"]["data"]) == 2
    made = done.json()["createdDataElementIds"]
    assert storage.call("GET", f"{instance}/data/{made[1]}", storage.user).content == large
    again = send()
    assert again.status_code == 200 and again.json()["replayed"] is True
    assert again.json()["createdDataElementIds"] == made
    assert len(storage.call("GET", instance, storage.user).json()["data"]) == 2


# Scans and the portal


def test_a_scan_is_asked_for_and_answered(storage, scanner):
    types = [{"id": "model", "enableFileScan": True}]
    instance = storage.instance(own_app(storage, dataTypes=types))
    element = storage.model(instance)
    message = scanner.wait(lambda body: body["dataElementId"] == guid(element))[0]
    assert message["instanceId"] == instance.removeprefix("/instances/") and message["org"] == ORG
    token = storage.token("GetTestPlatformToken/filescan")
    path = element.replace("/data/", "/dataelements/") + "/filescanstatus"
    put = lambda body: storage.call("PUT", path, json=body, headers={"PlatformAccessToken": token})  # noqa: E731
    result = {"fileScanResult": "Infected", "blobVersionId": message["blobVersionId"]}
    assert storage.call("PUT", path, storage.user, json=result).status_code == 401
    assert storage.call("PUT", element, storage.user, data=b"<new/>", headers=XML).status_code == 200
    assert put(result).status_code == 409, "a result for content that was replaced"
    newer = scanner.wait(lambda body: body["dataElementId"] == guid(element) and body["blobVersionId"] != message["blobVersionId"])[0]
    assert put({**result, "blobVersionId": newer["blobVersionId"]}).status_code == 200
    assert storage.call("GET", element, storage.user).status_code == 403
    exists = element.replace("/data/", "/dataelementexists/")
    assert storage.call("GET", exists, headers={"PlatformAccessToken": token}).json() is True


def test_the_portal_is_told(storage, portal):
    instance = storage.instance()
    created = portal.wait(lambda body: body["InstanceId"] == guid(instance))[0]
    assert created["EventType"] == "Created" and created["AppId"] == f"{ORG}/{APP}"
    assert storage.call("DELETE", instance, storage.user).status_code == 200
    portal.wait(lambda body: body["InstanceId"] == guid(instance) and body["EventType"] == "Deleted")


def test_a_portal_that_is_away_is_told_again(storage, portal, told_server):
    told_server.expect_log("a message wasn't taken; it is tried again")
    portal.status = 503
    try:
        instance = storage.instance()
        portal.wait(lambda body: body["InstanceId"] == guid(instance))
    finally:
        portal.status = 200
    told = len([body for body in portal.received if body["InstanceId"] == guid(instance)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len([body for body in portal.received if body["InstanceId"] == guid(instance)]) > told:
            return
        time.sleep(0.1)
    raise AssertionError("it wasn't told again")


# A decision point elsewhere


class DecisionPoint(Receiver):
    """Permits what the test lists, with the level that it says."""

    def __init__(self):
        super().__init__()
        self.permits, self.level = {"instantiate", "read", "write"}, None
        self.answer = lambda body: json.dumps({"response": self.results(body["Request"])}).encode()

    def results(self, request):
        def attributes(part):
            return {a["AttributeId"]: a["Value"] for a in part["Attribute"]}

        references = request.get("MultiRequests", {}).get("RequestReference")
        named = {part["Id"]: part for name in ("Action", "Resource") for part in request[name] if "Id" in part}
        asked = [[named[i] for i in r["ReferenceId"] if i in named] for r in references] if references else [
            [request["Action"][0], request["Resource"][0]]]
        results = []
        for action, resource in asked:
            name = attributes(action)["urn:oasis:names:tc:xacml:1.0:action:action-id"]
            obligations = [{"id": "o", "attributeAssignment": [
                {"category": "urn:altinn:minimum-authenticationlevel", "value": str(self.level)}]}] if self.level else None
            back = lambda part: [{"attributeId": a["AttributeId"], "value": a["Value"]}  # noqa: E731
                                 for a in part["Attribute"] if a.get("IncludeInResult")]
            results.append({"decision": "Permit" if name in self.permits else "NotApplicable", "obligations": obligations,
                            "category": [{"attribute": back(action)}, {"attribute": back(resource)}]})
        return results[::-1]


@pytest.fixture
def point():
    return DecisionPoint()


@pytest.fixture
def asking_server(point):
    yield from running(Server(options=["--platform-pdp-url", point.url]))


def test_a_decision_point_elsewhere(point, asking_server):
    asking_server.expect_log("decision point")
    asking_server.expect_log("status=500")
    storage = Storage(asking_server.endpoints)
    instance = storage.instance()
    element = storage.model(instance)
    asked = len(point.received)
    assert storage.call("GET", instance, storage.user).status_code == 200
    assert storage.call("GET", instance, storage.user).status_code == 200
    assert len(point.received) == asked + 1, "the second was remembered"
    assert storage.call("DELETE", instance, storage.user).status_code == 403
    items = search(storage)
    assert len(items) == 1 and items[0]["allowDelete"] is False
    # A level that the caller hasn't: another instance, so nothing is remembered.
    other = storage.instance()
    point.level = 4
    assert storage.call("GET", other, storage.user).status_code == 403
    # No answer is no permit.
    third = storage.token("GetTestUserToken/1337?authenticationLevel=3")
    point.level, point.status = None, 500
    assert storage.call("GET", element, third).status_code == 500
    point.status, point.answer = 200, lambda body: b"nonsense"
    assert storage.call("GET", element, third).status_code == 500


# Other services, in development


def test_what_an_app_asks_of_other_services(storage):
    base = storage.endpoints.platform
    get = lambda path, **arguments: requests.get(base + path, timeout=30, **arguments)  # noqa: E731
    bearer = {"headers": {"Authorization": f"Bearer {storage.user}"}}
    assert get("/profile/api/v1/users/1337", **bearer).json()["party"]["name"] == "Sophie Salt"
    assert get("/authorization/api/v1/parties?userid=1337", **bearer).json()[1]["orgNumber"] == "897069650"
    assert get("/register/api/v1/parties/500000", **bearer).json()["partyTypeName"] == 2
    fresh = get("/authentication/api/v1/refresh", **bearer).json()
    assert storage.call("GET", storage.instance(), fresh).status_code == 200
    page = get("/")
    assert page.status_code == 200 and APP in page.text
    query = urllib.parse.urlencode({"userId": 1337, "app": f"{ORG}/{APP}"})
    sent = get(f"/Home/LogInTestUser?{query}", allow_redirects=False)
    assert sent.status_code == 302 and sent.headers["Location"] == f"http://localhost:5005/{ORG}/{APP}/"
    token = sent.cookies["AltinnStudioRuntime"]
    assert storage.call("GET", storage.instance(), token).status_code == 200
