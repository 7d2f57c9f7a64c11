package shmqueue

import (
	"os"
	"regexp"
	"testing"
)

// The runbook names every metric, and none that is not there.
func TestRunbookNamesAllMetrics(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`trimq_[a-z_]+[a-z]`).FindAllString(string(text), -1) {
		named[name] = false
	}
	for _, tier := range []Tier{TierConn, TierLogic, TierPersist} {
		for _, row := range Stats(tier) {
			if _, ok := named[row.Name]; row.Name != "" && !ok {
				t.Errorf("docs/operations.md does not name %s", row.Name)
			}
			named[row.Name] = true
		}
	}
	for name, there := range named {
		if !there {
			t.Errorf("docs/operations.md names %s, which no daemon has", name)
		}
	}
}
