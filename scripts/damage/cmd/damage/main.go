// Command damage harms the files of a stopped broker, for rehearsals of the runbook: see
// docs/operations.md. It says what it has done.
package main

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/trimq/trimq/scripts/damage"
)

func main() {
	class := flag.String("class", "log", fmt.Sprintf("the kind of file: %v", slices.Sorted(maps.Keys(damage.Classes))))
	kind := flag.String("kind", "flip", fmt.Sprintf("what happens to it: %v", damage.Kinds))
	seed := flag.Uint64("seed", 1, "what is chosen follows from it")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: damage [flags] DIR, a data directory that may come to harm")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	h, err := damage.Plan(flag.Arg(0), damage.Class(*class), damage.Kind(*kind), rand.New(rand.NewPCG(*seed, 0)))
	if err == nil {
		err = h.Do(flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "damage:", err)
		os.Exit(1)
	}
	fmt.Println(h)
}
