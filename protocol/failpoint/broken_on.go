//go:build failpoints

package failpoint

// Rule is the one rule that this program breaks on purpose, so that the simulator, or a test, can
// show that it would notice. Empty: none. Set it before anything runs.
var Rule string

// Broken says whether a rule is to be broken on purpose. Rules are named in
// logicsrv/sim/mutants.go, some of routing in logicsrv/core/routing_mutants_test.go.
func Broken(rule string) bool { return Rule == rule }
