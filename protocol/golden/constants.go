package golden

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
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
		value := c.Val().ExactString()
		if c.Val().Kind() == constant.Unknown {
			// It is made of another package's constants, which that package's list freezes.
			if value = written(files, name); value == "" {
				return "", fmt.Errorf("constant %s has no value here and no expression of its own", name)
			}
		}
		fmt.Fprintf(&out, "%s = %s\n", name, value)
	}
	return out.String(), nil
}

// written is the expression that a constant is given in the source.
func written(files []*ast.File, name string) (expr string) {
	for _, file := range files {
		for _, decl := range file.Decls {
			consts, ok := decl.(*ast.GenDecl)
			if !ok || consts.Tok != token.CONST {
				continue
			}
			for _, spec := range consts.Specs {
				values, ok := spec.(*ast.ValueSpec)
				for i := 0; ok && i < len(values.Names) && i < len(values.Values); i++ {
					if values.Names[i].Name == name {
						expr = types.ExprString(values.Values[i])
					}
				}
			}
		}
	}
	return expr
}

// Documented checks that a table of the document has a row for each constant of the package
// whose name begins with prefix: a row that begins with its value.
func Documented(t testing.TB, document, prefix string) {
	t.Helper()
	list, err := listConstants(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(list) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if rest, ok := strings.CutPrefix(name, prefix); !ok || rest == "" || !unicode.IsUpper(rune(rest[0])) {
			continue
		}
		rows++
		if !strings.Contains(string(text), "\n| "+value+" | ") {
			t.Errorf("%s has no row for %s, which is %s", document, name, value)
		}
	}
	if rows == 0 {
		t.Errorf("no constant begins with %s", prefix)
	}
}
