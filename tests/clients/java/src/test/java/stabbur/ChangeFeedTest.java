package stabbur;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.models.ChangeFeedPolicy;
import com.azure.cosmos.models.CosmosChangeFeedRequestOptions;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The change feed as an application pulls it: both modes, from every start, by ranges and keys. */
class ChangeFeedTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static CosmosClient client;
    private static CosmosDatabase database;

    @BeforeAll
    static void connect() {
        client = Documents.client(SERVER).buildClient();
        client.createDatabase("feed");
        database = client.getDatabase("feed");
    }

    @AfterAll
    static void close() {
        client.close();
    }

    private record Read(List<List<JsonNode>> pages, String token) {
        List<JsonNode> changes() {
            return pages.stream().flatMap(List::stream).toList();
        }

        List<Integer> numbers() {
            return changes().stream().map(change -> change.get("n").asInt()).toList();
        }

        List<String> told() {
            return changes().stream().map(change -> {
                String operation = change.get("metadata").get("operationType").asText();
                JsonNode image = change.get(operation.equals("delete") ? "previous" : "current");
                return operation + " " + image.get("id").asText() + " " + image.get("n").asInt();
            }).toList();
        }
    }

    private static Read read(CosmosContainer container, CosmosChangeFeedRequestOptions options) {
        List<List<JsonNode>> pages = new ArrayList<>();
        String token = null;
        for (FeedResponse<JsonNode> page : container.queryChangeFeed(options, JsonNode.class).iterableByPage()) {
            if (!page.getResults().isEmpty()) {
                pages.add(page.getResults());
            }
            token = page.getContinuationToken();
        }
        return new Read(pages, token);
    }

    private static CosmosChangeFeedRequestOptions beginning(FeedRange range) {
        return CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(range);
    }

    private static CosmosChangeFeedRequestOptions behind(String token) {
        return CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(token);
    }

    private static CosmosContainer made(CosmosContainerProperties properties) {
        database.createContainer(properties);
        return database.getContainer(properties.getId());
    }

    @Test
    void theLatestVersionFromEveryStart() {
        CosmosContainer container = made(new CosmosContainerProperties("latest", "/pk"));
        for (int n = 0; n < 6; n++) {
            container.createItem(Documents.item("i" + n, n % 2 == 0 ? "a" : "b", n));
        }
        FeedRange all = FeedRange.forFullRange();
        assertEquals(List.of(0, 1, 2, 3, 4, 5), read(container, beginning(all)).numbers());
        assertEquals(List.of(1, 3, 5),
            read(container, beginning(FeedRange.forLogicalPartition(new PartitionKey("b")))).numbers());
        List<FeedRange> ranges = container.getFeedRanges();
        assertEquals(1, ranges.size());
        Read paged = read(container, beginning(ranges.get(0)).setMaxItemCount(2));
        assertEquals(List.of(0, 1, 2, 3, 4, 5), paged.numbers());
        assertTrue(paged.pages().stream().allMatch(page -> page.size() <= 2), paged::toString);
        Instant now = Instant.now();
        assertEquals(List.of(0, 1, 2, 3, 4, 5), read(container, CosmosChangeFeedRequestOptions
            .createForProcessingFromPointInTime(now.minusSeconds(300), all)).numbers());
        Read later = read(container, CosmosChangeFeedRequestOptions.createForProcessingFromNow(all));
        assertEquals(List.of(), later.numbers());
        container.upsertItem(Documents.item("i1", "b", 11));
        container.deleteItem("i3", new PartitionKey("b"), new CosmosItemRequestOptions());
        assertEquals(List.of(11), read(container, behind(later.token())).numbers());
        assertEquals(List.of(11), read(container, behind(paged.token())).numbers());
        assertEquals(List.of(0, 2, 4, 5, 11), read(container, beginning(all)).numbers());
    }

    @Test
    void allVersionsAndDeletes() {
        CosmosContainer container = made(new CosmosContainerProperties("versions", "/pk")
            .setChangeFeedPolicy(ChangeFeedPolicy.createAllVersionsAndDeletesPolicy(Duration.ofMinutes(10))));
        assertEquals(Duration.ofMinutes(10),
            container.read().getProperties().getChangeFeedPolicy().getRetentionDurationForAllVersionsAndDeletesPolicy());
        container.createItem(Documents.item("before", "a", 0));
        Read start = read(container, CosmosChangeFeedRequestOptions
            .createForProcessingFromNow(FeedRange.forFullRange()).allVersionsAndDeletes());
        assertEquals(List.of(), start.told());
        container.createItem(Documents.item("1", "a", 1));
        container.upsertItem(Documents.item("1", "a", 2));
        container.createItem(Documents.item("2", "b", 3));
        container.deleteItem("1", new PartitionKey("a"), new CosmosItemRequestOptions());
        Read found = read(container, behind(start.token()).allVersionsAndDeletes());
        assertEquals(List.of("create 1 1", "replace 1 2", "create 2 3", "delete 1 2"), found.told());
        assertEquals(List.of(), read(container, behind(found.token()).allVersionsAndDeletes()).told());
    }

    @Test
    void aContainerThatKeepsNoVersionsRefuses() {
        CosmosContainer container = made(new CosmosContainerProperties("keeps-none", "/pk"));
        Documents.fails(400, () -> read(container, CosmosChangeFeedRequestOptions
            .createForProcessingFromNow(FeedRange.forFullRange()).allVersionsAndDeletes()));
    }
}
