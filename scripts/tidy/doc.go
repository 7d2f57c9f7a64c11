// Package tidy reads the whole tree and reports where it departs from the house style:
// which package may import which, purity of the logic core, lengths of files and
// functions, names, marks, doc.go files, test data, dependencies, links in documents, and the
// map of folders.
//
// Called by its own test (`go test ./scripts/tidy`), which is part of `make test`.
//
// Invariants:
//  1. Every rule is shown, on a small tree of its own, to find what it is there for and to
//     let pass what is right. A rule without such a test fails TestEveryRuleHasASelfTest.
//  2. An exception is a line in exceptions.go with its reason, and an exception that nothing
//     needs any longer is itself reported.
//
// No goroutines, no state.
package tidy
