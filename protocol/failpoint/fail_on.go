//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// FailVariable is the environment variable that names a file which is an order to fail: "OPERATION ERRNO N"
// has the n-th call of the operation from then on (from 1) fail with EIO or ENOSPC. Whoever takes the order
// removes the file.
const FailVariable = "TRIMQ_FAIL_IO"

// order is what was asked for and not done yet.
type order struct {
	op   string
	what syscall.Errno
	left int // calls, the failing one included
}

var errnos = map[string]syscall.Errno{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC}

// failing takes orders from a file.
type failing struct {
	path string
	mu   sync.Mutex
	next *order
}

var orders = failing{path: os.Getenv(FailVariable)}

// Fail is the error with which a call of an operation is to fail; nil: it shall do what it does.
func Fail(op string) error {
	if orders.path == "" {
		return nil
	}
	err, damage := orders.fail(op)
	if damage != nil { // a test that never fails a call would pass for nothing
		fmt.Fprintln(os.Stderr, damage)
		os.Exit(2)
	}
	return err
}

// fail counts a call; damage is what is wrong with the order itself.
func (f *failing) fail(op string) (err, damage error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		if f.next, damage = f.take(); f.next == nil {
			return nil, damage
		}
	}
	if f.next.op != op {
		return nil, nil
	}
	if f.next.left--; f.next.left > 0 {
		return nil, nil
	}
	err, f.next = f.next.what, nil
	return err, nil
}

// take reads the order, if there is one.
func (f *failing) take() (*order, error) {
	text, err := os.ReadFile(f.path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var o order
	var name string
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%s %s %d", &o.op, &name, &o.left)
	}
	if o.what = errnos[name]; err != nil || o.what == 0 || o.left < 1 {
		return nil, fmt.Errorf("%s=%s holds %q (%v): want OPERATION EIO|ENOSPC N with N from 1", FailVariable, f.path, text, err)
	}
	return &o, os.Remove(f.path)
}
