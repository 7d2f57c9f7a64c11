// Package trace tells the story of one message from the commit log: when it was published and how,
// into which queues and partitions it came, who was given what and settled it, in which
// dead-letter queues it went on. Nothing is written for that: the log's events are all there is.
//
//	Find        looks for the log entry that stored the message
//	LearnNames  reads what came before it for the names of queues and consumers
//	Follow      reads the log from there on, and emits a Step for each thing that happened to it
//
// What the log does not say is not told: deliveries are no events, only what became of them.
//
// Callers: clients/cli. It reads the files of a broker that runs or of one that is stopped, and
// writes nothing. No goroutines; nothing to repair if it dies.
package trace
