// Command pauses measures what clients notice when a daemon dies, stops, or is restarted: for how long
// nothing is acknowledged, and nothing delivered, how many messages per second go through before, in
// the second that follows, and after it, and how many connections are lost.
//
//	make bench-pauses
//	go run ./scripts/pauses -rounds 1 -stored 100000 -idle 100
//
// A broker with the default settings holds a million messages in a queue and has 1,000 idle connections;
// beside them a producer sends at a steady rate to a topic, at level disk, and a subscriber
// acknowledges what it gets of it. The table is in Markdown: medians of the rounds, and the worst one. It
// is in docs/guarantees.md with the machine that it was measured on.
//
// The exit code is 1 if anything was lost, or a client lost its connection that connsrv was alive for;
// not if the machine was slow.
package main
