//go:build !failpoints

package failpoint

// Fail is the error with which a call of an operation is to fail. Never one in this build: the compiler
// removes what stands behind it.
func Fail(op string) error { return nil }
