package invariant

import "fmt"

// Failure is the value of the panic, so that a test or a simulator can tell our own bugs
// from other panics.
type Failure struct{ Text string }

// Error makes Failure an error.
func (f Failure) Error() string { return "invariant broken: " + f.Text }

// Check panics with the formatted text unless ok.
//
// Its arguments are boxed at every call. On a path where that shows, write
// if !ok { invariant.Fail(…) } instead.
func Check(ok bool, format string, args ...any) {
	if !ok {
		Fail(format, args...)
	}
}

// Fail panics with the formatted text.
//
//go:noinline
func Fail(format string, args ...any) {
	panic(Failure{fmt.Sprintf(format, args...)})
}
