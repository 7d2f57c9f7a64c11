package server

import (
	"time"

	"github.com/trimq/trimq/connsrv/amqpconn"
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/connsrv/kafkaconn"
	"github.com/trimq/trimq/connsrv/reactor"
)

// lookTimeout is how long an event loop may take to show its connections.
const lookTimeout = 2 * time.Second

// onLoops has every event loop do something, and waits for all; false: one took too long, as when
// the loops have ended. What it does by then may come later.
func (s *Server) onLoops(do func(d *desk)) bool {
	done := make(chan struct{}, len(s.desks))
	for _, d := range s.desks {
		d.loop.Call(func() {
			do(d)
			done <- struct{}{}
		})
	}
	end := time.After(lookTimeout)
	for range s.desks {
		select {
		case <-done:
		case <-end:
			return false
		}
	}
	return true
}

// Connections are those that there are now. Safe from any goroutine but an event loop's.
func (s *Server) Connections() []connview.Conn {
	views := make([][]connview.Conn, len(s.desks))
	if !s.onLoops(func(d *desk) {
		d.loop.Each(func(c *reactor.Conn) { views[d.loop.Number] = append(views[d.loop.Number], view(c)) })
	}) {
		return nil
	}
	var all []connview.Conn
	for _, list := range views {
		all = append(all, list...)
	}
	return all
}

// view is how a connection shows itself. REQUIRES: on its loop.
func view(c *reactor.Conn) connview.Conn {
	v := connview.Conn{ID: c.ID(), Peer: c.Remote(), Protocol: "TriMQ"}
	switch c.Room().(type) {
	case *amqpconn.Conn:
		v.Protocol = "AMQP 0-9-1"
	case *kafkaconn.Conn:
		v.Protocol = "Kafka"
	}
	if room, ok := c.Room().(connview.Room); ok {
		room.View(&v)
	}
	return v
}

// CloseConnection ends a connection on behalf of somebody who looks after the broker; false: there
// is none of this number.
func (s *Server) CloseConnection(id uint64, reason string) bool {
	found := make(chan struct{}, 1)
	s.onLoops(func(d *desk) {
		c := d.loop.Conn(id)
		if c == nil {
			return
		}
		found <- struct{}{}
		if room, ok := c.Room().(connview.Room); ok {
			room.CloseFor(reason)
			return
		}
		c.Close()
	})
	return len(found) > 0
}
