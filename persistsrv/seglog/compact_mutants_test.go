//go:build failpoints

package seglog

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/failpoint"
)

// noticing is a test that says what it has found by a panic.
type noticing struct{ *testing.T }

// noticed is what such a test has found.
type noticed string

func (n noticing) Fatalf(format string, args ...any) { panic(noticed(fmt.Sprintf(format, args...))) }
func (n noticing) Fatal(args ...any)                 { panic(noticed(fmt.Sprint(args...))) }
func (n noticing) Errorf(format string, args ...any) { n.Fatalf(format, args...) }

var _ rapid.TB = noticing{}

// wash plays a history of a compacted index, and tells what was wrong with it.
func wash(t *testing.T, seed uint64) (wrong noticed) {
	defer func() {
		if p := recover(); p != nil {
			found, is := p.(noticed)
			if wrong = found; !is {
				panic(p)
			}
		}
	}()
	w := newWasher(noticing{t}, seed)
	for range 40 {
		switch w.dice.IntN(5) {
		case 0:
			w.end()
		case 1, 2:
			w.compact()
		default:
			w.produce()
		}
		w.check()
	}
	return ""
}

// TestCompactionMutants: the histories notice each of these mistakes, and nothing without them.
func TestCompactionMutants(t *testing.T) {
	defer func(rule string) { failpoint.Rule = rule }(failpoint.Rule)
	for _, m := range []struct{ rule, what string }{
		{"", ""},
		{"compact-drops-last", "the last record of a key goes with those before it"},
		{"compact-drops-tombstones", "what stands for a deletion goes before its time"},
		{"compact-past-open", "a pass does not stop at the first open transaction"},
		{"compact-forgets-trims", "what was trimmed during a pass comes back"},
		{"compact-keeps-aborted", "what was aborted stays, and replaces what counts"},
	} {
		failpoint.Rule = m.rule
		found := noticed("")
		for seed := uint64(0); seed < 100 && found == ""; seed++ {
			found = wash(t, seed)
		}
		if (found == "") != (m.rule == "") {
			t.Errorf("100 histories of %q (%s) have noticed: %q", m.rule, m.what, found)
		}
		t.Logf("%s: %.200s", m.rule, found)
	}
}
