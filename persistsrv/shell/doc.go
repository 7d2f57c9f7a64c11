// Package shell is persistsrv's loop: it drains ring 65432 into the commit log and moves the
// cursors that say how far it is.
//
// Called by persistsrv's main (Step in one goroutine, SyncLog and Maintain in one each) and
// by logicsrv/sim (Step and SyncStep in one).
package shell
