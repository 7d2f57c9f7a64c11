package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// point is a failpoint of a daemon.
type point struct{ daemon, name string }

func (p point) String() string { return p.daemon + " " + p.name }

// pointsOf lists the failpoints in the source of all packages that a daemon is made of.
func pointsOf(root, daemon string) ([]point, error) {
	cmd := exec.Command("go", "list", "-tags", "failpoints", "-deps", "-f", "{{if not .Standard}}{{.Dir}}{{end}}", "./"+daemon)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", daemon, err)
	}
	names := map[string]bool{}
	for dir := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(dir, root) {
			continue
		}
		if err := hitsIn(dir, names); err != nil {
			return nil, err
		}
	}
	var list []point
	for name := range names {
		list = append(list, point{daemon, name})
	}
	slices.SortFunc(list, func(a, b point) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// hitsIn collects the names that the files of a package give to failpoint.Hit.
func hitsIn(dir string, names map[string]bool) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := hits(path, text, names); err != nil {
			return err
		}
	}
	return nil
}

// hits collects those of one file. A name that is no literal would not be found, and is an error.
func hits(path string, text []byte, names map[string]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !isHit(call) || err != nil {
			return err == nil
		}
		var name string
		if literal, ok := call.Args[0].(*ast.BasicLit); !ok {
			err = fmt.Errorf("%s: failpoint.Hit of something that is no literal", path)
		} else if name, err = strconv.Unquote(literal.Value); err == nil {
			names[name] = true
		}
		return err == nil
	})
	return err
}

func isHit(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "Hit" || len(call.Args) != 1 {
		return false
	}
	from, ok := f.X.(*ast.Ident)
	return ok && from.Name == "failpoint"
}
