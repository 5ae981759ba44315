"""Platform Storage beyond the life of one instance: who may what, lists, locks, names, edges."""

import concurrent.futures
import time
import urllib.parse
import uuid

import pytest
import requests

import life_steps
from life_steps import APP, MODEL, ORG, PARTY

XML = {"Content-Type": "application/xml"}


class Storage:
    """Calls with a token, without any opinion on the answer."""

    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.life = life_steps.Life(endpoints)
        self.life.prepare()
        self.user, self.owner, self.studio = self.life.user, self.life.owner, self.life.studio

    def token(self, path):
        return self.life.token(path)

    def call(self, method, path, token=None, **arguments):
        headers = dict(arguments.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else self.endpoints.storage + path
        return requests.request(method, url, headers=headers, timeout=30, **arguments)

    def instance(self, app=APP, party=PARTY, token=None, **extra):
        """Path of a new instance."""
        body = {"instanceOwner": {"partyId": party}, "process": life_steps.start_of_process(), **extra}
        answer = self.call("POST", f"/instances?appId={ORG}/{app}", token or self.user, json=body)
        assert answer.status_code == 201, answer.text
        return f"/instances/{answer.json()['id']}"

    def model(self, instance):
        answer = self.call("POST", f"{instance}/data?dataType=model", self.user, data=MODEL, headers=XML)
        assert answer.status_code == 201, answer.text
        return f"{instance}/data/{answer.json()['id']}"


@pytest.fixture(scope="module")
def storage(endpoints):
    return Storage(endpoints)


def test_health(storage):
    assert requests.get(f"{storage.endpoints.platform}/health", timeout=10).status_code == 200


# Who may what


@pytest.mark.parametrize("token", [None, "nonsense", "a.b.c"])
def test_without_a_token_that_was_issued(storage, token):
    instance = storage.instance()
    for method, path in (("GET", instance), ("DELETE", instance), ("PUT", instance + "/datavalues"),
                         ("POST", f"/instances?appId={ORG}/{APP}"), ("GET", f"/instances?org={ORG}")):
        assert storage.call(method, path, token, json={}).status_code == 401, (method, path)


def test_expired_token(storage):
    expired = storage.token("GetTestUserToken/1337?authenticationLevel=2&ttlSeconds=-10")
    assert storage.call("GET", storage.instance(), expired).status_code == 401


def test_token_with_another_signature(storage):
    head, body, signature = storage.user.split(".")
    forged = ".".join([head, body, signature[:-8] + ("A" * 8 if signature[-8:] != "A" * 8 else "B" * 8)])
    assert storage.call("GET", storage.instance(), forged).status_code == 401


def test_token_in_the_cookie(storage):
    answer = requests.get(storage.endpoints.storage + storage.instance(),
                          cookies={"AltinnStudioRuntime": storage.user}, timeout=30)
    assert answer.status_code == 200


def test_a_stranger_sees_and_changes_nothing(storage):
    instance = storage.instance()
    element = storage.model(instance)
    stranger = storage.token("GetTestUserToken/12345?authenticationLevel=2")
    foreign = storage.token(f"GetTestOrgToken/skd?orgNumber=974761076&scopes={urllib.parse.quote(life_steps.SCOPES)}")
    for token in (stranger, foreign):
        for method, path in (("GET", instance), ("GET", element), ("PUT", element), ("DELETE", element),
                             ("DELETE", instance), ("POST", instance + "/data?dataType=model"),
                             ("GET", instance + "/events"), ("POST", instance + "/complete")):
            answer = storage.call(method, path, token, data=b"<x/>", headers=XML)
            assert answer.status_code == 403, (method, path, answer.status_code)
    assert storage.call("GET", element, storage.user).content == MODEL


def test_a_role_holder_acts_for_its_organisation(storage):
    instance = storage.instance(party="500000")
    assert storage.call("GET", instance, storage.user).status_code == 200
    stranger = storage.token("GetTestUserToken/12345?authenticationLevel=2")
    assert storage.call("GET", instance, stranger).status_code == 403


def test_only_studio_changes_metadata(storage):
    body = life_steps.application("other", False)
    for token, status in ((None, 401), (storage.user, 403), (storage.owner, 403)):
        assert storage.call("POST", f"/applications?appId={ORG}/other", token, json=body).status_code == status
        text = {"language": "nb", "resources": []}
        assert storage.call("POST", f"/applications/{ORG}/{APP}/texts", token, json=text).status_code == status


def test_only_the_owner_sets_the_substatus(storage):
    instance = storage.instance()
    body = {"label": "status.received", "description": "x"}
    assert storage.call("PUT", instance + "/substatus", storage.user, json=body).status_code == 403
    assert storage.call("PUT", instance + "/substatus", storage.owner, json={"description": "x"}).status_code == 400
    answer = storage.call("PUT", instance + "/substatus", storage.owner, json=body)
    assert answer.status_code == 200 and answer.json()["status"]["substatus"]["label"] == "status.received"


# Applications and texts


def test_applications_are_public(storage):
    listed = storage.call("GET", "/applications").json()["applications"]
    assert f"{ORG}/{APP}" in [a["id"] for a in listed]
    assert f"{ORG}/{APP}" in [a["id"] for a in storage.call("GET", f"/applications/{ORG}").json()["applications"]]
    one = storage.call("GET", f"/applications/{ORG}/{APP}").json()
    assert one["title"] == {"nb": "Et skjema"} and one["createdBy"]
    assert storage.call("GET", f"/applications/{ORG}/never").status_code == 404
    assert storage.call("GET", "/applications/with-hyphen").status_code == 400


def test_application_edges(storage):
    body = life_steps.application("edge", False)
    for app in ("ttd", "TTD/edge", "ttd/EDGE", "ttd/e dge", "ttd/1edge/x"):
        query = urllib.parse.quote(app)
        assert storage.call("POST", f"/applications?appId={query}", storage.studio, json=body).status_code == 400, app
    unknown = {**body, "somethingNew": {"kept": [1, 2]}}
    assert storage.call("POST", f"/applications?appId={ORG}/edge", storage.studio, json=unknown).status_code == 201
    assert storage.call("GET", f"/applications/{ORG}/edge").json()["somethingNew"] == {"kept": [1, 2]}
    assert storage.call("PUT", f"/applications/{ORG}/other-id", storage.studio, json=body).status_code == 400


def test_texts(storage):
    path = f"/applications/{ORG}/{APP}/texts"
    assert storage.call("GET", path + "/nb", storage.user).json()["resources"][0]["id"] == "appName"
    assert storage.call("GET", path + "/xx", storage.user).status_code == 404
    assert storage.call("GET", path + "/nob", storage.user).status_code == 400
    assert storage.call("POST", path, storage.studio, json={"language": "nob", "resources": []}).status_code == 400


# Instances


def test_create_needs_a_party_and_an_app(storage):
    url = f"/instances?appId={ORG}/{APP}"
    assert storage.call("POST", url, storage.user, json={"instanceOwner": {}}).status_code == 400
    assert storage.call("POST", url, storage.user, data=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    body = {"instanceOwner": {"partyId": PARTY}}
    assert storage.call("POST", f"/instances?appId={ORG}/never", storage.user, json=body).status_code == 404


def test_names_of_input_in_any_case(storage):
    body = {"InstanceOwner": {"PartyId": PARTY}, "DATAVALUES": {"Key": "Value"}}
    made = storage.call("POST", f"/instances?appId={ORG}/{APP}", storage.user, json=body)
    assert made.status_code == 201 and made.json()["dataValues"] == {"Key": "Value"}


def test_another_party_in_the_path_is_not_found(storage):
    instance = storage.instance()
    wrong = instance.replace(f"/{PARTY}/", "/500000/")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/complete"), ("PUT", "/readstatus?status=Read"),
                         ("GET", "/events"), ("POST", "/data?dataType=model"), ("POST", "/lock")):
        assert storage.call(method, wrong + path, storage.user, json={"ttlSeconds": 1}).status_code == 404, path


def test_unknown_instance(storage):
    unknown = f"/instances/{PARTY}/{uuid.uuid4()}"
    assert storage.call("GET", unknown, storage.user).status_code == 404
    assert storage.call("DELETE", unknown, storage.user).status_code == 403
    assert storage.call("GET", f"/instances/{PARTY}/no-guid", storage.user).status_code in (400, 404)


@pytest.mark.parametrize("status", ["Unread", "Read", "UpdatedSinceLastReview"])
def test_read_status(storage, status):
    answer = storage.call("PUT", f"{storage.instance()}/readstatus?status={status}", storage.user)
    assert answer.status_code == 200 and answer.json()["status"]["readStatus"] == status


def test_read_status_must_be_known(storage):
    assert storage.call("PUT", f"{storage.instance()}/readstatus?status=Perhaps", storage.user).status_code == 400


def test_a_text_is_removed_by_an_empty_value(storage):
    instance = storage.instance()
    put = lambda texts: storage.call("PUT", instance + "/presentationtexts", storage.user, json={"texts": texts})  # noqa: E731
    assert put({"a": "1", "b": "2"}).json()["presentationTexts"] == {"a": "1", "b": "2"}
    assert put({"a": "", "c": "3"}).json()["presentationTexts"] == {"b": "2", "c": "3"}
    assert put({"b": None}).json()["presentationTexts"] == {"c": "3"}
    assert storage.call("PUT", instance + "/presentationtexts", storage.user, json={}).status_code == 400


# Lists


def listing(storage, token=None, **query):
    answer = storage.call("GET", "/instances?" + urllib.parse.urlencode(query), token or storage.owner)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def listed(storage):
    """An app of the test's own with five instances; the third was ended."""
    app = f"list-{uuid.uuid4().hex[:8]}"
    body = life_steps.application(app, False)
    assert storage.call("POST", f"/applications?appId={ORG}/{app}", storage.studio, json=body).status_code == 201
    instances = [storage.instance(app, dataValues={"A2ArchRef": f"ref{n}"}) for n in range(5)]
    life = storage.life
    life.instance = instances[2].rsplit("/", 1)[1]
    life_steps.end(life)
    storage.call("PUT", instances[1] + "/presentationtexts", storage.user, json={"texts": {"name": "Ola Søk"}})
    return app, [path.removeprefix("/instances/") for path in instances]


@pytest.mark.parametrize(("query", "expected"), [
    ({}, [0, 1, 2, 3, 4]),
    ({"process.isComplete": "true"}, [2]),
    ({"process.isComplete": "False"}, [0, 1, 3, 4]),
    ({"status.isArchived": "true"}, [2]),
    ({"process.currentTask": "Task_1"}, [0, 1, 3, 4]),
    ({"process.currentTask": "Task_9"}, []),
    ({"instanceOwner.partyId": PARTY}, [0, 1, 2, 3, 4]),
    ({"instanceOwner.partyId": "500000"}, []),
    ({"created": "gt:2020-01-01"}, [0, 1, 2, 3, 4]),
    ({"created": "lt:2020-01-01T00:00:00Z"}, []),
    ({"lastChanged": "gte:2020-01-01T00:00:00+02:00"}, [0, 1, 2, 3, 4]),
    ({"process.ended": "gt:2020-01-01"}, [2]),
    ({"searchString": "ola sø"}, [1]),
    ({"dataValues.A2ArchRef": "ref3"}, [3]),
    ({"status.isSoftDeleted": "true"}, []),
    ({"excludeConfirmedBy": ORG}, [0, 1, 2, 3, 4]),
])
def test_filters(storage, listed, query, expected):
    app, ids = listed
    found = [instance["id"] for instance in listing(storage, appId=f"{ORG}/{app}", **query)["instances"]]
    assert sorted(found) == sorted(ids[number] for number in expected)


def test_two_bounds_on_one_time(storage, listed):
    app, ids = listed
    query = f"/instances?appId={ORG}/{app}&created=gt:2020-01-01&created=lt:2020-01-02"
    assert storage.call("GET", query, storage.owner).json()["instances"] == []


@pytest.mark.parametrize("order", ["", "desc:lastChanged"])
def test_next_is_followed_as_it_stands(storage, listed, order):
    app, ids = listed
    query = {"appId": f"{ORG}/{app}", "size": 2, **({"order": order} if order else {})}
    page = listing(storage, **query)
    seen, pages = [i["id"] for i in page["instances"]], 1
    while page["next"]:
        page = storage.call("GET", page["next"], storage.owner).json()
        assert page["count"] == len(page["instances"])
        seen += [i["id"] for i in page["instances"]]
        pages += 1
    assert sorted(seen) == sorted(ids) and len(seen) == 5 and pages >= 3
    everything = [i["id"] for i in listing(storage, **{**query, "size": 100})["instances"]]
    assert seen == everything


@pytest.mark.parametrize("query", ["created=gt:never", "created=about:2020-01-01", "created=2020", "lastChanged=gt:"])
def test_bad_dates_are_refused(storage, query):
    assert storage.call("GET", f"/instances?org={ORG}&{query}", storage.owner).status_code == 400


def test_who_may_list(storage):
    no_scope = storage.token(f"GetTestOrgToken/{ORG}?orgNumber=991825827&scopes=altinn:other")
    assert storage.call("GET", f"/instances?org={ORG}", no_scope).status_code == 403
    longer = storage.token(f"GetTestOrgToken/{ORG}?orgNumber=991825827&scopes=altinn:serviceowner/instances.readmore")
    assert storage.call("GET", f"/instances?org={ORG}", longer).status_code == 403
    assert storage.call("GET", "/instances", storage.owner).status_code == 400
    assert storage.call("GET", f"/instances?appId={ORG}/{APP}", storage.user).status_code == 400
    stranger = storage.token("GetTestUserToken/12345?authenticationLevel=2")
    assert listing(storage, stranger, **{"instanceOwner.partyId": PARTY})["instances"] == []


def test_a_user_lists_its_own(storage, listed):
    app, ids = listed
    found = listing(storage, storage.user, **{"instanceOwner.partyId": PARTY, "appId": f"{ORG}/{app}"})["instances"]
    assert sorted(i["id"] for i in found) == sorted(ids)


# Data


@pytest.mark.parametrize(("disposition", "expected"), [
    ("attachment; filename*=UTF-8''bl%C3%A5b%C3%A6r%20%C3%B8.pdf", "blåbær ø.pdf"),
    ('attachment; filename="two words.pdf"', "two words.pdf"),
    ("attachment; filename=plain.pdf", "plain.pdf"),
    ("attachment; filename=a+b.pdf", "a+b.pdf"),
    ("attachment; filename=%C3%A6.pdf", "æ.pdf"),
    ('attachment; filename="../../etc/passwd"', ".._.._etc_passwd"),
    ("attachment; filename=\"old.pdf\"; filename*=UTF-8''new.pdf", "new.pdf"),
])
def test_filenames(storage, disposition, expected):
    headers = {"Content-Type": "application/pdf", "Content-Disposition": disposition}
    instance = storage.instance()
    made = storage.call("POST", f"{instance}/data?dataType=attachment", storage.user, data=b"x", headers=headers)
    assert made.status_code == 201 and made.json()["filename"] == expected
    answer = storage.call("GET", f"{instance}/data/{made.json()['id']}", storage.user)
    assert answer.content == b"x" and urllib.parse.quote(expected, safe="") in answer.headers["Content-Disposition"]


def test_what_is_no_data(storage):
    instance = storage.instance()
    element = storage.model(instance)
    post = lambda query, body: storage.call("POST", f"{instance}/data{query}", storage.user, data=body, headers=XML).status_code  # noqa: E731
    assert post("?dataType=model", b"") == 400
    assert post("?dataType=never", b"<x/>") == 400
    assert post("", b"<x/>") == 400
    assert storage.call("PUT", element, storage.user, data=b"", headers=XML).status_code == 422
    assert storage.call("GET", element, storage.user).content == MODEL
    assert storage.call("PUT", f"{instance}/data/{uuid.uuid4()}", storage.user, data=b"<x/>", headers=XML).status_code == 404
    assert len(storage.call("GET", instance, storage.user).json()["data"]) == 1


def test_multipart(storage):
    instance = storage.instance()
    answer = storage.call("POST", f"{instance}/data?dataType=attachment", storage.user,
                          files={"file": ("vedlegg.pdf", b"%PDF", "application/pdf")})
    assert answer.status_code == 201, answer.text
    assert answer.json()["filename"] == "vedlegg.pdf" and answer.json()["contentType"] == "application/pdf"
    assert storage.call("GET", f"{instance}/data/{answer.json()['id']}", storage.user).content == b"%PDF"


def test_large_data_is_streamed_whole(storage):
    instance = storage.instance()
    content = bytes(range(256)) * 4096 * 20
    made = storage.call("POST", f"{instance}/data?dataType=attachment", storage.user, data=content,
                        headers={"Content-Type": "application/pdf", "Content-Disposition": "attachment; filename=a.pdf"})
    assert made.status_code == 201 and made.json()["size"] == len(content)
    assert storage.call("GET", f"{instance}/data/{made.json()['id']}", storage.user).content == content


def test_overlapping_saves_leave_one_of_them(storage):
    element = storage.model(storage.instance())
    bodies = [f"<n>{number}</n>".encode() * 5000 for number in range(8)]

    def put(body):
        return storage.call("PUT", element, storage.user, data=body, headers=XML).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(put, bodies))
    assert set(statuses) <= {200, 409} and 200 in statuses
    assert storage.call("GET", element, storage.user).content in bodies


