// Package amqp is the wire format of AMQP 0-9-1, as RabbitMQ extends it: frames, methods, the
// properties of contents, and field tables. Methods and properties are generated from the
// protocol's table (spec, gen).
//
// Callers: connsrv/amqpconn, and tests.
//
// Invariants:
//
//  1. What is decoded aliases the bytes that were given: nothing is copied or allocated.
//  2. No length is trusted: a decoder gives an error for what ends too early, and for what is left
//     over. A table that was decoded is sound all through, with its tables and arrays.
//  3. What is encoded decodes to the same.
//
// Integers are big-endian. Goroutines: none; nothing here has a state.
package amqp

//go:generate go run ./gen
