// mq_perf loads a TriMQ broker through the Go client and says what came of it: rates,
// latencies, lost and doubled messages, and what it cost in CPU and memory.
//
//	mq_perf produce   as fast as the broker takes it, a callback per message
//	mq_perf consume   reads a topic and checks every message
//	mq_perf e2e       both at once, from send to receipt
//	mq_perf rate      at a fixed rate, latency counted from the time a message was due
//
// Callers: people, scripts/bench, CI.
//
// Invariants:
//
//  1. Every message is numbered per producer and carries content that its number and size
//     determine (message.go), so that a consumer that knows nothing of the run finds lost,
//     doubled, reordered and changed messages.
//  2. What is acknowledged is counted by callbacks alone; "lost" is what was sent and not
//     acknowledged (produce), or acknowledged and not received (e2e, rate).
//  3. Every run is bounded in messages and in time.
//  4. At a fixed rate latency counts from the time a message was due, not from when the
//     generator got round to it, so a stalled broker cannot hide.
//
// Goroutines: one per producer and consumer, all ended by run. If the process dies here, the
// broker notices a closed connection.
package main
