"""The seventeen steps in the life of an Altinn instance, as data: number, what, and how.

Each step makes its calls through `Life.call`, which checks the status and keeps it for the
report, and then checks what the answer says. In a broken step (`break_step`) the calls go out
with a token that nobody issued; step 17, whose calls need none, moves the clock too little.
"""

import datetime
import hashlib
import time
import urllib.parse
import uuid

import requests

import signing

PARTY = "501337"
USER = 1337
ORG = "ttd"
APP = "life"
APP_AUTO = "life-auto"
SCOPES = "altinn:serviceowner/instances.read altinn:serviceowner/instances.write"
CLEANUP_DAYS = 8
CONTAINER = f"{ORG}-dev-appsdata-blob-db"

MODEL = '<?xml version="1.0" encoding="utf-8"?><skjema><navn>Kari Nordmann</navn></skjema>'.encode()
ATTACHMENT = b"%PDF-1.7\n" + b"attachment " * 9000
RECEIPT = b"%PDF-1.7\nreceipt"
ATTACHMENT_NAME = "søknad æ.pdf"


class StepFailed(Exception):
    """What was expected in a step and didn't come."""


def expect(holds, message):
    if not holds:
        raise StepFailed(message)


def moment(text):
    """An ISO time with up to seven decimals as microseconds since 1970."""
    expect(isinstance(text, str) and text.endswith("Z"), f"a UTC time, not {text!r}")
    seconds, _, decimals = text[:-1].partition(".")
    parsed = datetime.datetime.fromisoformat(seconds).replace(tzinfo=datetime.timezone.utc)
    return int(parsed.timestamp()) * 1_000_000 + int((decimals + "000000")[:6])


