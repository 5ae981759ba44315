package clients

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// ctx has no deadline: `go test -timeout` is the bound.
var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ok is what a call gave; it must have succeeded.
func ok[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return value
	}
}

func equal[T any](t *testing.T, found, wanted T) {
	t.Helper()
	if !reflect.DeepEqual(found, wanted) {
		t.Fatalf("found %v instead of %v", found, wanted)
	}
}

// fails expects a response with this status and, if one is given, with this code.
func fails(t *testing.T, err error, status int, code string) {
	t.Helper()
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		t.Fatalf("expected a response with %d, there is %v", status, err)
	}
	equal(t, answer.StatusCode, status)
	if code != "" {
		equal(t, answer.ErrorCode, code)
	}
}
