package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

// The source says which points a daemon has: those of what it imports, too, and of no other daemon.
func TestPointsOf(t *testing.T) {
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	list, err := pointsOf(root, "logicsrv")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"logic.entry.before": true, "ring.claim": true, "persist.write": false, "nowhere": false} {
		if got := slices.Contains(list, point{"logicsrv", name}); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestHits(t *testing.T) {
	for text, want := range map[string]string{
		"failpoint.Hit(\"a\")\nx.f(func() { failpoint.Hit(`b`) })": "map[a:true b:true]",
		"other.Hit(\"a\"); Hit(\"b\"); failpoint.Broken(\"c\")":    "map[]",
		"name := \"a\"; failpoint.Hit(name)":                       "no literal",
		"failpoint.Hit(1)":                                         "invalid syntax",
		"failpoint.Hit(":                                           "expected",
	} {
		names := map[string]bool{}
		got := fmt.Sprint(hits("x.go", []byte("package x\nfunc f() {\n"+text+"\n}\n"), names), names)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// A walk that is limited begins elsewhere with another seed; one that is not takes all points in order.
func TestDue(t *testing.T) {
	var all []point
	w := &walk{routes: map[point][]route{}}
	for i := range 20 {
		p := point{"logicsrv", fmt.Sprintf("p%02d", i)}
		if all = append(all, p); i != 7 {
			w.routes[p] = []route{{by: allMeans[0], count: 1}}
		}
	}
	due := func(s settings, done ...outcome) string {
		w.r = rand.New(rand.NewPCG(s.seed, 0))
		s.only = regexp.MustCompile("logicsrv p0")
		var names []string
		for _, p := range w.due(&s, all, done) {
			names = append(names, p.name)
		}
		return strings.Join(names, " ")
	}
	if got := due(settings{}, outcome{point: all[2]}); got != "p00 p01 p03 p04 p05 p06 p08 p09" {
		t.Errorf("all: %s", got)
	}
	one, other := due(settings{limit: time.Second, seed: 1}), due(settings{limit: time.Second, seed: 2})
	if one == other || one != due(settings{limit: time.Second, seed: 1}) || len(one) != len(other) {
		t.Errorf("%s\n%s", one, other)
	}
}

func TestCrossing(t *testing.T) {
	w := &walk{r: rand.New(rand.NewPCG(1, 1))}
	if n := w.crossing(route{count: 9}, 0); n != 1 {
		t.Errorf("the first is the %d-th", n)
	}
	if n := w.crossing(route{count: 1}, 1); n != 1 {
		t.Errorf("of one, the %d-th", n)
	}
	for range 100 {
		if n := w.crossing(route{count: 9}, 1); n < 2 || n > 9 {
			t.Errorf("the %d-th of 9", n)
		}
	}
}

func TestReport(t *testing.T) {
	p := point{"logicsrv", "p"}
	well, missed := outcome{point: p, died: true}, outcome{point: p}
	if err := report([]outcome{well, missed}, []point{p}); err != nil {
		t.Error(err)
	}
	if err := report([]outcome{missed}, nil); err == nil || !strings.Contains(err.Error(), "nobody has died") {
		t.Errorf("nobody dies: %v", err)
	}
	if err := report([]outcome{well, {point: p, nth: 3, err: errors.New("lost")}}, nil); err == nil || !strings.Contains(err.Error(), "logicsrv p, crossing 3: lost") {
		t.Errorf("a loss: %v", err)
	}
	for want, o := range map[string]outcome{"well": well, "not crossed this time": missed, "WRONG: lost": {err: errors.New("lost")}} {
		if !strings.HasSuffix(o.line(), want) {
			t.Errorf("%q does not end with %q", o.line(), want)
		}
	}
}
