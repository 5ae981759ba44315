package clients

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// once is a client's way of not trying again, which would hide a failure.
func once() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
}

func blobServiceAt(t *testing.T, address, key string, options azcore.ClientOptions) *service.Client {
	t.Helper()
	credential := ok(service.NewSharedKeyCredential(blobsAccount, key))(t)
	return ok(service.NewClientWithSharedKeyCredential(address, credential, &service.ClientOptions{ClientOptions: options}))(t)
}

func blobService(t *testing.T) *service.Client {
	t.Helper()
	return blobServiceAt(t, server.blobs(), blobsKey, once())
}

// ownBox is a blob container of the test's own.
func ownBox(t *testing.T) *container.Client {
	t.Helper()
	box := blobService(t).NewContainerClient("go-" + chance())
	ok(box.Create(ctx, nil))(t)
	t.Cleanup(func() {
		if _, err := box.Delete(ctx, nil); err != nil {
			t.Error(err)
		}
	})
	return box
}

func body(text string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(text)) }

func upload(t *testing.T, box *container.Client, name, text string) *blockblob.Client {
	t.Helper()
	one := box.NewBlockBlobClient(name)
	ok(one.Upload(ctx, body(text), nil))(t)
	return one
}

// downloader is a blob of any kind.
type downloader interface {
	DownloadStream(context.Context, *blob.DownloadStreamOptions) (blob.DownloadStreamResponse, error)
}

func download(t *testing.T, from downloader, options *blob.DownloadStreamOptions) string {
	t.Helper()
	answer := ok(from.DownloadStream(ctx, options))(t)
	defer answer.Body.Close()
	return string(ok(io.ReadAll(answer.Body))(t))
}

// plain is metadata as it was sent: the client gives names as HTTP writes them.
func plain(metadata map[string]*string) map[string]string {
	all := map[string]string{}
	for name, value := range metadata {
		all[strings.ToLower(name)] = *value
	}
	return all
}

func TestContainersAreMadeListedAndDeletedAsBlobs(t *testing.T) {
	client := blobService(t)
	prefix := "go-" + chance()
	one, two := client.NewContainerClient(prefix+"-a"), client.NewContainerClient(prefix+"-b")
	ok(one.Create(ctx, nil))(t)
	ok(two.Create(ctx, &container.CreateOptions{Metadata: map[string]*string{"purpose": to.Ptr("test")}}))(t)
	_, err := two.Create(ctx, nil)
	fails(t, err, http.StatusConflict, "ContainerAlreadyExists")
	equal(t, plain(ok(two.GetProperties(ctx, nil))(t).Metadata), map[string]string{"purpose": "test"})
	names := [][]string{}
	for pager := client.NewListContainersPager(&service.ListContainersOptions{Prefix: &prefix, MaxResults: to.Ptr(int32(1))}); pager.More(); {
		page := []string{}
		for _, found := range ok(pager.NextPage(ctx))(t).ContainerItems {
			page = append(page, *found.Name)
		}
		names = append(names, page)
	}
	equal(t, names, [][]string{{prefix + "-a"}, {prefix + "-b"}})
	ok(one.Delete(ctx, nil))(t)
	ok(two.Delete(ctx, nil))(t)
	_, err = two.GetProperties(ctx, nil)
	fails(t, err, http.StatusNotFound, "ContainerNotFound")
}

