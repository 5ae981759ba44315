"""A server of the protocol, as this comparison needs it: a container is made and filled, queries are asked."""

import http.client
import json
import pathlib
import sys
import urllib.parse
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "clients" / "python"))
from signing import document_headers  # noqa: E402 (its folder is named above)

TIMEOUT_SECONDS = 30
PARTITION = {"x-ms-documentdb-partitionkey": '["p"]'}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status, self.text = status, text


class Endpoint:
    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.connection = None

    def send(self, method, kind, link, path, headers, body):
        signed = document_headers(method, kind, link, headers)
        try:
            return self.exchange(method, path, signed, body)
        except (http.client.HTTPException, ConnectionError):
            # A connection that the server closed between two requests.
            self.connection = None
            return self.exchange(method, path, signed, body)
        except TimeoutError:
            self.connection = None
            raise Refused(0, f"no answer within {TIMEOUT_SECONDS} s") from None

    def exchange(self, method, path, headers, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT_SECONDS)
        self.connection.request(method, path, json.dumps(body).encode(), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Refused(answer.status, text.decode("utf-8", "replace"))
        try:
            return answer.headers, json.loads(text)
        except ValueError:
            raise Refused(answer.status, "no JSON: " + text.decode("utf-8", "replace")) from None

    def fill(self, documents):
        """A new database with one container of these documents, all in one partition."""
        database = f"differential-{uuid.uuid4().hex[:12]}"
        as_json = {"content-type": "application/json"}
        self.send("POST", "dbs", "", "/dbs", as_json, {"id": database})
        container = {"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}
        self.send("POST", "colls", f"dbs/{database}", f"/dbs/{database}/colls", as_json, container)
        self.link = f"dbs/{database}/colls/c"
        for document in documents:
            self.send("POST", "docs", self.link, f"/{self.link}/docs", as_json | PARTITION, document)

    def ask(self, sql, parameters):
        """All rows of a query."""
        headers = PARTITION | {
            "content-type": "application/query+json", "x-ms-documentdb-isquery": "True", "x-ms-max-item-count": "1000",
            # Not every server sees that the partition key's header makes it one partition.
            "x-ms-documentdb-query-enablecrosspartition": "True",
        }
        rows = []
        while True:
            body = {"query": sql, "parameters": parameters}
            got, answer = self.send("POST", "docs", self.link, f"/{self.link}/docs", headers, body)
            rows.extend(answer["Documents"])
            token = got.get("x-ms-continuation")
            if not token:
                return rows
            headers = headers | {"x-ms-continuation": token}
