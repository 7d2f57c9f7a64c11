package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

// results gathers events.
type results struct {
	out                     io.Writer
	passed, failed, skipped int
	inPackage               map[string]int    // tests that ended in each package
	output                  map[string]string // of what is still running, by package and test
	noTests                 int
	failures                []string // a line each: what failed, and what it said first
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(2)
	}
	r := newResults(os.Stdout)
	if err := r.read(pipe); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	err = cmd.Wait()
	r.sum()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil || r.failed > 0:
		os.Exit(1)
	}
}

func newResults(out io.Writer) *results {
	return &results{out: out, inPackage: map[string]int{}, output: map[string]string{}}
}

// read takes all events; a line that is none (a build error) is shown as it is.
func (r *results) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.take(&e)
	}
	return lines.Err()
}

func (r *results) take(e *event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		r.output[key] += e.Output
		return
	case "build-fail":
		fmt.Fprint(r.out, r.output[key])
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, r.output[key])
		} else {
			r.endTest(e, r.output[key])
		}
	default:
		return
	}
	delete(r.output, key)
}

func (r *results) endTest(e *event, output string) {
	r.inPackage[e.Package]++
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		fmt.Fprintf(r.out, "SKIP %s %s: %s\n", e.Package, e.Test, reason(output))
	case "fail":
		r.failed++
		r.failures = append(r.failures, fmt.Sprintf("FAIL %s %s: %s", e.Package, e.Test, reason(output)))
		fmt.Fprintf(r.out, "FAIL %s %s\n%s", e.Package, e.Test, output)
	}
}

// sum tells how many there were, and again what failed: whoever sees only the end of a long log sees why.
func (r *results) sum() {
	for _, f := range r.failures {
		fmt.Fprintln(r.out, f)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}

func (r *results) endPackage(e *event, output string) {
	switch {
	case e.Action == "fail":
		if r.inPackage[e.Package] == 0 { // it did not build, or its TestMain failed
			r.failed++
		}
		fmt.Fprintf(r.out, "FAIL %s\n%s", e.Package, output)
	case r.inPackage[e.Package] > 0:
		fmt.Fprintf(r.out, "ok   %-58s %5d tests %7.1fs\n", e.Package, r.inPackage[e.Package], e.Elapsed)
	default:
		r.noTests++
	}
}

// reason is what a skipped or failed test said first.
func reason(output string) string {
	for _, l := range strings.Split(output, "\n") {
		if _, text, ok := strings.Cut(l, ".go:"); ok {
			if _, text, ok := strings.Cut(text, ": "); ok {
				return text
			}
		}
	}
	return "no reason given"
}
