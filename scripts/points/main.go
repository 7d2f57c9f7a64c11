package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

// settings are what the command line says.
type settings struct {
	limit time.Duration // 0: all points, by all means
	seed  uint64
	only  *regexp.Regexp
	later int // further crossings to die at, of each point
	keep  bool
	rule  string // that the daemons break; empty: none
}

func main() {
	var s settings
	only := flag.String("only", "", "only points whose \"DAEMON NAME\" this regular expression fits")
	flag.DurationVar(&s.limit, "time", 0, "take as many steps as fit; 0: all, by all means")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().Unix()/86400), "where a walk that is limited begins, and which later crossings are chosen")
	flag.IntVar(&s.later, "later", 1, "later crossings of each point")
	flag.BoolVar(&s.keep, "keep", false, "leave the broker's directory")
	flag.StringVar(&s.rule, "break", "", "a rule that the daemons break, as the simulator's mutants do: then the walk has to fail")
	flag.Parse()
	err := error(nil)
	if s.only, err = regexp.Compile(*only); err == nil {
		err = run(&s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "points:", err)
		os.Exit(1)
	}
}

func run(s *settings) (err error) {
	root, err := broker.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "trimq-points-")
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if err := broker.BuildFailpoints(bin, s.rule); err != nil {
		return err
	}
	w, err := start(dir, bin, s.seed)
	if w != nil {
		defer func() { err = errors.Join(err, w.end(dir, s.keep || err != nil)) }()
	}
	if err != nil {
		return err
	}
	var all []point
	for _, d := range tier.Daemons {
		list, err := pointsOf(root, d)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	fmt.Printf("points: %d in three daemons, seed %d\n", len(all), s.seed)
	return w.all(s, all)
}

// end stops the broker and removes its directory, unless it is to be looked at.
func (w *walk) end(dir string, keep bool) error {
	err := errors.Join(w.b.Signal("15"), w.b.Cleanup())
	if keep {
		fmt.Println("points: left in", dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// all walks the points, reports each step, and what was come to by none.
func (w *walk) all(s *settings, all []point) error {
	began := time.Now()
	if err := w.explore(); err != nil {
		return err
	}
	var outcomes []outcome
	for round := 0; round < 2; round++ { // what was found on the way is walked behind the rest
		for _, p := range w.due(s, all, outcomes) {
			for nth := range 1 + s.later {
				if s.limit > 0 && time.Since(began) > s.limit {
					return report(outcomes, nil)
				}
				o := w.step(p, nth)
				outcomes = append(outcomes, o)
				fmt.Println(o.line())
				if o.err != nil {
					return report(outcomes, nil)
				}
			}
		}
	}
	var never []point
	for _, p := range all {
		if _, known := w.routes[p]; !known && s.only.MatchString(p.String()) {
			never = append(never, p)
		}
	}
	return report(outcomes, never)
}

// due are the points to which a route is known and that were not walked yet, from where the seed says.
func (w *walk) due(s *settings, all []point, done []outcome) []point {
	var list []point
	for _, p := range all {
		_, known := w.routes[p]
		walked := slices.ContainsFunc(done, func(o outcome) bool { return o.point == p })
		if known && !walked && s.only.MatchString(p.String()) {
			list = append(list, p)
		}
	}
	if s.limit > 0 {
		w.r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	}
	return list
}

func (o outcome) line() string {
	by := o.route.by.name
	if o.route.via.name != "" {
		by += ", dead at " + o.route.via.name
	}
	verdict := "well"
	switch {
	case o.err != nil:
		verdict = "WRONG: " + o.err.Error()
	case !o.died:
		verdict = "not crossed this time"
	}
	return fmt.Sprintf("%-10s %-24s crossing %4d of %5d  %-34s %6s  %s", o.point.daemon, o.point.name, o.nth, o.route.count, by, o.took.Round(10*time.Millisecond), verdict)
}

// report prints the table, and says what was wrong.
func report(outcomes []outcome, never []point) (err error) {
	deaths, missed := 0, 0
	for _, o := range outcomes {
		if o.died {
			deaths++
		} else if o.err == nil {
			missed++
		}
		if o.err != nil {
			err = errors.Join(err, fmt.Errorf("%s, crossing %d: %w", o.point, o.nth, o.err))
		}
	}
	fmt.Printf("points: %d deaths at exact places; %d steps in which the place was not crossed\n", deaths, missed)
	if len(outcomes) > 0 && deaths == 0 {
		err = errors.Join(err, errors.New("nobody has died: the walk shows nothing"))
	}
	if len(never) == 0 {
		return err
	}
	fmt.Println("points that nothing has crossed:")
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, d := range tier.Daemons {
		var names []string
		for _, p := range never {
			if p.daemon == d {
				names = append(names, p.name)
			}
		}
		fmt.Fprintf(t, "  %s\t%s\n", d, strings.Join(names, " "))
	}
	return errors.Join(err, t.Flush())
}
