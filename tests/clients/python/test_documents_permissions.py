"""azure-cosmos: users, permissions, and clients that hold nothing but a resource token."""

import pytest
from azure.cosmos import CosmosClient, PartitionKey, exceptions


@pytest.fixture
def container(database):
    container = database.create_container("items", partition_key=PartitionKey(path="/owner"))
    for number in range(4):
        container.create_item({"id": f"item-{number}", "owner": "kari" if number < 2 else "ola"})
    return container


def holder(endpoints, database, link, token):
    """A client that has a token for one link."""
    client = CosmosClient(endpoints.documents, credential={link: token})
    return client.get_database_client(database.id).get_container_client("items")


def token_of(user, container, name, mode, **more):
    link = f"dbs/{container.container_link.split('/')[1]}/colls/{container.id}"
    permission = user.create_permission({"id": name, "permissionMode": mode, "resource": link, **more})
    return link, permission.properties["_token"]


def refused(action, status=403):
    with pytest.raises(exceptions.CosmosHttpResponseError) as error:
        action()
    assert error.value.status_code == status, error.value


def test_users_and_permissions_are_kept(database, container):
    user = database.create_user({"id": "kari"})
    with pytest.raises(exceptions.CosmosResourceExistsError):
        database.create_user({"id": "kari"})
    assert [found["id"] for found in database.list_users()] == ["kari"]
    assert [found["id"] for found in database.query_users("SELECT * FROM u WHERE u.id = 'kari'")] == ["kari"]
    permission = user.create_permission({"id": "p", "permissionMode": "Read", "resource": container.container_link})
    assert permission.permission_mode == "Read"
    assert user.get_permission("p").properties["_token"].startswith("type=resource&ver=1.0&sig=")
    assert [found["id"] for found in user.list_permissions()] == ["p"]
    replaced = user.replace_permission(
        "p", {"id": "p", "permissionMode": "All", "resource": container.container_link})
    assert replaced.permission_mode == "All"
    user.delete_permission("p")
    with pytest.raises(exceptions.CosmosResourceNotFoundError):
        user.get_permission("p")
    database.replace_user("kari", {"id": "kari-2"})
    database.delete_user("kari-2")
    assert list(database.list_users()) == []


def test_a_token_to_read(endpoints, database, container):
    user = database.create_user({"id": "reader"})
    held = holder(endpoints, database, *token_of(user, container, "read", "Read"))
    assert held.read_item("item-0", partition_key="kari")["id"] == "item-0"
    assert len(list(held.read_all_items())) == 4
    rows = held.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)
    assert list(rows) == [4]
    refused(lambda: held.create_item({"id": "x", "owner": "kari"}))
    refused(lambda: held.upsert_item({"id": "item-0", "owner": "kari"}))
    refused(lambda: held.delete_item("item-0", partition_key="kari"))
    refused(lambda: held.patch_item("item-0", "kari", [{"op": "add", "path": "/a", "value": 1}]))
    user.delete_permission("read")
    refused(lambda: held.read_item("item-0", partition_key="kari"))


def test_a_token_for_one_partition(endpoints, database, container):
    user = database.create_user({"id": "kari"})
    held = holder(endpoints, database, *token_of(user, container, "own", "All", resourcePartitionKey=["kari"]))
    held.create_item({"id": "new", "owner": "kari"})
    assert len(list(held.query_items("SELECT * FROM c", partition_key="kari"))) == 3
    refused(lambda: held.read_item("item-2", partition_key="ola"))
    refused(lambda: held.create_item({"id": "new", "owner": "ola"}))
    refused(lambda: list(held.query_items("SELECT * FROM c", partition_key="ola")))
    refused(lambda: list(held.query_items("SELECT * FROM c", enable_cross_partition_query=True)))
    refused(lambda: list(held.read_all_items()))


def test_a_token_of_somebody_else_is_refused(endpoints, database, container):
    link, token = token_of(database.create_user({"id": "u"}), container, "p", "All")
    damaged = token.replace("sig=", "sig=A", 1)
    refused(lambda: holder(endpoints, database, link, damaged).read_item("item-0", partition_key="kari"), 401)
