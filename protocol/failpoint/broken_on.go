//go:build failpoints

package failpoint

import "os"

// BreakVariable is the environment variable that names the rule to break.
const BreakVariable = "TRIMQ_BREAK"

// Rule is the one rule that this program breaks on purpose, so that the simulator, or a test, can
// show that it would notice. Empty: none. Set it before anything runs.
// The environment may name it too.
var Rule string

func init() {
	if rule := os.Getenv(BreakVariable); rule != "" {
		Rule = rule
	}
}

// Broken says whether a rule is to be broken on purpose. Rules are named in
// logicsrv/sim/mutants.go, some of routing in logicsrv/core/routing_mutants_test.go.
func Broken(rule string) bool { return Rule == rule }
