package roomtest

import (
	"os"
	"path/filepath"
	"testing"
)

// File makes a file of a log in dir, beginning with a header. It is open until the test ends.
func File(tb testing.TB, dir, name string, header []byte) *os.File {
	tb.Helper()
	path := filepath.Join(dir, name)
	must(tb, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	must(tb, err)
	_, err = f.Write(header)
	must(tb, err)
	tb.Cleanup(func() { f.Close() })
	return f
}
