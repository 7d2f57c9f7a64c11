// Package management serves the part of RabbitMQ's management HTTP API that its tools use:
// rabbitmqadmin, exporters, PerfTest, clients in many languages. It stands beside metrics and health
// checks on the admin address.
//
// Called by connsrv's main, which gives it what it needs: a Broker to ask, the newest table of users,
// and the connections of the process.
//
// The way of a request: ServeHTTP → who it is from (auth.go) → a handler (things.go, definitions.go,
// messages.go, overview.go) → Broker, which speaks the native protocol to connsrv's own listener like any
// client (link.go): what a client could not do, management cannot.
//
// Invariants:
//  1. Nothing is answered to who has not shown name and password of a user with a tag that lets it in.
//  2. A name in a path is one of the vhost in the path: no path leads out of it.
//  3. Bodies and lists have limits; what cannot be read is refused with the reason.
//
// Goroutines: those of net/http. If the process dies nothing is lost.
package management
