package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

func documents(t *testing.T) *azcosmos.Client {
	t.Helper()
	return documentsAt(t, server.endpoints.Documents, documentsKey, azcore.ClientOptions{})
}

func documentsAt(t *testing.T, endpoint, key string, options azcore.ClientOptions) *azcosmos.Client {
	t.Helper()
	// One try: a client that tries again would hide a failure.
	options.Retry = policy.RetryOptions{MaxRetries: -1}
	credential := ok(azcosmos.NewKeyCredential(key))(t)
	client := ok(azcosmos.NewClientWithKey(endpoint, credential,
		&azcosmos.ClientOptions{ClientOptions: options, EnableContentResponseOnWrite: true}))(t)
	t.Cleanup(client.Close)
	return client
}

// ownDatabase is a database of the test's own.
func ownDatabase(t *testing.T) *azcosmos.DatabaseClient {
	t.Helper()
	client := documents(t)
	id := "go-" + chance()
	ok(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil))(t)
	database := ok(client.NewDatabase(id))(t)
	t.Cleanup(func() {
		if _, err := database.Delete(ctx, nil); err != nil {
			t.Error(err)
		}
	})
	return database
}

func ownContainer(t *testing.T, paths ...string) *azcosmos.ContainerClient {
	t.Helper()
	database := ownDatabase(t)
	key := azcosmos.PartitionKeyDefinition{Paths: paths}
	if len(paths) > 1 {
		key.Kind, key.Version = azcosmos.PartitionKeyKindMultiHash, 2
	}
	properties := azcosmos.ContainerProperties{ID: "c", PartitionKeyDefinition: key}
	created := ok(database.CreateContainer(ctx, properties, nil))(t)
	equal(t, created.RawResponse.StatusCode, http.StatusCreated)
	return ok(database.NewContainer("c"))(t)
}

type item struct {
	ID     string   `json:"id"`
	Key    string   `json:"pk"`
	N      int      `json:"n"`
	Tags   []string `json:"tags,omitempty"`
	Title  string   `json:"title,omitempty"`
	Tenant string   `json:"tenant,omitempty"`
	User   string   `json:"user,omitempty"`
}

func (i item) json() []byte {
	text, _ := json.Marshal(i)
	return text
}

func parsed(t *testing.T, text []byte) item {
	t.Helper()
	var one item
	must(t, json.Unmarshal(text, &one))
	return one
}

func key(value string) azcosmos.PartitionKey { return azcosmos.NewPartitionKeyString(value) }

func create(t *testing.T, container *azcosmos.ContainerClient, one item) azcosmos.ItemResponse {
	t.Helper()
	return ok(container.CreateItem(ctx, key(one.Key), one.json(), nil))(t)
}

func TestDatabasesAreMadeReadListedAndDeleted(t *testing.T) {
	client := documents(t)
	id := "go-" + chance()
	created := ok(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil))(t)
	equal(t, created.RawResponse.StatusCode, http.StatusCreated)
	_, err := client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil)
	fails(t, err, http.StatusConflict, "")
	database := ok(client.NewDatabase(id))(t)
	equal(t, ok(database.Read(ctx, nil))(t).DatabaseProperties.ID, id)
	pager := client.NewQueryDatabasesPager("SELECT * FROM root r WHERE r.id = @id", &azcosmos.QueryDatabasesOptions{
		QueryParameters: []azcosmos.QueryParameter{{Name: "@id", Value: id}}})
	page := ok(pager.NextPage(ctx))(t)
	equal(t, len(page.Databases), 1)
	equal(t, page.Databases[0].ID, id)
	deleted := ok(database.Delete(ctx, nil))(t)
	equal(t, deleted.RawResponse.StatusCode, http.StatusNoContent)
	_, err = database.Read(ctx, nil)
	fails(t, err, http.StatusNotFound, "")
}

func TestContainersAreMadeReadReplacedAndDeleted(t *testing.T) {
	database := ownDatabase(t)
	properties := azcosmos.ContainerProperties{ID: "one", PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/pk"}},
		UniqueKeyPolicy: &azcosmos.UniqueKeyPolicy{UniqueKeys: []azcosmos.UniqueKey{{Paths: []string{"/n"}}}}}
	ok(database.CreateContainer(ctx, properties, nil))(t)
	_, err := database.CreateContainer(ctx, properties, nil)
	fails(t, err, http.StatusConflict, "")
	container := ok(database.NewContainer("one"))(t)
	read := ok(container.Read(ctx, nil))(t).ContainerProperties
	equal(t, read.PartitionKeyDefinition.Paths, []string{"/pk"})
	read.DefaultTimeToLive = to.Ptr(int32(60))
	ok(container.Replace(ctx, *read, nil))(t)
	equal(t, *ok(container.Read(ctx, nil))(t).ContainerProperties.DefaultTimeToLive, 60)
	create(t, container, item{ID: "1", Key: "a", N: 1})
	_, err = container.CreateItem(ctx, key("a"), item{ID: "2", Key: "a", N: 1}.json(), nil)
	fails(t, err, http.StatusConflict, "")
	create(t, container, item{ID: "2", Key: "b", N: 1})
	ok(container.Delete(ctx, nil))(t)
	_, err = container.Read(ctx, nil)
	fails(t, err, http.StatusNotFound, "")
}

