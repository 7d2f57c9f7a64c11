package tidy

import (
	"fmt"
	"go/ast"
	"strings"
)

// Limits of length, in lines. The target is far below: files of 100 to 400 lines, a median
// function under 15.
const (
	maxFileLines     = 800
	maxFunctionLines = 100
)

func checkFileLength(t *tree) (found []finding) {
	for _, s := range t.sources {
		if n := strings.Count(s.text, "\n"); n > maxFileLines {
			found = append(found, finding{s.path, fmt.Sprintf("has %d lines, the limit is %d", n, maxFileLines)})
		}
	}
	return found
}

// checkFunctionLength looks at functions outside of tests: a table of cases may be long.
func checkFunctionLength(t *tree) (found []finding) {
	used := make(map[string]bool)
	for _, s := range t.sources {
		if s.isTest {
			continue
		}
		for _, decl := range s.file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := t.lines(fn)
			if n <= maxFunctionLines {
				continue
			}
			name := s.dir + ":" + functionName(fn)
			if longFunctions[name] != "" {
				used[name] = true
				continue
			}
			found = append(found, finding{t.at(fn.Pos()), fmt.Sprintf("%s has %d lines, the limit is %d",
				functionName(fn), n, maxFunctionLines)})
		}
	}
	for name := range longFunctions {
		dir, _, _ := strings.Cut(name, ":")
		if !used[name] && len(t.packages()[dir]) > 0 {
			found = append(found, finding{name, "is listed in exceptions.go and not too long"})
		}
	}
	return found
}

// functionName is F, or T.F for a method.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}
