package stabbur;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;

import com.azure.cosmos.ChangeFeedProcessor;
import com.azure.cosmos.ChangeFeedProcessorBuilder;
import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosAsyncDatabase;
import com.azure.cosmos.models.ChangeFeedPolicy;
import com.azure.cosmos.models.ChangeFeedProcessorItem;
import com.azure.cosmos.models.ChangeFeedProcessorOptions;
import com.azure.cosmos.models.ChangeFeedProcessorState;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * The change feed processor, as a backup that reads every change of a container uses it: hosts share leases in a
 * container, one that is restarted goes on behind its last change, and one that is gone is replaced by another.
 */
class ChangeFeedProcessorTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static final Duration WAIT_MAX = Duration.ofSeconds(30);
    private static final long STOP_SETTLES_MILLISECONDS = 1_000;

    private static CosmosAsyncClient client;
    private static CosmosAsyncDatabase database;

    private CosmosAsyncContainer feed;
    private CosmosAsyncContainer leases;
    private final List<ChangeFeedProcessor> started = new ArrayList<>();

    @BeforeAll
    static void connect() {
        client = Documents.client(SERVER).buildAsyncClient();
        client.createDatabase("processor").block();
        database = client.getDatabase("processor");
    }

    @AfterAll
    static void close() {
        client.close();
    }

    @BeforeEach
    void containers() {
        feed = container(new CosmosContainerProperties(Documents.name("feed"), "/pk"));
        leases = container(new CosmosContainerProperties(Documents.name("leases"), "/id"));
    }

    @AfterEach
    void stopAll() {
        started.forEach(processor -> processor.stop().block());
        feed.delete().block();
        leases.delete().block();
    }

    private static CosmosAsyncContainer container(CosmosContainerProperties properties) {
        database.createContainer(properties).block();
        return database.getContainer(properties.getId());
    }

    /** A host's book: which changes were handed to it, in order. */
    private static final class Host {
        final String name;
        final List<Integer> numbers = new CopyOnWriteArrayList<>();
        final List<String> told = new CopyOnWriteArrayList<>();

        Host(String name) {
            this.name = name;
        }

        void latest(List<ChangeFeedProcessorItem> changes) {
            changes.forEach(change -> numbers.add(change.getCurrent().get("n").asInt()));
        }

        void plain(List<JsonNode> items) {
            items.forEach(item -> numbers.add(item.get("n").asInt()));
        }

        void versions(List<ChangeFeedProcessorItem> changes) {
            for (ChangeFeedProcessorItem change : changes) {
                String operation = change.getChangeFeedMetaData().getOperationType().toString();
                JsonNode image = operation.equals("DELETE") ? change.getPrevious() : change.getCurrent();
                told.add(operation + " " + image.get("id").asText() + " " + image.get("n").asInt());
            }
        }
    }

    private ChangeFeedProcessorOptions quick() {
        return new ChangeFeedProcessorOptions()
            .setFeedPollDelay(Duration.ofMillis(100)).setLeaseAcquireInterval(Duration.ofMillis(300))
            .setLeaseRenewInterval(Duration.ofMillis(500)).setLeaseExpirationInterval(Duration.ofSeconds(3))
            .setMaxItemCount(10);
    }

    private ChangeFeedProcessor start(
        Host host, ChangeFeedProcessorOptions options,
        Function<ChangeFeedProcessorBuilder, ChangeFeedProcessorBuilder> handle) {
        ChangeFeedProcessor processor = handle.apply(new ChangeFeedProcessorBuilder().hostName(host.name)
            .feedContainer(feed).leaseContainer(leases).options(options)).buildChangeFeedProcessor();
        processor.start().block(WAIT_MAX);
        started.add(processor);
        return processor;
    }

    private ChangeFeedProcessor fromBeginning(Host host) {
        return start(host, quick().setStartFromBeginning(true),
            builder -> builder.handleLatestVersionChanges(host::latest));
    }

    /** Stops a processor once its lease has its last change, which would be handed over again otherwise. */
    private void stop(ChangeFeedProcessor processor) throws InterruptedException {
        await("no lag", () -> processor.getCurrentState().block().stream()
            .allMatch(state -> state.getEstimatedLag() == 0), () -> processor.getCurrentState().block());
        processor.stop().block(WAIT_MAX);
        started.remove(processor);
        assertFalse(processor.isStarted());
        // A request that was under way may still hand over what is written now.
        Thread.sleep(STOP_SETTLES_MILLISECONDS);
    }

    private void write(int from, int to) {
        for (int n = from; n < to; n++) {
            feed.createItem(Documents.item("i" + n, "k" + n % 7, n)).block();
        }
    }

    private static List<Integer> numbers(int from, int to) {
        return java.util.stream.IntStream.range(from, to).boxed().toList();
    }

    private static void await(String what, BooleanSupplier holds, Supplier<?> seen) throws InterruptedException {
        long end = System.nanoTime() + WAIT_MAX.toNanos();
        while (!holds.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, () -> what + ", but there is " + seen.get());
            Thread.sleep(20);
        }
    }

    private static void awaitNumbers(List<Integer> expected, Host host) throws InterruptedException {
        await("the changes " + expected, () -> host.numbers.size() >= expected.size(), () -> host.numbers);
        assertEquals(expected, host.numbers);
    }

    private List<ObjectNode> ownedLeases() {
        List<ObjectNode> all = leases.queryItems("SELECT * FROM c WHERE IS_DEFINED(c.Owner)",
            new CosmosQueryRequestOptions(), ObjectNode.class).collectList().block();
        return all == null ? List.of() : all;
    }

    private List<String> owners() {
        return ownedLeases().stream().map(lease -> lease.get("Owner").asText()).toList();
    }

    @Test
    void everyChangeIsHandedOverInOrderAndAgain() throws Exception {
        write(0, 25);
        Host host = new Host("one");
        ChangeFeedProcessor processor = fromBeginning(host);
        assertTrue(processor.isStarted());
        awaitNumbers(numbers(0, 25), host);
        write(25, 40);
        awaitNumbers(numbers(0, 40), host);
        feed.upsertItem(Documents.item("i3", "k3", 300)).block();
        await("the change 300", () -> host.numbers.size() == 41, () -> host.numbers);
        assertEquals(300, host.numbers.get(40));
    }

    @Test
    void plainItemsAreHandedOver() throws Exception {
        write(0, 5);
        Host host = new Host("plain");
        start(host, quick().setStartFromBeginning(true), builder -> builder.handleChanges(host::plain));
        awaitNumbers(numbers(0, 5), host);
        write(5, 8);
        awaitNumbers(numbers(0, 8), host);
    }

    @Test
    void withoutABeginningOnlyWhatComesLater() throws Exception {
        write(0, 5);
        Host host = new Host("late");
        ChangeFeedProcessor processor = start(host, quick(), builder -> builder.handleLatestVersionChanges(host::latest));
        await("a lease with a continuation", () -> ownedLeases().stream()
            .anyMatch(lease -> lease.path("ContinuationToken").isTextual()), this::ownedLeases);
        write(5, 8);
        awaitNumbers(numbers(5, 8), host);
        stop(processor);
    }

    @Test
    void aRestartGoesOnFromTheLease() throws Exception {
        write(0, 12);
        Host before = new Host("worker");
        ChangeFeedProcessor processor = fromBeginning(before);
        awaitNumbers(numbers(0, 12), before);
        stop(processor);
        write(12, 20);
        Thread.sleep(500);
        assertEquals(numbers(0, 12), before.numbers, "one that was stopped hands nothing over");
        // The same name, a new process: what was handed over before it stopped doesn't come again.
        Host after = new Host("worker");
        fromBeginning(after);
        awaitNumbers(numbers(12, 20), after);
    }

    @Test
    void theSameProcessorIsStartedAgain() throws Exception {
        write(0, 3);
        Host host = new Host("again");
        ChangeFeedProcessor processor = fromBeginning(host);
        awaitNumbers(numbers(0, 3), host);
        stop(processor);
        write(3, 6);
        processor.start().block(WAIT_MAX);
        started.add(processor);
        awaitNumbers(numbers(0, 6), host);
    }

    @Test
    void twoHostsShareTheLeasesAndEachChangeIsHandedOverOnce() throws Exception {
        Host one = new Host("one");
        Host two = new Host("two");
        ChangeFeedProcessor first = fromBeginning(one);
        ChangeFeedProcessor second = fromBeginning(two);
        write(0, 30);
        List<Host> both = List.of(one, two);
        await("30 changes", () -> count(both) >= 30, () -> seen(both));
        assertEquals(30, count(both));
        assertEquals(new TreeSet<>(numbers(0, 30)), seen(both));
        List<String> owners = owners();
        assertEquals(1, new TreeSet<>(owners).size(), "a container with one range has one lease: " + owners);

        // The owner stops and gives its lease back; the other goes on behind it.
        boolean firstOwns = owners.get(0).equals("one");
        stop(firstOwns ? first : second);
        Host heir = firstOwns ? two : one;
        int already = heir.numbers.size();
        write(30, 45);
        await("15 more changes", () -> heir.numbers.size() - already >= 15, () -> heir.numbers);
        assertEquals(numbers(30, 45), heir.numbers.subList(already, heir.numbers.size()));
        assertEquals(45, count(both));
        assertEquals(List.of(heir.name), owners());
    }

    private static int count(List<Host> hosts) {
        return hosts.stream().mapToInt(host -> host.numbers.size()).sum();
    }

    private static Set<Integer> seen(List<Host> hosts) {
        Set<Integer> all = new TreeSet<>();
        hosts.forEach(host -> all.addAll(host.numbers));
        return all;
    }

    @Test
    void theLeaseOfAHostThatIsGoneIsTaken() throws Exception {
        write(0, 4);
        Host gone = new Host("gone");
        ChangeFeedProcessor first = fromBeginning(gone);
        awaitNumbers(numbers(0, 4), gone);
        stop(first);
        // What a host leaves that was killed: its name in the lease, which nobody renews any more.
        for (ObjectNode lease : leases.queryItems("SELECT * FROM c WHERE IS_DEFINED(c.ContinuationToken)",
            new CosmosQueryRequestOptions(), ObjectNode.class).collectList().block()) {
            lease.put("Owner", "gone");
            leases.replaceItem(lease, lease.get("id").asText(), new PartitionKey(lease.get("id").asText()),
                new CosmosItemRequestOptions().setIfMatchETag(lease.get("_etag").asText())).block();
        }
        assertEquals(List.of("gone"), owners());
        write(4, 9);
        Host heir = new Host("heir");
        fromBeginning(heir);
        awaitNumbers(numbers(4, 9), heir);
        assertEquals(List.of("heir"), owners());
    }

    @Test
    void aChangeThatCouldNotBeHandledComesAgain() throws Exception {
        write(0, 3);
        Host host = new Host("stumbles");
        List<Integer> tries = new CopyOnWriteArrayList<>();
        start(host, quick().setStartFromBeginning(true), builder -> builder.handleLatestVersionChanges(changes -> {
            tries.add(changes.size());
            if (tries.size() == 1) {
                throw new IllegalStateException("the backup's disk is full");
            }
            host.latest(changes);
        }));
        awaitNumbers(numbers(0, 3), host);
        assertTrue(tries.size() >= 2, tries::toString);
    }

    @Test
    void theLagIsEstimated() throws Exception {
        write(0, 6);
        Host host = new Host("lag");
        ChangeFeedProcessor processor = fromBeginning(host);
        awaitNumbers(numbers(0, 6), host);
        await("no lag", () -> processor.getCurrentState().block().stream()
                .allMatch(state -> state.getEstimatedLag() == 0), () -> processor.getCurrentState().block());
        List<ChangeFeedProcessorState> states = processor.getCurrentState().block();
        assertEquals(List.of("lag"), states.stream().map(ChangeFeedProcessorState::getHostName).toList());
        stop(processor);
        write(6, 10);
        List<ChangeFeedProcessorState> behind = processor.getCurrentState().block();
        // Positions are commits of all containers, so it is an upper bound, as estimates are.
        assertTrue(behind.size() == 1 && behind.get(0).getEstimatedLag() >= 4,
            () -> behind.get(0).getEstimatedLag() + " behind");
    }

    @Test
    void allVersionsAndDeletesAreHandedOverAndGoOnAfterARestart() throws Exception {
        feed.delete().block();
        feed = container(new CosmosContainerProperties(Documents.name("versions"), "/pk")
            .setChangeFeedPolicy(ChangeFeedPolicy.createAllVersionsAndDeletesPolicy(Duration.ofMinutes(10))));
        write(0, 1);
        Host before = new Host("versions");
        ChangeFeedProcessor processor =
            start(before, quick(), builder -> builder.handleAllVersionsAndDeletesChanges(before::versions));
        await("a lease with a continuation", () -> ownedLeases().stream()
            .anyMatch(lease -> lease.path("ContinuationToken").isTextual()), this::ownedLeases);
        write(1, 2);
        feed.upsertItem(Documents.item("i1", "k1", 10)).block();
        feed.upsertItem(Documents.item("i1", "k1", 11)).block();
        feed.deleteItem("i1", new PartitionKey("k1")).block();
        List<String> expected = List.of("CREATE i1 1", "REPLACE i1 10", "REPLACE i1 11", "DELETE i1 11");
        await(expected.toString(), () -> before.told.size() >= expected.size(), () -> before.told);
        assertEquals(expected, before.told);
        processor.stop().block(WAIT_MAX);
        started.remove(processor);
        Thread.sleep(STOP_SETTLES_MILLISECONDS);
        feed.deleteItem("i0", new PartitionKey("k0")).block();
        write(2, 3);
        Host after = new Host("versions");
        start(after, quick(), builder -> builder.handleAllVersionsAndDeletesChanges(
            (changes, context) -> after.versions(changes)));
        List<String> more = List.of("DELETE i0 0", "CREATE i2 2");
        // What the lease had not yet when the first one stopped comes again before.
        await(more.toString(), () -> after.told.containsAll(more), () -> after.told);
        assertEquals(more, after.told.subList(after.told.size() - more.size(), after.told.size()));
    }
}