func TestThroughputIsReadAndReplaced(t *testing.T) {
	database := ownDatabase(t)
	for id, made := range map[string]azcosmos.ThroughputProperties{
		"manual": azcosmos.NewManualThroughputProperties(400), "autoscale": azcosmos.NewAutoscaleThroughputProperties(4000),
	} {
		ok(database.CreateContainer(ctx, azcosmos.ContainerProperties{ID: id,
			PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/pk"}}},
			&azcosmos.CreateContainerOptions{ThroughputProperties: &made}))(t)
	}
	manual := ok(database.NewContainer("manual"))(t)
	read := func(container *azcosmos.ContainerClient) *azcosmos.ThroughputProperties {
		return ok(container.ReadThroughput(ctx, nil))(t).ThroughputProperties
	}
	number, is := read(manual).ManualThroughput()
	equal(t, fmt.Sprint(number, is), "400 true")
	ok(manual.ReplaceThroughput(ctx, azcosmos.NewManualThroughputProperties(700), nil))(t)
	number, is = read(manual).ManualThroughput()
	equal(t, fmt.Sprint(number, is), "700 true")
	autoscale := ok(database.NewContainer("autoscale"))(t)
	number, is = read(autoscale).AutoscaleMaxThroughput()
	equal(t, fmt.Sprint(number, is), "4000 true")
}

func TestAnItemsLife(t *testing.T) {
	container := ownContainer(t, "/pk")
	created := create(t, container, item{ID: "1", Key: "a", N: 1})
	equal(t, created.RawResponse.StatusCode, http.StatusCreated)
	equal(t, parsed(t, created.Value), item{ID: "1", Key: "a", N: 1})
	if created.RequestCharge <= 0 || created.ETag == "" || created.ActivityID == "" || created.SessionToken == nil {
		t.Fatal("a write has a charge, an etag, an activity and a session", created)
	}
	_, err := container.CreateItem(ctx, key("a"), item{ID: "1", Key: "a", N: 2}.json(), nil)
	fails(t, err, http.StatusConflict, "")
	replaced := ok(container.ReplaceItem(ctx, key("a"), "1", item{ID: "1", Key: "a", N: 2}.json(), nil))(t)
	if replaced.ETag == created.ETag {
		t.Fatal("a new version has a new etag")
	}
	upsert := func(one item) int {
		answer := ok(container.UpsertItem(ctx, key(one.Key), one.json(), nil))(t)
		return answer.RawResponse.StatusCode
	}
	equal(t, upsert(item{ID: "1", Key: "a", N: 3}), http.StatusOK)
	equal(t, upsert(item{ID: "2", Key: "a", N: 4}), http.StatusCreated)
	read := ok(container.ReadItem(ctx, key("a"), "1", nil))(t)
	equal(t, parsed(t, read.Value).N, 3)
	deleted := ok(container.DeleteItem(ctx, key("a"), "1", nil))(t)
	equal(t, deleted.RawResponse.StatusCode, http.StatusNoContent)
	_, err = container.ReadItem(ctx, key("a"), "1", nil)
	fails(t, err, http.StatusNotFound, "")
	_, err = container.DeleteItem(ctx, key("a"), "1", nil)
	fails(t, err, http.StatusNotFound, "")
	_, err = container.ReplaceItem(ctx, key("a"), "1", item{ID: "1", Key: "a"}.json(), nil)
	fails(t, err, http.StatusNotFound, "")
	_, err = container.ReadItem(ctx, key("b"), "2", nil)
	fails(t, err, http.StatusNotFound, "")
}

func TestEtagsDecide(t *testing.T) {
	container := ownContainer(t, "/pk")
	first := create(t, container, item{ID: "1", Key: "a", N: 1}).ETag
	ifMatch := func(etag azcore.ETag) *azcosmos.ItemOptions { return &azcosmos.ItemOptions{IfMatchEtag: &etag} }
	next := item{ID: "1", Key: "a", N: 2}.json()
	second := ok(container.UpsertItem(ctx, key("a"), next, ifMatch(first)))(t).ETag
	_, err := container.ReplaceItem(ctx, key("a"), "1", next, ifMatch(first))
	fails(t, err, http.StatusPreconditionFailed, "")
	_, err = container.UpsertItem(ctx, key("a"), next, ifMatch(first))
	fails(t, err, http.StatusPreconditionFailed, "")
	_, err = container.DeleteItem(ctx, key("a"), "1", ifMatch(first))
	fails(t, err, http.StatusPreconditionFailed, "")
	ok(container.DeleteItem(ctx, key("a"), "1", ifMatch(second)))(t)
}

func TestAPatchChangesPartsAndOnlyIfItsConditionHolds(t *testing.T) {
	container := ownContainer(t, "/pk")
	create(t, container, item{ID: "1", Key: "a", N: 1})
	patch := azcosmos.PatchOperations{}
	patch.AppendAdd("/tags", []string{"x"})
	patch.AppendAdd("/tags/-", "y")
	patch.AppendReplace("/tags/0", "z")
	patch.AppendSet("/title", "blåbær")
	patch.AppendIncrement("/n", 4)
	patched := ok(container.PatchItem(ctx, key("a"), "1", patch, nil))(t)
	equal(t, parsed(t, patched.Value), item{ID: "1", Key: "a", N: 5, Tags: []string{"z", "y"}, Title: "blåbær"})
	conditional := azcosmos.PatchOperations{}
	conditional.AppendRemove("/title")
	conditional.SetCondition("FROM c WHERE c.n = 6")
	_, err := container.PatchItem(ctx, key("a"), "1", conditional, nil)
	fails(t, err, http.StatusPreconditionFailed, "")
	conditional.SetCondition("FROM c WHERE c.n = 5")
	patched = ok(container.PatchItem(ctx, key("a"), "1", conditional, nil))(t)
	equal(t, parsed(t, patched.Value).Title, "")
	_, err = container.PatchItem(ctx, key("a"), "1", conditional, nil)
	fails(t, err, http.StatusBadRequest, "")
	_, err = container.PatchItem(ctx, key("a"), "2", patch, nil)
	fails(t, err, http.StatusNotFound, "")
}

func statuses(answer azcosmos.TransactionalBatchResponse) []int32 {
	var all []int32
	for _, result := range answer.OperationResults {
		all = append(all, result.StatusCode)
	}
	return all
}

func TestABatchIsAllOrNothing(t *testing.T) {
	container := ownContainer(t, "/pk")
	create(t, container, item{ID: "old", Key: "a", N: 1})
	execute := func(batch azcosmos.TransactionalBatch) azcosmos.TransactionalBatchResponse {
		return ok(container.ExecuteTransactionalBatch(ctx, batch, nil))(t)
	}
	patch := azcosmos.PatchOperations{}
	patch.AppendIncrement("/n", 5)
	batch := container.NewTransactionalBatch(key("a"))
	batch.CreateItem(item{ID: "1", Key: "a", N: 1}.json(), nil)
	batch.UpsertItem(item{ID: "2", Key: "a", N: 2}.json(), nil)
	batch.ReplaceItem("old", item{ID: "old", Key: "a", N: 10}.json(), nil)
	batch.PatchItem("1", patch, nil)
	batch.ReadItem("1", nil)
	batch.DeleteItem("2", nil)
	done := execute(batch)
	equal(t, done.Success, true)
	equal(t, statuses(done), []int32{201, 201, 200, 200, 200, 204})
	equal(t, parsed(t, done.OperationResults[4].ResourceBody).N, 6)

	broken := container.NewTransactionalBatch(key("a"))
	broken.CreateItem(item{ID: "3", Key: "a", N: 3}.json(), nil)
	broken.CreateItem(item{ID: "1", Key: "a", N: 3}.json(), nil)
	broken.DeleteItem("old", nil)
	refused := execute(broken)
	equal(t, refused.Success, false)
	equal(t, statuses(refused), []int32{424, 409, 424})
	_, err := container.ReadItem(ctx, key("a"), "3", nil)
	fails(t, err, http.StatusNotFound, "")

	stale := container.NewTransactionalBatch(key("a"))
	stale.DeleteItem("1", &azcosmos.TransactionalBatchItemOptions{IfMatchETag: to.Ptr(azcore.ETag(`"another"`))})
	equal(t, statuses(execute(stale)), []int32{412})
	ok(container.ReadItem(ctx, key("a"), "1", nil))(t)
}

func TestManyAreReadAtOnce(t *testing.T) {
	container := ownContainer(t, "/pk")
	for n := range 12 {
		create(t, container, item{ID: fmt.Sprint("i", n), Key: fmt.Sprint("k", n%3), N: n})
	}
	var wanted []azcosmos.ItemIdentity
	for _, n := range []int{1, 4, 8, 11, 99} {
		wanted = append(wanted, azcosmos.ItemIdentity{ID: fmt.Sprint("i", n), PartitionKey: key(fmt.Sprint("k", n%3))})
	}
	found := ok(container.ReadManyItems(ctx, wanted, nil))(t)
	equal(t, numbers(t, found.Items), []int{1, 4, 8, 11})
}

// numbers are the items' numbers in their order by size.
func numbers(t *testing.T, items [][]byte) []int {
	t.Helper()
	all := []int{}
	for _, text := range items {
		all = append(all, parsed(t, text).N)
	}
	sort.Ints(all)
	return all
}

func TestDocumentsOverTLSAndAnotherKey(t *testing.T) {
	trusting := ok(server.trusting())(t)
	client := documentsAt(t, overTLS(server.endpoints.Documents), documentsKey, azcore.ClientOptions{Transport: trusting})
	id := "go-" + chance()
	ok(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil))(t)
	database := ok(client.NewDatabase(id))(t)
	ok(database.Delete(ctx, nil))(t)
	stranger := documentsAt(t, server.endpoints.Documents, "d3Jvbmc=", azcore.ClientOptions{})
	_, err := stranger.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil)
	fails(t, err, http.StatusUnauthorized, "")
}
