package roomtest

import (
	"bytes"
	"cmp"

	"github.com/trimq/trimq/connsrv/session"
)

// Link is a session.Link that keeps what a room sends. Tests read its fields, and set those that say so.
type Link struct {
	Pieces   [][]byte // what was sent
	Bytes    int      // of it
	Closed   bool
	Resumed  bool
	Deadline int64  // 0: none is set
	Gathered int    // what it was asked to gather
	Looks    int    // how often it was asked to look
	LaterMS  int64  // to be set: how long after time 1000 it is
	Most     int    // to be set: bytes beyond which it is crowded; 0: it never is
	Peer     string // to be set: the client's address; empty: one of no importance
}

var _ session.Link = (*Link)(nil)

func (l *Link) ID() uint64     { return 0x100 }
func (l *Link) NowMS() int64   { return 1000 + l.LaterMS }
func (l *Link) Remote() string { return cmp.Or(l.Peer, "192.0.2.7:4711") }

func (l *Link) Append(n int) []byte {
	b := make([]byte, n)
	l.Pieces = append(l.Pieces, b)
	l.Bytes += n
	return b
}

func (l *Link) WriteRange(src session.Source, off int64, n int) {
	copy(l.Append(n), src.Bytes(off, n))
}

func (l *Link) Crowded() bool        { return l.Most > 0 && l.Bytes > l.Most }
func (l *Link) SetDeadline(at int64) { l.Deadline = at }
func (l *Link) Resume()              { l.Resumed = true }
func (l *Link) Established()         {}
func (l *Link) Gather(n int)         { l.Gathered = n }
func (l *Link) Look()                { l.Looks++ }
func (l *Link) Close()               { l.Closed = true }

// Sent is what was sent since the last Take.
func (l *Link) Sent() []byte { return bytes.Join(l.Pieces, nil) }

// Take is Sent, and forgets it.
func (l *Link) Take() []byte {
	b := l.Sent()
	l.Pieces, l.Bytes = nil, 0
	return b
}

// Forgetful is a Link that keeps nothing, so that benchmarks count the room's garbage alone. Nothing longer
// than its buffer may be sent.
type Forgetful struct {
	Link
	buf [4096]byte
}

func (l *Forgetful) Append(n int) []byte                   { return l.buf[:n] }
func (l *Forgetful) WriteRange(session.Source, int64, int) {}
