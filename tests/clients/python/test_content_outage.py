"""An object store that can't be reached: 503 with Retry-After where its content is needed, in each protocol's own
form; all else goes on; and everything works again when it is back."""

import pathlib
import os
import re
import socket
import threading

import pytest
import requests
from azure.core.exceptions import HttpResponseError

import life_steps
import life_views
from server import Server

# More than lies inline in the ledger.
LARGE = bytes(range(256)) * 256
SMALL = b"in the ledger"

pytestmark = pytest.mark.skipif(not os.environ.get("STABBUR_CONTENT"), reason="content isn't in an object store")


class Door:
    """Stands before the object store; closed, it takes no connection and those that are there are cut."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.is_open = True
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.is_open:
                client.close()
                continue
            server = socket.create_connection(self.target)
            self.pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.is_open = False
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def open(self):
        self.is_open = True


@pytest.fixture(scope="module")
def behind_a_door(tmp_path_factory):
    """A server whose object store is reached through a door, and the door."""
    text = pathlib.Path(os.environ["STABBUR_CONTENT"]).read_text(encoding="utf-8")
    host, port = re.search(r'endpoint = "http://([\d.]+):(\d+)"', text).groups()
    door = Door((host, int(port)))
    folder = tmp_path_factory.mktemp("door")
    config = folder / "content.toml"
    text = text.replace(f"{host}:{port}", f"127.0.0.1:{door.port}")
    config.write_text(text + f'prefix = "door-{door.port}"\n', encoding="utf-8")
    server = Server(content_config=config)
    server.start()
    yield server, door
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    door.listener.close()
    assert not loud, "\n".join(loud)


def busy(call):
    """Calls, which must be refused as the blob service's clients understand it."""
    with pytest.raises(HttpResponseError) as refused:
        call()
    assert refused.value.status_code == 503 and refused.value.error_code == "ServerBusy", refused.value
    assert int(refused.value.response.headers["Retry-After"]) > 0


def test_out_of_reach_is_told_and_passes(behind_a_door):
    server, door = behind_a_door
    server.expect_log("out of reach")
    life = life_steps.Life(server.endpoints)
    life.prepare()
    life_steps.create(life)
    life_steps.add_model(life)
    attach = lambda: life.session.post(  # noqa: E731
        life.endpoints.storage + life.at("/data?dataType=attachment"), data=LARGE, timeout=90,
        headers={"Authorization": f"Bearer {life.user}", "Content-Type": "application/pdf",
                 "Content-Disposition": "attachment; filename=a.pdf"})
    attached = attach()
    assert attached.status_code == 201, attached.text
    path = life.at(f"/data/{attached.json()['id']}")
    fetch = lambda: life.session.get(  # noqa: E731
        life.endpoints.storage + path, timeout=90, headers={"Authorization": f"Bearer {life.user}"})
    with life_views.blobs_client(server.endpoints) as service:
        service._config.retry_policy.total_retries = 0
        container = service.create_container("outage")
        container.upload_blob("large", LARGE)
        container.upload_blob("small", SMALL)

        door.close()
        busy(lambda: container.upload_blob("refused", LARGE))
        busy(lambda: container.get_blob_client("refused").stage_block("YQ==", LARGE))
        busy(lambda: container.download_blob("large").readall())
        for refused in (attach(), fetch()):
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.headers["Content-Type"].startswith("application/problem+json")
        # What lies in the ledger goes on, and the server isn't taken from behind its balancer.
        assert container.download_blob("small").readall() == SMALL
        container.upload_blob("also-small", SMALL)
        assert life.call("GET", life.at(f"/data/{life.model}"), 200, life.user).content == life_steps.MODEL
        assert requests.get(f"{server.endpoints.admin}/health/ready", timeout=10).status_code == 200

        door.open()
        assert container.download_blob("large").readall() == LARGE
        assert fetch().content == LARGE
        assert [blob.name for blob in container.list_blobs()] == ["also-small", "large", "small"]
        container.upload_blob("refused", LARGE)
        elements = [element["id"] for element in life.read()["data"]]
        assert sorted(elements) == sorted([life.model, attached.json()["id"]]), "no element without its bytes"
        assert attach().status_code == 201