func TestABlobWithPropertiesAndMetadata(t *testing.T) {
	box := ownBox(t)
	one := box.NewBlockBlobClient("mappe/blåbær ø.txt")
	ok(one.Upload(ctx, body("hei på deg"), &blockblob.UploadOptions{
		Metadata: map[string]*string{"case": to.Ptr("42")}, HTTPHeaders: &blob.HTTPHeaders{BlobContentType: to.Ptr("text/plain")}}))(t)
	properties := ok(one.GetProperties(ctx, nil))(t)
	equal(t, *properties.ContentType, "text/plain")
	equal(t, *properties.ContentLength, 11)
	equal(t, plain(properties.Metadata), map[string]string{"case": "42"})
	equal(t, download(t, one, nil), "hei på deg")
	ok(one.SetMetadata(ctx, map[string]*string{"state": to.Ptr("closed")}, nil))(t)
	ok(one.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: to.Ptr("text/markdown")}, nil))(t)
	properties = ok(one.GetProperties(ctx, nil))(t)
	equal(t, *properties.ContentType, "text/markdown")
	equal(t, plain(properties.Metadata), map[string]string{"state": "closed"})
	ok(one.Delete(ctx, nil))(t)
	_, err := one.DownloadStream(ctx, nil)
	fails(t, err, http.StatusNotFound, "BlobNotFound")
}

func TestRangesAreRead(t *testing.T) {
	one := upload(t, ownBox(t), "ranges", "0123456789")
	read := func(offset, count int64) string {
		return download(t, one, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset, Count: count}})
	}
	equal(t, read(3, 3), "345")
	equal(t, read(7, 0), "789")
	equal(t, read(8, 100), "89")
	_, err := one.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 10, Count: 1}})
	fails(t, err, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
}

func TestConditionsDecide(t *testing.T) {
	one := upload(t, ownBox(t), "conditions", "one")
	put := func(text string, conditions blob.ModifiedAccessConditions) error {
		_, err := one.Upload(ctx, body(text), &blockblob.UploadOptions{
			AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &conditions}})
		return err
	}
	fails(t, put("two", blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}), http.StatusConflict, "BlobAlreadyExists")
	etag := ok(one.GetProperties(ctx, nil))(t).ETag
	must(t, put("two", blob.ModifiedAccessConditions{IfMatch: etag}))
	fails(t, put("three", blob.ModifiedAccessConditions{IfMatch: etag}), http.StatusPreconditionFailed, "ConditionNotMet")
	now := ok(one.GetProperties(ctx, nil))(t).ETag
	// For this client 304 is no failure of a download, only without a body.
	same := ok(one.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: now}}}))(t)
	equal(t, same.Body == nil, true)
	_, err := one.Delete(ctx, &blob.DeleteOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfModifiedSince: to.Ptr(time.Now().Add(time.Hour))}}})
	fails(t, err, http.StatusPreconditionFailed, "ConditionNotMet")
	equal(t, download(t, one, nil), "two")
}

func TestBlocksAreStagedListedAndCommitted(t *testing.T) {
	one := ownBox(t).NewBlockBlobClient("blocks")
	ids := []string{}
	for _, part := range []string{"one ", "two ", "three"} {
		id := base64.StdEncoding.EncodeToString([]byte{'i', byte(len(ids))})
		ids = append(ids, id)
		ok(one.StageBlock(ctx, id, body(part), nil))(t)
	}
	_, err := one.GetProperties(ctx, nil)
	fails(t, err, http.StatusNotFound, "BlobNotFound")
	staged := []string{}
	for _, block := range ok(one.GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil))(t).UncommittedBlocks {
		staged = append(staged, *block.Name)
	}
	equal(t, staged, ids)
	ok(one.CommitBlockList(ctx, []string{ids[2], ids[0]}, nil))(t)
	equal(t, download(t, one, nil), "threeone ")
	list := ok(one.GetBlockList(ctx, blockblob.BlockListTypeAll, nil))(t)
	equal(t, len(list.CommittedBlocks), 2)
	equal(t, len(list.UncommittedBlocks), 0)
	_, err = one.CommitBlockList(ctx, []string{ids[1]}, nil)
	fails(t, err, http.StatusBadRequest, "InvalidBlockList")
}

