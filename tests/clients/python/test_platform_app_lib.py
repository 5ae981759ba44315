"""Platform Storage as the library of Altinn's apps calls it: its requests, byte by byte where that matters. Names in
PascalCase and camelCase, empty bodies of type text/plain, booleans as .NET writes them, file names in both forms of
Content-Disposition, parameters that come twice."""

import base64
import json
import urllib.parse
import uuid

import pytest

import life_steps
import raw_http
from life_steps import APP, MODEL, ORG, PARTY, USER
from test_platform import Storage

# What .NET's clients send with each request.
ALWAYS = {"Ocp-Apim-Subscription-Key": "retrieved from environment at runtime", "Accept": "application/json, application/xml"}
JSON = {"Content-Type": "application/json; charset=utf-8"}
# `new StringContent(string.Empty)`
EMPTY = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "0"}


class App:
    """An app's clients: raw requests below the address that apps are configured with, which ends with a slash."""

    def __init__(self, storage):
        self.storage = storage
        self.endpoint = storage.endpoints.storage + "/"

    def send(self, method, path, body=b"", headers=None, token=None):
        own = {**ALWAYS, "Authorization": f"Bearer {token or self.storage.user}", **(headers or {})}
        if isinstance(body, (dict, list)):
            own, body = {**own, **JSON}, json.dumps(body, ensure_ascii=False).encode()
        return raw_http.request(method, self.endpoint + path, own, body)

    def json(self, method, path, body=b"", status=200, headers=None, token=None):
        answer = self.send(method, path, body, headers, token)
        assert answer.status == status, (method, path, answer.status, answer.text)
        return json.loads(answer.body)

    def instance(self, **more):
        """An instance as `JsonConvert` writes the template: fields without a value aren't left out."""
        template = {
            "id": None, "instanceOwner": {"partyId": PARTY, "personNumber": None, "organisationNumber": None, "username": None},
            "appId": f"{ORG}/{APP}", "org": ORG, "selfLinks": None, "dueBefore": None, "visibleAfter": None,
            "process": life_steps.start_of_process(), "status": {"isArchived": False, "readStatus": 0, "substatus": None},
            "completeConfirmations": None, "data": None, "presentationTexts": None, "dataValues": None, **more,
        }
        return self.json("POST", f"instances?appId={ORG}/{APP}", template, 201)["id"]


@pytest.fixture(scope="module")
def app(endpoints):
    return App(Storage(endpoints))


def dotnet_disposition(name):
    """`ContentDispositionHeaderValue("attachment") { FileName = name, FileNameStar = name }`, as .NET writes it: what isn't
    ASCII becomes an encoded word in the one form, and is percent-encoded behind a charset in the other."""
    star = f"utf-8''{urllib.parse.quote(name, safe='')}"
    if name.isascii():
        plain = name if all(c.isalnum() or c in "!#$&+-.^_`|~" for c in name) else f'"{name}"'
    else:
        plain = f'"=?utf-8?B?{base64.b64encode(name.encode()).decode()}?="'
    return plain, star


