package stabbur;

import java.util.UUID;
import java.util.function.Supplier;

import com.azure.cosmos.ConsistencyLevel;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Assertions;

/** What the tests of documents share: a client as users build it, items, and expected failures. */
final class Documents {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Documents() {
    }

    static CosmosClientBuilder client(Server server) {
        return new CosmosClientBuilder().endpoint(server.documents()).key(Server.DOCUMENTS_KEY).gatewayMode()
            .consistencyLevel(ConsistencyLevel.SESSION).contentResponseOnWriteEnabled(true);
    }

    static String name(String what) {
        return what + "-" + UUID.randomUUID();
    }

    static ObjectNode item(String id, String key, int number) {
        return JSON.createObjectNode().put("id", id).put("pk", key).put("n", number);
    }

    static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    /** Runs what must fail with this status. */
    static CosmosException fails(int status, Supplier<?> call) {
        CosmosException error = Assertions.assertThrows(CosmosException.class, call::get);
        Assertions.assertEquals(status, error.getStatusCode(), error.getMessage());
        return error;
    }
}
