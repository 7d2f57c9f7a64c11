//go:build failpoints

package core

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// recorder is a test that is to fail: it notes why, and ends with the first failure.
type recorder struct {
	testing.TB
	why string
}

// foundOut ends a recorder's test.
type foundOut struct{}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.why = fmt.Sprintf(format, args...)
	panic(foundOut{})
}

func (r *recorder) Errorf(format string, args ...any) { r.Fatalf(format, args...) }
func (r *recorder) Fatal(args ...any)                 { r.Fatalf("%s", fmt.Sprint(args...)) }

// failure runs f, and returns why it failed; empty: it did not.
func failure(t *testing.T, f func(testing.TB)) (why string) {
	r := &recorder{TB: t}
	defer func() {
		switch v := recover().(type) {
		case nil:
		case foundOut:
			why = r.why
		case invariant.Failure:
			why = v.Error()
		default:
			panic(v)
		}
	}()
	f(r)
	return ""
}

// TestGroupMutantsAreNoticed breaks rules of groups on purpose: the tests notice each.
func TestGroupMutantsAreNoticed(t *testing.T) {
	defer func() { failpoint.Rule = "" }()
	model := func(tb testing.TB) {
		for seed := range uint64(100) {
			playModel(tb, seed)
		}
	}
	classic := func(tb testing.TB) {
		for seed := range uint64(100) {
			playClassic(tb, seed)
		}
	}
	for _, m := range []struct {
		rule, what string
		play       func(testing.TB)
	}{
		{"revoke-not-awaited", "partitions are given on before they were given up", model},
		{"session-expiry-early", "members are out before their session is over", model},
		{"session-expiry-early", "members are out before their session is over", playCrowd},
		{"offset-commit-unfenced", "whoever likes commits positions of a group with members", model},
		{"assign-not-sticky", "partitions move without need", playCrowd},
		{"heartbeat-redone", "an old heartbeat that is read again passes for a new one", model},
		{"void-requests-parked", "a join that was answered is parked when it is read again", classic},
	} {
		failpoint.Rule = m.rule
		if why := failure(t, m.play); why == "" {
			t.Errorf("%s: nobody notices that %s", m.rule, m.what)
		} else {
			t.Logf("%s: %.200s", m.rule, why)
		}
	}
	failpoint.Rule = ""
	for _, play := range []func(testing.TB){model, classic, playCrowd} {
		if why := failure(t, play); why != "" {
			t.Errorf("without a broken rule: %s", why)
		}
	}
}
