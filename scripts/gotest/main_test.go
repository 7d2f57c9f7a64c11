package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestResults(t *testing.T) {
	const events = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestOne","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestTwo","Output":"    x_test.go:7: needs root: a mount\n"}
{"Action":"skip","Package":"a","Test":"TestTwo"}
{"Action":"pass","Package":"a","Elapsed":1.5}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    y_test.go:1: got 1, want 2\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"fail","Package":"b","Elapsed":0.2}
{"Action":"build-output","ImportPath":"c","Output":"c.go:1: syntax error\n"}
{"Action":"fail","Package":"c"}
{"Action":"skip","Package":"d"}
not an event
`
	var out bytes.Buffer
	r := newResults(&out)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if r.passed != 1 || r.failed != 2 || r.skipped != 1 || r.noTests != 1 {
		t.Errorf("%d passed, %d failed, %d skipped, %d without tests", r.passed, r.failed, r.skipped, r.noTests)
	}
	r.sum()
	if want := "FAIL b TestBad: got 1, want 2\n1 passed, 2 failed, 1 skipped\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("does not end with %q:\n%s", want, out.String())
	}
	for _, want := range []string{"SKIP a TestTwo: needs root: a mount", "FAIL b TestBad", "got 1, want 2", "FAIL c", "not an event", "2 tests"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "noise") {
		t.Errorf("shows the output of a test that passed:\n%s", out.String())
	}
}
