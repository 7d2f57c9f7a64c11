package errcode

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/golden"
)

func TestConstants(t *testing.T) { golden.Constants(t, "errcode_v1_constants") }

// The names and the retriable bits are seen by clients, so they are frozen too.
func TestTexts(t *testing.T) {
	var out strings.Builder
	seen := map[string]bool{}
	for c := Code(0); int(c) < Count(); c++ {
		if !c.Known() {
			continue // a number that is not taken yet
		}
		fmt.Fprintf(&out, "%d %s retriable=%v\n", uint16(c), c, c.Retriable())
		if name := c.String(); name == "" || seen[name] {
			t.Errorf("code %d has no name of its own", uint16(c))
		}
		seen[c.String()] = true
	}
	golden.Lines(t, "errcode_v1_texts", out.String())

	const document = "../../docs/formats/admin.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for c := Code(0); int(c) < Count(); c++ {
		if !c.Known() {
			continue
		}
		row := fmt.Sprintf("\n| %d | %s | %s |", uint16(c), c, map[bool]string{false: "no", true: "yes"}[c.Retriable()])
		if !strings.Contains(string(text), row) {
			t.Errorf("%s has no row %q", document, row)
		}
	}
}

func TestUnknownCode(t *testing.T) {
	for _, c := range []Code{Code(Count()), 65535, 63} {
		if c.Known() || c.Retriable() || c.String() != fmt.Sprintf("code-%d", uint16(c)) {
			t.Errorf("%d: known %v, retriable %v, %q", uint16(c), c.Known(), c.Retriable(), c)
		}
	}
}

func TestError(t *testing.T) {
	err := fmt.Errorf("produce: %w", New(NotFound, "topic %q", "t"))
	if err.Error() != `produce: not-found: topic "t"` {
		t.Error(err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Code != NotFound {
		t.Errorf("as: %v", e)
	}
	if !errors.Is(err, &Error{Code: NotFound}) || errors.Is(err, &Error{Code: InUse}) ||
		errors.Is(err, &Error{Code: NotFound, Text: "another"}) {
		t.Error("errors.Is does not go by code")
	}
	if (&Error{Code: InUse}).Error() != "in-use" {
		t.Error("an error without a text")
	}
}
