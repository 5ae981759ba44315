package stabbur;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

import com.azure.core.util.Context;
import com.azure.storage.blob.BlobClient;
import com.azure.storage.blob.BlobContainerClient;
import com.azure.storage.blob.BlobServiceClient;
import com.azure.storage.blob.models.AccessTier;
import com.azure.storage.blob.models.AppendBlobRequestConditions;
import com.azure.storage.blob.models.BlobErrorCode;
import com.azure.storage.blob.models.BlobListDetails;
import com.azure.storage.blob.models.BlobRequestConditions;
import com.azure.storage.blob.models.BlobRetentionPolicy;
import com.azure.storage.blob.models.BlobServiceProperties;
import com.azure.storage.blob.models.BlobType;
import com.azure.storage.blob.models.CopyStatusType;
import com.azure.storage.blob.models.DeleteSnapshotsOptionType;
import com.azure.storage.blob.models.LeaseStateType;
import com.azure.storage.blob.models.ListBlobsOptions;
import com.azure.storage.blob.models.PageRange;
import com.azure.storage.blob.models.PageRangeItem;
import com.azure.storage.blob.options.BlobParallelUploadOptions;
import com.azure.storage.blob.specialized.AppendBlobClient;
import com.azure.storage.blob.specialized.BlobLeaseClient;
import com.azure.storage.blob.specialized.BlobLeaseClientBuilder;
import com.azure.storage.blob.specialized.PageBlobClient;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Append and page blobs, leases, snapshots, tags, copies and tiers through the storage client. */
class BlobKindsTest {
    @RegisterExtension
    static final Server SERVER = new Server();

    private static BlobServiceClient service;
    private static BlobContainerClient container;

    @BeforeAll
    static void connect() {
        service = Blobs.client(SERVER.blobs()).credential(Blobs.CREDENTIAL).buildClient();
        container = service.createBlobContainer("kinds");
    }

    private static BlobClient made(String name, String text) {
        BlobClient blob = container.getBlobClient(name);
        blob.upload(Blobs.content(text), true);
        return blob;
    }

    @Test
    void anAppendBlobGrows() {
        AppendBlobClient blob = container.getBlobClient("log").getAppendBlobClient();
        blob.create();
        assertEquals("0", blob.appendBlock(Blobs.stream("one\n"), 4).getBlobAppendOffset());
        assertEquals("4", blob.appendBlock(Blobs.stream("two\n"), 4).getBlobAppendOffset());
        Blobs.fails(412, BlobErrorCode.APPEND_POSITION_CONDITION_NOT_MET, () -> blob.appendBlockWithResponse(
            Blobs.stream("x"), 1, null, new AppendBlobRequestConditions().setAppendPosition(4L), null, Context.NONE));
        Blobs.fails(412, BlobErrorCode.MAX_BLOB_SIZE_CONDITION_NOT_MET, () -> blob.appendBlockWithResponse(
            Blobs.stream("x"), 1, null, new AppendBlobRequestConditions().setMaxSize(8L), null, Context.NONE));
        assertEquals("one\ntwo\n", Blobs.text(blob));
        assertEquals(BlobType.APPEND_BLOB, blob.getProperties().getBlobType());
        blob.seal();
        Blobs.fails(409, BlobErrorCode.fromString("BlobIsSealed"), () -> blob.appendBlock(Blobs.stream("x"), 1));
    }

    @Test
    void pagesAreWrittenClearedAndListed() {
        PageBlobClient blob = container.getBlobClient("disk").getPageBlobClient();
        blob.create(8 * 512);
        byte[] page = new byte[1024];
        Arrays.fill(page, (byte) 7);
        blob.uploadPages(new PageRange().setStart(512).setEnd(1535), new ByteArrayInputStream(page));
        blob.uploadPages(new PageRange().setStart(3072).setEnd(4095), new ByteArrayInputStream(page));
        blob.clearPages(new PageRange().setStart(1024).setEnd(1535));
        List<String> ranges = blob.listPageRanges(new com.azure.storage.blob.models.BlobRange(0)).stream()
            .map(BlobKindsTest::shown).toList();
        assertEquals(List.of("512-1023", "3072-4095"), ranges);
        byte[] expected = new byte[8 * 512];
        Arrays.fill(expected, 512, 1024, (byte) 7);
        Arrays.fill(expected, 3072, 4096, (byte) 7);
        assertArrayEquals(expected, blob.downloadContent().toBytes());
        blob.resize(4 * 512);
        assertEquals(2048, blob.getProperties().getBlobSize());
        Blobs.fails(416, BlobErrorCode.INVALID_PAGE_RANGE, () -> blob.uploadPages(
            new PageRange().setStart(2048).setEnd(3071), new ByteArrayInputStream(page)));
    }

    private static String shown(PageRangeItem item) {
        return item.getRange().getOffset() + "-" + (item.getRange().getOffset() + item.getRange().getLength() - 1);
    }

