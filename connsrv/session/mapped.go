package session

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/trimq/trimq/protocol/batch"
)

// SliceMapped is batch.Slice for a batch in a mapped file. A page that the disk cannot read
// is a fault there, which would end the process; here it is an error.
func SliceMapped(dst, b []byte, from batch.Place, first, count int) (out []byte, next batch.Place, err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if fault := asFault(recover()); fault != nil {
			out, next, err = dst, from, fmt.Errorf("mapped batch: %w", fault)
		}
	}()
	return batch.Slice(dst, b, from, first, count)
}

// asFault tells a fault in mapped memory from a bug, which goes on.
func asFault(r any) error {
	if r == nil {
		return nil
	}
	if err, ok := r.(runtime.Error); ok {
		var fault interface{ Addr() uintptr }
		if errors.As(err, &fault) {
			return err
		}
	}
	panic(r)
}