def test_delete_element(storage):
    instance = storage.instance()
    element = storage.model(instance)
    assert storage.call("DELETE", element + "?delay=true", storage.user).status_code == 400
    assert storage.call("DELETE", element, storage.user).status_code == 200
    assert storage.call("GET", element, storage.user).status_code == 404
    assert storage.call("GET", instance, storage.user).json()["data"] == []


# Locks and events


def lock(storage, instance, seconds, token=None):
    method = "PATCH" if token else "POST"
    headers = {"Altinn-Storage-Lock-Token": token} if token else {}
    return storage.call(method, instance + "/lock", storage.user, json={"ttlSeconds": seconds}, headers=headers)


def test_lock(storage):
    instance, other = storage.instance(), storage.instance()
    assert lock(storage, instance, -1).status_code == 400
    token = lock(storage, instance, 60).json()["lockToken"]
    assert lock(storage, instance, 60).status_code == 409
    assert lock(storage, instance, 60, "nonsense").status_code == 400
    foreign = lock(storage, other, 60).json()["lockToken"]
    assert lock(storage, instance, 60, foreign).status_code in (403, 404)
    assert lock(storage, instance, 120, token).status_code == 204
    assert lock(storage, instance, 0, token).status_code == 204
    assert lock(storage, instance, 60).status_code == 200


