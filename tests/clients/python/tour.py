"""The tour: one record and its attachments, kept through two protocols and read back through both.

Each step is printed with its time; a step that doesn't do what it should ends the tour with 1.
`--break N` sends something wrong in step N, to see that the tour notices.
"""

import argparse
import hashlib
import sys
import time

from azure.cosmos import PartitionKey

import life_views
from server import Endpoints

INSTANCE = "7c0ad0f4-6b0d-4f5e-9c39-2c7f1c6a2b10"
PARTY = "501337"
FORM = "<skjema><navn>Åse Ødegård</navn></skjema>".encode()
ATTACHMENT = bytes(range(256)) * 1200


class Tour:
    """The steps, in order; what one leaves for the next is in its fields."""

    def __init__(self, endpoints, broken):
        self.cosmos = life_views.documents_client(endpoints)
        self.blobs = life_views.blobs_client(endpoints).get_container_client("ttd-dev-appsdata-blob-db")
        self.broken = broken
        self.number = 0

    def wrong(self, right, wrong):
        """What this step sends: the right thing, unless it is the one to break."""
        return wrong if self.number == self.broken else right

    def step_database_and_container(self):
        database = self.cosmos.create_database_if_not_exists("Storage")
        self.instances = database.create_container_if_not_exists(
            self.wrong("instances", "in/stances"), PartitionKey("/instanceOwner/partyId"))
        return "Storage/instances, partitioned by party"

    def step_create_document(self):
        body = {"id": INSTANCE, "appId": "ttd/tour", "instanceOwner": {"partyId": PARTY},
                "status": {"isArchived": False}, "lastChanged": "2026-01-01T00:00:00Z"}
        if self.number == self.broken:
            del body["id"]
        self.etag = self.instances.create_item(body, enable_automatic_id_generation=False)["_etag"]
        return f"etag {self.etag}"

    def step_blob_container(self):
        self.blobs.create_container(metadata=self.wrong(None, {"bad name": "x"}))
        return self.blobs.container_name

    def step_upload_form_and_attachment(self):
        for name, content in (("form", FORM), ("attachment", ATTACHMENT)):
            self.blobs.upload_blob(f"ttd/tour/{INSTANCE}/data/{name}", self.wrong(content, content[:-1]))
        return f"{len(FORM)} and {len(ATTACHMENT)} bytes"

    def step_replace_under_its_etag(self):
        document = self.instances.read_item(INSTANCE, PARTY)
        document["status"]["isArchived"] = True
        from azure.core import MatchConditions
        replaced = self.instances.replace_item(
            INSTANCE, document, etag=self.wrong(self.etag, '"other"'), match_condition=MatchConditions.IfNotModified)
        assert replaced["_etag"] != self.etag
        return f"etag {replaced['_etag']}"

    def step_query(self):
        found = list(self.instances.query_items(
            "SELECT VALUE c.id FROM c WHERE c.status.isArchived = @archived ORDER BY c.lastChanged DESC",
            parameters=[{"name": "@archived", "value": self.wrong(True, False)}],
            enable_cross_partition_query=True))
        assert found == [INSTANCE], found
        return f"{len(found)} archived instance"

    def step_list_and_compare_bytes(self):
        prefix = f"ttd/tour/{INSTANCE}/data/"
        names = [blob.name.removeprefix(prefix) for blob in self.blobs.list_blobs(name_starts_with=prefix)]
        assert names == self.wrong(["attachment", "form"], []), names
        lines = []
        for name, content in (("form", FORM), ("attachment", ATTACHMENT)):
            stored = hashlib.sha256(self.blobs.download_blob(prefix + name).readall()).hexdigest()
            assert stored == hashlib.sha256(content).hexdigest(), f"{name} isn't what was sent"
            lines.append(f"{name} sha256 {stored[:16]}…")
        return ", ".join(lines)

    def run(self):
        steps = [name for name in vars(type(self)) if name.startswith("step_")]
        for self.number, name in enumerate(steps, 1):
            began = time.perf_counter()
            said = name.removeprefix("step_").replace("_", " ")
            try:
                outcome = getattr(self, name)()
            except Exception as error:  # whatever goes wrong, the tour says where
                print(f"step {self.number} {said} FAILED: {str(error).splitlines()[0]}")
                return 1
            print(f"step {self.number}  {said:<28} {(time.perf_counter() - began) * 1000:7.1f} ms  {outcome}")
        return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ready-file", required=True)
    parser.add_argument("--break", dest="broken", type=int)
    arguments = parser.parse_args()
    sys.exit(Tour(Endpoints.read(arguments.ready_file), arguments.broken).run())


if __name__ == "__main__":
    main()
