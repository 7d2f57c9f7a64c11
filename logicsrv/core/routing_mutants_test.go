//go:build failpoints

package core

import (
	"testing"

	"github.com/trimq/trimq/protocol/failpoint"
)

// TestRoutingMutants: the histories notice each of these mistakes.
func TestRoutingMutants(t *testing.T) {
	defer func(rule string) { failpoint.Rule = rule }(failpoint.Rule)
	for _, m := range []struct{ rule, what string }{
		{"alternate-ignored", "what matches no binding goes to no alternate exchange"},
		{"exchanges-not-walked", "bindings that lead to exchanges lead nowhere"},
		{"internal-open", "clients may publish to internal exchanges"},
		{"auto-delete-once", "an exchange that goes takes no other with it"},
	} {
		failpoint.Rule = m.rule
		noticed := ""
		for seed := uint64(0); seed < 100 && noticed == ""; seed++ {
			noticed = playRouting(t, seed, 300, &routingSeen{})
		}
		if noticed == "" {
			t.Errorf("100 histories do not notice that %s", m.what)
		}
		t.Logf("%s: %.200s", m.rule, noticed)
	}
}
