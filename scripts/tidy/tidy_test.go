package tidy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTree applies every rule to TriMQ itself.
func TestTree(t *testing.T) {
	all, err := load(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if len(all.sources) < 50 {
		t.Fatalf("only %d sources found: looking in the wrong place", len(all.sources))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range run(all, r.name) {
				t.Error(f)
			}
		})
	}
}

// grow makes a tree of these files.
func grow(t *testing.T, files map[string]string) *tree {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	grown, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	return grown
}

// selfTests show what each rule finds, and what it lets pass. Keys are paths.
var selfTests = []struct {
	rule  string
	name  string
	files map[string]string
	want  string // part of the one finding; empty: none
}{
	{"imports", "tier imports tier", files("connsrv/a.go", ours("logicsrv/core")), "connsrv imports logicsrv/core"},
	{"imports", "leaf imports tier", files("protocol/ipc/a.go", ours("persistsrv/vfs")), "protocol imports persistsrv/vfs"},
	{"imports", "protocol imports shmqueue", files("protocol/ipc/a.go", ours("shmqueue")), "protocol imports shmqueue"},
	{"imports", "shmqueue imports tier", files("shmqueue/tier/a.go", ours("connsrv/reactor")), "shmqueue imports connsrv/reactor"},
	{"imports", "client imports rings", files("clients/trimq/a.go", ours("shmqueue")), "clients imports shmqueue"},
	{"imports", "core imports rings", files("logicsrv/core/a.go", ours("shmqueue")), "logicsrv/core imports shmqueue"},
	{"imports", "core imports its shell", files("logicsrv/core/a.go", ours("logicsrv/shell")), "logicsrv/core imports logicsrv/shell"},
	{"imports", "shell imports persistsrv", files("logicsrv/shell/a.go", ours("persistsrv/shell")), "logicsrv imports persistsrv/shell"},
	{"imports", "a test is no excuse", files("connsrv/a_test.go", ours("logicsrv/core")), "connsrv imports logicsrv/core"},
	{"imports", "scripts import a tier", files("scripts/demo/a.go", ours("connsrv/session")), "scripts imports connsrv/session"},
	{"imports", "a folder without a rule", files("other/a.go", ours("protocol/ipc")), "nothing of this module"},
	{"imports", "name that only begins alike", files("connsrv/a.go", ours("shmqueues")), "connsrv imports shmqueues"},
	{"imports", "simulation", files("logicsrv/sim/a.go", ours("persistsrv/shell")), ""},
	{"imports", "inspection tool", files("clients/cli/a.go", ours("shmqueue")), ""},
	{"imports", "client's test starts a broker", files("clients/trimq/a_test.go", ours("scripts/broker")), ""},
	{"imports", "a client does not", files("clients/trimq/a.go", ours("scripts/broker")), "clients imports scripts/broker"},
	{"imports", "tier imports leaves", files("connsrv/a.go", ours("protocol/ipc"), "logicsrv/a.go", ours("shmqueue/tier")), ""},

	{"modules", "murmur3", files("connsrv/a.go", theirs("github.com/spaolacci/murmur3")), "only in protocol/hash"},
	{"modules", "zstd", files("clients/trimq/a.go", theirs("github.com/klauspost/compress/zstd")), "only in protocol/batch"},
	{"modules", "cli in a package", files("clients/trimq/a.go", theirs("github.com/urfave/cli/v2")), "only in main"},
	{"modules", "rapid outside of a test", files("shmqueue/a.go", theirs("pgregory.net/rapid")), "only in test"},
	{"modules", "a new module", files("shmqueue/a.go", theirs("example.com/new")), "is no module that TriMQ uses"},
	{"modules", "in their places", files("protocol/hash/a.go", theirs("github.com/spaolacci/murmur3"),
		"protocol/batch/a.go", theirs("github.com/klauspost/compress/zstd"),
		"clients/cli/main.go", "package main\nimport _ \"github.com/urfave/cli/v2\"\n",
		"shmqueue/a_test.go", theirs("pgregory.net/rapid")), ""},

	{"dependencies", "no document", files("a.go", "package a\n"), "is missing"},
	{"dependencies", "not explained", files("docs/dependencies.md", "", "shmqueue/a.go", theirs("golang.org/x/sys/unix")), "has no line"},
	{"dependencies", "not used", files("docs/dependencies.md", "| `golang.org/x/sys` | why |\n"), "is imported nowhere"},
	{"dependencies", "explained and used", files("docs/dependencies.md", "| `golang.org/x/sys` | why |\n",
		"shmqueue/a.go", theirs("golang.org/x/sys/unix")), ""},

	{"programs", "a daemon starts a program", files("connsrv/a.go", theirs("os/exec")), "only tests and scripts"},
	{"programs", "an exception that nothing needs", files("logicsrv/replay/process.go", "package replay\n"), "starts no program"},
	{"programs", "an exception", files("logicsrv/replay/process.go", theirs("os/exec")), ""},
	{"programs", "scripts and tests do", files("scripts/e2e/a.go", theirs("os/exec"), "shmqueue/a_test.go", theirs("os/exec")), ""},

	{"core-imports", "clock", files("logicsrv/core/a.go", theirs("time")), "time is not pure"},
	{"core-imports", "randomness", files("logicsrv/core/a.go", theirs("math/rand/v2")), "math/rand/v2 is not pure"},
	{"core-imports", "files", files("logicsrv/core/a.go", theirs("os")), "os is not pure"},
	{"core-imports", "network", files("logicsrv/core/a.go", theirs("net")), "net is not pure"},
	{"core-imports", "locks", files("logicsrv/core/a.go", theirs("sync/atomic")), "sync/atomic is not pure"},
	{"core-imports", "in a folder below", files("logicsrv/core/x/a.go", theirs("sync")), "sync is not pure"},
	{"core-imports", "pure ones, and tests", files("logicsrv/core/a.go", theirs("slices"), "logicsrv/core/a_test.go", theirs("time"),
		"logicsrv/shell/a.go", theirs("time")), ""},

	{"core-statements", "goroutine", files("logicsrv/core/a.go", "package core\nfunc f() { go f() }\n"), "starts a goroutine"},
	{"core-statements", "channel", files("logicsrv/core/a.go", "package core\nvar c chan int\n"), "has a channel"},
	{"core-statements", "select", files("logicsrv/core/a.go", "package core\nfunc f() { select {} }\n"), "selects"},
	{"core-statements", "print", files("logicsrv/core/a.go", "package core\nimport \"fmt\"\nfunc f() { fmt.Println() }\n"), "prints"},
	{"core-statements", "outside of the core", files("logicsrv/shell/a.go", "package shell\nfunc f() { go f() }\n"), ""},

	{"core-order", "map", files("logicsrv/core/a.go", "package core\nfunc f(m map[int]int) { for range m {} }\n"), "ranges over a map without sorting"},
	{"core-order", "named map of another package", files(
		"logicsrv/core/a.go", "package core\nimport \"github.com/trimq/trimq/protocol/x\"\nfunc f(s x.S) { for k := range s.M { _ = k } }\n",
		"protocol/x/a.go", "package x\ntype M map[string]int\ntype S struct{ M M }\n"), "ranges over a map without sorting"},
	{"core-order", "type parameter", files("logicsrv/core/a.go",
		"package core\nfunc f[M ~map[K]V, K comparable, V any](m M) { for range m {} }\n"), "ranges over a map without sorting"},
	{"core-order", "maps.Keys", files("logicsrv/core/a.go",
		"package core\nimport \"maps\"\nfunc f(m map[int]int) { for range maps.Keys(m) {} }\n"), "ranges over maps.Keys"},
	{"core-order", "collected and not sorted", files("logicsrv/core/a.go",
		"package core\nfunc f(m map[int]int) (s []int) { for k := range m { s = append(s, k) }; return s }\n"), "without sorting"},
	{"core-order", "sorted before it is collected", files("logicsrv/core/a.go",
		"package core\nimport \"slices\"\nfunc f(m map[int]int) (s []int) { slices.Sort(s); for k := range m { s = append(s, k) }; return s }\n"), "without sorting"},
	{"core-order", "collected and more", files("logicsrv/core/a.go",
		"package core\nimport \"slices\"\nvar n int\nfunc f(m map[int]int) (s []int) { for k := range m { s = append(s, k); n = k }; slices.Sort(s); return s }\n"), "without sorting"},
	{"core-order", "does not compile", files("logicsrv/core/a.go", "package core\nvar x = y\n"), "does not compile"},
	{"core-order", "collected and sorted", files("logicsrv/core/a.go",
		"package core\nimport \"slices\"\nfunc f(m map[int]int) (s []int) { for k := range m { if k > 0 { s = append(s, k) } }; slices.Sort(s); return s }\n"), ""},
	{"core-order", "sorted keys", files("logicsrv/core/a.go",
		"package core\nimport (\"maps\"; \"slices\")\nfunc f(m map[int]int) { for range slices.Sorted(maps.Keys(m)) {} }\n"), ""},
	{"core-order", "a reason is given", files("logicsrv/core/a.go",
		"package core\nfunc f(m map[int]int) (n int) {\n// order: a sum\nfor _, v := range m { n += v }\nreturn n }\n"), ""},
	{"core-order", "slices, and other packages", files("logicsrv/core/a.go", "package core\nfunc f(s []int) { for range s {} }\n",
		"logicsrv/shell/a.go", "package shell\nfunc f(m map[int]int) { for range m {} }\n"), ""},

	{"file-length", "801 lines", files("a/a_test.go", "package a\n"+strings.Repeat("\n", 800)), "has 801 lines"},
	{"file-length", "800 lines", files("a/a.go", "package a\n"+strings.Repeat("\n", 799)), ""},

	{"function-length", "101 lines", files("a/a.go", "package a\ntype T[K any] int\nfunc (t *T[K]) f() {"+strings.Repeat("\n", 100)+"}\n"), "T.f has 101 lines"},
	{"function-length", "100 lines, and a test", files("a/a.go", "package a\nfunc f() {"+strings.Repeat("\n", 99)+"}\n",
		"a/a_test.go", "package a\nfunc g() {"+strings.Repeat("\n", 200)+"}\n"), ""},

	{"doc", "none", files("a/a.go", "package a\n"), "has no doc.go"},
	{"doc", "without a comment", files("a/doc.go", "package a\n"), "has no doc.go with a package comment"},
	{"doc", "no invariant", files("connsrv/a/doc.go", "// Package a has no goroutines.\npackage a\n"), "has no numbered invariants"},
	{"doc", "no goroutines", files("protocol/a/doc.go", "// Package a has invariants:\n//  1. It stands.\npackage a\n"), "says nothing of goroutines"},
	{"doc", "a program without one", files("b/main.go", "package main\n"), "has no doc.go"},
	{"doc", "both, a program, and a package of tests", files(
		"logicsrv/a/doc.go", "// Package a. Invariants:\n//  1. It stands.\n//\n// Goroutines: none.\npackage a\n",
		"b/main.go", "// Command b does it.\npackage main\n", "c/c_test.go", "package c\n",
		"clients/d/doc.go", "// Package d is for users.\npackage d\n"), ""},

	{"names", "file of a test", files("a/a_util_test.go", "package a\n"), "a_util_test.go"},
	{"names", "file", files("a/string_helpers.go", "package a\n"), "string_helpers.go"},
	{"names", "type", files("a/a.go", "package a\ntype ConnManager int\n"), "ConnManager"},
	{"names", "function", files("a/a.go", "package a\nfunc process() {}\n"), "process"},
	{"names", "variable", files("a/a.go", "package a\nvar data int\n"), "data"},
	{"names", "initials in front", files("a/a.go", "package a\ntype HTTPUtil int\n"), "HTTPUtil"},
	{"names", "folder", files("misc/x/a.go", "package x\n"), "misc"},
	{"names", "good ones", files("a/ring.go",
		"package a\nfunc utility(){}\ntype Commons int\ntype Process int\ntype TopicInfo int\nfunc (x TopicInfo) handle() { var data int; _ = data }\n"), ""},

	{"marks", "to do", files("a/a.go", "package a\n// TO"+"DO: later\n"), "a/a.go:2"},
	{"marks", "to fix, with an issue", files("a/a.go", "package a\n// FIX"+"ME(#7): now\n"), "is left"},
	{"marks", "to do, with an issue", files("a/a.go", "package a\n// TO"+"DO(#7): later\n// TO"+"DOS is a word\n"), ""},

	{"testdata", "nobody names it", files("a/testdata/x.bin", "", "a/a_test.go", "package a\n"), "no test of a names it"},
	{"testdata", "another package names it", files("a/testdata/x.bin", "", "b/b_test.go", "package b\nvar s = \"x.bin\"\n"), "no test of a names it"},
	{"testdata", "golden file of a named folder", files("a/testdata/golden/x_v1_a.bin", "",
		"a/a_test.go", "package a\nvar s = \"testdata/golden\"\n"), "no test of a names it"},
	{"testdata", "corpus of a target that is gone", files("a/testdata/fuzz/FuzzX/1", "", "a/a_test.go", "package a\n"), "no test of a names it"},
	{"testdata", "named in whole, in two, by folder, by target", files(
		"a/testdata/x.bin", "", "a/testdata/golden/f_v1_case.bin", "", "a/testdata/golden/f_v1_other.txt", "", "a/testdata/area/y.txt", "", "a/testdata/fuzz/FuzzX/1", "",
		"a/a_test.go", "package a\nvar s = []string{\"testdata/x.bin\", \"f_v1_\", \"case\", \"other.txt\", \"testdata/area\"}\nfunc FuzzX() {}\n"), ""},

	{"top-level", "a folder", files("util/a.txt", ""), "util: does not belong"},
	{"top-level", "a file", files("NOTES.md", ""), "NOTES.md: does not belong"},
	{"top-level", "prose elsewhere", files("connsrv/notes.md", ""), "prose belongs in docs"},
	{"top-level", "what may be there", files("README.md", "", "docs/a.md", "", "connsrv/a.go", "package connsrv\n",
		"bin/connsrv", "", "clients/other/go.mod", "", "clients/other/notes.md", ""), ""},

	{"map", "none", files("README.md", ""), "ARCHITECTURE.md: is missing"},
	{"map", "a package without a place", files("ARCHITECTURE.md", "| `a` | it |\n", "a/a.go", "package a\n", "b/b.go", "package b\n"), "b: has no place"},
	{"map", "a package in another one's folder", files("ARCHITECTURE.md", "| `a` | it |\n", "a/a.go", "package a\n", "a/b/b.go", "package b\n"), "a/b: has no place"},
	{"map", "a place without a package", files("ARCHITECTURE.md", "| word | `b` |\n| `a`, `b` | it |\n", "a/a.go", "package a\n"), "ARCHITECTURE.md:2: b is not there"},
	{"map", "all of them, and a folder of documents", files(
		"ARCHITECTURE.md", "| word | `b` |\n| `a`, `a/b` | both |\n| `docs` | words |\n", "docs/a.md", "",
		"a/a.go", "package a\n", "a/b/b.go", "package b\n", "c/c_test.go", "package c\n"), ""},

	{"links", "to nothing", files("docs/a.md", "see [b](b.md)\n"), "docs/a.md:1: the link leads to b.md"},
	{"links", "from the wrong folder", files("docs/a.md", "see [b](docs/b.md)\n", "docs/b.md", ""), "the link leads to docs/b.md"},
	{"links", "a place in a file that is gone", files("docs/a.md", "\n`connsrv/gone.go:f`\n"), "docs/a.md:2: connsrv/gone.go is not there"},
	{"links", "a name that is gone", files("docs/a.md", "`connsrv/a.go: f → gone`\n", "connsrv/a.go", "package connsrv\nfunc f() {}\n"), "declares no gone"},
	{"links", "from a comment", files("connsrv/a.go", "package connsrv\n\n// See docs/"+"b.md.\nvar x int\n"), "docs/b.md is not there"},
	{"links", "good ones", files(
		"README.md", "[a](docs/a.md#part) [here](#part) [there](https://example.com/x.md) [folder](connsrv)\n",
		"docs/a.md", "[up](../README.md) `connsrv/a.go: f → m` `connsrv/a.go: T` `connsrv/a.go` `connsrv/a.go:1`\n",
		"connsrv/a.go", "package connsrv\n\n// See docs/a.md, part 2.\nfunc f() {}\ntype T int\nfunc (T) m() {}\n"), ""},
}