NAMES = ["plain.pdf", "to ord.pdf", "søknad æøå.pdf", "ÆØÅ 100%.pdf", "a+b.pdf", "it's (1).pdf", "日本.pdf"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("forms", ["both", "plain", "star"])
def test_file_names_in_both_forms(app, name, forms):
    plain, star = dotnet_disposition(name)
    value = {"both": f"attachment; filename={plain}; filename*={star}", "plain": f"attachment; filename={plain}",
             "star": f"attachment; filename*={star}"}[forms]
    headers = {"Content-Type": "application/pdf", "Content-Disposition": value}
    instance = app.instance()
    made = app.json("POST", f"instances/{instance}/data?dataType=attachment", b"%PDF", 201, headers)
    assert made["filename"] == name
    answer = app.send("GET", f"instances/{instance}/data/{made['id']}")
    assert answer.body == b"%PDF"
    assert f"filename*=UTF-8''{urllib.parse.quote(name, safe='-_.~')}" in answer.headers["Content-Disposition"]
    # Replaced under another name, and under none.
    other = {**headers, "Content-Disposition": 'attachment; filename=ny.pdf; filename*=utf-8\'\'ny.pdf'}
    assert app.json("PUT", f"instances/{instance}/data/{made['id']}", b"%PDF2", 200, other)["filename"] == "ny.pdf"
    bare = app.json("PUT", f"instances/{instance}/data/{made['id']}", b"%PDF3", 200, {"Content-Type": "application/pdf"})
    assert bare.get("filename") is None


@pytest.mark.parametrize(("disposition", "kept"), [
    ('attachment; filename="si \\"hei\\".pdf"', "si _hei_.pdf"),
    ("attachment; filename*=utf-8''si%20%22hei%22.pdf", "si _hei_.pdf"),
    ('form-data; name="file"; filename="a;b.pdf"', "a;b.pdf"),
])
def test_file_names_with_quotes(app, disposition, kept):
    """Quotes can be in no file's name on Windows: they become underscores, as in the original."""
    instance = app.instance()
    headers = {"Content-Type": "application/pdf", "Content-Disposition": disposition}
    made = app.json("POST", f"instances/{instance}/data?dataType=attachment", b"%PDF", 201, headers)
    assert made["filename"] == kept


def test_empty_bodies_are_plain_text(app):
    """readstatus and complete come as text/plain without content, the data's lock without any body."""
    instance = app.instance()
    read = app.json("PUT", f"instances/{instance}/readstatus?status=Read", b"", 200, EMPTY)
    assert read["status"]["readStatus"] == "Read"
    done = app.json("POST", f"instances/{instance}/complete", b"", 200, EMPTY, app.storage.owner)
    assert done["completeConfirmations"][0]["stakeholderId"] == ORG
    made = app.json("POST", f"instances/{instance}/data?dataType=model", MODEL, 201, {"Content-Type": "application/xml"})
    path = f"instances/{instance}/data/{made['id']}/lock"
    assert app.json("PUT", path, None, 201)["locked"] is True
    assert app.json("DELETE", path, None, 200)["locked"] is False


def test_booleans_as_dotnet_writes_them(app):
    instance = app.instance()
    made = app.json("POST", f"instances/{instance}/data?dataType=temporary", b"{}", 201, {"Content-Type": "application/json"})
    later = app.json("DELETE", f"instances/{instance}/data/{made['id']}?delay=True", None)
    assert later["deleteStatus"]["isHardDeleted"] is True
    made = app.json("POST", f"instances/{instance}/data?dataType=model", MODEL, 201, {"Content-Type": "application/xml"})
    app.json("DELETE", f"instances/{instance}/data/{made['id']}?delay=False", None)
    assert app.json("DELETE", f"instances/{instance}?hard=False", None)["status"].get("isHardDeleted", False) is False
    assert app.json("DELETE", f"instances/{instance}?hard=True", None)["status"]["isHardDeleted"] is True


def test_names_in_pascal_case(app):
    """System.Text.Json without a naming policy, and Newtonsoft with one: names of fields come in any case, keys of
    dictionaries stay as they are."""
    instance = app.instance()
    texts = app.json("PUT", f"instances/{instance}/presentationtexts", {"Texts": {"Navn": "Åse", "navn": "Ola"}})
    assert texts["presentationTexts"] == {"Navn": "Åse", "navn": "Ola"}
    values = app.json("PUT", f"instances/{instance}/datavalues", {"Values": {"Sak": "1"}})
    assert values["dataValues"] == {"Sak": "1"}
    word = app.json("PUT", f"instances/{instance}/substatus", {"Label": "mottatt", "Description": None}, token=app.storage.owner)
    assert word["status"]["substatus"] == {"label": "mottatt"}
    token = app.json("POST", f"instances/{instance}/lock", {"TtlSeconds": 60})["lockToken"]
    answer = app.send("PATCH", f"instances/{instance}/lock", {"TtlSeconds": 0}, {"Altinn-Storage-Lock-Token": token})
    assert answer.status == 204


def test_a_text_that_is_null_is_removed(app):
    """The app's field was emptied: its text comes as null, and goes."""
    instance = app.instance()
    app.json("PUT", f"instances/{instance}/presentationtexts", {"texts": {"a": "1", "b": "2"}})
    left = app.json("PUT", f"instances/{instance}/presentationtexts", {"texts": {"a": None, "b": ""}})
    assert not left.get("presentationTexts")


def test_a_process_step_with_its_events(app):
    instance = app.instance()
    user = {"userId": USER, "orgId": None, "authenticationLevel": 2, "endUserSystemId": None, "systemUserId": None}
    event = lambda kind: {  # noqa: E731
        "id": None, "instanceId": instance, "dataId": None, "created": life_steps.now_text(), "eventType": kind,
        "instanceOwnerPartyId": PARTY, "user": user, "relatedUser": None, "processInfo": None, "additionalInfo": None}
    body = {"State": life_steps.start_of_process(), "Events": [event("process_StartEvent"), event("process_StartTask")]}
    after = app.json("PUT", f"instances/{instance}/process/instanceandevents", body)
    assert after["process"]["currentTask"]["elementId"] == "Task_1"
    history = app.json("GET", f"instances/{instance}/process/history")["processHistory"]
    assert [item.get("eventType", "task") for item in history] == ["process_StartEvent", "task"]


def test_parameters_that_come_twice(app):
    """Dictionaries of several values become repeated parameters, and some clients set one that is there already: of a
    single-valued one the first counts."""
    instance = app.instance(dataValues={"mark": uuid.uuid4().hex})
    owner = app.storage.owner
    listed = app.json("GET", f"instances?appId={ORG}/{APP}&created=gt:2020-01-01&created=lt:2999-01-01T00:00:00Z"
                      f"&order=desc:lastChanged&size=5&size=100", token=owner)
    assert instance in [entry["id"] for entry in listed["instances"]] and listed["count"] <= 5
    none = app.json("GET", f"instances?appId={ORG}/{APP}&created=gt:2020-01-01&created=lt:2020-01-02", token=owner)
    assert none["instances"] == []
    path = f"instances/{instance}/events"
    kinds = lambda query: [e["eventType"] for e in app.json("GET", path + query)["instanceEvents"]]  # noqa: E731
    assert kinds("?eventTypes=Created&eventTypes=Saved") == ["Created"]
    assert kinds("?eventTypes=Saved&eventTypes=Saved") == []
    assert kinds("?EVENTTYPES=created&from=2020-01-01&to=2999-01-01") == ["Created"]
    first, second = (app.json("POST", f"instances/{instance}/data?dataType=model", MODEL, 201,
                              {"Content-Type": "application/xml"})["id"] for _ in range(2))
    made = app.json("POST", f"instances/{instance}/data?dataType=attachment&refs={first}&refs={second}", b"x", 201,
                    {"Content-Type": "application/pdf"})
    assert made["refs"] == [first, second]


def test_a_list_is_followed_to_its_end(app):
    """`Next` is asked for as it stands, with the same token."""
    instances = {app.instance() for _ in range(3)}
    path, seen = f"instances?instanceOwner.partyId={PARTY}&appId={ORG}/{APP}&size=2", []
    for _ in range(1000):
        page = app.json("GET", path)
        seen += [entry["id"] for entry in page["instances"]]
        if not page["next"]:
            break
        assert page["next"].startswith(app.endpoint)
        path = page["next"].removeprefix(app.endpoint)
    assert instances <= set(seen) and len(seen) == len(set(seen))


def test_an_element_is_changed_without_its_content(app):
    """The whole element goes back, links and all; what the server sets isn't taken from it."""
    instance = app.instance()
    made = app.json("POST", f"instances/{instance}/data?dataType=model", MODEL, 201, {"Content-Type": "application/xml"})
    changed = {**made, "tags": ["ferdig"], "metadata": [{"key": "k", "value": "v"}], "size": 1, "dataType": "attachment"}
    after = app.json("PUT", f"instances/{instance}/dataelements/{made['id']}", changed)
    assert (after["tags"], after["metadata"]) == (["ferdig"], [{"key": "k", "value": "v"}])
    assert (after["size"], after["dataType"]) == (len(MODEL), "model")
    listed = app.json("GET", f"instances/{instance}/dataelements")["dataElements"]
    assert [element["tags"] for element in listed] == [["ferdig"]]