func TestTwentyMebibytesInParallelBlocks(t *testing.T) {
	content := make([]byte, 20<<20)
	_, _ = rand.Read(content)
	box := ownBox(t)
	one := box.NewBlockBlobClient("large")
	ok(one.UploadStream(ctx, bytes.NewReader(content), &blockblob.UploadStreamOptions{BlockSize: 4 << 20, Concurrency: 4}))(t)
	list := ok(one.GetBlockList(ctx, blockblob.BlockListTypeCommitted, nil))(t)
	equal(t, len(list.CommittedBlocks), 5)
	found := make([]byte, len(content))
	equal(t, ok(one.DownloadBuffer(ctx, found, &blob.DownloadBufferOptions{BlockSize: 3 << 20, Concurrency: 4}))(t), 20<<20)
	equal(t, bytes.Equal(found, content), true)
	// Up to 256 MiB the client sends a buffer in one request.
	whole := box.NewBlockBlobClient("whole")
	ok(whole.UploadBuffer(ctx, content, nil))(t)
	equal(t, download(t, whole, nil) == string(content), true)
}

func TestListsAreFlatOrATreeAndInPages(t *testing.T) {
	box := ownBox(t)
	for _, name := range []string{"l/a", "l/b/1", "l/b/2", "l/c"} {
		upload(t, box, name, "x")
	}
	pages := [][]string{}
	options := &container.ListBlobsFlatOptions{Prefix: to.Ptr("l/"), MaxResults: to.Ptr(int32(3))}
	for pager := box.NewListBlobsFlatPager(options); pager.More(); {
		page := []string{}
		for _, found := range ok(pager.NextPage(ctx))(t).Segment.BlobItems {
			page = append(page, *found.Name)
		}
		pages = append(pages, page)
	}
	equal(t, pages, [][]string{{"l/a", "l/b/1", "l/b/2"}, {"l/c"}})
	tree := ok(box.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: to.Ptr("l/")}).NextPage(ctx))(t)
	equal(t, len(tree.Segment.BlobItems), 2)
	equal(t, len(tree.Segment.BlobPrefixes), 1)
	equal(t, *tree.Segment.BlobPrefixes[0].Name, "l/b/")
}

func TestSignaturesAllowWhatTheySay(t *testing.T) {
	box := ownBox(t)
	one := upload(t, box, "signed", "x")
	open := func(address string) *blockblob.Client {
		return ok(blockblob.NewClientWithNoCredential(address, &blockblob.ClientOptions{ClientOptions: once()}))(t)
	}
	read := sas.BlobPermissions{Read: true}
	reader := open(ok(one.GetSASURL(read, time.Now().Add(5*time.Minute), nil))(t))
	equal(t, download(t, reader, nil), "x")
	_, err := reader.Upload(ctx, body("y"), nil)
	fails(t, err, http.StatusForbidden, "AuthorizationPermissionMismatch")
	_, err = open(ok(one.GetSASURL(read, time.Now().Add(-5*time.Minute), nil))(t)).DownloadStream(ctx, nil)
	fails(t, err, http.StatusForbidden, "AuthenticationFailed")
	signed := ok(box.GetSASURL(sas.ContainerPermissions{List: true}, time.Now().Add(5*time.Minute), nil))(t)
	lister := ok(container.NewClientWithNoCredential(signed, &container.ClientOptions{ClientOptions: once()}))(t)
	equal(t, len(ok(lister.NewListBlobsFlatPager(nil).NextPage(ctx))(t).Segment.BlobItems), 1)
	_, err = lister.NewBlobClient("signed").DownloadStream(ctx, nil)
	fails(t, err, http.StatusForbidden, "AuthorizationPermissionMismatch")
}

func TestBlobsOverTLSAndAnotherKey(t *testing.T) {
	options := once()
	options.Transport = ok(server.trusting())(t)
	box := blobServiceAt(t, overTLS(server.blobs()), blobsKey, options).NewContainerClient("go-" + chance())
	ok(box.Create(ctx, nil))(t)
	equal(t, download(t, upload(t, box, "a", "over tls"), nil), "over tls")
	ok(box.Delete(ctx, nil))(t)
	stranger := blobServiceAt(t, server.blobs(), "d3Jvbmc=", once())
	_, err := stranger.NewContainerClient("theirs").Create(ctx, nil)
	fails(t, err, http.StatusForbidden, "AuthenticationFailed")
}
