package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeT records failures instead of failing.
type fakeT struct {
	testing.TB
	failed string
}

func (f *fakeT) Helper()                           {}
func (f *fakeT) Errorf(format string, args ...any) { f.failed += format }
func (f *fakeT) Fatalf(format string, args ...any) { f.failed += format; panic(f) }

func failure(t *testing.T, run func(testing.TB)) string {
	t.Helper()
	f := &fakeT{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		run(f)
	}()
	return f.failed
}

func TestCheckFreezesAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	before := *update
	t.Cleanup(func() { *update = before })

	*update = false
	if failure(t, func(tb testing.TB) { Check(tb, "x_v1_a", "n:2", []byte{1, 2}) }) == "" {
		t.Error("a missing file passes")
	}
	*update = true
	Check(t, "x_v1_a", "n:2", []byte{1, 2})
	if failure(t, func(tb testing.TB) { Check(tb, "x_v1_a", "n:2", []byte{1, 3}) }) == "" {
		t.Error("-update rewrites a file that exists")
	}
	*update = false
	Check(t, "x_v1_a", "n:2", []byte{1, 2})
	if got := Read(t, "x_v1_a"); string(got) != "\x01\x02" {
		t.Errorf("read %x", got)
	}
}

func TestLinesMayGrowOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	before := *update
	t.Cleanup(func() { *update = before })

	*update = true
	Lines(t, "x_v1_constants", "A = 1\nC = 3\n")
	*update = false
	if failure(t, func(tb testing.TB) { Lines(tb, "x_v1_constants", "A = 1\nB = 2\nC = 3\n") }) == "" {
		t.Error("a line that is not frozen yet passes")
	}
	*update = true
	Lines(t, "x_v1_constants", "A = 1\nB = 2\nC = 3\n")
	for _, list := range []string{"A = 1\nB = 2\n", "A = 1\nB = 4\nC = 3\n"} {
		if failure(t, func(tb testing.TB) { Lines(tb, "x_v1_constants", list) }) == "" {
			t.Errorf("%q passes", list)
		}
	}
	*update = false
	Lines(t, "x_v1_constants", "A = 1\nB = 2\nC = 3\n")
}

func TestAnnotate(t *testing.T) {
	text, err := annotate("a:1 name:s n:v rest:*", []byte{7, 2, 'h', 'i', 0x81, 1, 9, 9})
	want := "000000  07                                a\n" +
		"000001  026869                            name\n" +
		"000004  8101                              n\n" +
		"000006  0909                              rest\n"
	if err != nil || text != want {
		t.Errorf("%v\n%s", err, text)
	}
	for _, bad := range []string{"a:1", "a:9", "a", "a:x", "a:7 s:s"} {
		if _, err := annotate(bad, []byte{1, 2, 3, 4, 5, 6, 7, 200}); err == nil {
			t.Errorf("layout %q fits", bad)
		}
	}
}

func TestListConstants(t *testing.T) {
	folder := t.TempDir()
	src := "package p\nimport \"fmt\"\ntype T uint8\nconst (\n A T = iota + 1\n B\n)\nconst s = \"x\"\nfunc f() { fmt.Println() }\n"
	if err := os.WriteFile(filepath.Join(folder, "p.go"), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := listConstants(folder)
	if err != nil || text != "A = 1\nB = 2\ns = \"x\"\n" {
		t.Errorf("%v\n%s", err, text)
	}
	src = strings.Replace(src, "\"x\"", "fmt.S + 1", 1)
	if err := os.WriteFile(filepath.Join(folder, "p.go"), []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := listConstants(folder); err != nil || text != "A = 1\nB = 2\ns = fmt.S + 1\n" {
		t.Errorf("made of another package's: %v\n%s", err, text)
	}
}

func TestDocumented(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"p.go": "package p\nconst (\n TypeA = 1\n TypeB = 22\n Types = 3\n)\n",
		"d.md": "| n | name |\n| 1 | A |\n| 2 | B |\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := failure(t, func(tb testing.TB) { Documented(tb, "d.md", "Type") }); strings.Count(got, "no row") != 1 {
		t.Errorf("TypeB alone has no row: %q", got)
	}
	if failure(t, func(tb testing.TB) { Documented(tb, "d.md", "Event") }) == "" {
		t.Error("a prefix of no constant passes")
	}
}
