package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// checkTestdata: every file under a testdata folder is used by a test of the package that
// the folder belongs to. A test uses a file whose name, or a folder around it below
// testdata, it has in a string; a golden file whose name begins with one of its strings and
// goes on with another; and a fuzz corpus whose target it declares.
func checkTestdata(t *tree) (found []finding) {
	for _, file := range t.files {
		pkg, inside, ok := strings.Cut(file, "/testdata/")
		if !ok {
			continue
		}
		if !usedBy(literals(t, pkg), inside) {
			found = append(found, finding{file, "no test of " + pkg + " names it"})
		}
	}
	return found
}

// names are the strings in the tests of a folder, and their fuzz targets.
type names struct {
	strings []string
	targets []string
}

func literals(t *tree, dir string) (n names) {
	for _, s := range t.sources {
		if s.dir != dir || !s.isTest {
			continue
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.BasicLit:
				if node.Kind == token.STRING {
					n.strings = append(n.strings, importPath(node.Value))
				}
			case *ast.FuncDecl:
				if strings.HasPrefix(node.Name.Name, "Fuzz") {
					n.targets = append(n.targets, node.Name.Name)
				}
			}
			return true
		})
	}
	return n
}

// usedBy takes the file's path below testdata.
func usedBy(n names, file string) bool {
	if parts := strings.Split(file, "/"); parts[0] == "fuzz" && len(parts) > 1 {
		return slices.Contains(n.targets, parts[1])
	}
	base := path.Base(file)
	stem := strings.TrimSuffix(base, path.Ext(base))
	for _, s := range n.strings {
		last := path.Base(s)
		if last == base || last == stem {
			return true
		}
		if rest, ok := strings.CutPrefix(base, s); ok && s != "" &&
			(slices.Contains(n.strings, rest) || slices.Contains(n.strings, strings.TrimSuffix(rest, path.Ext(rest)))) {
			return true
		}
	}
	if strings.HasPrefix(file, "golden/") {
		return false // a golden file must be named, not only its folder
	}
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if slices.Contains(n.strings, path.Join("testdata", dir)) {
			return true
		}
		if dir == "." {
			return false
		}
	}
}
