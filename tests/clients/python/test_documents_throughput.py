"""azure-cosmos against a server that enforces provisioned throughput."""

import time
import urllib.request

import pytest
from azure.cosmos import CosmosClient, PartitionKey, ThroughputProperties, exceptions

from conftest import running
from server import DOCUMENTS_KEY, Server


@pytest.fixture(scope="module")
def limited():
    yield from running(Server(options=["--enforce-throughput"]))


def client(limited, **options):
    return CosmosClient(limited.endpoints.documents, credential=DOCUMENTS_KEY, **options)


@pytest.fixture
def impatient(limited):
    """A client that takes 429 for an answer. The library keeps that for all clients, so it is undone."""
    yield client(limited, retry_throttle_total=-1)
    client(limited, retry_throttle_total=9)


def test_the_client_waits_as_it_is_told(limited):
    database = client(limited).create_database("waits")
    container = database.create_container("c", partition_key=PartitionKey(path="/pk"), offer_throughput=400)
    began = time.monotonic()
    for number in range(12):
        container.create_item({"id": str(number), "pk": "a", "text": "x" * 200_000})
    # Some 1,100 RU at 400 a second, of which the first second's are there at once.
    assert time.monotonic() - began > 1
    assert len(list(container.read_all_items())) == 12
    admin = limited.endpoints.admin.rstrip("/")
    metrics = urllib.request.urlopen(f"{admin}/metrics", timeout=10).read().decode()
    assert "documents_requests_throttled/localhost/waits/c" in metrics


def test_who_does_not_wait_is_told(impatient):
    container = impatient.create_database("told").create_container(
        "c", partition_key=PartitionKey(path="/pk"), offer_throughput=400)
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        for number in range(12):
            container.create_item({"id": str(number), "pk": "a", "text": "x" * 900_000})
    assert refused.value.status_code == 429
    assert refused.value.headers["x-ms-substatus"] == "3200"
    assert int(refused.value.headers["x-ms-retry-after-ms"]) > 0


def test_more_throughput_lets_more_in(limited, impatient):
    database = client(limited).create_database("more")
    container = database.create_container(
        "c", partition_key=PartitionKey(path="/pk"),
        offer_throughput=ThroughputProperties(auto_scale_max_throughput=1000))
    assert container.get_throughput().auto_scale_max_throughput == 1000
    container.replace_throughput(ThroughputProperties(auto_scale_max_throughput=100_000))
    quick = impatient.get_database_client("more").get_container_client("c")
    for number in range(30):
        quick.create_item({"id": str(number), "pk": "a", "text": "x" * 200_000})
