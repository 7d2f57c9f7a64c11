// Command scenarios plays load on a whole broker as its users know it, with messages of 4 KB that
// are acknowledged only when the disk has them: healthy subscribers and sick ones, many topics, a
// backlog that is worked off, ten million messages in one queue. It prints what went through, how
// late, and what each process used for it, and checks that nothing was lost.
//
//	make bench-scenarios
//	go run ./scripts/scenarios -list
//	go run ./scripts/scenarios -only filters -time 20s
//
// Each scenario gets a broker of its own in a scratch directory. What is wanted of a scenario is
// printed beside what was measured; the exit code is 1 if messages were lost, not if the machine
// was slow.
package main