    @Test
    void aLeaseKeepsOthersOut() throws Exception {
        BlobClient blob = made("leased", "one");
        BlobLeaseClient lease = new BlobLeaseClientBuilder().blobClient(blob).buildClient();
        String id = lease.acquireLease(15);
        assertEquals(LeaseStateType.LEASED, blob.getProperties().getLeaseState());
        Blobs.fails(412, BlobErrorCode.LEASE_ID_MISSING, () -> blob.upload(Blobs.content("two"), true));
        Blobs.fails(412, BlobErrorCode.LEASE_ID_MISSING, blob::delete);
        Blobs.fails(409, BlobErrorCode.LEASE_ALREADY_PRESENT,
            () -> new BlobLeaseClientBuilder().blobClient(blob).buildClient().acquireLease(15));
        blob.uploadWithResponse(new BlobParallelUploadOptions(Blobs.content("two"))
            .setRequestConditions(new BlobRequestConditions().setLeaseId(id)), null, Context.NONE);
        assertEquals("two", Blobs.text(blob));
        assertEquals(id, lease.renewLease());
        SERVER.advance(Duration.ofSeconds(16));
        assertEquals(LeaseStateType.EXPIRED, blob.getProperties().getLeaseState());
        blob.upload(Blobs.content("three"), true);

        BlobLeaseClient endless = new BlobLeaseClientBuilder().blobClient(blob).buildClient();
        endless.acquireLease(-1);
        assertEquals(0, endless.breakLease());
        assertEquals(LeaseStateType.BROKEN, blob.getProperties().getLeaseState());
        BlobLeaseClient ofContainer = new BlobLeaseClientBuilder().containerClient(container).buildClient();
        ofContainer.acquireLease(-1);
        Blobs.fails(412, BlobErrorCode.LEASE_ID_MISSING, container::delete);
        ofContainer.releaseLease();
    }

    @Test
    void snapshotsKeepWhatWas() {
        BlobClient blob = made("snapshots", "before");
        BlobClient snapshot = container.getBlobClient("snapshots", blob.createSnapshot().getSnapshotId());
        blob.upload(Blobs.content("after"), true);
        assertEquals("before", Blobs.text(snapshot));
        assertEquals("after", Blobs.text(blob));
        ListBlobsOptions options = new ListBlobsOptions().setPrefix("snapshots")
            .setDetails(new BlobListDetails().setRetrieveSnapshots(true));
        assertEquals(2, container.listBlobs(options, null).stream().count());
        Blobs.fails(409, BlobErrorCode.SNAPSHOTS_PRESENT, blob::delete);
        blob.deleteWithResponse(DeleteSnapshotsOptionType.INCLUDE, null, null, Context.NONE);
        Blobs.fails(404, BlobErrorCode.BLOB_NOT_FOUND, snapshot::downloadContent);
    }

    @Test
    void tagsAreSetAndFound() {
        BlobClient blob = made("tagged", "x");
        blob.setTags(Map.of("case", "42", "state", "open"));
        assertEquals(Map.of("case", "42", "state", "open"), blob.getTags());
        made("untagged", "x");
        assertEquals(List.of("tagged"), service.findBlobsByTags("\"case\" = '42' AND \"state\" >= 'o'").stream()
            .map(found -> found.getName()).toList());
        Blobs.fails(412, BlobErrorCode.CONDITION_NOT_MET, () -> blob.downloadContentWithResponse(
            null, new BlobRequestConditions().setTagsConditions("\"case\" = '43'"), null, Context.NONE));
    }

    @Test
    void copiesWithinTheAccount() {
        BlobClient source = made("source", "copied");
        source.setMetadata(Map.of("m", "1"));
        BlobClient target = container.getBlobClient("target");
        CopyStatusType status =
            target.beginCopy(source.getBlobUrl(), Duration.ofMillis(50)).waitForCompletion().getValue().getCopyStatus();
        assertEquals(CopyStatusType.SUCCESS, status);
        assertEquals("copied", Blobs.text(target));
        assertEquals(Map.of("m", "1"), target.getProperties().getMetadata());
        BlobClient nothing = container.getBlobClient("nothing");
        Blobs.fails(404, BlobErrorCode.CANNOT_VERIFY_COPY_SOURCE,
            () -> target.beginCopy(nothing.getBlobUrl(), Duration.ofMillis(50)).waitForCompletion());
    }

    @Test
    void tiersAreSet() {
        BlobClient blob = made("tiers", "x");
        blob.setAccessTier(AccessTier.COOL);
        assertEquals(AccessTier.COOL, blob.getProperties().getAccessTier());
        blob.setAccessTier(AccessTier.ARCHIVE);
        Blobs.fails(409, BlobErrorCode.BLOB_ARCHIVED, blob::downloadContent);
    }

    @Test
    void deletedBlobsComeBack() {
        BlobServiceProperties before = service.getProperties();
        BlobRetentionPolicy keep = new BlobRetentionPolicy().setEnabled(true).setDays(3);
        service.setProperties(new BlobServiceProperties().setDeleteRetentionPolicy(keep));
        assertEquals(3, service.getProperties().getDeleteRetentionPolicy().getDays());
        BlobClient blob = made("deleted", "kept");
        blob.delete();
        ListBlobsOptions options = new ListBlobsOptions().setPrefix("deleted")
            .setDetails(new BlobListDetails().setRetrieveDeletedBlobs(true));
        assertTrue(container.listBlobs(options, null).stream().allMatch(found -> found.isDeleted()));
        assertEquals(1, container.listBlobs(options, null).stream().count());
        blob.undelete();
        assertEquals("kept", Blobs.text(blob));
        service.setProperties(new BlobServiceProperties().setDeleteRetentionPolicy(before.getDeleteRetentionPolicy()));
    }
}
