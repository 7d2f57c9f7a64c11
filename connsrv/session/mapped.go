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
	fault := OnFault(func() { out, next, err = batch.Slice(dst, b, from, first, count) })
	if fault != nil {
		return dst, from, fault
	}
	return out, next, err
}

// takeMapped is Cutter.Take for a batch in a mapped file.
func takeMapped(c *batch.Cutter, dst, b []byte, id uint64, first, count, max int) (out []byte, taken int, err error) {
	fault := OnFault(func() { out, taken, err = c.Take(dst, b, id, first, count, max) })
	if fault != nil {
		return dst, 0, fault
	}
	return out, taken, err
}

// OnFault runs f and returns the fault in mapped memory that has ended it; nil: none has.
func OnFault(f func()) (fault error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if err := asFault(recover()); err != nil {
			fault = fmt.Errorf("mapped batch: %w", err)
		}
	}()
	f()
	return nil
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
