// Package roomtest has what the tests of rooms need around one: a link that keeps what the room sends,
// a lane that leads to a ring in plain memory, and files of a log.
//
// Callers: the tests of nativeconn, kafkaconn and amqpconn, and those of server.
//
// Invariants:
//
//  1. Nothing here knows a protocol.
//  2. A Link's time stands still until a test moves it.
//
// No goroutines, no part of the product.
package roomtest
