package tidy

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// coreFolder is the deterministic core: input in, events and outputs out.
const coreFolder = "logicsrv/core"

// pure are the packages of the standard library without I/O, clock, randomness, or memory
// shared between goroutines.
var pure = []string{
	"bytes", "cmp", "container/heap", "encoding/binary", "encoding/hex", "errors", "fmt",
	"hash", "hash/crc32", "hash/crc64", "hash/fnv", "iter", "maps", "math", "math/bits", "regexp", "slices", "sort",
	"strconv", "strings", "unicode", "unicode/utf8",
}

func coreSources(t *tree) (all []*source) {
	for _, s := range t.sources {
		if below(s.dir, coreFolder) && !s.isTest && builds(s) {
			all = append(all, s)
		}
	}
	return all
}

func checkCoreImports(t *tree) (found []finding) {
	for _, s := range coreSources(t) {
		for _, spec := range s.file.Imports {
			p := importPath(spec.Path.Value)
			if !slices.Contains(pure, p) && !below(p, module) {
				found = append(found, finding{t.at(spec.Pos()), p + " is not pure"})
			}
		}
	}
	return found
}

// checkCoreStatements: no goroutine, no channel, no printing, in the core.
func checkCoreStatements(t *tree) (found []finding) {
	for _, s := range coreSources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.GoStmt:
				what = "starts a goroutine"
			case *ast.SelectStmt:
				what = "selects among channels: the runtime chooses at random"
			case *ast.ChanType:
				what = "has a channel"
			case *ast.CallExpr:
				what = prints(n)
			}
			if what != "" {
				found = append(found, finding{t.at(n.Pos()), "the core " + what})
			}
			return true
		})
	}
	return found
}

func prints(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		if fun.Name == "print" || fun.Name == "println" {
			return "prints"
		}
	case *ast.SelectorExpr:
		if pkg, ok := fun.X.(*ast.Ident); ok && pkg.Name == "fmt" && strings.HasPrefix(fun.Sel.Name, "Print") {
			return "prints"
		}
	}
	return ""
}

// checkCoreOrder: a range over a map has no order, so it may only collect what is sorted
// afterwards, or say why order does not matter in a comment `order: …` on its line or the
// line above. That is a claim for the reader to judge.
func checkCoreOrder(t *tree) (found []finding) {
	sources := coreSources(t)
	if len(sources) == 0 {
		return nil
	}
	info, err := typeCheck(t, sources)
	if err != nil {
		return []finding{{coreFolder, err.Error()}}
	}
	for _, s := range sources {
		claims := orderClaims(t, s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			fn, ok := n.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				return true
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				what := unordered(n, fn, info)
				if what != "" && !claims[t.fset.Position(n.Pos()).Line] {
					found = append(found, finding{t.at(n.Pos()), what})
				}
				return true
			})
			return true
		})
	}
	return found
}

// orderClaims are the lines for which a comment says why order does not matter.
func orderClaims(t *tree, s *source) map[int]bool {
	lines := make(map[int]bool)
	for _, group := range s.file.Comments {
		if strings.Contains(group.Text(), "order: ") {
			last := t.fset.Position(group.End()).Line
			lines[last], lines[last+1] = true, true
		}
	}
	return lines
}

// unordered says what n leaves to chance, if anything.
func unordered(n ast.Node, fn *ast.FuncDecl, info *types.Info) string {
	loop, ok := n.(*ast.RangeStmt)
	if !ok {
		return ""
	}
	if call, ok := loop.X.(*ast.CallExpr); ok {
		if name := calledOf(call, "maps"); name != "" {
			return "ranges over maps." + name + ", which has no order"
		}
	}
	typ := info.TypeOf(loop.X)
	if typ == nil {
		return ""
	}
	if !isMap(typ) || collectsForSort(loop, fn) {
		return ""
	}
	return "ranges over a map without sorting"
}

// isMap also knows a type parameter whose every type is a map.
func isMap(typ types.Type) bool {
	if p, ok := typ.(*types.TypeParam); ok {
		union, ok := p.Constraint().Underlying().(*types.Interface)
		if !ok || union.NumEmbeddeds() == 0 {
			return false
		}
		if u, ok := union.EmbeddedType(0).(*types.Union); ok && u.Len() > 0 {
			return isMap(u.Term(0).Type())
		}
		return isMap(union.EmbeddedType(0))
	}
	_, ok := typ.Underlying().(*types.Map)
	return ok
}

