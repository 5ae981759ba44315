"""azure-cosmos: composite indexes serve orders and filters, and come and go with the indexing policy."""

import base64
import json

import pytest
from azure.cosmos import PartitionKey, exceptions

ASCENDING = [{"path": "/group", "order": "ascending"}, {"path": "/n", "order": "descending"}]


def policy(*composites):
    return {"includedPaths": [{"path": "/*"}], "excludedPaths": [], "compositeIndexes": list(composites)}


@pytest.fixture
def container(database):
    container = database.create_container(
        "items", partition_key=PartitionKey(path="/pk"), indexing_policy=policy(ASCENDING))
    for number in range(60):
        item = {"id": str(number), "pk": "ab"[number % 2], "group": number % 3, "n": number}
        if number % 20 == 19:
            del item["n"]
        container.create_item(item)
    return container


def expected(key, reverse=False):
    items = [{"id": str(n), "group": n % 3, "n": None if n % 20 == 19 else n} for n in range(60)]
    return [item["id"] for item in sorted(items, key=key, reverse=reverse)]


def run(container, query, **options):
    rows = list(container.query_items(query, populate_index_metrics=True, **options))
    metrics = container.client_connection.last_response_headers["x-ms-cosmos-index-utilization"]
    if isinstance(metrics, str):
        metrics = json.loads(base64.b64decode(metrics))
    used = [index["IndexSpecs"] for index in metrics["UtilizedCompositeIndexes"]]
    missing = [index["IndexSpecs"] for index in metrics["PotentialCompositeIndexes"]]
    return rows, used, missing


def test_orders_by_pages(container):
    # Items without a property come before the others, in this direction behind them.
    def order(item):
        return (item["group"], -item["n"] if item["n"] is not None else 1)

    for by, wanted in (
        ("c.group, c.n DESC", expected(order)),
        ("c.group DESC, c.n", expected(order, reverse=True)),
    ):
        query = f"SELECT VALUE c.id FROM c ORDER BY {by}"
        pages = container.query_items(query, enable_cross_partition_query=True, max_item_count=7).by_page()
        pages = [list(page) for page in pages]
        assert all(len(page) <= 7 for page in pages) and len(pages) >= 9
        assert [row for page in pages for row in page] == wanted
        _, used, _ = run(container, query, enable_cross_partition_query=True)
        assert used == [["/group ASC", "/n DESC"]]


def test_filters(container):
    rows, used, missing = run(
        container, "SELECT VALUE c.n FROM c WHERE c.group = 1 AND c.n > 50 ORDER BY c.group, c.n DESC",
        enable_cross_partition_query=True)
    assert rows == [58, 55, 52] and used == [["/group ASC", "/n DESC"]] and missing == []
    rows, used, _ = run(container, "SELECT VALUE c.n FROM c WHERE c.group = 1 AND c.n < 9", partition_key="b")
    assert rows == [1, 7] and used == [["/group ASC", "/n DESC"]]
    _, used, missing = run(container, "SELECT * FROM c WHERE c.pk = 'a' AND c.n > 4", partition_key="a")
    assert used == [] and missing == [["/pk ASC", "/n ASC"]]


def test_another_policy(container, database):
    query = "SELECT VALUE c.id FROM c ORDER BY c.n, c.id"
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        run(container, query, enable_cross_partition_query=True)
    assert refused.value.status_code == 400
    database.replace_container(
        container, partition_key=PartitionKey(path="/pk"),
        indexing_policy=policy([{"path": "/n", "order": "ascending"}, {"path": "/id", "order": "ascending"}]))
    rows, used, _ = run(container, query, enable_cross_partition_query=True)
    assert rows == ["19", "39", "59"] + [str(n) for n in range(60) if n % 20 != 19]
    assert used == [["/n ASC", "/id ASC"]]
    container.upsert_item({"id": "0", "pk": "a", "group": 0, "n": 100})
    container.delete_item("59", "b")
    rows, _, _ = run(container, query, enable_cross_partition_query=True)
    assert rows[:2] == ["19", "39"] and rows[-1] == "0" and len(rows) == 59
    with pytest.raises(exceptions.CosmosHttpResponseError):
        run(container, "SELECT * FROM c ORDER BY c.group, c.n DESC", enable_cross_partition_query=True)
