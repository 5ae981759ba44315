"""The same instance through the protocols of the Azure products: its metadata as documents with
azure-cosmos, its data as blobs with azure-storage-blob."""

import hashlib

from azure.cosmos import CosmosClient
from azure.storage.blob import BlobServiceClient

from life_steps import APP, ATTACHMENT, CONTAINER, ORG, PARTY, expect
from server import DOCUMENTS_KEY


def documents_client(endpoints):
    return CosmosClient(endpoints.documents, credential=DOCUMENTS_KEY)


def blobs_client(endpoints):
    return BlobServiceClient.from_connection_string(endpoints.blobs_connection_string)


def read_documents(life):
    """Lines that tell what azure-cosmos sees of the instance; checks it on the way."""
    database = documents_client(life.endpoints).get_database_client("Storage")
    instance = database.get_container_client("instances").read_item(life.instance, partition_key=PARTY)
    expect(instance["id"] == life.instance, f"document {life.instance}")
    expect(instance["appId"] == f"{ORG}/{APP}", "the instance's app in its document")
    expect("data" not in instance or not instance["data"], "elements in a container of their own")
    elements = list(database.get_container_client("dataElements").query_items(
        "SELECT c.id, c.dataType, c.size FROM c WHERE c.instanceGuid = @guid",
        parameters=[{"name": "@guid", "value": life.instance}], partition_key=life.instance))
    ids = {element["id"] for element in elements}
    expect({life.model, life.attachment, life.receipt} <= ids, f"all data elements, got {ids}")
    events = list(database.get_container_client("instanceEvents").query_items(
        "SELECT VALUE COUNT(1) FROM c WHERE c.instanceId = @id",
        parameters=[{"name": "@id", "value": f"{PARTY}/{life.instance}"}],
        enable_cross_partition_query=True))
    expect(events[0] >= 9, f"the instance's events as documents, got {events}")
    yield f"Storage/instances/{life.instance}: app {instance['appId']}, etag {instance['_etag']}"
    for element in elements:
        yield f"Storage/dataElements/{element['id']}: {element['dataType']}, {element['size']} bytes"
    yield f"Storage/instanceEvents: {events[0]} documents of this instance"


def read_blobs(life):
    """Lines that tell what azure-storage-blob sees of the instance's data; checks it on the way."""
    container = blobs_client(life.endpoints).get_container_client(CONTAINER)
    prefix = f"{ORG}/{APP}/{life.instance}/data/"
    names = [blob.name for blob in container.list_blobs(name_starts_with=prefix)]
    for element, sent in ((life.model, life.model_bytes), (life.attachment, ATTACHMENT)):
        expect(prefix + element in names, f"blob {prefix + element} in the list")
        stored = container.download_blob(prefix + element).readall()
        digest = hashlib.sha256(stored).hexdigest()
        expect(digest == hashlib.sha256(sent).hexdigest(), f"SHA-256 of what was sent for {element}")
        yield f"{CONTAINER}/{prefix}{element}: {len(stored)} bytes, sha256 {digest}"
