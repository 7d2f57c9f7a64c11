// Command demo shows a broker at work: it starts one in a scratch directory, sends the text
// and source files of the Go toolchain through it, a line a message, kills logicsrv and
// persistsrv with -9 on the way, and compares what came out with what went in.
//
// Each line goes into a topic of four partitions, its file's name as key, and through a
// topic exchange, its file's name as routing key, to several queues. For each partition and
// queue, SHA-256 of the messages in the order in which they were sent must equal SHA-256 of
// those that consumers received, in the order in which they received them.
//
// Goroutines: one producer, one consumer for the topic and one for each queue, one that
// prints progress. All end before the program does, which removes all that it made.
package main
