package clients

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

func TestAnAppendBlobGrows(t *testing.T) {
	one := ownBox(t).NewAppendBlobClient("log")
	ok(one.Create(ctx, nil))(t)
	equal(t, *ok(one.AppendBlock(ctx, body("one\n"), nil))(t).BlobAppendOffset, "0")
	equal(t, *ok(one.AppendBlock(ctx, body("two\n"), nil))(t).BlobAppendOffset, "4")
	conditional := func(conditions appendblob.AppendPositionAccessConditions) error {
		_, err := one.AppendBlock(ctx, body("x"), &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &conditions})
		return err
	}
	fails(t, conditional(appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(int64(4))}),
		http.StatusPreconditionFailed, "AppendPositionConditionNotMet")
	fails(t, conditional(appendblob.AppendPositionAccessConditions{MaxSize: to.Ptr(int64(8))}),
		http.StatusPreconditionFailed, "MaxBlobSizeConditionNotMet")
	equal(t, download(t, one, nil), "one\ntwo\n")
	ok(one.Seal(ctx, nil))(t)
	_, err := one.AppendBlock(ctx, body("x"), nil)
	fails(t, err, http.StatusConflict, "BlobIsSealed")
}

func TestPagesAreWrittenClearedAndListed(t *testing.T) {
	one := ownBox(t).NewPageBlobClient("disk")
	ok(one.Create(ctx, 8*512, nil))(t)
	pages := strings.Repeat("7", 1024)
	ok(one.UploadPages(ctx, body(pages), blob.HTTPRange{Offset: 512, Count: 1024}, nil))(t)
	ok(one.UploadPages(ctx, body(pages), blob.HTTPRange{Offset: 3072, Count: 1024}, nil))(t)
	ok(one.ClearPages(ctx, blob.HTTPRange{Offset: 1024, Count: 512}, nil))(t)
	ranges := [][2]int64{}
	for pager := one.NewGetPageRangesPager(nil); pager.More(); {
		for _, found := range ok(pager.NextPage(ctx))(t).PageRange {
			ranges = append(ranges, [2]int64{*found.Start, *found.End})
		}
	}
	equal(t, ranges, [][2]int64{{512, 1023}, {3072, 4095}})
	nothing := strings.Repeat("\x00", 512)
	equal(t, download(t, one, nil), nothing+pages[:512]+strings.Repeat(nothing, 4)+pages)
	ok(one.Resize(ctx, 4*512, nil))(t)
	equal(t, *ok(one.GetProperties(ctx, nil))(t).ContentLength, 2048)
	_, err := one.UploadPages(ctx, body(pages), blob.HTTPRange{Offset: 2048, Count: 1024}, nil)
	fails(t, err, http.StatusRequestedRangeNotSatisfiable, "InvalidPageRange")
}

func TestALeaseKeepsOthersOut(t *testing.T) {
	one := upload(t, ownBox(t), "leased", "one")
	held := ok(lease.NewBlobClient(one, nil))(t)
	id := ok(held.AcquireLease(ctx, 15, nil))(t).LeaseID
	_, err := one.Upload(ctx, body("two"), nil)
	fails(t, err, http.StatusPreconditionFailed, "LeaseIdMissing")
	_, err = ok(lease.NewBlobClient(one, nil))(t).AcquireLease(ctx, 15, nil)
	fails(t, err, http.StatusConflict, "LeaseAlreadyPresent")
	ok(one.Upload(ctx, body("two"), &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{
		LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: id}}}))(t)
	ok(held.RenewLease(ctx, nil))(t)
	server.advance(t, 16*time.Second)
	equal(t, *ok(one.GetProperties(ctx, nil))(t).LeaseState, lease.StateTypeExpired)
	ok(one.Upload(ctx, body("three"), nil))(t)
	endless := ok(lease.NewBlobClient(one, nil))(t)
	ok(endless.AcquireLease(ctx, -1, nil))(t)
	equal(t, *ok(endless.BreakLease(ctx, nil))(t).LeaseTime, 0)
	equal(t, *ok(one.GetProperties(ctx, nil))(t).LeaseState, lease.StateTypeBroken)
}

func TestSnapshotsKeepWhatWas(t *testing.T) {
	box := ownBox(t)
	one := upload(t, box, "snapshots", "before")
	snapshot := ok(one.WithSnapshot(*ok(one.CreateSnapshot(ctx, nil))(t).Snapshot))(t)
	ok(one.Upload(ctx, body("after"), nil))(t)
	equal(t, download(t, snapshot, nil), "before")
	equal(t, download(t, one, nil), "after")
	listed := ok(box.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Include: container.ListBlobsInclude{Snapshots: true}}).NextPage(ctx))(t)
	equal(t, len(listed.Segment.BlobItems), 2)
	_, err := one.Delete(ctx, nil)
	fails(t, err, http.StatusConflict, "SnapshotsPresent")
	ok(one.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude)}))(t)
	_, err = snapshot.GetProperties(ctx, nil)
	fails(t, err, http.StatusNotFound, "BlobNotFound")
}

func TestTagsAreSetAndFound(t *testing.T) {
	box := ownBox(t)
	one := upload(t, box, "tagged", "x")
	ok(one.SetTags(ctx, map[string]string{"case": "42", "state": "open"}, nil))(t)
	tags := map[string]string{}
	for _, tag := range ok(one.GetTags(ctx, nil))(t).BlobTagSet {
		tags[*tag.Key] = *tag.Value
	}
	equal(t, tags, map[string]string{"case": "42", "state": "open"})
	upload(t, box, "untagged", "x")
	found := ok(box.FilterBlobs(ctx, `"case" = '42' AND "state" >= 'o'`, nil))(t).Blobs
	equal(t, len(found), 1)
	equal(t, *found[0].Name, "tagged")
	_, err := one.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfTags: to.Ptr(`"case" = '43'`)}}})
	fails(t, err, http.StatusPreconditionFailed, "ConditionNotMet")
}

func TestCopiesWithinTheAccount(t *testing.T) {
	box := ownBox(t)
	source := upload(t, box, "source", "copied")
	ok(source.SetMetadata(ctx, map[string]*string{"m": to.Ptr("1")}, nil))(t)
	target := box.NewBlockBlobClient("target")
	equal(t, *ok(target.StartCopyFromURL(ctx, source.URL(), nil))(t).CopyStatus, blob.CopyStatusTypeSuccess)
	equal(t, download(t, target, nil), "copied")
	equal(t, plain(ok(target.GetProperties(ctx, nil))(t).Metadata), map[string]string{"m": "1"})
	_, err := target.StartCopyFromURL(ctx, box.NewBlobClient("nothing").URL(), nil)
	fails(t, err, http.StatusNotFound, "CannotVerifyCopySource")
}

func TestABatchOfDeletions(t *testing.T) {
	box := ownBox(t)
	upload(t, box, "a", "x")
	upload(t, box, "b", "x")
	builder := ok(box.NewBatchBuilder())(t)
	for _, name := range []string{"a", "b", "nothing"} {
		must(t, builder.Delete(name, nil))
	}
	answer := ok(box.SubmitBatch(ctx, builder, nil))(t)
	equal(t, len(answer.Responses), 3)
	for _, part := range answer.Responses[:2] {
		must(t, part.Error)
	}
	fails(t, answer.Responses[2].Error, http.StatusNotFound, "BlobNotFound")
	equal(t, len(ok(box.NewListBlobsFlatPager(nil).NextPage(ctx))(t).Segment.BlobItems), 0)
}
