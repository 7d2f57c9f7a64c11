package tidy

import "sort"

// rule is one thing that is looked for.
type rule struct {
	name  string
	check func(t *tree) []finding
}

// rules are all of them.
var rules = []rule{
	{"imports", checkImports},
	{"modules", checkModules},
	{"dependencies", checkDependencies},
	{"programs", checkPrograms},
	{"core-imports", checkCoreImports},
	{"core-statements", checkCoreStatements},
	{"core-order", checkCoreOrder},
	{"file-length", checkFileLength},
	{"function-length", checkFunctionLength},
	{"doc", checkDoc},
	{"names", checkNames},
	{"marks", checkMarks},
	{"testdata", checkTestdata},
	{"top-level", checkTopLevel},
	{"links", checkLinks},
	{"map", checkMap},
}

// run applies one rule and sorts what it finds.
func run(t *tree, name string) []finding {
	for _, r := range rules {
		if r.name == name {
			found := r.check(t)
			sort.Slice(found, func(i, k int) bool { return found[i].String() < found[k].String() })
			return found
		}
	}
	panic("no rule " + name)
}
