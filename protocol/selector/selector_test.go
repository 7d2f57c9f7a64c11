package selector_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/selector"
)

// TestScripts runs the scripts in testdata: each shows a part of the language.
//
//	compile [tags]    a filter per line: its normal form, or what is wrong with it
//	match HEADER=VALUE … [key=K]
//	                  filters, one per line, over a message with these headers (a header
//	                  without = has no value): whether each matches
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "compile":
				return eachLine(d.Input, func(text string) string { return compiled(kindOf(d), text) })
			case "match":
				rec := message(t, d)
				return eachLine(d.Input, func(text string) string { return matched(kindOf(d), text, rec) })
			}
			d.Fatalf(t, "unknown command")
			return ""
		})
	})
}

func kindOf(d *datadriven.TestData) selector.Kind {
	if d.HasArg("tags") {
		return selector.KindTags
	}
	return selector.KindSelector
}

// eachLine joins what fn makes of every line.
func eachLine(input string, fn func(line string) string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(input, "\n") {
		fmt.Fprintln(&out, fn(line))
	}
	return out.String()
}

func compiled(kind selector.Kind, text string) string {
	f, err := selector.Compile(kind, text)
	if err == nil {
		return f.String()
	}
	var wrong *selector.SyntaxError
	if !errors.As(err, &wrong) || wrong.Text == "" {
		return "untyped error: " + err.Error()
	}
	return fmt.Sprintf("%s\n%s^ %d: %s", text, strings.Repeat(" ", wrong.Pos-1), wrong.Pos, wrong.Text)
}

func matched(kind selector.Kind, text string, rec *batch.Record) string {
	f, err := selector.Compile(kind, text)
	if err != nil {
		return compiled(kind, text)
	}
	if f.Match(rec) {
		return "yes  " + text
	}
	return "no   " + text
}

// message makes the record of a match command.
func message(t *testing.T, d *datadriven.TestData) *batch.Record {
	var headers []batch.RecordHeader
	for _, arg := range d.CmdArgs {
		h := batch.RecordHeader{Key: arg.Key}
		if len(arg.Vals) > 0 {
			h.Value = []byte(arg.Vals[0])
		}
		if arg.Key != "tags" {
			headers = append(headers, h)
		}
	}
	return record(t, headers...)
}

// TestDocumentedErrors: what docs/selectors.md shows of errors is what users get.
func TestDocumentedErrors(t *testing.T) {
	doc, err := os.ReadFile("../../docs/selectors.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for line := range strings.Lines(string(doc)) {
		text, want, ok := strings.Cut(line, "at character ")
		if !ok || !strings.HasPrefix(line, "    ") {
			continue
		}
		shown++
		_, err := selector.CompileSelector(strings.TrimSpace(text))
		if want = "at character " + strings.TrimSpace(want); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, documented is %s", text, err, want)
		}
	}
	if shown == 0 {
		t.Error("no error is shown")
	}
}
