package tidy

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// mayImport is the dependency rule: which folders of this module a package may import.
// The longest folder that fits decides. shmqueue and protocol are leaves; a tier imports
// leaves, never another tier; clients import only protocol.
var mayImport = []struct {
	folder string
	allow  []string
}{
	{"protocol", []string{"protocol"}},
	{"shmqueue", []string{"shmqueue", "protocol"}},
	{"connsrv", []string{"connsrv", "shmqueue", "protocol"}},
	{"logicsrv", []string{"logicsrv", "shmqueue", "protocol"}},
	{"logicsrv/core", []string{"logicsrv/core", "protocol"}},
	// The simulation runs the real log writer beside the real core.
	{"logicsrv/sim", []string{"logicsrv", "persistsrv", "shmqueue", "protocol"}},
	{"persistsrv", []string{"persistsrv", "shmqueue", "protocol"}},
	{"clients", []string{"clients", "protocol"}},
	// The inspection tool shows shared memory too, and the states in a data directory, and has the drill,
	// which runs a broker from outside.
	{"clients/cli", []string{"clients", "protocol", "shmqueue", "logicsrv/replay", "scripts/drill"}},
	// What lies here starts the daemons' programs; it knows them from outside.
	{"scripts", []string{"scripts", "clients", "shmqueue", "protocol"}},
}

func checkImports(t *tree) (found []finding) {
	for _, s := range t.sources {
		folder, allow := "", []string(nil)
		for _, row := range mayImport {
			if below(s.dir, row.folder) && len(row.folder) > len(folder) {
				folder, allow = row.folder, row.allow
			}
		}
		for _, spec := range s.file.Imports {
			imported, ours := strings.CutPrefix(importPath(spec.Path.Value), module+"/")
			if !ours || anyBelow(imported, allow) || s.isTest && testMayImport(s.dir, imported) {
				continue
			}
			if folder == "" {
				found = append(found, finding{t.at(spec.Pos()), "a package here may import nothing of this module"})
				continue
			}
			found = append(found, finding{
				t.at(spec.Pos()),
				folder + " imports " + imported + "; it may import " + strings.Join(allow, ", "),
			})
		}
	}
	return found
}

// testMayImport: tests of clients may start a whole broker, from outside.
func testMayImport(dir, imported string) bool {
	return below(dir, "clients") && below(imported, "scripts/broker")
}

func importPath(literal string) string {
	p, err := strconv.Unquote(literal)
	if err != nil {
		return literal
	}
	return p
}

func anyBelow(dir string, folders []string) bool {
	for _, f := range folders {
		if below(dir, f) {
			return true
		}
	}
	return false
}

// modules says where each module that is not ours may be imported. "test" is any test.
var modules = []struct {
	path string
	in   []string
}{
	{"golang.org/x/sys", []string{
		"shmqueue", "connsrv", "logicsrv", "persistsrv", "protocol/commitlog", "clients", "scripts", "test",
	}},
	{"github.com/BurntSushi/toml", []string{"shmqueue/tier"}},
	{"github.com/spaolacci/murmur3", []string{"protocol/hash"}},
	{"github.com/klauspost/compress", []string{"protocol/batch"}},
	{"github.com/pierrec/lz4", []string{"protocol/batch"}},
	{"github.com/urfave/cli", []string{"main"}},
	{"github.com/prometheus", []string{"connsrv"}},
	{"github.com/twmb/franz-go/pkg/kmsg", []string{"connsrv/kafkaconn", "scripts/drill", "test"}},
	{"github.com/twmb/franz-go", []string{"scripts/drill", "test"}},
	{"github.com/rabbitmq/amqp091-go", []string{"scripts/drill", "scripts/scenarios", "test"}},
	{"github.com/HdrHistogram/hdrhistogram-go", []string{"clients/perf", "scripts"}},
	{"github.com/anishathalye/porcupine", []string{"scripts/drill"}},
	{"pgregory.net/rapid", []string{"test"}},
	{"github.com/cockroachdb/datadriven", []string{"test"}},
}

func checkModules(t *tree) (found []finding) {
	for _, s := range t.sources {
		for _, spec := range s.file.Imports {
			imported := importPath(spec.Path.Value)
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") || below(imported, module) {
				continue
			}
			if why := moduleMisplaced(s, imported); why != "" {
				found = append(found, finding{t.at(spec.Pos()), imported + " " + why})
			}
		}
	}
	return found
}

func moduleMisplaced(s *source, imported string) string {
	for _, m := range modules {
		if !below(imported, m.path) {
			continue
		}
		for _, place := range m.in {
			switch {
			case place == "test" && s.isTest,
				place == "main" && s.file.Name.Name == "main",
				below(s.dir, place):
				return ""
			}
		}
		return "may be imported only in " + strings.Join(m.in, ", ")
	}
	return "is no module that TriMQ uses; a new one earns a line in scripts/tidy and docs/dependencies.md"
}

var dependencyLine = regexp.MustCompile("(?m)^\\|? ?`([a-z0-9.]+\\.[a-z]+/[^`]+)`")

// checkDependencies: each module that is imported has its line in docs/dependencies.md, and
// none is there that is not.
func checkDependencies(t *tree) (found []finding) {
	const doc = "docs/dependencies.md"
	text, err := os.ReadFile(filepath.Join(t.root, doc))
	if err != nil {
		return []finding{{doc, "is missing"}}
	}
	explained := make(map[string]bool)
	for _, m := range dependencyLine.FindAllStringSubmatch(string(text), -1) {
		explained[m[1]] = false
	}
	for _, s := range t.sources {
	next:
		for _, spec := range s.file.Imports {
			imported := importPath(spec.Path.Value)
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") || below(imported, module) {
				continue
			}
			for m := range explained {
				if below(imported, m) {
					explained[m] = true
					continue next
				}
			}
			found = append(found, finding{t.at(spec.Pos()), imported + " has no line in " + doc})
		}
	}
	names := make([]string, 0, len(explained))
	for m := range explained {
		names = append(names, m)
	}
	sort.Strings(names)
	for _, m := range names {
		// Tools have a module of their own and no import here.
		if !explained[m] && !below(m, "honnef.co/go/tools") {
			found = append(found, finding{doc, m + " is imported nowhere"})
		}
	}
	return found
}

// checkPrograms: only scripts, tests and fixtures of tests start other programs, and what is listed
// as an exception.
func checkPrograms(t *tree) (found []finding) {
	used := map[string]bool{}
	for _, s := range t.sources {
		if s.isTest || below(s.dir, "scripts") {
			continue
		}
		for _, spec := range s.file.Imports {
			if importPath(spec.Path.Value) != "os/exec" {
				continue
			}
			if used[s.path] = starters[s.path] != ""; !used[s.path] {
				found = append(found, finding{t.at(spec.Pos()), "only tests and scripts may start programs"})
			}
		}
	}
	for key := range starters {
		if !used[key] && len(t.packages()[path.Dir(key)]) > 0 {
			found = append(found, finding{key, "is listed in exceptions.go and starts no program"})
		}
	}
	return found
}
