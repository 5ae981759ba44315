package stabbur;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A server on free ports for the tests of one class. At their end its log must be quiet.
 *
 * <p>The Cosmos client wants https, so the authority of the development server is put into a key store that the
 * whole process trusts, as somebody would do who points an application at it.
 */
final class Server implements BeforeAllCallback, AfterAllCallback {
    static final String BLOBS_ACCOUNT = "devstoreaccount1";
    // The emulators' own keys, published by Microsoft; `stabbur serve` refuses them.
    static final String BLOBS_KEY =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    static final String DOCUMENTS_KEY =
        "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

    private static final Duration READY_MAX = Duration.ofSeconds(20);
    private static final long STOP_SECONDS_MAX = 20;
    private static final Pattern LOUD = Pattern.compile("\\b(WARN|ERROR)\\b|panicked");
    private static final Pattern EXPECTED = Pattern.compile("well-known|development");
    private static final Pattern COLOURS = Pattern.compile("\u001b\\[[0-9;]*m");

    private Path folder;
    private Process process;
    private Database database;
    private JsonNode endpoints;

    @Override
    public void beforeAll(ExtensionContext context) throws Exception {
        folder = Files.createTempDirectory("stabbur-clients-");
        database = Database.make();
        start();
        trust(Path.of(endpoints.path("ca").asText()));
    }

    @Override
    public void afterAll(ExtensionContext context) throws Exception {
        stop();
        String log = Files.readString(log());
        List<String> loud = COLOURS.matcher(log).replaceAll("").lines()
            .filter(line -> LOUD.matcher(line).find() && !EXPECTED.matcher(line).find()).toList();
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
        if (database != null) {
            database.drop();
        }
        Assertions.assertEquals(List.of(), loud, "the server's log has lines that no test expected");
    }

    /** The base of the documents' protocol, over https. */
    String documents() {
        return endpoints.path("documents").asText().replace("http://", "https://");
    }

    /** The base of the development account's blobs. */
    String blobs() {
        String base = endpoints.path("blobs").asText().replaceAll("/$", "");
        return base.endsWith(BLOBS_ACCOUNT) ? base : base + "/" + BLOBS_ACCOUNT;
    }

    /** The same over https. */
    String blobsOverTls() {
        return blobs().replace("http://", "https://");
    }

    /** Moves the server's clock: leases, tokens and time-to-live move with it. */
    void advance(Duration time) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(endpoints.path("admin").asText() + "/dev/clock"))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\"advanceSeconds\":" + time.toSeconds() + "}")).build();
        Assertions.assertEquals(200,
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
    }

    private Path log() {
        return folder.resolve("server.log");
    }

    private void start() throws Exception {
        String binary = System.getenv("STABBUR_BINARY");
        if (binary == null) {
            throw new IllegalStateException("STABBUR_BINARY names no server; run `cargo xtask test`");
        }
        Path ready = folder.resolve("ready.json");
        List<String> command = new ArrayList<>(List.of(binary, "dev", "--data", folder.resolve("data").toString(),
            "--blobs-port", "0", "--documents-port", "0", "--platform-port", "0", "--admin-port", "0",
            "--vault-port", "0", "--login-port", "0", "--registry-port", "0",
            "--ready-file", ready.toString()));
        if (database != null) {
            command.addAll(List.of("--ledger-postgres", database.parameters()));
        }
        command.addAll(contentArguments());
        process = new ProcessBuilder(command).redirectInput(ProcessBuilder.Redirect.from(new java.io.File("/dev/null")))
            .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile())).start();
        long started = System.nanoTime();
        while (endpoints == null) {
            boolean late = System.nanoTime() - started > READY_MAX.toNanos();
            if (late || !process.isAlive()) {
                process.destroyForcibly();
                throw new IllegalStateException("the server isn't ready:\n" + Files.readString(log()));
            }
            try {
                endpoints = new ObjectMapper().readTree(ready.toFile());
            } catch (IOException notYet) {
                Thread.sleep(10);
            }
        }
    }

    /** Asks it to stop; it must end by itself and with success. */
    private void stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(STOP_SECONDS_MAX, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException("the server didn't stop within " + STOP_SECONDS_MAX + " s");
        }
        Assertions.assertEquals(0, process.exitValue(), "how the server stopped");
    }

    /**
     * Content in the object store that STABBUR_CONTENT names, below a prefix of this server's own: a file as
     * `--content-config` takes it, without a prefix.
     */
    private List<String> contentArguments() throws IOException {
        String named = System.getenv("STABBUR_CONTENT");
        if (named == null) {
            return List.of();
        }
        Path config = folder.resolve("content.toml");
        String prefix = "prefix = \"clients-" + UUID.randomUUID() + "\"\n";
        Files.writeString(config, Files.readString(Path.of(named)) + prefix);
        return List.of("--content-config", config.toString());
    }

    private void trust(Path authority) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream file = Files.newInputStream(authority)) {
            Collection<? extends Certificate> all = CertificateFactory.getInstance("X.509").generateCertificates(file);
            for (Certificate one : all) {
                store.setCertificateEntry("stabbur-" + store.size(), one);
            }
        }
        Path kept = folder.resolve("trust.p12");
        try (var out = Files.newOutputStream(kept)) {
            store.store(out, "changeit".toCharArray());
        }
        System.setProperty("javax.net.ssl.trustStore", kept.toString());
        System.setProperty("javax.net.ssl.trustStoreType", "PKCS12");
        System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
    }

    /** A database for one server's ledger, in the PostgreSQL server that STABBUR_POSTGRES names. */
    private record Database(String server, String name) {
        static Database make() throws IOException, InterruptedException {
            String server = System.getenv("STABBUR_POSTGRES");
            if (server == null) {
                return null;
            }
            Database database = new Database(server, "clients_" + UUID.randomUUID().toString().replace("-", ""));
            database.run("CREATE DATABASE " + database.name);
            return database;
        }

        String parameters() {
            return server + " dbname=" + name;
        }

        void drop() throws IOException, InterruptedException {
            run("DROP DATABASE " + name + " WITH (FORCE)");
        }

        private void run(String statement) throws IOException, InterruptedException {
            Process psql = new ProcessBuilder("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
                server + " dbname=postgres", "-c", statement).inheritIO().start();
            Assertions.assertEquals(0, psql.waitFor(), statement);
        }
    }
}
