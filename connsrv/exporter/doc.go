// Package exporter tells the broker's figures under the names that RabbitMQ's Prometheus plugin gives them, so
// that dashboards and alarms which were made for that one work.
//
//	/metrics             beside our own: figures of the whole broker
//	/metrics/per-object  the same, of each queue, channel and connection
//	/metrics/detailed    …, of the families and vhosts that are asked for, under names of their own
//
// Callers: connsrv's main makes an Exporter; adminhttp serves it.
//
// Invariants:
//
//  1. A name stands for what it stands for in RabbitMQ. What the broker does not know has no name here.
//  2. Asking changes nothing. While the broker cannot be asked, what it alone knows is left out.
//
// No goroutines of its own; it is called on those of the HTTP server. If the process dies nothing is lost: the
// counters lie in shared memory.
package exporter
