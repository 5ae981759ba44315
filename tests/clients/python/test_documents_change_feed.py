"""azure-cosmos reads the change feed: both modes, from every kind of start."""

import datetime
import json
import threading
import time
import urllib.request

import pytest
from azure.cosmos import PartitionKey, exceptions
from azure.core import MatchConditions


@pytest.fixture
def container(database):
    made = database.create_container("c", partition_key=PartitionKey(path="/pk"))
    for number in range(6):
        made.create_item({"id": f"i{number}", "pk": "ab"[number % 2], "n": number})
    return made


@pytest.fixture
def keeping(database):
    return database.create_container(
        "keeping", partition_key=PartitionKey(path="/pk"), change_feed_policy={"retentionDuration": 10},
        default_ttl=-1)


def numbers(changes):
    return [change["n"] for change in changes]


def token_of(container):
    return container.client_connection.last_response_headers["etag"]


def move_clock(server, seconds):
    request = urllib.request.Request(
        server.endpoints.admin.rstrip("/") + "/dev/clock", method="POST",
        data=json.dumps({"advanceSeconds": seconds}).encode(), headers={"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


def test_latest_version_from_every_start(container):
    assert numbers(container.query_items_change_feed(start_time="Beginning")) == [0, 1, 2, 3, 4, 5]
    assert numbers(container.query_items_change_feed(start_time="Beginning", partition_key="b")) == [1, 3, 5]
    assert numbers(container.query_items_change_feed(start_time="Now")) == []
    later = token_of(container)
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
    assert numbers(container.query_items_change_feed(start_time=before)) == [0, 1, 2, 3, 4, 5]
    after = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)
    assert numbers(container.query_items_change_feed(start_time=after)) == []
    container.upsert_item({"id": "i1", "pk": "b", "n": 11})
    container.delete_item("i3", "b")
    assert numbers(container.query_items_change_feed(continuation=later)) == [11]
    assert numbers(container.query_items_change_feed(start_time="Beginning", partition_key="b")) == [5, 11]


def test_latest_version_by_feed_range_and_page(container):
    found = []
    for feed_range in container.read_feed_ranges():
        pages = container.query_items_change_feed(
            feed_range=feed_range, start_time="Beginning", max_item_count=2).by_page()
        found.extend(numbers(page) for page in map(list, pages))
    assert [number for page in found for number in page] == [0, 1, 2, 3, 4, 5]
    assert all(len(page) <= 2 for page in found)
    of_key = container.feed_range_from_partition_key("a")
    assert numbers(container.query_items_change_feed(feed_range=of_key, start_time="Beginning")) == [0, 2, 4]


def told(changes):
    def one(change):
        metadata = change["metadata"]
        image = change["previous"] if metadata["operationType"] == "delete" else change["current"]
        return metadata["operationType"], image["id"], image["n"]
    return [one(change) for change in changes]


def versions(container, **options):
    return list(container.query_items_change_feed(mode="AllVersionsAndDeletes", **options))


def test_all_versions_and_deletes(keeping):
    keeping.create_item({"id": "before", "pk": "a", "n": 0})
    assert versions(keeping) == []
    start = token_of(keeping)
    keeping.create_item({"id": "1", "pk": "a", "n": 1})
    keeping.upsert_item({"id": "1", "pk": "a", "n": 2})
    keeping.create_item({"id": "2", "pk": "b", "n": 3})
    keeping.patch_item("2", "b", [{"op": "incr", "path": "/n", "value": 1}])
    keeping.delete_item("1", "a")
    keeping.execute_item_batch(
        [("create", ({"id": "3", "pk": "b", "n": 5},)), ("delete", ("2",))], partition_key="b")
    keeping.delete_all_items_by_partition_key("b")
    found = versions(keeping, continuation=start)
    assert told(found) == [
        ("create", "1", 1), ("replace", "1", 2), ("create", "2", 3), ("replace", "2", 4), ("delete", "1", 2),
        ("create", "3", 5), ("delete", "2", 4), ("delete", "3", 5)]
    end = token_of(keeping)
    deleted = found[4]
    assert deleted["current"] == {}
    metadata = deleted["metadata"]
    assert (metadata["id"], metadata["partitionKey"], metadata["timeToLiveExpired"]) == ("1", {"pk": "a"}, False)
    assert metadata["previousImageLSN"] == found[1]["metadata"]["lsn"]
    lsns = [change["metadata"]["lsn"] for change in found]
    assert lsns == sorted(lsns) and lsns[5] == lsns[6]
    assert all(abs(change["metadata"]["crts"] - time.time()) < 300 for change in found)
    assert versions(keeping, continuation=end) == []


def test_all_versions_of_one_key(keeping):
    versions(keeping, partition_key="a")
    start = token_of(keeping)
    for number in range(5):
        keeping.upsert_item({"id": "1", "pk": "a", "n": number})
        keeping.upsert_item({"id": "2", "pk": "b", "n": number})
    found = versions(keeping, continuation=start, max_item_count=2)
    assert told(found) == [("create", "1", 0)] + [("replace", "1", number) for number in range(1, 5)]


def test_what_a_container_does_not_keep_is_refused(container, keeping):
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        versions(container)
    assert refused.value.status_code == 400 and "changeFeedPolicy" in refused.value.message


def test_expiry_is_a_deletion_and_old_versions_go(own_server):
    import life_views
    database = life_views.documents_client(own_server.endpoints).create_database("expiry")
    container = database.create_container(
        "c", partition_key=PartitionKey(path="/pk"), change_feed_policy={"retentionDuration": 5}, default_ttl=-1)
    versions(container)
    start = token_of(container)
    container.create_item({"id": "1", "pk": "a", "n": 1, "ttl": 60})
    move_clock(own_server, 61)
    # Whoever takes the id ends the item that had it, so this doesn't wait for the sweep.
    container.create_item({"id": "1", "pk": "a", "n": 2})
    found = versions(container, continuation=start)
    assert told(found)[-1] == ("create", "1", 2)
    assert told(found)[1] == ("delete", "1", 1) and found[1]["metadata"]["timeToLiveExpired"] is True
    move_clock(own_server, 600)
    with pytest.raises(exceptions.CosmosHttpResponseError) as refused:
        versions(container, continuation=start)
    assert refused.value.status_code == 400 and "retention" in refused.value.message


def test_items_kept_out_of_the_index(database):
    container = database.create_container("some", partition_key=PartitionKey(path="/pk"))
    container.create_item({"id": "1", "pk": "a", "n": 1})
    container.create_item({"id": "2", "pk": "a", "n": 1}, indexing_directive=1)

    def found(where):
        query = container.query_items(f"SELECT VALUE c.id FROM c {where}", enable_cross_partition_query=True)
        return sorted(query)

    assert found("WHERE c.n = 1") == ["1"]
    assert found("WHERE c.n = 1 AND c.id = '2'") == []
    assert found("ORDER BY c.n") == ["1"]
    assert found("WHERE c.id = '2'") == ["2"]
    assert found("") == ["1", "2"]
    assert container.read_item("2", "a")["n"] == 1
    container.replace_item("2", {"id": "2", "pk": "a", "n": 1}, initial_headers={"x-ms-indexing-directive": "Include"})
    assert found("WHERE c.n = 1") == ["1", "2"]


def test_leases_are_taken_and_given_up(database, keeping):
    """What a change feed processor does with its lease container: two hosts, one lease each at a time."""
    leases = database.create_container("leases", partition_key=PartitionKey(path="/id"))
    versions(keeping)
    start = token_of(keeping)
    leases.create_item({"id": "app.info"})
    with pytest.raises(exceptions.CosmosResourceExistsError):
        leases.create_item({"id": "app.info"})
    for number in range(2):
        leases.create_item({"id": f"app..{number}", "owner": None, "token": start})
    leases.create_item({"id": "other..0", "owner": "x"})
    # Both have read the leases before either writes: only one of them may win each.
    query = "SELECT * FROM c WHERE STARTSWITH(c.id, 'app..')"
    read = list(leases.query_items(query, enable_cross_partition_query=True))
    assert sorted(lease["id"] for lease in read) == ["app..0", "app..1"]
    outcomes = []

    def claim(host):
        for lease in read:
            try:
                leases.replace_item(lease["id"], {**lease, "owner": host}, etag=lease["_etag"],
                                    match_condition=MatchConditions.IfNotModified)
                outcomes.append((lease["id"], host))
            except exceptions.CosmosAccessConditionFailedError:
                pass

    hosts = [threading.Thread(target=claim, args=(host,)) for host in ("one", "two")]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    assert sorted(lease for lease, _ in outcomes) == ["app..0", "app..1"]

    keeping.create_item({"id": "1", "pk": "a", "n": 1})
    lease = leases.read_item("app..0", "app..0")
    found = versions(keeping, continuation=lease["token"])
    assert told(found) == [("create", "1", 1)]
    lease["token"] = token_of(keeping)
    leases.replace_item(lease["id"], lease, etag=lease["_etag"], match_condition=MatchConditions.IfNotModified)
    assert versions(keeping, continuation=leases.read_item("app..0", "app..0")["token"]) == []
    leases.delete_item("app..0", "app..0")
    assert [lease["id"] for lease in leases.query_items(query, enable_cross_partition_query=True)] == ["app..1"]
