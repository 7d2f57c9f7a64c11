package assign

import (
	"fmt"
	"testing"
)

// crowd is 100 members and 1,000 partitions of 10 topics, after one member more has come. mixed: each
// member leaves out two topics of its own.
func crowd(name string, mixed bool) *group {
	g := &group{}
	for i := range 10 {
		g.topic(fmt.Sprintf("topic-%d", i), 100)
	}
	for i := range 100 {
		var wants []int
		for t := range 10 {
			if !mixed || t != i%10 && t != i/10 {
				wants = append(wants, t)
			}
		}
		g.join(wants...)
		if i == 98 {
			g.solve(name)
		}
	}
	return g
}

func BenchmarkAssign(b *testing.B) {
	for _, name := range names {
		for _, mixed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/mixed=%t", name, mixed), func(b *testing.B) {
				g := crowd(name, mixed)
				b.ReportAllocs()
				for b.Loop() {
					Named(name)(&g.Problem)
				}
			})
		}
	}
	b.Run("sticky/first", func(b *testing.B) {
		g := crowd(Sticky, true)
		for m := range g.Members {
			g.Members[m].Has = nil
		}
		for b.Loop() {
			sticky(&g.Problem)
		}
	})
}
