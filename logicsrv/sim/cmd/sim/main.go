//go:build failpoints

// Command sim plays simulated histories of a broker: one seed with a trace, or many.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/trimq/trimq/logicsrv/sim"
)

func main() {
	seed := flag.Uint64("seed", 1, "the first history")
	histories := flag.Int("histories", 1, "how many, with consecutive seeds")
	mutant := flag.String("mutant", "", "break this rule; \"list\" names them, \"all\" tries each")
	verbose := flag.Bool("v", false, "print a trace")
	stats := flag.Bool("stats", false, "print how often each rule of the model made a difference")
	keep := flag.Int("keep-going", 1, "stop after so many violations")
	flag.Parse()
	var ok bool
	switch *mutant {
	case "list":
		for _, m := range sim.Mutants {
			fmt.Printf("%-26s %s\n", m.Name, m.What)
		}
		return
	case "all":
		ok = tryMutants(*seed, *histories)
	default:
		ok = play(*seed, *histories, *mutant, *verbose, *stats, *keep)
	}
	if !ok {
		os.Exit(1)
	}
}

// play runs histories and says whether all held.
func play(first uint64, n int, mutant string, verbose, stats bool, keep int) bool {
	var s sim.Simulator
	var total sim.Stats
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	begin, bad, played := time.Now(), 0, 0
	for seed := first; seed < first+uint64(n); seed++ {
		o := sim.Options{Seed: seed, Mutant: mutant}
		if verbose {
			o.Trace = out
		}
		r := s.Run(o)
		played++
		total.Add(&r.Stats)
		if r.Violation != "" {
			fmt.Fprintln(out, r.Violation)
			out.Flush()
			if bad++; bad >= keep {
				break
			}
		}
	}
	if stats {
		fmt.Fprint(out, total.Coverage())
	}
	took := time.Since(begin)
	fmt.Fprintf(out, "%d histories in %.1f s (%.1f ms each), %d violations\n%s\n",
		played, took.Seconds(), took.Seconds()*1000/float64(played), bad, total.String())
	return bad == 0
}

// tryMutants says whether every mutant is noticed.
func tryMutants(first uint64, n int) bool {
	ok := true
	for _, m := range sim.Mutants {
		seeds, why := sim.Hunt(m.Name, first, n)
		if why == "" {
			ok = false
			why = "NOT NOTICED"
		}
		fmt.Printf("%-26s %3d histories: %.150s\n", m.Name, seeds, why)
	}
	return ok
}
