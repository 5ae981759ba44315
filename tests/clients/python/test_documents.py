"""azure-cosmos against the documents endpoint: what an application does with items."""

import uuid

import pytest
from azure.core import MatchConditions
from azure.cosmos import CosmosClient, PartitionKey, exceptions

from server import DOCUMENTS_KEY


@pytest.fixture
def container(database):
    return database.create_container("items", partition_key=PartitionKey(path="/owner"))


@pytest.fixture
def filled(container):
    """Thirty items over three owners."""
    for number in range(30):
        container.create_item({
            "id": f"item-{number:02}", "owner": f"owner-{number % 3}", "number": number,
            "even": number % 2 == 0, "tags": ["all", f"tag-{number % 5}"],
            "address": {"city": "Oslo" if number < 10 else "Bergen", "zip": 100 + number},
        })
    return container


def ids(rows):
    return [row["id"] for row in rows]


def everywhere(container, query, **parameters):
    named = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
    return list(container.query_items(query, parameters=named, enable_cross_partition_query=True))


# Databases and containers


def test_account_is_read_by_the_client(cosmos):
    assert cosmos.get_database_account().ConsistencyPolicy["defaultConsistencyLevel"] == "Session"


def test_databases_are_created_listed_and_deleted(cosmos):
    name = f"test-{uuid.uuid4().hex[:12]}"
    database = cosmos.create_database(name)
    assert database.read()["id"] == name
    assert name in ids(cosmos.list_databases())
    with pytest.raises(exceptions.CosmosResourceExistsError):
        cosmos.create_database(name)
    assert cosmos.create_database_if_not_exists(name).id == name
    cosmos.delete_database(name)
    assert name not in ids(cosmos.list_databases())
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        database.read()


def test_containers_are_created_listed_and_deleted(database):
    made = database.create_container("a", partition_key=PartitionKey(path="/pk"), default_ttl=-1)
    properties = made.read()
    assert properties["partitionKey"]["paths"] == ["/pk"]
    assert properties["defaultTtl"] == -1
    assert properties["indexingPolicy"]["indexingMode"] == "consistent"
    with pytest.raises(exceptions.CosmosResourceExistsError):
        database.create_container("a", partition_key=PartitionKey(path="/pk"))
    database.create_container("b", partition_key=PartitionKey(path="/x"))
    assert sorted(ids(database.list_containers())) == ["a", "b"]
    database.delete_container("a")
    assert ids(database.list_containers()) == ["b"]


def test_a_container_in_a_missing_database_is_not_found(cosmos):
    missing = cosmos.get_database_client("no-such-database")
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        missing.create_container("a", partition_key=PartitionKey(path="/pk"))


def test_ranges_of_a_container(container):
    assert len(list(container.read_feed_ranges())) >= 1


# Items


def test_create_read_replace_delete(container):
    made = container.create_item({"id": "1", "owner": "a", "text": "æøå 🦭", "big": 2**53, "none": None})
    assert made["text"] == "æøå 🦭" and made["none"] is None and made["big"] == 2**53
    for name in ("_rid", "_self", "_etag", "_ts", "_attachments"):
        assert name in made
    read = container.read_item("1", partition_key="a")
    assert read == made
    replaced = container.replace_item("1", {"id": "1", "owner": "a", "text": "new"})
    assert replaced["text"] == "new" and replaced["_etag"] != made["_etag"] and "none" not in replaced
    container.delete_item("1", partition_key="a")
    with pytest.raises(exceptions.CosmosResourceNotFoundError) as gone:
        container.read_item("1", partition_key="a")
    assert gone.value.status_code == 404
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        container.delete_item("1", partition_key="a")


def test_the_same_id_lives_once_per_partition_key(container):
    container.create_item({"id": "same", "owner": "a"})
    container.create_item({"id": "same", "owner": "b"})
    with pytest.raises(exceptions.CosmosResourceExistsError) as twice:
        container.create_item({"id": "same", "owner": "a"})
    assert twice.value.status_code == 409


def test_upsert_creates_then_replaces(container):
    first = container.upsert_item({"id": "1", "owner": "a", "n": 1})
    second = container.upsert_item({"id": "1", "owner": "a", "n": 2})
    assert first["n"] == 1 and second["n"] == 2 and first["_etag"] != second["_etag"]
    assert container.read_item("1", partition_key="a")["n"] == 2


