// Package roomtest has what the tests of rooms need around one: a link that keeps what the room sends, and
// a lane that leads to a ring in plain memory.
//
// Callers: the tests of nativeconn, kafkaconn and amqpconn.
//
// Invariants:
//
//  1. Nothing here knows a protocol.
//  2. A Link's time stands still until a test moves it.
//
// No goroutines, no part of the product.
package roomtest
