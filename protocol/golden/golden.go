package golden

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files that are missing")

const dir = "testdata/golden"

// Check compares b with the golden file of this name, and the annotated text beside it.
//
// layout names the fields in order, separated by spaces or new lines, as name:width. The
// width is a number of bytes; v, a uvarint; s, a uvarint and so many bytes; *, the rest.
func Check(t testing.TB, name, layout string, b []byte) {
	t.Helper()
	text, err := annotate(layout, b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	compare(t, name+".bin", b)
	compare(t, name+".txt", []byte(text))
}

// Lines compares the lines of a list with the golden text of this name. A list may grow:
// -update adds lines that are new. None may change or go.
func Lines(t testing.TB, name, list string) {
	t.Helper()
	path := filepath.Join(dir, name+".txt")
	want, err := os.ReadFile(path)
	if err != nil {
		compare(t, name+".txt", []byte(list))
		return
	}
	have := strings.Split(list, "\n")
	frozen := strings.Split(string(want), "\n")
	for _, line := range frozen {
		if !slices.Contains(have, line) {
			t.Fatalf("%s: %q is no longer so. Data that relies on it exists: never renumber.", path, line)
		}
	}
	if len(have) == len(frozen) {
		return
	}
	if !*update {
		t.Fatalf("%s lacks lines (go test -update adds them)", path)
	}
	if err := os.WriteFile(path, []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Read returns the golden file's bytes, so that a decoder can show that it reads them.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compare(t testing.TB, file string, have []byte) {
	t.Helper()
	path := filepath.Join(dir, file)
	want, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && *update:
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, have, 0o644); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Fatalf("%v (go test -update writes files that are missing)", err)
	case !bytes.Equal(have, want):
		at := firstDifference(have, want)
		t.Errorf("%s: the format has changed at byte %d of %d (was %d bytes).\n"+
			"Data of this version exists: give the format a new version and a new golden file.\n%s",
			path, at, len(have), len(want), around(have, want, at))
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// around shows both sides near the difference.
func around(have, want []byte, at int) string {
	cut := func(b []byte) []byte { return b[min(max(at-16, 0), len(b)):min(at+32, len(b))] }
	return fmt.Sprintf("have … %q\nwant … %q", cut(have), cut(want))
}

// annotate renders b field by field: offset, bytes, name.
func annotate(layout string, b []byte) (string, error) {
	var out strings.Builder
	off := 0
	for _, field := range strings.Fields(layout) {
		name, width, ok := strings.Cut(field, ":")
		if !ok {
			return "", fmt.Errorf("layout: %q has no width", field)
		}
		n, err := fieldWidth(width, b[off:])
		if err != nil {
			return "", fmt.Errorf("layout: %s at byte %d: %w", field, off, err)
		}
		writeField(&out, off, b[off:off+n], name)
		off += n
	}
	if off != len(b) {
		return "", fmt.Errorf("layout names %d of %d bytes", off, len(b))
	}
	return out.String(), nil
}

func fieldWidth(width string, rest []byte) (int, error) {
	n := 0
	switch width {
	case "*":
		return len(rest), nil
	case "v", "s":
		v, size := binary.Uvarint(rest)
		if size <= 0 {
			return 0, errors.New("no uvarint")
		}
		if n = size; width == "s" {
			n += int(min(v, uint64(len(rest)+1)))
		}
	default:
		var err error
		if n, err = strconv.Atoi(width); err != nil {
			return 0, err
		}
	}
	if n > len(rest) {
		return 0, fmt.Errorf("%d bytes, %d left", n, len(rest))
	}
	return n, nil
}

// writeField writes a field, 16 bytes a line, its name behind the first.
func writeField(out *strings.Builder, off int, b []byte, name string) {
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), 16)
		line := fmt.Sprintf("%06x  %-32s", off, hex.EncodeToString(b[:n]))
		if first {
			line += "  " + name
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
		b, off = b[n:], off+n
	}
}