def test_patch(container):
    container.create_item({"id": "1", "owner": "a", "n": 1, "list": [1, 3], "old": True})
    patched = container.patch_item("1", partition_key="a", patch_operations=[
        {"op": "add", "path": "/list/1", "value": 2},
        {"op": "set", "path": "/new", "value": {"deep": [1]}},
        {"op": "replace", "path": "/n", "value": 10},
        {"op": "incr", "path": "/n", "value": 5},
        {"op": "remove", "path": "/old"},
    ])
    assert patched["list"] == [1, 2, 3] and patched["new"] == {"deep": [1]}
    assert patched["n"] == 15 and "old" not in patched
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        container.patch_item("1", partition_key="a", patch_operations=[{"op": "remove", "path": "/never"}])
    assert refused.value.status_code == 400
    with pytest.raises(exceptions.CosmosHttpResponseError) as untrue:
        container.patch_item("1", partition_key="a", filter_predicate="FROM c WHERE c.n = 1",
                             patch_operations=[{"op": "set", "path": "/n", "value": 0}])
    assert untrue.value.status_code == 412
    assert container.read_item("1", partition_key="a")["n"] == 15


def test_conditions_on_the_etag(container):
    first = container.create_item({"id": "1", "owner": "a", "n": 1})
    second = container.replace_item("1", {"id": "1", "owner": "a", "n": 2}, etag=first["_etag"],
                                    match_condition=MatchConditions.IfNotModified)
    with pytest.raises(exceptions.CosmosAccessConditionFailedError) as stale:
        container.replace_item("1", {"id": "1", "owner": "a", "n": 3}, etag=first["_etag"],
                               match_condition=MatchConditions.IfNotModified)
    assert stale.value.status_code == 412
    with pytest.raises(exceptions.CosmosAccessConditionFailedError):
        container.delete_item("1", partition_key="a", etag=first["_etag"],
                              match_condition=MatchConditions.IfNotModified)
    assert container.read_item("1", partition_key="a")["_etag"] == second["_etag"]


def test_batch_is_all_or_nothing(container):
    results = container.execute_item_batch([
        ("create", ({"id": "1", "owner": "a", "n": 1},)),
        ("upsert", ({"id": "2", "owner": "a", "n": 2},)),
        ("replace", ("1", {"id": "1", "owner": "a", "n": 10})),
        ("read", ("1",)),
        ("delete", ("2",)),
    ], partition_key="a")
    assert [result["statusCode"] for result in results] == [201, 201, 200, 200, 204]
    assert results[3]["resourceBody"]["n"] == 10
    with pytest.raises(exceptions.CosmosBatchOperationError) as failed:
        container.execute_item_batch([
            ("create", ({"id": "3", "owner": "a"},)),
            ("create", ({"id": "1", "owner": "a"},)),
            ("create", ({"id": "4", "owner": "a"},)),
        ], partition_key="a")
    assert failed.value.error_index == 1
    assert [r["statusCode"] for r in failed.value.operation_responses] == [424, 409, 424]
    assert ids(container.read_all_items()) == ["1"]


def test_ids_keep_their_characters(container):
    for name in ("with space", "æøå", "a+b", "per%cent", "'quoted'", "a.b:c;d"):
        container.create_item({"id": name, "owner": "a"})
        assert container.read_item(name, partition_key="a")["id"] == name
    for name in ("sla/sh", "question?", "ha#sh", "back\\slash"):
        with pytest.raises((exceptions.CosmosHttpResponseError, ValueError)):
            container.create_item({"id": name, "owner": "a"})


def test_partition_keys_of_every_type(database):
    container = database.create_container("types", partition_key=PartitionKey(path="/pk"))
    for number, key in enumerate([True, False, 7, 7.5, "7", None]):
        container.create_item({"id": str(number), "pk": key})
        assert container.read_item(str(number), partition_key=key)["pk"] == key
    assert everywhere(container, "SELECT VALUE COUNT(1) FROM c") == [6]


def test_hierarchical_partition_key(database):
    key = PartitionKey(path=["/tenant", "/user"], kind="MultiHash")
    container = database.create_container("tree", partition_key=key)
    for tenant, user in (("t1", "u1"), ("t1", "u2"), ("t2", "u1")):
        container.create_item({"id": "x", "tenant": tenant, "user": user})
    assert container.read_item("x", partition_key=["t1", "u2"])["user"] == "u2"
    rows = list(container.query_items("SELECT * FROM c", partition_key=["t1"]))
    assert sorted(row["user"] for row in rows) == ["u1", "u2"]


# Queries


def test_where_with_parameters(filled):
    rows = everywhere(filled, "SELECT * FROM c WHERE c.number >= @low AND c.address.city = @city ORDER BY c.number",
                      low=5, city="Oslo")
    assert ids(rows) == [f"item-{number:02}" for number in range(5, 10)]


@pytest.mark.parametrize(("condition", "expected"), [
    ("c.number IN (1, 2, 40)", 2),
    ("c.number BETWEEN 3 AND 6", 4),
    ("NOT c.even", 15),
    ("c.even AND c.number < 4 OR c.number = 29", 3),
    ("STARTSWITH(c.id, 'item-0')", 10),
    ("CONTAINS(c.id, 'TEM-1', true)", 10),
    ("ENDSWITH(c.id, '9')", 3),
    ("ARRAY_CONTAINS(c.tags, 'tag-3')", 6),
    ("IS_DEFINED(c.address.zip)", 30),
    ("IS_DEFINED(c.never)", 0),
    ("c.never = 1", 0),
    ("c.never != 1", 0),
    ("c.id LIKE 'item-_0'", 3),
    ("LENGTH(c.tags[1]) = 5", 30),
    ("c.address.zip % 10 = 0", 3),
    ("c['number'] = 4", 1),
    ("c.number = '4'", 0),
])
def test_conditions(filled, condition, expected):
    assert everywhere(filled, f"SELECT VALUE COUNT(1) FROM c WHERE {condition}") == [expected]


