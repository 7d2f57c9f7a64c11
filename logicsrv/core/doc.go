// Package core is the state of one shard of logicsrv: pure and deterministic.
package core
