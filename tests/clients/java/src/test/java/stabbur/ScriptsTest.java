package stabbur;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosScripts;
import com.azure.cosmos.CosmosStoredProcedure;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.CosmosStoredProcedureProperties;
import com.azure.cosmos.models.CosmosStoredProcedureRequestOptions;
import com.azure.cosmos.models.CosmosStoredProcedureResponse;
import com.azure.cosmos.models.CosmosTriggerProperties;
import com.azure.cosmos.models.CosmosUserDefinedFunctionProperties;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.TriggerOperation;
import com.azure.cosmos.models.TriggerType;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Stored procedures, triggers and functions through the Cosmos client. */
class ScriptsTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static final PartitionKey A = new PartitionKey("a");

    private static CosmosClient client;
    private static CosmosContainer container;
    private static CosmosScripts scripts;

    @BeforeAll
    static void connect() {
        client = Documents.client(SERVER).buildClient();
        client.createDatabase("scripts");
        client.getDatabase("scripts").createContainer("c", "/pk");
        container = client.getDatabase("scripts").getContainer("c");
        scripts = container.getScripts();
    }

    @AfterAll
    static void close() {
        client.close();
    }

    private static CosmosStoredProcedureRequestOptions in(PartitionKey key) {
        return new CosmosStoredProcedureRequestOptions().setPartitionKey(key);
    }

    @Test
    void aStoredProcedureIsMadeRunReplacedAndDeleted() {
        String twice = "function twice(n, text) { getContext().getResponse().setBody({ n: 2 * n, text: text }); }";
        assertEquals(201, scripts.createStoredProcedure(new CosmosStoredProcedureProperties("twice", twice))
            .getStatusCode());
        Documents.fails(409, () -> scripts.createStoredProcedure(new CosmosStoredProcedureProperties("twice", twice)));
        CosmosStoredProcedure procedure = scripts.getStoredProcedure("twice");
        assertEquals(twice, procedure.read().getProperties().getBody());
        CosmosStoredProcedureResponse answer = procedure.execute(List.of(21, "hei"), in(A));
        assertEquals(200, answer.getStatusCode());
        assertEquals(Documents.json("{\"n\":42,\"text\":\"hei\"}"), Documents.json(answer.getResponseAsString()));
        procedure.replace(procedure.read().getProperties().setBody(
            "function thrice(n) { getContext().getResponse().setBody(3 * n); }"));
        assertEquals("63", procedure.execute(List.of(21), in(A)).getResponseAsString());
        assertEquals(List.of("twice"), scripts.readAllStoredProcedures().stream()
            .map(CosmosStoredProcedureProperties::getId).filter("twice"::equals).toList());
        assertEquals(204, procedure.delete().getStatusCode());
        Documents.fails(404, procedure::read);
    }

    @Test
    void aStoredProcedureWritesAllOrNothing() {
        scripts.createStoredProcedure(new CosmosStoredProcedureProperties("fill", """
            function fill(ids, fail) {
              const context = getContext(), collection = context.getCollection();
              let done = 0;
              ids.forEach((id) => collection.createDocument(collection.getSelfLink(), { id, pk: "a", n: 1 }, (error) => {
                if (error) throw error;
                done += 1;
                if (done === ids.length && fail) throw new Error("changed my mind");
                context.getResponse().setBody(done);
              }));
            }"""));
        CosmosStoredProcedure fill = scripts.getStoredProcedure("fill");
        assertEquals("3", fill.execute(List.of(List.of("p1", "p2", "p3"), false), in(A)).getResponseAsString());
        Documents.fails(400, () -> fill.execute(List.of(List.of("p4", "p5"), true), in(A)));
        Documents.fails(404, () -> container.readItem("p4", A, ObjectNode.class));
        assertEquals(1, container.readItem("p3", A, ObjectNode.class).getItem().get("n").asInt());
    }

    @Test
    void aTriggerRunsWithTheWriteThatNamesIt() {
        scripts.createTrigger(new CosmosTriggerProperties("stamp", """
            function stamp() {
              const request = getContext().getRequest(), item = request.getBody();
              item.stamped = true;
              request.setBody(item);
            }""").setTriggerType(TriggerType.PRE).setTriggerOperation(TriggerOperation.CREATE));
        CosmosItemRequestOptions named = new CosmosItemRequestOptions().setPreTriggerInclude(List.of("stamp"));
        container.createItem(Documents.item("t1", "a", 1), A, named);
        container.createItem(Documents.item("t2", "a", 1));
        assertEquals(true, container.readItem("t1", A, ObjectNode.class).getItem().path("stamped").asBoolean());
        assertEquals(false, container.readItem("t2", A, ObjectNode.class).getItem().has("stamped"));
    }

    @Test
    void aQueryCallsAFunction() {
        scripts.createUserDefinedFunction(new CosmosUserDefinedFunctionProperties(
            "shout", "function shout(text) { return text.toUpperCase() + '!'; }"));
        container.createItem(Documents.item("f1", "loud", 1));
        assertEquals(List.of("F1!"), container.queryItems("SELECT VALUE udf.shout(c.id) FROM c WHERE c.pk = 'loud'",
            new CosmosQueryRequestOptions(), String.class).stream().toList());
    }
}