def test_numbers_of_many_digits_stay_what_they_are(container):
    # One of ten such numbers was once read as the one beside.
    numbers = [(number * 0.6180339887498949) % 1 for number in range(1, 60)] + [6.3333336e150, 5e-324, 1.7976931348623157e308]
    for number in numbers:
        container.create_item({"id": repr(number), "owner": "o", "n": number})
    assert sorted(everywhere(container, "SELECT VALUE c.n FROM c")) == sorted(numbers)
    for number in numbers:
        assert everywhere(container, f"SELECT VALUE c.id FROM c WHERE c.n = {number!r}") == [repr(number)]
        assert everywhere(container, "SELECT VALUE c.id FROM c WHERE c.n = @n", n=number) == [repr(number)]


def test_order_both_ways_and_limits(filled):
    rows = everywhere(filled, "SELECT c.id FROM c ORDER BY c.number DESC OFFSET 2 LIMIT 3")
    assert ids(rows) == ["item-27", "item-26", "item-25"]
    assert ids(everywhere(filled, "SELECT TOP 2 * FROM c ORDER BY c.number")) == ["item-00", "item-01"]


def test_aggregates(filled):
    query = "SELECT COUNT(1) AS n, SUM(c.number) AS s, AVG(c.number) AS a, MIN(c.number) AS low, MAX(c.number) AS high FROM c"
    assert everywhere(filled, query) == [{"n": 30, "s": 435, "a": 14.5, "low": 0, "high": 29}]
    rows = everywhere(filled, "SELECT VALUE SUM(c.number) FROM c WHERE c.owner = @owner", owner="owner-1")
    assert rows == [sum(range(1, 30, 3))]


def test_group_and_distinct(filled):
    rows = everywhere(filled, "SELECT c.owner, COUNT(1) AS n FROM c GROUP BY c.owner")
    assert sorted((row["owner"], row["n"]) for row in rows) == [(f"owner-{n}", 10) for n in range(3)]
    assert sorted(everywhere(filled, "SELECT DISTINCT VALUE c.address.city FROM c")) == ["Bergen", "Oslo"]


def test_join_and_projection(filled):
    rows = everywhere(filled, "SELECT c.id, t AS tag FROM c JOIN t IN c.tags WHERE t = 'tag-4' AND c.number < 10")
    assert sorted(row["id"] for row in rows) == ["item-04", "item-09"]
    rows = everywhere(filled, "SELECT VALUE {'city': c.address.city, 'sum': c.number + 1} FROM c WHERE c.id = 'item-03'")
    assert rows == [{"city": "Oslo", "sum": 4}]


def test_one_partition_only(filled):
    rows = list(filled.query_items("SELECT * FROM c ORDER BY c.number", partition_key="owner-2"))
    assert [row["number"] for row in rows] == list(range(2, 30, 3))


def test_pages_and_continuation(filled):
    seen, token, pages = [], None, 0
    while True:
        pager = filled.query_items("SELECT * FROM c ORDER BY c.number", enable_cross_partition_query=True,
                                   max_item_count=7).by_page(token)
        page = list(next(pager))
        assert len(page) <= 7
        seen += ids(page)
        pages += 1
        token = pager.continuation_token
        if not token:
            break
    assert seen == [f"item-{number:02}" for number in range(30)]
    assert pages >= 5


def test_feed_in_pages(filled):
    pages = [ids(page) for page in filled.read_all_items(max_item_count=8).by_page()]
    assert sorted(name for page in pages for name in page) == [f"item-{n:02}" for n in range(30)]
    assert max(len(page) for page in pages) <= 8


def test_read_many(filled):
    wanted = [("item-00", "owner-0"), ("item-04", "owner-1"), ("never", "owner-1")]
    assert sorted(ids(filled.read_items(wanted))) == ["item-00", "item-04"]


@pytest.mark.parametrize("query", ["SELEC * FROM c", "SELECT * FROM c WHERE", "SELECT * FROM c ORDER", "SELECT c.a.. FROM c"])
def test_malformed_query_is_refused(filled, query):
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        everywhere(filled, query)
    assert refused.value.status_code == 400


def test_wrong_key_is_refused(endpoints):
    wrong = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3Jvbmcga2V5"
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        list(CosmosClient(endpoints.documents, credential=wrong).list_databases())
    assert refused.value.status_code == 401
    assert DOCUMENTS_KEY not in str(refused.value)
