"""azure-cosmos: query metrics, index metrics, and which ORDER BY is served."""

import base64
import json

import pytest
from azure.cosmos import PartitionKey, exceptions


@pytest.fixture
def container(database):
    container = database.create_container(
        "items", partition_key=PartitionKey(path="/pk"),
        indexing_policy={
            "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/hidden/?"}],
            "compositeIndexes": [[{"path": "/group", "order": "ascending"}, {"path": "/n", "order": "descending"}]]})
    for number in range(10):
        container.create_item({"id": str(number), "pk": "a", "n": number, "group": number % 2, "hidden": number})
    return container


def run(container, query, **options):
    rows = list(container.query_items(query, enable_cross_partition_query=True, **options))
    return rows, container.client_connection.last_response_headers


def test_query_metrics(container):
    rows, headers = run(container, "SELECT * FROM c WHERE c.n < 4 AND c.group = 0", populate_query_metrics=True)
    metrics = dict(field.split("=") for field in headers["x-ms-documentdb-query-metrics"].split(";"))
    assert len(rows) == 2
    assert metrics["outputDocumentCount"] == "2"
    assert 2 <= int(metrics["retrievedDocumentCount"]) <= 4
    assert float(metrics["totalExecutionTimeInMs"]) > 0
    parts = ("queryCompileTimeInMs", "indexLookupTimeInMs", "documentLoadTimeInMs", "VMExecutionTimeInMs",
             "writeOutputTimeInMs", "queryPhysicalPlanBuildTimeInMs")
    assert sum(float(metrics[part]) for part in parts) <= float(metrics["totalExecutionTimeInMs"]) + 0.1


def test_index_metrics(container):
    _, headers = run(container, "SELECT * FROM c WHERE c.n < 4 AND c.hidden = 1", populate_index_metrics=True)
    metrics = headers["x-ms-cosmos-index-utilization"]
    if isinstance(metrics, str):
        metrics = json.loads(base64.b64decode(metrics))
    assert [index["IndexSpec"] for index in metrics["UtilizedSingleIndexes"]] == ["/n/?"]
    assert [index["IndexSpec"] for index in metrics["PotentialSingleIndexes"]] == ["/hidden/?"]


def test_orders_that_are_served(container):
    rows, _ = run(container, "SELECT VALUE c.n FROM c WHERE c.n < 4 ORDER BY c.group, c.n DESC")
    assert rows == [2, 0, 3, 1]
    rows, _ = run(container, "SELECT VALUE c.n FROM c WHERE c.n < 4 ORDER BY c.group DESC, c.n")
    assert rows == [1, 3, 0, 2]


@pytest.mark.parametrize("order, message", [
    ("c.group, c.n", "does not have a corresponding composite index"),
    ("c.pk, c.n", "does not have a corresponding composite index"),
    ("c.hidden", "order-by item is excluded"),
    ("LOWER(c.pk)", "Unsupported ORDER BY clause"),
])
def test_orders_that_are_refused(container, order, message):
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        run(container, f"SELECT * FROM c ORDER BY {order}")
    assert refused.value.status_code == 400 and message in refused.value.message


def quota_info(container):
    container.read(populate_quota_info=True)
    headers = container.client_connection.last_response_headers
    usage, quota = (dict(pair.split("=") for pair in headers[name].strip(";").split(";"))
                    for name in ("x-ms-resource-usage", "x-ms-resource-quota"))
    assert list(usage) == list(quota)
    return {name: int(value) for name, value in usage.items()}, quota


def test_what_a_container_takes(container):
    usage, quota = quota_info(container)
    assert usage["documentsCount"] == 10
    assert quota["documentsCount"] == "-1" and quota["storedProcedures"] == "100"
    container.create_item({"id": "large", "pk": "b", "text": "x" * 100_000})
    container.scripts.create_stored_procedure({"id": "s", "body": "function () {}"})
    larger, _ = quota_info(container)
    assert larger["documentsCount"] == 11 and larger["storedProcedures"] == 1
    assert 98 <= larger["documentsSize"] - usage["documentsSize"] <= 99
    assert larger["collectionSize"] - usage["collectionSize"] >= larger["documentsSize"] - usage["documentsSize"]
    container.read()
    assert "x-ms-resource-usage" not in container.client_connection.last_response_headers
