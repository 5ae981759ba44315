"""One server for the session, and a log that must stay quiet."""

import os
import uuid

import pytest

import life_views
from server import Endpoints, Server


def running(server):
    """Starts, lends and stops a server; a loud log is a failure."""
    server.start()
    yield server
    server.stop()
    loud = server.unexpected_log_lines()
    server.remove()
    assert not loud, "the server's log has lines that no test expected:\n" + "\n".join(loud[:20])


class Peer:
    """A server that runs already, so that a scenario can be judged against another product."""

    def __init__(self, ready_file):
        self.endpoints = Endpoints.read(ready_file)

    def expect_log(self, pattern):
        """Its log is nobody's business here."""


@pytest.fixture(scope="session")
def server():
    ready_file = os.environ.get("STABBUR_READY_FILE")
    if ready_file:
        yield Peer(ready_file)
    else:
        yield from running(Server())


@pytest.fixture(scope="module")
def own_server():
    """A server of the module's own, for tests that move its clock."""
    yield from running(Server())


@pytest.fixture(scope="session")
def endpoints(server):
    return server.endpoints


@pytest.fixture(scope="session")
def cosmos(endpoints):
    return life_views.documents_client(endpoints)


@pytest.fixture(scope="session")
def blob_service(endpoints):
    with life_views.blobs_client(endpoints) as client:
        yield client


@pytest.fixture
def blob_container(blob_service):
    """A blob container of the test's own."""
    container = blob_service.create_container(f"test-{uuid.uuid4().hex[:12]}")
    yield container
    container.delete_container()


@pytest.fixture
def database(cosmos):
    """A database of the test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield cosmos.create_database(name)
    cosmos.delete_database(name)
