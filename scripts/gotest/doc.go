// Command gotest runs `go test` and tells what ran: a line for each package with its number
// of tests, a line for each skipped test with its reason, all output of what failed, and at
// the end the sum. Its arguments are go test's; its exit code is that of go test.
//
// It starts no goroutine. If it dies, go test ends by itself.
package main
