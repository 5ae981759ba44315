package stabbur;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Random;

import com.azure.core.http.rest.PagedResponse;
import com.azure.core.util.BinaryData;
import com.azure.core.util.Context;
import com.azure.storage.blob.BlobClient;
import com.azure.storage.blob.BlobContainerClient;
import com.azure.storage.blob.BlobServiceClient;
import com.azure.storage.blob.models.BlobErrorCode;
import com.azure.storage.blob.models.BlobHttpHeaders;
import com.azure.storage.blob.models.BlobItem;
import com.azure.storage.blob.models.BlobProperties;
import com.azure.storage.blob.models.BlobRange;
import com.azure.storage.blob.models.BlobRequestConditions;
import com.azure.storage.blob.models.Block;
import com.azure.storage.blob.models.BlockListType;
import com.azure.storage.blob.models.ListBlobsOptions;
import com.azure.storage.blob.models.ParallelTransferOptions;
import com.azure.storage.blob.options.BlobParallelUploadOptions;
import com.azure.storage.blob.sas.BlobContainerSasPermission;
import com.azure.storage.blob.sas.BlobSasPermission;
import com.azure.storage.blob.sas.BlobServiceSasSignatureValues;
import com.azure.storage.blob.specialized.BlockBlobClient;
import com.azure.storage.common.StorageSharedKeyCredential;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Containers and block blobs through the storage client. */
class BlobsTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static BlobServiceClient service;
    private static BlobContainerClient container;

    @BeforeAll
    static void connect() {
        service = Blobs.client(SERVER.blobs()).credential(Blobs.CREDENTIAL).buildClient();
        container = service.createBlobContainer("box");
    }

    @Test
    void containersAreMadeListedAndDeleted() {
        BlobContainerClient other = service.getBlobContainerClient("other");
        other.createWithResponse(Map.of("purpose", "test"), null, null, Context.NONE);
        assertEquals(Map.of("purpose", "test"), other.getProperties().getMetadata());
        Blobs.fails(409, BlobErrorCode.CONTAINER_ALREADY_EXISTS, other::create);
        assertFalse(other.createIfNotExists());
        other.setMetadata(Map.of("purpose", "another"));
        assertEquals(Map.of("purpose", "another"), other.getProperties().getMetadata());
        assertEquals(List.of("box", "other"),
            service.listBlobContainers().stream().map(found -> found.getName()).toList());
        other.delete();
        assertFalse(other.exists());
        Blobs.fails(404, BlobErrorCode.CONTAINER_NOT_FOUND, other::delete);
    }

    @Test
    void aBlobWithPropertiesAndMetadata() {
        BlobClient blob = container.getBlobClient("mappe/blåbær ø.txt");
        blob.uploadWithResponse(new BlobParallelUploadOptions(Blobs.content("hei på deg"))
            .setHeaders(new BlobHttpHeaders().setContentType("text/plain").setContentLanguage("nb"))
            .setMetadata(Map.of("case", "42")), null, Context.NONE);
        BlobProperties properties = blob.getProperties();
        assertEquals("text/plain", properties.getContentType());
        assertEquals("nb", properties.getContentLanguage());
        assertEquals(Map.of("case", "42"), properties.getMetadata());
        assertEquals(11, properties.getBlobSize());
        assertEquals("hei på deg", Blobs.text(blob));
        blob.setMetadata(Map.of("case", "43", "state", "closed"));
        blob.setHttpHeaders(new BlobHttpHeaders().setContentType("text/markdown"));
        assertEquals(Map.of("case", "43", "state", "closed"), blob.getProperties().getMetadata());
        assertEquals("text/markdown", blob.getProperties().getContentType());
        assertNotEquals(properties.getETag(), blob.getProperties().getETag());
        blob.delete();
        Blobs.fails(404, BlobErrorCode.BLOB_NOT_FOUND, blob::downloadContent);
        assertFalse(blob.deleteIfExists());
    }

    @Test
    void rangesAreRead() {
        BlobClient blob = container.getBlobClient("ranges");
        blob.upload(Blobs.content("0123456789"));
        assertEquals("345", range(blob, new BlobRange(3, 3L)));
        assertEquals("789", range(blob, new BlobRange(7)));
        assertEquals("89", range(blob, new BlobRange(8, 100L)));
        Blobs.fails(416, BlobErrorCode.INVALID_RANGE, () -> range(blob, new BlobRange(10, 1L)));
    }

    private static String range(BlobClient blob, BlobRange range) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        blob.downloadStreamWithResponse(out, range, null, null, false, null, Context.NONE);
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void conditionsDecide() {
        BlobClient blob = container.getBlobClient("conditions");
        blob.upload(Blobs.content("one"));
        Blobs.fails(409, BlobErrorCode.BLOB_ALREADY_EXISTS, () -> blob.upload(Blobs.content("two"), false));
        String etag = blob.getProperties().getETag();
        upload(blob, "two", new BlobRequestConditions().setIfMatch(etag));
        Blobs.fails(412, BlobErrorCode.CONDITION_NOT_MET,
            () -> upload(blob, "three", new BlobRequestConditions().setIfMatch(etag)));
        String now = blob.getProperties().getETag();
        Blobs.fails(304, BlobErrorCode.CONDITION_NOT_MET, () -> blob.downloadContentWithResponse(
            null, new BlobRequestConditions().setIfNoneMatch(now), null, Context.NONE));
        OffsetDateTime later = OffsetDateTime.now().plusHours(1);
        Blobs.fails(412, BlobErrorCode.CONDITION_NOT_MET, () -> blob.deleteWithResponse(
            null, new BlobRequestConditions().setIfModifiedSince(later), null, Context.NONE));
        assertEquals("two", Blobs.text(blob));
        blob.deleteWithResponse(null, new BlobRequestConditions().setIfMatch(now), null, Context.NONE);
        assertFalse(blob.exists());
    }

    private static void upload(BlobClient blob, String text, BlobRequestConditions conditions) {
        blob.uploadWithResponse(new BlobParallelUploadOptions(Blobs.content(text)).setRequestConditions(conditions),
            null, Context.NONE);
    }

    @Test
    void blocksAreStagedListedAndCommitted() {
        BlockBlobClient blob = container.getBlobClient("blocks").getBlockBlobClient();
        List<String> ids = new ArrayList<>();
        for (String part : List.of("one ", "two ", "three")) {
            String id = Base64.getEncoder().encodeToString(("id-" + ids.size()).getBytes(StandardCharsets.UTF_8));
            ids.add(id);
            blob.stageBlock(id, Blobs.content(part));
        }
        Blobs.fails(404, BlobErrorCode.BLOB_NOT_FOUND, blob::getProperties);
        assertEquals(ids, blob.listBlocks(BlockListType.UNCOMMITTED).getUncommittedBlocks().stream()
            .map(Block::getName).toList());
        blob.commitBlockList(List.of(ids.get(2), ids.get(0)), true);
        assertEquals("threeone ", Blobs.text(blob));
        assertEquals(List.of(5L, 4L), blob.listBlocks(BlockListType.ALL).getCommittedBlocks().stream()
            .map(Block::getSizeLong).toList());
        assertEquals(List.of(), blob.listBlocks(BlockListType.ALL).getUncommittedBlocks());
        Blobs.fails(400, BlobErrorCode.INVALID_BLOCK_LIST, () -> blob.commitBlockList(List.of(ids.get(1)), true));
    }

    @Test
    void twentyMebibytesInParallelBlocks() {
        byte[] content = new byte[20 << 20];
        new Random(7).nextBytes(content);
        BlobClient blob = container.getBlobClient("large");
        ParallelTransferOptions parallel = new ParallelTransferOptions()
            .setBlockSizeLong(4L << 20).setMaxConcurrency(4).setMaxSingleUploadSizeLong(1L << 20);
        blob.uploadWithResponse(new BlobParallelUploadOptions(BinaryData.fromBytes(content))
            .setParallelTransferOptions(parallel), Duration.ofMinutes(1), Context.NONE);
        assertEquals(5, blob.getBlockBlobClient().listBlocks(BlockListType.COMMITTED).getCommittedBlocks().size());
        assertArrayEquals(content, blob.downloadContent().toBytes());
        ByteArrayOutputStream part = new ByteArrayOutputStream();
        int from = (4 << 20) - 5;
        blob.downloadStreamWithResponse(part, new BlobRange(from, 10L), null, null, false, null, Context.NONE);
        assertArrayEquals(Arrays.copyOfRange(content, from, from + 10), part.toByteArray());
    }

    @Test
    void listsAreFlatOrATreeAndInPages() {
        for (String name : List.of("l/a", "l/b/1", "l/b/2", "l/c")) {
            container.getBlobClient(name).upload(Blobs.content("x"));
        }
        ListBlobsOptions options = new ListBlobsOptions().setPrefix("l/").setMaxResultsPerPage(3);
        List<List<String>> pages = new ArrayList<>();
        String token = null;
        do {
            PagedResponse<BlobItem> page =
                container.listBlobs(options, token, null).iterableByPage().iterator().next();
            pages.add(page.getValue().stream().map(BlobItem::getName).toList());
            token = page.getContinuationToken();
        } while (token != null);
        assertEquals(List.of(List.of("l/a", "l/b/1", "l/b/2"), List.of("l/c")), pages);
        assertEquals(List.of("blob l/a", "prefix l/b/", "blob l/c"), container.listBlobsByHierarchy("l/").stream()
            .map(item -> (item.isPrefix() != null && item.isPrefix() ? "prefix " : "blob ") + item.getName())
            .sorted(java.util.Comparator.comparing(name -> name.substring(name.indexOf(' ')))).toList());
    }

    @Test
    void signaturesAllowWhatTheySay() {
        BlobClient blob = container.getBlobClient("signed");
        blob.upload(Blobs.content("x"));
        OffsetDateTime soon = OffsetDateTime.now().plusMinutes(5);
        BlobSasPermission read = new BlobSasPermission().setReadPermission(true);
        BlobClient reader = with(blob.generateSas(new BlobServiceSasSignatureValues(soon, read)), "signed");
        assertEquals("x", Blobs.text(reader));
        Blobs.fails(403, BlobErrorCode.AUTHORIZATION_PERMISSION_MISMATCH,
            () -> reader.upload(Blobs.content("y"), true));
        BlobClient late = with(blob.generateSas(
            new BlobServiceSasSignatureValues(OffsetDateTime.now().minusMinutes(5), read)), "signed");
        Blobs.fails(403, BlobErrorCode.AUTHENTICATION_FAILED, late::downloadContent);
        BlobContainerSasPermission write = new BlobContainerSasPermission().setCreatePermission(true);
        String ofContainer = container.generateSas(new BlobServiceSasSignatureValues(soon, write));
        with(ofContainer, "signed-new").upload(Blobs.content("new"));
        assertEquals("new", Blobs.text(container.getBlobClient("signed-new")));
        Blobs.fails(403, BlobErrorCode.AUTHORIZATION_PERMISSION_MISMATCH,
            () -> with(ofContainer, "signed").downloadContent());
    }

    private static BlobClient with(String sas, String name) {
        return Blobs.client(SERVER.blobs()).sasToken(sas).buildClient().getBlobContainerClient("box").getBlobClient(name);
    }

    @Test
    void anotherKeyAndNobodyAreRefused() {
        StorageSharedKeyCredential wrong = new StorageSharedKeyCredential(Server.BLOBS_ACCOUNT, "d3Jvbmc=");
        BlobServiceClient stranger = Blobs.client(SERVER.blobs()).credential(wrong).buildClient();
        Blobs.fails(403, BlobErrorCode.AUTHENTICATION_FAILED, () -> stranger.createBlobContainer("theirs"));
    }

    @Test
    void overTls() {
        BlobContainerClient tls =
            Blobs.client(SERVER.blobsOverTls()).credential(Blobs.CREDENTIAL).buildClient().createBlobContainer("tls");
        tls.getBlobClient("a").upload(Blobs.content("over tls"));
        assertEquals("over tls", Blobs.text(tls.getBlobClient("a")));
        tls.delete();
    }
}
