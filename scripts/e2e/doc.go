// Package e2e tests the whole: the programs in bin/, started by the scripts that an operator
// uses, with real sockets, real segments and real kills. `make e2e` builds and runs it.
//
// Each test has a broker of its own (keys, ports, directory), and fails if that broker leaves
// a process or a segment behind. Tests that need root (a small file system of their own) say
// so when they skip. No test asserts a duration; pauses are logged.
package e2e
