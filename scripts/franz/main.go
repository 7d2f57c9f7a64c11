// Franz runs franz-go's own tests of its Kafka client against a broker of ours, and lists what passed, what
// was skipped and what failed: what it is built for it should pass, and the list shows what is not served yet.
//
//	go run ./scripts/franz [-records N] [-run PATTERN] [-skip PATTERN] [-timeout D]
//
// The tests are those of the module that go.mod names, from the module proxy, unchanged.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"

	"github.com/trimq/trimq/scripts/broker"
)

const tested = "github.com/twmb/franz-go/pkg/kgo"

func main() {
	records := flag.Int("records", 20_000, "records that each of the large tests moves")
	run := flag.String("run", ".", "which tests")
	skip := flag.String("skip", "", "which of them not")
	timeout := flag.String("timeout", "15m", "time for all of them")
	flag.Parse()
	ok, err := play(*records, *run, *skip, *timeout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "franz:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// play runs the tests beside two brokers, of which one has its clients log in; ok: none has failed.
func play(records int, run, skip, timeout string) (ok bool, err error) {
	open, err := start(map[string]string{"group_initial_delay_ms": "0"})
	if err != nil {
		return false, err
	}
	defer func() { err = cmp.Or(err, open.stop()) }()
	guarded, err := start(map[string]string{"kafka_auth": `"SCRAM-SHA-256 SCRAM-SHA-512"`})
	if err != nil {
		return false, err
	}
	defer func() { err = cmp.Or(err, guarded.stop()) }()
	cmd := exec.Command("go", "test", "-json", "-count=1", "-run", run, "-skip", skip, "-timeout", timeout, tested)
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+open.addr, "KGO_TEST_RF=1", fmt.Sprint("KGO_TEST_RECORDS=", records),
		"KGO_TEST_SCRAM_SEEDS="+guarded.addr, "KGO_TEST_SCRAM=guest:guest:256") // who is there from the start
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	t, err := read(out)
	if ended := cmd.Wait(); err == nil && len(t.by["fail"]) == 0 && len(t.by["pass"]) == 0 {
		err = ended
	}
	t.report(os.Stdout)
	return len(t.by["fail"])+len(t.by[unfinished]) == 0, err
}

// served is a broker that serves Kafka's clients at an address.
type served struct {
	*broker.Broker
	addr, dir string
}

// start starts a broker in a directory of its own.
func start(settings map[string]string) (s *served, err error) {
	s = &served{}
	if s.dir, err = os.MkdirTemp("", "trimq-franz-"); err != nil {
		return nil, err
	}
	if s.addr, err = broker.FreeAddress(); err != nil {
		return nil, cmp.Or(err, os.RemoveAll(s.dir))
	}
	settings["kafka_listen"] = fmt.Sprintf("%q", s.addr)
	if s.Broker, err = broker.New(s.dir, settings); err != nil {
		return nil, cmp.Or(err, os.RemoveAll(s.dir))
	}
	if err := s.Start(); err != nil {
		return nil, cmp.Or(err, s.stop())
	}
	return s, nil
}

// stop ends it, and removes what it has left.
func (s *served) stop() error { return cmp.Or(s.Cleanup(), os.RemoveAll(s.dir)) }

// tally is what became of the tests, by outcome, and what those printed that are not through yet.
type tally struct {
	begun  map[string]bool // … and has no outcome
	by     map[string][]string
	output map[string][]string
}

// event is a line of `go test -json`.
type event struct{ Action, Test, Output string }

// keptLines bounds what is shown of a test that has failed.
const keptLines = 12

func read(r io.Reader) (*tally, error) {
	t := &tally{begun: map[string]bool{}, by: map[string][]string{}, output: map[string][]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "run":
			t.begun[e.Test] = true
		case "output":
			if kept := t.output[e.Test]; !strings.HasPrefix(e.Output, "=== ") && len(kept) < keptLines {
				t.output[e.Test] = append(kept, e.Output)
			}
		case "pass", "skip", "fail":
			t.by[e.Action] = append(t.by[e.Action], e.Test)
			delete(t.begun, e.Test)
			if e.Action == "pass" {
				delete(t.output, e.Test)
			}
		}
	}
	for name := range t.begun {
		t.by[unfinished] = append(t.by[unfinished], name)
	}
	return t, lines.Err()
}

// unfinished is what becomes of the tests that were running when the time for all of them was over.
const unfinished = "unfinished"

// report lists what was skipped and what failed, with the first lines of why.
func (t *tally) report(w io.Writer) {
	for _, outcome := range []string{"skip", unfinished, "fail"} {
		names := t.by[outcome]
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(w, "%s %s\n", outcome, name)
			for _, line := range t.output[name] {
				fmt.Fprintf(w, "    %s", line)
			}
		}
	}
	fmt.Fprintf(w, "franz-go: %d passed, %d skipped, %d unfinished, %d failed\n", len(t.by["pass"]), len(t.by["skip"]), len(t.by[unfinished]), len(t.by["fail"]))
}
