//go:build failpoints

package failpoint

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFail: the n-th call of its operation fails, once, and the order is gone when it was taken.
func TestFail(t *testing.T) {
	f := failing{path: filepath.Join(t.TempDir(), "order")}
	calls := func(ops ...string) (failed []int) {
		t.Helper()
		for i, op := range ops {
			err, damage := f.fail(op)
			if damage != nil {
				t.Fatal(damage)
			}
			if err == syscall.EIO {
				failed = append(failed, i)
			}
		}
		return failed
	}
	if got := calls("sync", "write"); got != nil {
		t.Errorf("without an order calls %v failed", got)
	}
	if err := os.WriteFile(f.path, []byte("sync EIO 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := calls("write", "sync", "write", "write", "sync", "sync"); len(got) != 1 || got[0] != 4 {
		t.Errorf("calls %v failed, want the fifth", got)
	}
	if _, err := os.Stat(f.path); !os.IsNotExist(err) {
		t.Errorf("the order is there still: %v", err)
	}
	for _, bad := range []string{"", "sync", "sync EIO 0", "sync EVIL 1", "sync EIO x"} {
		if err := os.WriteFile(f.path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, damage := f.fail("sync"); damage == nil {
			t.Errorf("%q was taken for an order", bad)
		}
	}
}
