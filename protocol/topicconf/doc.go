// Package topicconf is the configuration of a topic, in Kafka's words: which keys there are, what
// values they take, what they mean, and how changes to them are applied.
//
// Callers: logicsrv/core keeps each topic's configuration and acts on it; connsrv/kafkaconn shows it
// to Kafka's clients and finds out before a topic is created what cannot be had; the command-line
// tool does by way of either.
//
// Invariants:
//
//  1. A configuration is a list of the keys that somebody has set, each once, in order of the keys.
//     A key that is not in it has its default. Set to its default, it counts as set.
//  2. A value that is in a configuration has passed the check of its key: Read cannot fail for it.
//  3. A key is taken only if what it says is done, or says nothing that could be done here otherwise:
//     see keys.go. All else is refused.
//
// Goroutines: none; the table of keys is constant.
package topicconf
