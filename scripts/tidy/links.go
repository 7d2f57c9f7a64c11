package tidy

import (
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// mdPlace is how documents name a place in the code: `connsrv/main.go: main → run`, a file
	// and what it declares.
	mdPlace    = regexp.MustCompile("`((?:[\\w.-]+/)+[\\w.-]+\\.go)(?::([^`]*))?`")
	goName     = regexp.MustCompile(`\b[A-Za-z_]\w*`)
	goDocument = regexp.MustCompile(`\bdocs/[\w/-]+\.(?:md|toml)\b`)
)

// checkLinks: what documents link to is there, and what they name in the code is declared in
// that file; documents that comments in the code send the reader to are there as well. Links
// to elsewhere are not followed.
func checkLinks(t *tree) (found []finding) {
	for _, file := range t.files {
		if path.Ext(file) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(t.root, file))
		if err != nil {
			return append(found, finding{file, err.Error()})
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, why := range deadEnds(t, path.Dir(file), line) {
				found = append(found, finding{fmt.Sprintf("%s:%d", file, i+1), why})
			}
		}
	}
	for _, s := range t.sources {
		for _, group := range s.file.Comments {
			for _, doc := range goDocument.FindAllString(group.Text(), -1) {
				if !exists(t, doc) {
					found = append(found, finding{t.at(group.Pos()), doc + " is not there"})
				}
			}
		}
	}
	return found
}

// deadEnds says what is wrong with the links and places in one line of a document in dir.
func deadEnds(t *tree, dir, line string) (why []string) {
	for _, m := range mdLink.FindAllStringSubmatch(line, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target == "" || strings.Contains(target, ":") {
			continue // a place in the same document, or elsewhere
		}
		if !exists(t, path.Join(dir, target)) {
			why = append(why, "the link leads to "+target+", which is not there")
		}
	}
	for _, m := range mdPlace.FindAllStringSubmatch(line, -1) {
		s := t.source(m[1])
		if s == nil {
			why = append(why, m[1]+" is not there")
			continue
		}
		for _, name := range goName.FindAllString(m[2], -1) {
			if !declares(s, name) {
				why = append(why, m[1]+" declares no "+name)
			}
		}
	}
	return why
}

// exists says whether the tree has a file of that name, or a folder.
func exists(t *tree, name string) bool {
	return slices.ContainsFunc(t.files, func(file string) bool { return below(file, name) })
}

func (t *tree) source(name string) *source {
	for _, s := range t.sources {
		if s.path == name {
			return s
		}
	}
	return nil
}

// declares says whether the file declares a function, method, type, variable or constant of
// that name.
func declares(s *source, name string) bool {
	for _, decl := range s.file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == name {
			return true
		}
		for _, id := range declared(decl) {
			if id.Name == name {
				return true
			}
		}
	}
	return false
}

var mdCode = regexp.MustCompile("`([^`]+)`")

// checkMap: the table of folders in ARCHITECTURE.md, whose rows begin with a name in code
// quotes, has every package of the tree, or the folder of several that is no package itself, and
// nothing that is not there.
func checkMap(t *tree) (found []finding) {
	const doc = "ARCHITECTURE.md"
	text, err := os.ReadFile(filepath.Join(t.root, doc))
	if err != nil {
		return []finding{{doc, "is missing"}}
	}
	mapped := make(map[string]bool)
	for i, line := range strings.Split(string(text), "\n") {
		first, _, row := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !row || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range mdCode.FindAllStringSubmatch(first, -1) {
			mapped[m[1]] = true
			// The tree leaves other modules out; they may be on the map all the same.
			if _, err := os.Stat(filepath.Join(t.root, m[1])); err != nil {
				found = append(found, finding{fmt.Sprintf("%s:%d", doc, i+1), m[1] + " is not there"})
			}
		}
	}
	packages := t.packages()
	for dir := range packages {
		above := path.Dir(dir)
		if _, itself := packages[above]; !mapped[dir] && (itself || !mapped[above]) {
			found = append(found, finding{dir, "has no place in the map of " + doc})
		}
	}
	return found
}
