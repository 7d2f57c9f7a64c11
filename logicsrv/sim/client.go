//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// client is one simulated client. Its connection ends with connsrv, or by its own choice.
type client interface {
	// tick lets it do one thing. REQUIRES: connsrv is up and its loop is not crowded.
	tick()
	// dropped says that its connection is gone; nothing that it asked will be answered.
	dropped()
	// settled says that it has nothing under way.
	settled() bool
	side() *party
}

// party is what all clients have: a name and perhaps a connection.
type party struct {
	w    *world
	name string
	conn *conn
}

func (l *party) side() *party { return l }

// ready opens the connection if there is none, and says whether something may be sent.
func (l *party) ready(user client) bool {
	c := l.w.conn
	if c == nil {
		return false
	}
	if l.conn == nil {
		l.conn = c.open(user)
		l.w.trace("%s connects as %d", l.name, l.conn.id>>8)
	}
	return !c.crowded(l.conn.loop)
}

// die closes the connection from the client's side.
func (l *party) die(user client) {
	if l.conn == nil || l.w.conn == nil {
		return
	}
	l.w.trace("%s closes its connection", l.name)
	l.w.stats.clientDeaths++
	l.w.conn.close(l.conn)
	l.conn = nil
	user.dropped()
}

// refusal decodes an Error record.
func (l *party) refusal(b []byte) (errcode.Code, string) {
	e, err := ipc.DecodeError(b)
	l.w.must(err, "decode an error for "+l.name)
	return errcode.Code(e.Code), e.Text
}
