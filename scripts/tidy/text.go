package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// checkDoc: every package has a doc.go. Those of the broker itself list their invariants,
// by number, and say what goroutines they have. A program's comment may stand in its main.go.
func checkDoc(t *tree) (found []finding) {
	for dir, sources := range t.packages() {
		doc, program := "", false
		for _, s := range sources {
			program = program || s.file.Name.Name == "main"
			if name := path.Base(s.path); name == "doc.go" || name == "main.go" && program && doc == "" {
				doc = s.file.Doc.Text()
			}
		}
		top, _, _ := strings.Cut(dir, "/")
		switch {
		case doc == "":
			found = append(found, finding{dir, "has no doc.go with a package comment"})
		case program || !slices.Contains(listedTops, top):
		case !numbered.MatchString(doc):
			found = append(found, finding{dir + "/doc.go", "has no numbered invariants"})
		case !strings.Contains(strings.ToLower(doc), "goroutine"):
			found = append(found, finding{dir + "/doc.go", "says nothing of goroutines"})
		}
	}
	return found
}

var (
	listedTops = []string{"connsrv", "logicsrv", "persistsrv", "shmqueue", "protocol"}
	numbered   = regexp.MustCompile(`(?m)^\s*1\. `)
)

// bannedWords say nothing wherever they stand in a name, bannedNames when they are all of
// it, and bannedVerbs are functions without an object.
var (
	bannedWords = []string{"manager", "helper", "helpers", "util", "utils", "common", "misc"}
	bannedNames = []string{"data", "info", "stuff", "new2"}
	bannedVerbs = []string{"process", "handle"}
)

// checkNames looks at folders, files and what packages declare.
func checkNames(t *tree) (found []finding) {
	used := make(map[string]bool)
	report := func(where, key, what string) {
		if plainNames[key] != "" {
			used[key] = true
			return
		}
		found = append(found, finding{where, what})
	}
	for _, s := range t.sources {
		for _, part := range strings.Split(s.path, "/") {
			stem := strings.TrimSuffix(strings.TrimSuffix(part, ".go"), "_test")
			if badName(stem) {
				report(s.path, s.path, "bears a name that says nothing: "+part)
			}
		}
		for _, decl := range s.file.Decls {
			_, function := decl.(*ast.FuncDecl)
			for _, id := range declared(decl) {
				if badName(id.Name) || function && slices.Contains(bannedVerbs, strings.ToLower(id.Name)) {
					report(t.at(id.Pos()), s.dir+":"+id.Name, "name that says nothing: "+id.Name)
				}
			}
		}
	}
	for key := range plainNames {
		dir, _, declaredThere := strings.Cut(key, ":")
		if !declaredThere {
			dir = path.Dir(key)
		}
		if !used[key] && len(t.packages()[dir]) > 0 {
			found = append(found, finding{key, "is listed in exceptions.go and not there"})
		}
	}
	return found
}

func badName(name string) bool {
	if slices.Contains(bannedNames, strings.ToLower(name)) {
		return true
	}
	for _, word := range words(name) {
		if slices.Contains(bannedWords, strings.ToLower(word)) {
			return true
		}
	}
	return false
}

// words cuts a name where a word begins: HTTPUtil is HTTP and Util.
func words(name string) (all []string) {
	letters := []rune(name)
	from := 0
	for i := 1; i <= len(letters); i++ {
		if i < len(letters) && unicode.IsLetter(letters[i]) {
			upper := unicode.IsUpper(letters[i])
			afterLower := upper && unicode.IsLower(letters[i-1])
			beforeLower := upper && i+1 < len(letters) && unicode.IsLower(letters[i+1])
			if unicode.IsLetter(letters[i-1]) && !afterLower && !beforeLower {
				continue
			}
		}
		all = append(all, strings.Trim(string(letters[from:i]), "_-."))
		from = i
	}
	return all
}

// declared are the names that a declaration at package level makes. A method may be called
// as its object demands.
func declared(decl ast.Decl) (ids []*ast.Ident) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			ids = append(ids, decl.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				ids = append(ids, spec.Name)
			case *ast.ValueSpec:
				if decl.Tok == token.VAR || decl.Tok == token.CONST {
					ids = append(ids, spec.Names...)
				}
			}
		}
	}
	return ids
}

// The marks are put together here, so that this file does not bear them.
var marks = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b(\(#\d+\))?`)

// checkMarks: nothing is left to be done later, unless an issue says what.
func checkMarks(t *tree) (found []finding) {
	for _, s := range t.sources {
		for i, line := range strings.Split(s.text, "\n") {
			for _, m := range marks.FindAllStringSubmatch(line, -1) {
				if m[2] == "" || m[1] == "FIX"+"ME" {
					found = append(found, finding{fmt.Sprintf("%s:%d", s.path, i+1), m[1] + " is left"})
				}
			}
		}
	}
	return found
}

// topLevel is all that may lie at the top.
var topLevel = []string{
	"connsrv", "logicsrv", "persistsrv", "shmqueue", "protocol", "clients", "scripts", "docs", ".ci",
	"go.mod", "go.sum", "Makefile", "README.md", "ARCHITECTURE.md", "LICENSE", ".gitignore",
}

// checkTopLevel also keeps prose in docs.
func checkTopLevel(t *tree) (found []finding) {
	seen := make(map[string]bool)
	for _, file := range t.files {
		top, _, inside := strings.Cut(file, "/")
		if !slices.Contains(topLevel, top) && !seen[top] {
			seen[top] = true
			found = append(found, finding{top, "does not belong at the top"})
		}
		if inside && path.Ext(file) == ".md" && top != "docs" {
			found = append(found, finding{file, "prose belongs in docs"})
		}
	}
	return found
}
