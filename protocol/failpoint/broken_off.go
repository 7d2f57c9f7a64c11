//go:build !failpoints

package failpoint

// Broken says whether a rule is to be broken on purpose. Never in this build: the compiler
// removes what stands behind it.
func Broken(rule string) bool { return false }