def now_text():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Life:
    """What the steps know about the one instance."""

    def __init__(self, endpoints, break_step=None):
        self.endpoints = endpoints
        self.break_step = break_step
        self.session = requests.Session()
        self.statuses = []
        self.step = 0
        self.instance = None
        self.auto_instance = None
        self.model = self.attachment = self.receipt = self.temporary = None
        self.model_bytes = MODEL
        self.lock_token = None

    @property
    def broken(self):
        return self.step == self.break_step

    def prepare(self):
        """Tokens, application metadata and texts: what exists before anyone fills in a form."""
        self.user = self.token(f"GetTestUserToken/{USER}?authenticationLevel=2")
        self.owner = self.owner_token()
        self.studio = self.token("GetTestStudioToken")
        for app, auto in ((APP, False), (APP_AUTO, True)):
            self.call("POST", f"/applications?appId={ORG}/{app}", 201, self.studio, json=application(app, auto))
            texts = {"language": "nb", "resources": [{"id": "appName", "value": "Et skjema"}]}
            self.call("POST", f"/applications/{ORG}/{app}/texts", 200, self.studio, json=texts)

    def token(self, path):
        answer = self.session.get(f"{self.endpoints.platform}/Home/{path}", timeout=30)
        expect(answer.status_code == 200, f"a token from /Home/{path}, got {answer.status_code}")
        return answer.text.strip()

    def owner_token(self):
        scopes = urllib.parse.quote(SCOPES)
        return self.token(f"GetTestOrgToken/{ORG}?orgNumber=991825827&scopes={scopes}")

    def call(self, method, path, status, token, base=None, **arguments):
        """A call that must answer with `status`."""
        headers = dict(arguments.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {'broken.on.purpose' if self.broken else token}"
        url = (base or self.endpoints.storage) + path
        answer = self.session.request(method, url, headers=headers, timeout=60, **arguments)
        self.statuses.append(answer.status_code)
        if answer.status_code != status:
            raise StepFailed(f"{method} {path}: {status} expected, got {answer.status_code}: {answer.text[:300]}")
        return answer

    def at(self, path=""):
        """Path of the instance and of what is below it."""
        return f"/instances/{PARTY}/{self.instance}{path}"

    def read(self):
        return self.call("GET", self.at(), 200, self.user).json()

    def event(self, kind):
        return {
            "id": str(uuid.uuid4()), "instanceId": f"{PARTY}/{self.instance}", "created": now_text(),
            "eventType": kind, "instanceOwnerPartyId": PARTY,
            "user": {"userId": USER, "authenticationLevel": 2},
        }


def application(app, auto):
    kinds = [
        {"id": "model", "allowedContentTypes": ["application/xml"], "taskId": "Task_1", "maxCount": 1, "minCount": 1,
         "appLogic": {"autoCreate": True, "classRef": "App.Models.Form"}},
        {"id": "attachment", "allowedContentTypes": ["application/pdf"], "taskId": "Task_1", "maxCount": 0},
        {"id": "ref-data-as-pdf", "allowedContentTypes": ["application/pdf"]},
        {"id": "temporary", "appLogic": {"autoDeleteOnProcessEnd": True}},
    ]
    return {
        "id": f"{ORG}/{app}", "org": ORG, "title": {"nb": "Et skjema"}, "processId": "Process_1",
        "dataTypes": kinds, "autoDeleteOnProcessEnd": auto,
        "partyTypesAllowed": {"person": True, "organisation": True},
    }


def start_of_process():
    started = now_text()
    task = {"flow": 2, "started": started, "elementId": "Task_1", "name": "Utfylling",
            "altinnTaskType": "data", "flowType": "CompleteCurrentMoveToNext"}
    return {"started": started, "startEvent": "StartEvent_1", "currentTask": task}


def create(life):
    body = {"instanceOwner": {"partyId": PARTY}, "process": start_of_process(), "status": {}}
    answer = life.call("POST", f"/instances?appId={ORG}/{APP}", 201, life.user, json=body)
    made = answer.json()
    expect(made.get("data") == [], f"an empty data list, got {made.get('data')!r}")
    party, _, life.instance = made["id"].partition("/")
    expect(party == PARTY, f"an id under party {PARTY}, got {made['id']}")
    expect(life.instance in answer.headers.get("Location", ""), "a Location with the instance's id")
    expect(made["createdBy"] == str(USER), f"createdBy {USER}, got {made['createdBy']}")
    expect(made["process"]["currentTask"]["elementId"] == "Task_1", "the process as sent")


def add_model(life):
    expect(life.read()["appId"] == f"{ORG}/{APP}", "the instance as created")
    headers = {"Content-Type": "application/xml"}
    made = life.call("POST", life.at("/data?dataType=model"), 201, life.user, data=MODEL, headers=headers).json()
    life.model = made["id"]
    expect(made["isRead"] is True, "isRead true for what the user wrote")
    expect(made["size"] == len(MODEL), f"size {len(MODEL)}, got {made['size']}")
    expected = f"{ORG}/{APP}/{life.instance}/data/{life.model}"
    expect(made["blobStoragePath"] == expected, f"blob {expected}, got {made['blobStoragePath']}")


def set_texts(life):
    texts = life.call("PUT", life.at("/presentationtexts"), 200, life.user, json={"texts": {"name": "Kari"}}).json()
    expect(texts["presentationTexts"] == {"name": "Kari"}, "the presentation text back")
    values = life.call("PUT", life.at("/datavalues"), 200, life.user, json={"values": {"case": "42"}}).json()
    expect(values["dataValues"] == {"case": "42"}, "the data value back")


def start(life):
    events = [life.event("process_StartEvent"), life.event("process_StartTask")]
    body = {"state": start_of_process(), "events": events}
    after = life.call("PUT", life.at("/process/instanceandevents"), 200, life.user, json=body).json()
    expect(after["process"]["currentTask"]["elementId"] == "Task_1", "Task_1 as the current task")


def open_form(life):
    expect(len(life.read()["data"]) == 1, "one data element")
    after = life.call("PUT", life.at("/readstatus?status=Read"), 200, life.user).json()
    expect(after["status"]["readStatus"] == "Read", "readStatus Read")
    answer = life.call("GET", life.at(f"/data/{life.model}"), 200, life.user)
    expect(answer.content == MODEL, "the bytes that were sent")
    expect(answer.headers["Content-Type"].startswith("application/xml"), "the content type that was sent")


def save(life):
    last = moment(life.read()["lastChanged"])
    for number in (1, 2):
        life.model_bytes = MODEL.replace(b"Kari", f"Kari {number}".encode())
        saved = life.call("PUT", life.at(f"/data/{life.model}"), 200, life.user, data=life.model_bytes,
                          headers={"Content-Type": "application/xml"}).json()
        expect(saved["size"] == len(life.model_bytes), "the new size")
        changed = moment(life.read()["lastChanged"])
        expect(changed > last, "lastChanged grows with each save")
        last = changed


def attach(life):
    both = f"attachment; filename=\"soknad.pdf\"; filename*=UTF-8''{urllib.parse.quote(ATTACHMENT_NAME)}"
    headers = {"Content-Type": "application/pdf", "Content-Disposition": both}
    made = life.call("POST", life.at("/data?dataType=attachment"), 201, life.user, data=ATTACHMENT,
                     headers=headers).json()
    life.attachment = made["id"]
    expect(made["filename"] == ATTACHMENT_NAME, f"{ATTACHMENT_NAME}, got {made['filename']}")
    answer = life.call("GET", life.at(f"/data/{life.attachment}"), 200, life.user)
    expect(hashlib.sha256(answer.content).digest() == hashlib.sha256(ATTACHMENT).digest(), "the same bytes")
    disposition = answer.headers["Content-Disposition"]
    expect(urllib.parse.quote(ATTACHMENT_NAME) in disposition, f"filename* in {disposition}")


def lock(life):
    first = life.call("POST", life.at("/lock"), 200, life.user, json={"ttlSeconds": 300})
    life.lock_token = first.json()["lockToken"]
    life.call("POST", life.at("/lock"), 409, life.user, json={"ttlSeconds": 300})


def lock_data(life):
    headers = {"Content-Type": "application/xml"}
    path = life.at(f"/data/{life.model}")
    life.call("PUT", path, 200, life.user, data=life.model_bytes, headers=headers)
    locked = life.call("PUT", path + "/lock", 201, life.user).json()
    expect(locked["locked"] is True, "a locked element")
    life.call("PUT", path, 409, life.user, data=b"<too-late/>", headers=headers)
    answer = life.call("GET", path, 200, life.user)
    expect(answer.content == life.model_bytes, "the bytes from before the lock")


def add_receipt(life):
    path = life.at("/data?dataType=ref-data-as-pdf&generatedFromTask=Task_1")
    made = life.call("POST", path, 201, life.user, data=RECEIPT, headers={"Content-Type": "application/pdf"}).json()
    life.receipt = made["id"]
    reference = {"value": "Task_1", "relation": "GeneratedFrom", "valueType": "Task"}
    expect(made["references"] == [reference], f"a reference to Task_1, got {made.get('references')!r}")


def delete_temporary(life):
    made = life.call("POST", life.at("/data?dataType=temporary"), 201, life.user, data=b"{}",
                     headers={"Content-Type": "application/json"}).json()
    life.temporary = made["id"]
    after = life.call("DELETE", life.at(f"/data/{life.temporary}?delay=True"), 200, life.user).json()
    expect(after["deleteStatus"]["isHardDeleted"] is True, "a delete status")
    body = {"instanceOwner": {"partyId": PARTY}, "process": start_of_process()}
    auto = life.call("POST", f"/instances?appId={ORG}/{APP_AUTO}", 201, life.user, json=body).json()
    life.auto_instance = auto["id"].partition("/")[2]
    gone = life.call("DELETE", f"/instances/{auto['id']}?hard=True", 200, life.user).json()
    expect(gone["status"]["isHardDeleted"] and gone["status"]["isSoftDeleted"], "both delete flags")


def end(life):
    events = [life.event(kind) for kind in ("process_EndTask", "process_EndEvent", "Submited")]
    state = {"started": start_of_process()["started"], "startEvent": "StartEvent_1",
             "ended": now_text(), "endEvent": "EndEvent_1"}
    after = life.call("PUT", life.at("/process/instanceandevents"), 200, life.user,
                      json={"state": state, "events": events}).json()
    expect(after["status"]["isArchived"] is True, "an archived instance")
    expect(moment(after["status"]["archived"]) == moment(after["process"]["ended"]), "archived = ended")


def unlock(life):
    life.call("PATCH", life.at("/lock"), 204, life.user, json={"ttlSeconds": 0},
              headers={"Altinn-Storage-Lock-Token": life.lock_token})


def owner_takes_over(life):
    query = f"/instances?org={ORG}&process.isComplete=true&excludeConfirmedBy={ORG}"
    listed = life.call("GET", query, 200, life.owner).json()
    ids = [entry["id"] for entry in listed["instances"]]
    expect(f"{PARTY}/{life.instance}" in ids, "the instance in the owner's list")
    answer = life.call("GET", life.at(f"/data/{life.model}"), 200, life.owner)
    expect(answer.content == life.model_bytes, "the bytes of the last save")
    for _ in range(2):
        after = life.call("POST", life.at("/complete"), 200, life.owner).json()
        expect([c["stakeholderId"] for c in after["completeConfirmations"]] == [ORG], "one confirmation")
    listed = life.call("GET", query, 200, life.owner).json()
    ids = [entry["id"] for entry in listed["instances"]]
    expect(f"{PARTY}/{life.instance}" not in ids, "the confirmed instance gone from the list")


def read_history(life):
    events = life.call("GET", life.at("/events"), 200, life.user).json()["instanceEvents"]
    times = [moment(event["created"]) for event in events]
    expect(times == sorted(times), "events by time")
    kinds = iter([event["eventType"] for event in events])
    wanted = ["Created", "process_StartEvent", "process_StartTask", "Saved", "Saved",
              "process_EndTask", "process_EndEvent", "Submited", "ConfirmedComplete"]
    missing = [kind for kind in wanted if not any(kind == seen for seen in kinds)]
    expect(not missing, f"events in the order {wanted}; from {missing} on they aren't")
    history = life.call("GET", life.at("/process/history"), 200, life.user).json()["processHistory"]
    kinds = [(entry.get("eventType"), entry.get("elementId")) for entry in history]
    expect(len(kinds) >= 3, f"start, task and end in the history, got {kinds}")


def delete(life):
    after = life.call("DELETE", life.at("?hard=false"), 200, life.user).json()
    expect(after["status"]["isSoftDeleted"] is True, "a soft-deleted instance")
    life.call("PUT", f"/sbl/instances/{PARTY}/{life.instance}/undelete", 200, life.user)
    status = life.read()["status"]
    expect(not status.get("isSoftDeleted"), "an instance that is back")
    after = life.call("DELETE", life.at("?hard=true"), 200, life.user).json()
    expect(after["status"]["isHardDeleted"] is True, "a hard-deleted instance")
    seen = life.call("GET", life.at(), 200, life.owner).json()
    expect(seen["status"]["isHardDeleted"] is True, "the owner sees it and that it is deleted")


def clean_up(life):
    days = 1 if life.broken else CLEANUP_DAYS
    admin = life.endpoints.admin
    life.call("POST", "/dev/clock", 200, None, base=admin, json={"advanceSeconds": days * 86_400})
    for job in ("cleanupinstances", "cleanupdataelements"):
        life.call("DELETE", f"/storage/api/v1/cleanup/{job}", 200, None, base=admin)
    owner = life.owner_token()
    answer = life.session.get(life.endpoints.storage + life.at(),
                              headers={"Authorization": f"Bearer {owner}"}, timeout=30)
    life.statuses.append(answer.status_code)
    expect(answer.status_code == 404, f"no instance any more (404), got {answer.status_code}")
    for element in (life.model, life.attachment, life.receipt, life.temporary):
        url = f"{life.endpoints.blobs_account}/{CONTAINER}/{ORG}/{APP}/{life.instance}/data/{element}"
        answer = life.session.get(url, headers=signing.blob_headers("GET", url, days_ahead=days), timeout=30)
        life.statuses.append(answer.status_code)
        expect(answer.status_code == 404, f"no blob of {element} any more (404), got {answer.status_code}")
    link = f"dbs/Storage/colls/dataElements/docs/{life.model}"
    headers = signing.document_headers("GET", "docs", link, days_ahead=days, headers={
        "x-ms-documentdb-partitionkey": f'["{life.instance}"]'})
    answer = life.session.get(f"{life.endpoints.documents}/{link}", headers=headers, timeout=30)
    life.statuses.append(answer.status_code)
    expect(answer.status_code == 404, f"no document of the element any more (404), got {answer.status_code}")


STEPS = [
    (1, "the user creates an instance", create),
    (2, "the form's data is added", add_model),
    (3, "presentation text and data value are set", set_texts),
    (4, "the process starts, with its events in one commit", start),
    (5, "the form is opened", open_form),
    (6, "the form is saved twice", save),
    (7, "an attachment with æ in its name is added", attach),
    (8, "the instance is locked; a second lock is refused", lock),
    (9, "the data is locked; a late save is refused", lock_data),
    (10, "the receipt is generated from the task", add_receipt),
    (11, "temporary data and an auto-deleted instance go", delete_temporary),
    (12, "the process ends and the instance is archived", end),
    (13, "the lock is let go", unlock),
    (14, "the owner lists, fetches and confirms", owner_takes_over),
    (15, "events and history are read", read_history),
    (16, "the user deletes, undoes, deletes for good", delete),
    (17, f"{CLEANUP_DAYS} days later the jobs clean up", clean_up),
]


class Result:
    """How one step went."""

    def __init__(self, number, what, statuses, milliseconds, error):
        self.number, self.what, self.statuses = number, what, statuses
        self.milliseconds, self.error = milliseconds, error


def walk(life, before_deletion=None):
    """Yields a Result for each step and ends with the first that failed. `before_deletion` is
    called when the instance is complete and nothing of it is deleted yet."""
    life.prepare()
    for number, what, run in STEPS:
        if number == 16 and before_deletion:
            before_deletion(life)
        life.step, life.statuses = number, []
        started, error = time.monotonic(), None
        try:
            run(life)
        except (StepFailed, requests.RequestException, KeyError, TypeError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        yield Result(number, what, life.statuses, (time.monotonic() - started) * 1000, error)
        if error:
            return