def test_an_expired_lock_is_anyones(storage):
    instance = storage.instance()
    token = lock(storage, instance, 1).json()["lockToken"]
    time.sleep(1.2)
    assert lock(storage, instance, 60, token).status_code == 422
    assert lock(storage, instance, 60).status_code == 200


def test_events(storage):
    instance = storage.instance()
    storage.model(instance)
    get = lambda query: storage.call("GET", f"{instance}/events{query}", storage.user)  # noqa: E731
    kinds = [event["eventType"] for event in get("").json()["instanceEvents"]]
    assert kinds == ["Created", "Created"]
    assert len(get("?eventTypes=Saved").json()["instanceEvents"]) == 0
    assert len(get("?eventTypes=Created&eventTypes=Saved").json()["instanceEvents"]) == 2
    assert len(get("?from=2020-01-01&to=2021-01-01").json()["instanceEvents"]) == 0
    assert get("?from=never&to=2021-01-01").status_code == 400
    storage.life.instance = instance.rsplit("/", 1)[1]
    event = storage.life.event("Submited")
    assert storage.call("POST", instance + "/events", storage.user, json=event).status_code == 201
    read = storage.call("GET", f"{instance}/events/{event['id']}", storage.user)
    assert read.status_code == 200 and read.json()["eventType"] == "Submited"


def test_process_events_need_an_actor_and_this_instance(storage):
    instance = storage.instance()
    storage.life.instance = instance.rsplit("/", 1)[1]
    state = life_steps.start_of_process()
    nobody = {**storage.life.event("process_StartEvent"), "user": {"authenticationLevel": 2}}
    elsewhere = {**storage.life.event("process_StartEvent"), "instanceId": f"{PARTY}/{uuid.uuid4()}"}
    for event in (nobody, elsewhere):
        answer = storage.call("PUT", instance + "/process/instanceandevents", storage.user,
                              json={"state": state, "events": [event]})
        assert answer.status_code == 400, answer.text
    assert [e["eventType"] for e in storage.call("GET", instance + "/events", storage.user).json()["instanceEvents"]] == ["Created"]


def test_internal_routes_are_not_public(storage):
    for path in ("/cleanup/cleanupinstances", "/cleanup/cleanupdataelements"):
        assert storage.call("DELETE", path, storage.owner).status_code in (401, 403, 404)
