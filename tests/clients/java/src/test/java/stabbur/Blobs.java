package stabbur;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;

import com.azure.core.util.BinaryData;
import com.azure.storage.blob.BlobServiceClientBuilder;
import com.azure.storage.blob.models.BlobErrorCode;
import com.azure.storage.blob.models.BlobStorageException;
import com.azure.storage.blob.specialized.BlobClientBase;
import com.azure.storage.common.StorageSharedKeyCredential;
import com.azure.storage.common.policy.RequestRetryOptions;
import com.azure.storage.common.policy.RetryPolicyType;
import org.junit.jupiter.api.Assertions;

/** What the tests of blobs share: a client that tries once, content, and expected failures. */
final class Blobs {
    static final StorageSharedKeyCredential CREDENTIAL =
        new StorageSharedKeyCredential(Server.BLOBS_ACCOUNT, Server.BLOBS_KEY);

    private Blobs() {
    }

    /** A client that doesn't hide failures by trying again. */
    static BlobServiceClientBuilder client(String endpoint) {
        return new BlobServiceClientBuilder().endpoint(endpoint)
            .retryOptions(new RequestRetryOptions(RetryPolicyType.FIXED, 1, 60, null, null, null));
    }

    static BinaryData content(String text) {
        return BinaryData.fromString(text);
    }

    static ByteArrayInputStream stream(String text) {
        return new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
    }

    static String text(BlobClientBase blob) {
        return blob.downloadContent().toString();
    }

    /** Runs what must fail with this status and code. */
    static void fails(int status, BlobErrorCode code, org.junit.jupiter.api.function.Executable call) {
        BlobStorageException error = Assertions.assertThrows(BlobStorageException.class, call);
        Assertions.assertEquals(status, error.getStatusCode(), error.getMessage());
        Assertions.assertEquals(code, error.getErrorCode());
    }
}
