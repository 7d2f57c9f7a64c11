// Command bench measures a whole broker beside what the machine can do at most, in the same
// run and turn by turn, and prints medians and ratios:
//
//	go run ./scripts/bench                 # or make bench-broker
//	go run ./scripts/bench -rounds 9 -count 4000000 -json
//
// The limits are the least work that any broker has to do with the same bytes: once through
// loopback TCP and once into the page cache (produce), the same with a group commit (produce
// at disk), and once from the page cache through loopback TCP by sendfile (consume).
//
// A virtual machine may have given its free memory back to its host. The first touch of such
// a page costs many times what the copy costs, so before each measurement as much of the page
// cache is touched and given back as the measurement will need; see warm.
package main
