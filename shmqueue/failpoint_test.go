package shmqueue

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestEveryStoreHasAFailpoint reads the source: behind every store to shared memory stands a
// failpoint, or the crash tests would not be exhaustive. Payload bytes are the exception: they
// are copied in one statement, and nothing of an unpublished record is ever looked at.
func TestEveryStoreHasAFailpoint(t *testing.T) {
	// Atomics of this process alone.
	private := []string{"p.limit.", "b.rung."}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	stores := 0
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == "metrics.go" {
			continue // a counter that is lost with its process is no harm
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := func(n ast.Node) string {
			return string(source[files.Position(n.Pos()).Offset:files.Position(n.End()).Offset])
		}
		ast.Inspect(file, func(n ast.Node) bool {
			block, ok := n.(*ast.BlockStmt)
			if !ok {
				return true
			}
			for i, statement := range block.List {
				if !storesToMemory(statement, text, private) {
					continue
				}
				stores++
				if i+1 == len(block.List) || !strings.HasPrefix(text(block.List[i+1]), "failpoint.Hit(") {
					t.Errorf("%s: no failpoint behind %q", files.Position(statement.Pos()), text(statement))
				}
			}
			return true
		})
	}
	if stores < 30 {
		t.Fatalf("found only %d stores: this test does not see them", stores)
	}
}

// storesToMemory says whether a statement itself, not a block within it, stores to memory
// that other processes see.
func storesToMemory(statement ast.Stmt, text func(ast.Node) string, private []string) bool {
	var own ast.Node = statement
	switch s := statement.(type) {
	case *ast.IfStmt:
		if s.Init != nil {
			own = s.Init
		} else {
			own = s.Cond
		}
	case *ast.AssignStmt:
		for _, left := range s.Lhs {
			if star, ok := left.(*ast.StarExpr); ok && strings.Contains(text(star), "(") {
				return true // *metaAt(…) = …, *(*uint64)(…) = …
			}
		}
	case *ast.ExprStmt, *ast.ReturnStmt:
	default:
		return false
	}
	found := false
	ast.Inspect(own, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch selector.Sel.Name {
		case "Store", "CompareAndSwap":
		case "Add":
			if len(call.Args) != 1 || text(selector.X) == "unsafe" || text(selector.X) == "time" {
				return true
			}
		default:
			return true
		}
		for _, prefix := range private {
			if strings.HasPrefix(text(selector), prefix) {
				return true
			}
		}
		if strings.HasSuffix(text(selector.X), ")") && strings.HasPrefix(text(selector.X), "time.") {
			return true
		}
		found = true
		return true
	})
	return found
}
