package golden

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"
)

// Constants compares all package-level constants of the package in the working directory,
// with their values, with the golden text of this name.
func Constants(t testing.TB, name string) {
	t.Helper()
	text, err := listConstants(".")
	if err != nil {
		t.Fatal(err)
	}
	Lines(t, name, text)
}

// noImports fails every import: constants of a format depend on no other package, and
// everything else may stay unresolved.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, errors.New("not needed: " + path)
}

func listConstants(folder string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return "", err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return "", err
		}
		files = append(files, file)
	}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := conf.Check(folder, fset, files, nil) // its errors are the missing imports
	var out strings.Builder
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || name == "_" {
			continue
		}
		if c.Val().Kind() == constant.Unknown {
			return "", fmt.Errorf("constant %s depends on another package", name)
		}
		fmt.Fprintf(&out, "%s = %s\n", name, c.Val().ExactString())
	}
	return out.String(), nil
}
