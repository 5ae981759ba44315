package stabbur;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosBatch;
import com.azure.cosmos.models.CosmosBatchItemRequestOptions;
import com.azure.cosmos.models.CosmosBatchOperationResult;
import com.azure.cosmos.models.CosmosBatchResponse;
import com.azure.cosmos.models.CosmosBulkOperationResponse;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemIdentity;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosItemResponse;
import com.azure.cosmos.models.CosmosPatchItemRequestOptions;
import com.azure.cosmos.models.CosmosPatchOperations;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.ThroughputProperties;
import com.azure.cosmos.models.UniqueKey;
import com.azure.cosmos.models.UniqueKeyPolicy;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Databases, containers and items through the Cosmos client. */
class DocumentsTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static final PartitionKey A = new PartitionKey("a");

    private static CosmosClient client;
    private static CosmosDatabase database;
    private CosmosContainer container;

    @BeforeAll
    static void connect() {
        client = Documents.client(SERVER).buildClient();
        client.createDatabase("documents");
        database = client.getDatabase("documents");
    }

    @AfterAll
    static void close() {
        client.close();
    }

    @BeforeEach
    void makeContainer() {
        container = made(new CosmosContainerProperties(Documents.name("items"), "/pk"));
    }

    private static CosmosContainer made(CosmosContainerProperties properties) {
        assertEquals(201, database.createContainer(properties).getStatusCode());
        return database.getContainer(properties.getId());
    }

    private static CosmosItemRequestOptions ifMatch(String etag) {
        return new CosmosItemRequestOptions().setIfMatchETag(etag);
    }

    private CosmosItemResponse<ObjectNode> read(String id) {
        return container.readItem(id, A, ObjectNode.class);
    }

    @Test
    void databasesAreMadeReadListedAndDeleted() {
        assertEquals(201, client.createDatabase("short-lived").getStatusCode());
        Documents.fails(409, () -> client.createDatabase("short-lived"));
        assertEquals(200, client.createDatabaseIfNotExists("short-lived").getStatusCode());
        CosmosDatabase made = client.getDatabase("short-lived");
        assertEquals("short-lived", made.read().getProperties().getId());
        // Beside them is the one of Platform Storage.
        assertEquals(List.of("documents", "short-lived"), client.readAllDatabases().stream()
            .map(found -> found.getId()).filter(id -> !id.equals("Storage")).sorted().toList());
        assertEquals(204, made.delete().getStatusCode());
        Documents.fails(404, made::read);
    }

    @Test
    void containersAreMadeReadReplacedListedAndDeleted() {
        client.createDatabase("containers");
        CosmosDatabase own = client.getDatabase("containers");
        assertEquals(201, own.createContainer("one", "/pk").getStatusCode());
        Documents.fails(409, () -> own.createContainer("one", "/pk"));
        CosmosContainer one = own.getContainer("one");
        CosmosContainerProperties properties = one.read().getProperties();
        assertEquals(List.of("/pk"), properties.getPartitionKeyDefinition().getPaths());
        properties.setDefaultTimeToLiveInSeconds(60);
        assertEquals(200, one.replace(properties).getStatusCode());
        assertEquals(60, one.read().getProperties().getDefaultTimeToLiveInSeconds());
        own.createContainerIfNotExists("two", "/other/path");
        assertEquals(List.of("one", "two"),
            own.readAllContainers().stream().map(CosmosContainerProperties::getId).sorted().toList());
        assertEquals(204, one.delete().getStatusCode());
        Documents.fails(404, one::read);
        own.delete();
    }

    @Test
    void throughputIsReadAndReplaced() {
        database.createContainer(
            new CosmosContainerProperties("manual", "/pk"), ThroughputProperties.createManualThroughput(400));
        CosmosContainer manual = database.getContainer("manual");
        assertEquals(400, manual.readThroughput().getProperties().getManualThroughput());
        manual.replaceThroughput(ThroughputProperties.createManualThroughput(700));
        assertEquals(700, manual.readThroughput().getProperties().getManualThroughput());
        database.createContainer(
            new CosmosContainerProperties("autoscale", "/pk"), ThroughputProperties.createAutoscaledThroughput(4000));
        CosmosContainer autoscale = database.getContainer("autoscale");
        assertEquals(4000, autoscale.readThroughput().getProperties().getAutoscaleMaxThroughput());
        autoscale.replaceThroughput(ThroughputProperties.createAutoscaledThroughput(6000));
        assertEquals(6000, autoscale.readThroughput().getProperties().getAutoscaleMaxThroughput());
    }

    @Test
    void anItemsLife() {
        CosmosItemResponse<ObjectNode> created = container.createItem(Documents.item("1", "a", 1));
        assertEquals(201, created.getStatusCode());
        assertTrue(created.getRequestCharge() > 0);
        assertEquals(created.getETag(), created.getItem().get("_etag").asText());
        CosmosException conflict = Documents.fails(409, () -> container.createItem(Documents.item("1", "a", 2)));
        assertEquals(0, conflict.getSubStatusCode());
        assertEquals(1, read("1").getItem().get("n").asInt());

        CosmosItemResponse<ObjectNode> replaced = container.replaceItem(
            Documents.item("1", "a", 2), "1", A, new CosmosItemRequestOptions());
        assertEquals(200, replaced.getStatusCode());
        assertNotEquals(created.getETag(), replaced.getETag());
        assertEquals(200, container.upsertItem(Documents.item("1", "a", 3)).getStatusCode());
        assertEquals(201, container.upsertItem(Documents.item("2", "a", 4)).getStatusCode());
        assertEquals(3, read("1").getItem().get("n").asInt());

        CosmosItemRequestOptions none = new CosmosItemRequestOptions();
        assertEquals(204, container.deleteItem("1", A, none).getStatusCode());
        CosmosException missing = Documents.fails(404, () -> read("1"));
        assertEquals(0, missing.getSubStatusCode());
        Documents.fails(404, () -> container.deleteItem("1", A, none));
        Documents.fails(404, () -> container.replaceItem(Documents.item("1", "a", 5), "1", A, none));
        Documents.fails(404, () -> container.readItem("2", new PartitionKey("b"), ObjectNode.class));
    }

    @Test
    void etagsDecide() {
        String first = container.createItem(Documents.item("1", "a", 1)).getETag();
        String second = container.upsertItem(Documents.item("1", "a", 2), ifMatch(first)).getETag();
        Documents.fails(412, () -> container.replaceItem(Documents.item("1", "a", 3), "1", A, ifMatch(first)));
        Documents.fails(412, () -> container.upsertItem(Documents.item("1", "a", 3), ifMatch(first)));
        Documents.fails(412, () -> container.deleteItem("1", A, ifMatch(first)));
        CosmosItemResponse<ObjectNode> same = container.readItem(
            "1", A, new CosmosItemRequestOptions().setIfNoneMatchETag(second), ObjectNode.class);
        assertEquals(304, same.getStatusCode());
        CosmosItemResponse<ObjectNode> newer = container.readItem(
            "1", A, new CosmosItemRequestOptions().setIfNoneMatchETag(first), ObjectNode.class);
        assertEquals(200, newer.getStatusCode());
        assertEquals(2, newer.getItem().get("n").asInt());
        assertEquals(204, container.deleteItem("1", A, ifMatch(second)).getStatusCode());
    }

    @Test
    void aPatchChangesPartsAndOnlyIfItsConditionHolds() {
        container.createItem(Documents.item("1", "a", 1));
        CosmosPatchOperations operations = CosmosPatchOperations.create()
            .add("/tags", List.of("x")).add("/tags/-", "y").set("/name", "blåbær").increment("/n", 4)
            .replace("/tags/0", "z").move("/name", "/title");
        CosmosItemResponse<ObjectNode> patched = container.patchItem("1", A, operations, ObjectNode.class);
        assertEquals(200, patched.getStatusCode());
        ObjectNode item = read("1").getItem();
        item.remove(List.of("_rid", "_self", "_etag", "_attachments", "_ts"));
        assertEquals(Documents.json(
            "{\"id\":\"1\",\"pk\":\"a\",\"n\":5,\"tags\":[\"z\",\"y\"],\"title\":\"blåbær\"}"), item);
        CosmosPatchOperations more = CosmosPatchOperations.create().remove("/title");
        CosmosPatchItemRequestOptions condition = new CosmosPatchItemRequestOptions();
        condition.setFilterPredicate("FROM c WHERE c.n = 6");
        Documents.fails(412, () -> container.patchItem("1", A, more, condition, ObjectNode.class));
        condition.setFilterPredicate("FROM c WHERE c.n = 5");
        assertFalse(container.patchItem("1", A, more, condition, ObjectNode.class).getItem().has("title"));
        Documents.fails(400, () -> container.patchItem(
            "1", A, CosmosPatchOperations.create().remove("/nowhere"), ObjectNode.class));
        Documents.fails(404, () -> container.patchItem("2", A, more, ObjectNode.class));
    }

    @Test
    void aBatchIsAllOrNothing() {
        container.createItem(Documents.item("old", "a", 1));
        CosmosBatch batch = CosmosBatch.createCosmosBatch(A);
        batch.createItemOperation(Documents.item("1", "a", 1));
        batch.upsertItemOperation(Documents.item("2", "a", 2));
        batch.replaceItemOperation("old", Documents.item("old", "a", 10));
        batch.patchItemOperation("1", CosmosPatchOperations.create().increment("/n", 5));
        batch.readItemOperation("1");
        batch.deleteItemOperation("2");
        CosmosBatchResponse done = container.executeCosmosBatch(batch);
        assertTrue(done.isSuccessStatusCode(), done::getErrorMessage);
        assertEquals(List.of(201, 201, 200, 200, 200, 204),
            done.getResults().stream().map(CosmosBatchOperationResult::getStatusCode).toList());
        assertEquals(6, done.getResults().get(4).getItem(ObjectNode.class).get("n").asInt());

        CosmosBatch broken = CosmosBatch.createCosmosBatch(A);
        broken.createItemOperation(Documents.item("3", "a", 3));
        broken.createItemOperation(Documents.item("1", "a", 3));
        broken.deleteItemOperation("old");
        CosmosBatchResponse refused = container.executeCosmosBatch(broken);
        assertFalse(refused.isSuccessStatusCode());
        assertEquals(409, refused.getStatusCode());
        assertEquals(List.of(424, 409, 424),
            refused.getResults().stream().map(CosmosBatchOperationResult::getStatusCode).toList());
        Documents.fails(404, () -> read("3"));

        CosmosBatch stale = CosmosBatch.createCosmosBatch(A);
        stale.upsertItemOperation(Documents.item("1", "a", 0),
            new CosmosBatchItemRequestOptions().setIfMatchETag("\"another\""));
        assertEquals(412, container.executeCosmosBatch(stale).getStatusCode());
        assertEquals(6, read("1").getItem().get("n").asInt());
    }

    @Test
    void bulkTellsOfEachOperation() {
        List<CosmosItemOperation> operations = new ArrayList<>();
        for (int n = 0; n < 150; n++) {
            String key = "k" + n % 5;
            operations.add(CosmosBulkOperations.getCreateItemOperation(
                Documents.item("i" + n, key, n), new PartitionKey(key)));
        }
        operations.add(CosmosBulkOperations.getReadItemOperation("nobody", A));
        Map<Integer, Integer> statuses = new TreeMap<>();
        for (CosmosBulkOperationResponse<Object> response : container.executeBulkOperations(operations)) {
            statuses.merge(response.getResponse().getStatusCode(), 1, Integer::sum);
        }
        assertEquals(Map.of(201, 150, 404, 1), statuses);
        List<CosmosItemOperation> more = List.of(
            CosmosBulkOperations.getCreateItemOperation(Documents.item("i1", "k1", 1), new PartitionKey("k1")),
            CosmosBulkOperations.getUpsertItemOperation(Documents.item("i2", "k2", 22), new PartitionKey("k2")),
            CosmosBulkOperations.getPatchItemOperation(
                "i3", new PartitionKey("k3"), CosmosPatchOperations.create().set("/n", 33)),
            CosmosBulkOperations.getDeleteItemOperation("i4", new PartitionKey("k4")));
        Map<String, Integer> byType = new TreeMap<>();
        for (CosmosBulkOperationResponse<Object> response : container.executeBulkOperations(more)) {
            byType.put(response.getOperation().getOperationType().toString(), response.getResponse().getStatusCode());
        }
        assertEquals(Map.of("CREATE", 409, "UPSERT", 200, "PATCH", 200, "DELETE", 204), byType);
        assertEquals(33, container.readItem("i3", new PartitionKey("k3"), ObjectNode.class).getItem().get("n").asInt());
    }

    @Test
    void manyAreReadAtOnce() {
        for (int n = 0; n < 12; n++) {
            container.createItem(Documents.item("i" + n, "k" + n % 3, n));
        }
        List<CosmosItemIdentity> wanted = IntStream.of(1, 4, 8, 11, 99)
            .mapToObj(n -> new CosmosItemIdentity(new PartitionKey("k" + n % 3), "i" + n)).toList();
        FeedResponse<ObjectNode> found = container.readMany(wanted, ObjectNode.class);
        assertEquals(List.of(1, 4, 8, 11),
            found.getResults().stream().map(item -> item.get("n").asInt()).sorted().toList());
        assertEquals(List.of(0, 3, 6, 9), container.readAllItems(new PartitionKey("k0"), ObjectNode.class).stream()
            .map(item -> item.get("n").asInt()).sorted().toList());
    }

    @Test
    void allOfAPartitionAreDeleted() {
        for (int n = 0; n < 6; n++) {
            container.createItem(Documents.item("i" + n, n % 2 == 0 ? "a" : "b", n));
        }
        assertEquals(200,
            container.deleteAllItemsByPartitionKey(A, new CosmosItemRequestOptions()).getStatusCode());
        assertEquals(0, container.readAllItems(A, ObjectNode.class).stream().count());
        assertEquals(3, container.readAllItems(new PartitionKey("b"), ObjectNode.class).stream().count());
    }

    @Test
    void aUniqueKeyIsUniqueInItsPartition() {
        CosmosContainer unique = made(new CosmosContainerProperties(Documents.name("unique"), "/pk")
            .setUniqueKeyPolicy(new UniqueKeyPolicy().setUniqueKeys(List.of(new UniqueKey(List.of("/n"))))));
        unique.createItem(Documents.item("1", "a", 1));
        Documents.fails(409, () -> unique.createItem(Documents.item("2", "a", 1)));
        assertEquals(201, unique.createItem(Documents.item("2", "b", 1)).getStatusCode());
    }

    @Test
    void keysOfEachTypeAreToldApart() {
        CosmosContainer typed = made(new CosmosContainerProperties(Documents.name("typed"), "/n"));
        typed.createItem(Documents.item("1", "a", 7));
        assertEquals("a", typed.readItem("1", new PartitionKey(7), ObjectNode.class).getItem().get("pk").asText());
        Documents.fails(404, () -> typed.readItem("1", new PartitionKey("7"), ObjectNode.class));
        CosmosContainer absent = made(new CosmosContainerProperties(Documents.name("absent"), "/missing"));
        absent.createItem(Documents.item("1", "a", 1), PartitionKey.NONE, new CosmosItemRequestOptions());
        assertEquals(1, absent.readItem("1", PartitionKey.NONE, ObjectNode.class).getItem().get("n").asInt());
    }

    @Test
    void anotherKeyIsRefused() {
        RuntimeException refused = assertThrows(
            RuntimeException.class, () -> Documents.client(SERVER).key("d3Jvbmc=").buildClient());
        assertTrue(refused.getMessage().contains("\"statusCode\":401"), refused::getMessage);
    }
}