// calledOf is the name of the function of package pkg that is called, if one is.
func calledOf(call *ast.CallExpr, pkg string) string {
	fun := call.Fun
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != pkg {
		return ""
	}
	return sel.Sel.Name
}

// collectsForSort says whether all that the loop does is to append to slices that fn
// sorts afterwards.
func collectsForSort(loop *ast.RangeStmt, fn *ast.FuncDecl) bool {
	var into []string
	if !collects(loop.Body.List, &into) || len(into) == 0 {
		return false
	}
	for _, name := range into {
		sorted := false
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || call.Pos() < loop.End() || len(call.Args) == 0 || types.ExprString(call.Args[0]) != name {
				return true
			}
			if calledOf(call, "sort") != "" || strings.HasPrefix(calledOf(call, "slices"), "Sort") {
				sorted = true
			}
			return true
		})
		if !sorted {
			return false
		}
	}
	return true
}

// collects says whether the statements only append, possibly under a condition.
func collects(list []ast.Stmt, into *[]string) bool {
	for _, stmt := range list {
		switch stmt := stmt.(type) {
		case *ast.AssignStmt:
			if len(stmt.Lhs) != 1 || len(stmt.Rhs) != 1 {
				return false
			}
			call, ok := stmt.Rhs[0].(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || types.ExprString(call.Fun) != "append" {
				return false
			}
			name := types.ExprString(stmt.Lhs[0])
			if types.ExprString(call.Args[0]) != name {
				return false
			}
			*into = append(*into, name)
		case *ast.IfStmt:
			if stmt.Else != nil || !collects(stmt.Body.List, into) {
				return false
			}
		case *ast.BranchStmt:
			if stmt.Tok != token.CONTINUE {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// findStandardLibrary says where the standard library's sources are: a program that was built with
// -trimpath does not know.
func findStandardLibrary() error {
	if build.Default.GOROOT != "" {
		return nil
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("where is the standard library? go env GOROOT: %w", err)
	}
	build.Default.GOROOT = strings.TrimSpace(string(out))
	return nil
}

// typeCheck finds the types of the core's expressions.
func typeCheck(t *tree, sources []*source) (*types.Info, error) {
	if err := findStandardLibrary(); err != nil {
		return nil, err
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	imp := &treeImporter{
		tree: t, done: make(map[string]*types.Package),
		std: importer.ForCompiler(t.fset, "source", nil),
	}
	byDir := make(map[string][]*ast.File)
	var dirs []string
	for _, s := range sources {
		if byDir[s.dir] == nil {
			dirs = append(dirs, s.dir)
		}
		byDir[s.dir] = append(byDir[s.dir], s.file)
	}
	for _, dir := range dirs {
		conf := types.Config{Importer: imp}
		if _, err := conf.Check(module+"/"+dir, t.fset, byDir[dir], info); err != nil {
			return nil, fmt.Errorf("does not compile: %w", err)
		}
	}
	return info, nil
}

// treeImporter finds packages of this module in the tree and the others in the library.
type treeImporter struct {
	tree *tree
	done map[string]*types.Package
	std  types.Importer
}

func (imp *treeImporter) Import(p string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(p, module+"/")
	if !ours {
		return imp.std.Import(p)
	}
	if pkg := imp.done[p]; pkg != nil {
		return pkg, nil
	}
	var files []*ast.File
	for _, s := range imp.tree.sources {
		if s.dir == dir && !s.isTest && builds(s) {
			files = append(files, s.file)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no package in %s", filepath.Join(imp.tree.root, dir))
	}
	// A dependency's errors are its own: what the core uses of it has types all the same.
	conf := types.Config{Importer: imp, Error: func(error) {}}
	pkg, _ := conf.Check(p, imp.tree.fset, files, nil)
	imp.done[p] = pkg
	return pkg, nil
}

// builds says whether a release build contains the file: those with a positive build tag,
// such as failpoints, are left out.
func builds(s *source) bool {
	for line := range strings.Lines(s.text) {
		if tag, ok := strings.CutPrefix(line, "//go:build "); ok {
			return strings.HasPrefix(tag, "!")
		}
		if strings.HasPrefix(line, "package ") {
			return true
		}
	}
	return true
}
