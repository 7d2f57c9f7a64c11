package e2e

import (
	"os"
	"sync"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// built is what the tests of a run have built, for all of them.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// failpointPrograms is the directory of the programs with the hooks that a release build does not
// contain. They are built once, for that takes long.
func failpointPrograms(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "trimq-failpoints-"); built.err == nil {
			built.err = broker.BuildFailpoints(built.dir, "")
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// TestMain removes what was built.
func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}