// files pairs up paths and texts.
func files(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func ours(p string) string   { return theirs(module + "/" + p) }
func theirs(p string) string { return "package x\nimport _ \"" + p + "\"\n" }

func TestRules(t *testing.T) {
	for _, x := range selfTests {
		t.Run(x.rule+"/"+x.name, func(t *testing.T) {
			found := run(grow(t, x.files), x.rule)
			switch {
			case x.want == "" && len(found) > 0:
				t.Errorf("finds %v", found)
			case x.want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), x.want)):
				t.Errorf("finds %v, should find %q", found, x.want)
			}
		})
	}
}

func TestEveryRuleHasASelfTest(t *testing.T) {
	for _, r := range rules {
		finds, passes := false, false
		for _, x := range selfTests {
			if x.rule == r.name {
				finds, passes = finds || x.want != "", passes || x.want == ""
			}
		}
		if !finds || !passes {
			t.Errorf("rule %s: shown to find %v, to let pass %v", r.name, finds, passes)
		}
	}
}

func TestUnusedExceptionIsReported(t *testing.T) {
	longFunctions["a:f"] = "for this test"
	t.Cleanup(func() { delete(longFunctions, "a:f") })
	long := grow(t, files("a/a.go", "package a\nfunc f() {"+strings.Repeat("\n", 101)+"}\n"))
	if found := run(long, "function-length"); len(found) != 0 {
		t.Errorf("an exception does not help: %v", found)
	}
	short := grow(t, files("a/a.go", "package a\nfunc f() {}\n"))
	if found := run(short, "function-length"); len(found) != 1 {
		t.Errorf("an exception that nothing needs: %v", found)
	}
}

func TestUnusedNameIsReported(t *testing.T) {
	plainNames["a:data"] = "for this test"
	t.Cleanup(func() { delete(plainNames, "a:data") })
	if found := run(grow(t, files("a/a.go", "package a\nvar data int\n")), "names"); len(found) != 0 {
		t.Errorf("an exception does not help: %v", found)
	}
	if found := run(grow(t, files("a/a.go", "package a\n")), "names"); len(found) != 1 {
		t.Errorf("an exception that nothing needs: %v", found)
	}
}

func TestLoadRefusesWhatDoesNotParse(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(root); err == nil {
		t.Error("a file that does not parse is left out silently")
	}
}
