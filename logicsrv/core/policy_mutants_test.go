//go:build failpoints

package core

import (
	"testing"

	"github.com/trimq/trimq/protocol/failpoint"
)

// TestPolicyMutants: the histories notice this mistake.
func TestPolicyMutants(t *testing.T) {
	defer func(rule string) { failpoint.Rule = rule }(failpoint.Rule)
	failpoint.Rule = "policies-ignored"
	for seed := range uint64(100) {
		if playPolicies(t, seed, 60) != "" {
			return
		}
	}
	t.Error("100 histories do not notice that policies count for nothing")
}
