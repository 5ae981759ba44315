package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// filled has 30 items in three partitions, written out of order.
func filled(t *testing.T) *azcosmos.ContainerClient {
	t.Helper()
	container := ownContainer(t, "/pk")
	for n := range 30 {
		n = n * 7 % 30
		create(t, container, item{ID: fmt.Sprint("i", n), Key: fmt.Sprint("k", n%3), N: n})
	}
	return container
}

func everywhere() azcosmos.PartitionKey { return azcosmos.NewPartitionKey() }

// values is what a query gives, all pages one after another.
func values[T any](t *testing.T, container *azcosmos.ContainerClient, query string, key azcosmos.PartitionKey, options *azcosmos.QueryOptions) []T {
	t.Helper()
	all := []T{}
	for pager := container.NewQueryItemsPager(query, key, options); pager.More(); {
		page := ok(pager.NextPage(ctx))(t)
		for _, text := range page.Items {
			var one T
			must(t, json.Unmarshal(text, &one))
			all = append(all, one)
		}
	}
	return all
}

func sequence(from, to, step int) []int {
	all := []int{}
	for n := from; n < to; n += step {
		all = append(all, n)
	}
	return all
}

func TestQueriesWithParametersAndAcrossPartitions(t *testing.T) {
	container := filled(t)
	parameters := &azcosmos.QueryOptions{QueryParameters: []azcosmos.QueryParameter{
		{Name: "@least", Value: 6}, {Name: "@ids", Value: []string{"i3", "i6", "i9", "i7"}}}}
	equal(t, values[int](t, container, "SELECT VALUE c.n FROM c WHERE c.n >= @least AND ARRAY_CONTAINS(@ids, c.id) ORDER BY c.n",
		key("k0"), parameters), []int{6, 9})
	ask := func(query string) []int { return values[int](t, container, query, everywhere(), nil) }
	equal(t, ask("SELECT VALUE c.n FROM c ORDER BY c.n"), sequence(0, 30, 1))
	equal(t, ask("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 5 LIMIT 7"), sequence(5, 12, 1))
	equal(t, ask("SELECT VALUE COUNT(1) FROM c"), []int{30})
	equal(t, ask("SELECT VALUE SUM(c.n) FROM c WHERE c.pk = 'k1'"), []int{145})
	equal(t, ask("SELECT DISTINCT VALUE c.n % 3 FROM c ORDER BY c.n"), []int{0, 1, 2})
	_, err := container.NewQueryItemsPager("SELECT * FROM c WHERE", everywhere(), nil).NextPage(ctx)
	fails(t, err, http.StatusBadRequest, "")
}

func TestPagesGoOnFromTheirToken(t *testing.T) {
	container := filled(t)
	pages := [][]int{}
	var token *string
	for {
		// Each page with a pager of its own, as one request of a web application after another.
		pager := container.NewQueryItemsPager("SELECT * FROM c ORDER BY c.n", key("k0"),
			&azcosmos.QueryOptions{PageSizeHint: 4, ContinuationToken: token})
		page := ok(pager.NextPage(ctx))(t)
		pages = append(pages, numbers(t, page.Items))
		if token = page.ContinuationToken; token == nil || *token == "" {
			break
		}
	}
	equal(t, pages, [][]int{{0, 3, 6, 9}, {12, 15, 18, 21}, {24, 27}})
}

func TestKeysOfSeveralLevels(t *testing.T) {
	container := ownContainer(t, "/tenant", "/user", "/n")
	whole := func(n int) azcosmos.PartitionKey {
		return key(fmt.Sprint("t", n%2)).AppendString(fmt.Sprint("u", n/4)).AppendNumber(float64(n))
	}
	for n := range 8 {
		one := item{ID: fmt.Sprint("i", n), N: n, Tenant: fmt.Sprint("t", n%2), User: fmt.Sprint("u", n/4)}
		ok(container.CreateItem(ctx, whole(n), one.json(), nil))(t)
	}
	read := ok(container.ReadItem(ctx, whole(5), "i5", nil))(t)
	equal(t, parsed(t, read.Value).N, 5)
	_, err := container.ReadItem(ctx, whole(3), "i5", nil)
	fails(t, err, http.StatusNotFound, "")
	of := func(key azcosmos.PartitionKey) []int {
		return values[int](t, container, "SELECT VALUE c.n FROM c ORDER BY c.n", key, nil)
	}
	equal(t, of(whole(5)), []int{5})
	equal(t, of(key("t1").AppendString("u0")), []int{1, 3})
	equal(t, of(key("t1")), []int{1, 3, 5, 7})
	many := ok(container.ReadManyItems(ctx, []azcosmos.ItemIdentity{
		{ID: "i2", PartitionKey: whole(2)}, {ID: "i7", PartitionKey: whole(7)}}, nil))(t)
	equal(t, numbers(t, many.Items), []int{2, 7})
}

// drained reads a change feed to its end: the numbers in the feed's order, and where to go on.
func drained(t *testing.T, container *azcosmos.ContainerClient, options azcosmos.ChangeFeedOptions) ([]int, string) {
	t.Helper()
	all := []int{}
	for {
		page := ok(container.ReadChangeFeed(ctx, &options))(t)
		for _, text := range page.Items {
			all = append(all, parsed(t, text).N)
		}
		options.Continuation = to.Ptr(page.ContinuationToken)
		if page.Count == 0 {
			return all, page.ContinuationToken
		}
	}
}

func TestTheChangeFeedGoesOnFromItsToken(t *testing.T) {
	container := ownContainer(t, "/pk")
	for n := range 6 {
		create(t, container, item{ID: fmt.Sprint("i", n), Key: string("ab"[n%2]), N: n})
	}
	ranges := ok(container.ReadFeedRanges(ctx, nil))(t)
	equal(t, len(ranges), 1)
	all, token := drained(t, container, azcosmos.ChangeFeedOptions{FeedRange: &ranges[0], MaxItemCount: 2})
	equal(t, all, []int{0, 1, 2, 3, 4, 5})
	b := key("b")
	ofKey, _ := drained(t, container, azcosmos.ChangeFeedOptions{FeedRange: &ranges[0], PartitionKey: &b})
	equal(t, ofKey, []int{1, 3, 5})
	ok(container.UpsertItem(ctx, key("b"), item{ID: "i1", Key: "b", N: 11}.json(), nil))(t)
	ok(container.DeleteItem(ctx, key("b"), "i3", nil))(t)
	later, _ := drained(t, container, azcosmos.ChangeFeedOptions{FeedRange: &ranges[0], Continuation: &token})
	equal(t, later, []int{11})
	past, _ := drained(t, container, azcosmos.ChangeFeedOptions{FeedRange: &ranges[0], StartFrom: to.Ptr(time.Now().Add(-5 * time.Minute))})
	equal(t, past, []int{0, 2, 4, 5, 11})
	future, _ := drained(t, container, azcosmos.ChangeFeedOptions{FeedRange: &ranges[0], StartFrom: to.Ptr(time.Now().Add(5 * time.Minute))})
	equal(t, future, []int{})
}
