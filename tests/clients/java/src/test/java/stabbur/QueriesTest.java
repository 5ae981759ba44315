package stabbur;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.stream.IntStream;

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemIdentity;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.azure.cosmos.models.PartitionKeyDefinition;
import com.azure.cosmos.models.PartitionKeyDefinitionVersion;
import com.azure.cosmos.models.PartitionKind;
import com.azure.cosmos.models.SqlParameter;
import com.azure.cosmos.models.SqlQuerySpec;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Queries through the Cosmos client: within a partition, across, in pages, with keys of several levels. */
class QueriesTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static CosmosClient client;
    private static CosmosContainer container;
    private static CosmosContainer levels;

    @BeforeAll
    static void connect() {
        client = Documents.client(SERVER).buildClient();
        client.createDatabase("queries");
        CosmosDatabase database = client.getDatabase("queries");
        database.createContainer("c", "/pk");
        container = database.getContainer("c");
        // 30 items in three partitions, written out of order.
        for (int n : IntStream.range(0, 30).map(n -> n * 7 % 30).toArray()) {
            container.createItem(Documents.item("i" + n, "k" + n % 3, n).put("half", n / 2));
        }
        database.createContainer(new CosmosContainerProperties("levels", new PartitionKeyDefinition()
            .setPaths(List.of("/tenant", "/user", "/session"))
            .setKind(PartitionKind.MULTI_HASH).setVersion(PartitionKeyDefinitionVersion.V2)));
        levels = database.getContainer("levels");
        for (int n = 0; n < 8; n++) {
            ObjectNode item = Documents.item("i" + n, "", n);
            item.put("tenant", "t" + n % 2).put("user", "u" + n / 4).put("session", n);
            levels.createItem(item);
        }
    }

    @AfterAll
    static void close() {
        client.close();
    }

    private static CosmosQueryRequestOptions within(Object key) {
        return new CosmosQueryRequestOptions().setPartitionKey(new PartitionKey(key));
    }

    private static List<JsonNode> all(CosmosContainer from, String query, CosmosQueryRequestOptions options) {
        return from.queryItems(query, options, JsonNode.class).stream().toList();
    }

    private static List<Integer> numbers(String query) {
        return all(container, query, new CosmosQueryRequestOptions()).stream().map(JsonNode::asInt).toList();
    }

    private static List<Integer> range(int from, int to, int step) {
        return IntStream.iterate(from, n -> n < to, n -> n + step).boxed().toList();
    }

    @Test
    void withParametersWithinAPartition() {
        SqlQuerySpec query = new SqlQuerySpec(
            "SELECT VALUE c.n FROM c WHERE c.n >= @least AND ARRAY_CONTAINS(@ids, c.id) ORDER BY c.n",
            new SqlParameter("@least", 6), new SqlParameter("@ids", List.of("i3", "i6", "i9", "i7")));
        assertEquals(List.of(6, 9), container.queryItems(query, within("k0"), Integer.class).stream().toList());
    }

    @Test
    void acrossPartitions() {
        assertEquals(range(0, 30, 1), numbers("SELECT VALUE c.n FROM c ORDER BY c.n"));
        assertEquals(range(0, 30, 1).stream().map(n -> 29 - n).toList(),
            numbers("SELECT VALUE c.n FROM c ORDER BY c.n DESC"));
        assertEquals(range(5, 12, 1), numbers("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 5 LIMIT 7"));
        assertEquals(List.of(0, 1, 2), numbers("SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n"));
        assertEquals(range(0, 15, 1), numbers("SELECT DISTINCT VALUE c.half FROM c ORDER BY c.half"));
    }

    @Test
    void aggregatesAcrossPartitions() {
        assertEquals(List.of(30), numbers("SELECT VALUE COUNT(1) FROM c"));
        assertEquals(List.of(435), numbers("SELECT VALUE SUM(c.n) FROM c"));
        assertEquals(List.of(29), numbers("SELECT VALUE MAX(c.n) FROM c"));
        assertEquals(List.of(Documents.json("{\"least\":0,\"mean\":14.5}")).toString(), all(container,
            "SELECT MIN(c.n) AS least, AVG(c.n) AS mean FROM c", new CosmosQueryRequestOptions()).toString());
        List<String> groups = all(container, "SELECT c.pk, COUNT(1) AS many, SUM(c.n) AS total FROM c GROUP BY c.pk",
            new CosmosQueryRequestOptions()).stream()
            .map(group -> group.get("pk").asText() + " " + group.get("many") + " " + group.get("total"))
            .sorted().toList();
        assertEquals(List.of("k0 10 135", "k1 10 145", "k2 10 155"), groups);
    }

    private static List<List<Integer>> pages(CosmosQueryRequestOptions options, String query, int size) {
        List<List<Integer>> pages = new ArrayList<>();
        String token = null;
        do {
            // Each page with an iterator of its own, as one request of a web application after another.
            Iterator<FeedResponse<Integer>> one =
                container.queryItems(query, options, Integer.class).iterableByPage(token, size).iterator();
            FeedResponse<Integer> page = one.next();
            pages.add(page.getResults());
            token = page.getContinuationToken();
        } while (token != null);
        return pages;
    }

    @Test
    void pagesGoOnFromTheirToken() {
        assertEquals(List.of(List.of(0, 3, 6, 9), List.of(12, 15, 18, 21), List.of(24, 27)),
            pages(within("k0"), "SELECT VALUE c.n FROM c ORDER BY c.n", 4));
        List<List<Integer>> across = pages(new CosmosQueryRequestOptions(), "SELECT VALUE c.n FROM c ORDER BY c.n", 13);
        assertEquals(List.of(range(0, 13, 1), range(13, 26, 1), range(26, 30, 1)), across);
        List<List<Integer>> unordered = pages(new CosmosQueryRequestOptions(), "SELECT VALUE c.n FROM c", 11);
        assertEquals(List.of(11, 11, 8), unordered.stream().map(List::size).toList());
        assertEquals(range(0, 30, 1), unordered.stream().flatMap(List::stream).sorted().toList());
    }

    @Test
    void aQueryThatIsWrongIsRefused() {
        Documents.fails(400, () -> all(container, "SELECT * FROM c WHERE", new CosmosQueryRequestOptions()));
    }

    @Test
    void anEmptyAnswerHasNoToken() {
        FeedResponse<JsonNode> page = container.queryItems(
            "SELECT * FROM c WHERE c.n = -1", new CosmosQueryRequestOptions(), JsonNode.class)
            .iterableByPage().iterator().next();
        assertEquals(List.of(), page.getResults());
        assertNull(page.getContinuationToken());
    }

    private static PartitionKey key(Object... parts) {
        PartitionKeyBuilder builder = new PartitionKeyBuilder();
        for (Object part : parts) {
            if (part instanceof Integer number) {
                builder.add(number);
            } else {
                builder.add((String) part);
            }
        }
        return builder.build();
    }

    private static List<Integer> ofLevels(PartitionKey key) {
        return levels.queryItems("SELECT VALUE c.n FROM c ORDER BY c.n",
            new CosmosQueryRequestOptions().setPartitionKey(key), Integer.class).stream().toList();
    }

    @Test
    void keysOfSeveralLevels() {
        assertEquals(5, levels.readItem("i5", key("t1", "u1", 5), ObjectNode.class).getItem().get("n").asInt());
        Documents.fails(404, () -> levels.readItem("i5", key("t1", "u0", 5), ObjectNode.class));
        assertEquals(List.of(5), ofLevels(key("t1", "u1", 5)));
        assertEquals(List.of(1, 3), ofLevels(key("t1", "u0")));
        assertEquals(List.of(1, 3, 5, 7), ofLevels(key("t1")));
        assertEquals(List.of(2, 7), levels.readMany(List.of(
                new CosmosItemIdentity(key("t0", "u0", 2), "i2"), new CosmosItemIdentity(key("t1", "u1", 7), "i7")),
            JsonNode.class).getResults().stream().map(item -> item.get("n").asInt()).sorted().toList());
        assertEquals(List.of(0, 2), all(levels, "SELECT VALUE c.n FROM c WHERE c.tenant = 't0' AND c.user = 'u0'",
            new CosmosQueryRequestOptions()).stream().map(JsonNode::asInt).sorted().toList());
    }
}
