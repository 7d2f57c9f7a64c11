package reactor

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/handover/passtest"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/golden"
)

// countedFile is a source of which only the references count.
type countedFile struct{ refs int }

func (f *countedFile) Fd() int                 { return 42 }
func (f *countedFile) Bytes(int64, int) []byte { return nil }
func (f *countedFile) Retain()                 { f.refs++ }
func (f *countedFile) Release()                { f.refs-- }

// sampleConn is a connection in which nothing is zero that is passed on.
func sampleConn(l *Loop, f session.Source) *Conn {
	c := &Conn{
		loop: l, remote: netip.MustParseAddrPort("[fe80::1]:4711"), id: 1 << 8, fd: 7,
		want:       session.Want{Bytes: 100, Direct: true, Pause: true},
		deadlineMS: 1, openedMS: 2, activeMS: 3, sentMS: 4, stalledMS: 5, lingerMS: 6, endedMS: 7, awaited: 8, lowat: 9, paused: pauseCrowded,
		readable: true, writable: true, awaiting: true, gather: true, small: true, readyQueued: true, dirtyQueued: true,
		established: true, crowded: true, closing: true, hungUp: true,
	}
	c.in.keep(&l.pool, []byte("half a frame"), false)
	copy(c.out.extend(&l.pool, 5), "front")
	c.out.extendRange(f, 1000, 2000)
	copy(c.out.extend(&l.pool, 4), "tail")
	c.out.sent(&l.pool, 2)
	return c
}

func writtenLink(c *Conn) []byte {
	w := handover.Write(nil)
	c.passLink(w, nil)
	return w.Written()
}

// Every field of a connection comes back as it was, but for those that are named here.
func TestPassEveryFieldOfALink(t *testing.T) {
	f := &countedFile{}
	c := sampleConn(&Loop{}, f)
	for _, fault := range passtest.Unset([]string{"door", "room", "least", "armedMS", "laterMS", "dead"}, *c) {
		t.Error(fault)
	}
	back := &Conn{loop: &Loop{}, id: c.id, fd: c.fd}
	s := handover.Read(writtenLink(c))
	back.passLink(s, map[int]session.Source{42: f})
	if err := s.Done("the link"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(writtenLink(back), writtenLink(c)) || !bytes.Equal(back.in.bytes(), c.in.bytes()) || back.out.total != c.out.total || f.refs != 2 {
		t.Errorf("%+v came back as %+v, %d references", c, back, f.refs)
	}
	for _, x := range []*Conn{c, back} { // buffers have other sizes
		x.loop, x.in, x.out = nil, inBuffer{}, outQueue{}
	}
	if !reflect.DeepEqual(c, back) {
		t.Errorf("%+v came back as %+v", c, back)
	}
}

// A range of a file that is not there makes the whole link unreadable: what comes behind it would
// be taken for it.
func TestPassLinkWithoutItsFile(t *testing.T) {
	c := sampleConn(&Loop{}, &countedFile{})
	s := handover.Read(writtenLink(c))
	(&Conn{loop: &Loop{}}).passLink(s, nil)
	if s.Done("the link") == nil {
		t.Error("taken")
	}
}

// The format of a link is frozen.
func TestGoldenLink(t *testing.T) {
	golden.Check(t, "handover_v4_link", `
		remote:s deadline:v opened:v active:v sent:v stalled:v linger:v ended:v awaited:v lowat:v paused:v
		readable:1 writable:1 awaiting:1 gather:1 small:1 ready:1 dirty:1 established:1 crowded:1 closing:1 hungUp:1 want.direct:1 want.pause:1
		want.bytes:v input:s output:v ranged:1 bytes:s ranged:1 fd:v offset:v length:v ranged:1 bytes:s`,
		writtenLink(sampleConn(&Loop{}, &countedFile{})))
}

// Whatever bytes come, a link is read or refused; what is read is written as the same bytes, unless
// neighbours in its output have become one.
func FuzzPassLink(f *testing.F) {
	f.Add(golden.Read(f, "handover_v4_link"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &countedFile{}
		c := &Conn{loop: &Loop{}}
		s := handover.Read(b)
		c.passLink(s, map[int]session.Source{42: file})
		if s.Done("the link") != nil {
			return
		}
		w := writtenLink(c)
		again := &Conn{loop: &Loop{}}
		s = handover.Read(w)
		again.passLink(s, map[int]session.Source{42: file})
		if err := s.Done("the link"); err != nil || !bytes.Equal(writtenLink(again), w) || again.out.total != c.out.total {
			t.Errorf("%x is written as %x (%v)", b, w, err)
		}
		c.out.discard(&c.loop.pool)
		again.out.discard(&c.loop.pool)
		if file.refs != 0 {
			t.Errorf("%d references are left", file.refs)
		}
	})
}
