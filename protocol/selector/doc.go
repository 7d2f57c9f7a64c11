// Package selector decides which messages a consumer wants: by an expression over their
// headers (the message selectors of JMS, a subset of SQL-92), or by tags. docs/selectors.md
// is the language as users see it; docs/decisions/003-filters.md says why a filter is
// evaluated the way it is.
//
// Callers: connsrv evaluates filters for the messages that it delivers; whoever takes a
// filter in compiles it, to refuse what is wrong with it, and keeps its normal form.
//
// A text becomes a tree (lexer.go, parser.go, check.go), and the tree a graph of tests
// (program.go): each looks at a header or two and says which test comes next. Evaluation
// (run.go) goes from test to test until it has come to the end. Logic is three-valued: a
// test on a header that is missing is unknown. The tree is taken apart in such a way that no
// negation is left above a test; what is then joined by AND and OR is true exactly if it is
// true with every unknown taken for false, so two ways out of a test are enough.
//
// Invariants:
//
//  1. A Filter is immutable: any number of goroutines may use it.
//  2. Match neither allocates nor keeps anything of the message.
//  3. A test leads to tests that were made before it, so evaluation ends.
//  4. A message's headers are walked at most once, and no further than is needed. What a
//     Match costs is bounded by the size of the filter times that of the headers.
//  5. Compile takes any bytes: text, depth, parts and headers are bounded, so time, memory
//     and stack are.
//  6. The normal form (Filter.String) compiles to a filter that matches the same messages
//     and has the same normal form.
//
// Goroutines: none. If the process dies here, nothing is lost: there is no state.
package selector
