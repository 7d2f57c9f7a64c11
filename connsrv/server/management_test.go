package server

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Connections show themselves, and somebody who looks after the broker can end one of them.
func TestConnectionsAreShown(t *testing.T) {
	b := start(t, nil)
	first, second := b.connect(), b.connect()
	seen := map[string]uint64{}
	for _, c := range b.Connections() {
		if c.Protocol != "TriMQ" {
			t.Errorf("%+v", c)
		}
		seen[c.Peer] = c.ID
	}
	id, there := seen[first.conn.LocalAddr().String()]
	if _, other := seen[second.conn.LocalAddr().String()]; len(seen) != 2 || !there || !other {
		t.Fatalf("%v", seen)
	}
	if b.CloseConnection(1<<60, "") {
		t.Error("a connection that is not there was closed")
	}
	if !b.CloseConnection(id, "tidying up") {
		t.Error("the connection was not found")
	}
	if _, err := io.ReadAll(first.conn); err != nil {
		t.Errorf("the end of the connection: %v", err)
	}
}

// The copy of the definitions is read at the start, again after an error, and whenever there are others.
func TestDefinitionsAreFollowed(t *testing.T) {
	b := start(t, nil)
	asked := make(chan int, 100)
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.FollowDefinitions(ctx, func(context.Context) ([]admin.Definition, error) {
			n++
			asked <- n
			if n == 1 {
				return nil, errors.New("not now")
			}
			return []admin.Definition{{Kind: admin.DefVHost, Name: "/"}}, nil
		})
	}()
	if b.Access().Load() != nil {
		t.Error("there is a table before anything was read")
	}
	<-asked
	<-asked // a second later
	b.changed()
	<-asked
	for b.Access().Load() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

// What the management API is told of the server.
func TestManagementOptions(t *testing.T) {
	b := start(t, nil)
	o := b.Management()
	if l := o.Listeners(); len(l) != 1 || l[0].Protocol != "trimq" || l[0].Port != b.Port() {
		t.Errorf("%+v", l)
	}
	if len(o.Salt()) != definitions.SaltBytes || o.Node == "" || b.LinkAddress() == "" || b.Secret() != nil {
		t.Errorf("%+v, %q", o, b.LinkAddress())
	}
}
