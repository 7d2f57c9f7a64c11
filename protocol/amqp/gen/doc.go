// Gen makes the methods and the properties of package amqp from the protocol's public table, one
// file for each class.
//
//	go generate ./protocol/amqp
//
// Callers: go generate; the test, which holds what is committed against what would be generated.
//
// Invariants:
//
//  1. The same table gives the same bytes.
//  2. Nothing of a method is written by hand: what the table does not say is no part of it.
package main
