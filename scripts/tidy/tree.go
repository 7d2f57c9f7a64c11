package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// module is the path of the module that the rules are for.
const module = "github.com/trimq/trimq"

// source is one Go file.
type source struct {
	path   string // from the root, with slashes
	dir    string
	file   *ast.File
	text   string
	isTest bool
}

// tree is everything that the rules look at.
type tree struct {
	root    string
	fset    *token.FileSet
	sources []*source
	files   []string // all files, Go or not
}

// finding is one departure.
type finding struct {
	where string // path, or path:line
	what  string
}

func (f finding) String() string { return f.where + ": " + f.what }

// notOurs are folders that git ignores or that are other modules.
func notOurs(root, rel string, entry fs.DirEntry) bool {
	if rel == ".git" || rel == "bin" {
		return true
	}
	if rel == "." {
		return false
	}
	_, err := os.Stat(filepath.Join(root, rel, "go.mod"))
	return err == nil
}

// load reads the tree below root. A file that does not parse is an error.
func load(root string) (*tree, error) {
	t := &tree{root: root, fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if notOurs(root, rel, entry) {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := path.Ext(rel); ext == ".test" || ext == ".prof" || rel == ".git" {
			return nil // left by go test, and git ignores them; a worktree's link to its repository
		}
		t.files = append(t.files, rel)
		if path.Ext(rel) != ".go" || strings.Contains(rel, "testdata/") {
			return nil
		}
		return t.parse(rel)
	})
	sort.Strings(t.files)
	return t, err
}

func (t *tree) parse(rel string) error {
	text, err := os.ReadFile(filepath.Join(t.root, rel))
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(t.fset, rel, text, parser.ParseComments)
	if err != nil {
		return err
	}
	t.sources = append(t.sources, &source{
		path: rel, dir: path.Dir(rel), file: file, text: string(text),
		isTest: strings.HasSuffix(rel, "_test.go"),
	})
	return nil
}

// at is the place of a node, as path:line.
func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// lines is how many lines a node takes.
func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// packages are the sources that are not tests, by folder.
func (t *tree) packages() map[string][]*source {
	all := make(map[string][]*source)
	for _, s := range t.sources {
		if !s.isTest {
			all[s.dir] = append(all[s.dir], s)
		}
	}
	return all
}

// below says whether dir is folder or lies in it.
func below(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}
