package trimq

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/native"
)

// pinger is a role that sends pings and knows which of them were answered.
type pinger struct {
	mu    sync.Mutex
	corr  uint64
	left  int             // to be sent
	open  map[uint64]bool // unanswered, by correlation
	got   int
	ups   int
	downs int
	done  chan struct{} // closed when all are answered
}

func newPinger(n int) *pinger {
	return &pinger{left: n, open: map[uint64]bool{}, done: make(chan struct{})}
}

func (p *pinger) up(*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ups++
}

func (p *pinger) gather(c *conn, o *outbox) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.left > 0 && c.room(o) > 0 {
		p.left--
		p.corr++
		p.open[p.corr] = true
		o.frame(native.CmdPing, 0, p.corr, &native.Ping{Token: p.corr})
	}
	return 0
}

func (p *pinger) handle(_ *conn, h native.Header, body []byte, _ *slab) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := native.DecodePing(body)
	if err != nil || !p.open[h.Correlation] || m.Token != h.Correlation {
		return protocolError("answer %d to somebody else", h.Correlation)
	}
	delete(p.open, h.Correlation)
	if p.got++; p.left == 0 && len(p.open) == 0 {
		close(p.done)
	}
	return nil
}

func (p *pinger) takes(native.Command) bool { return false }

func (p *pinger) down(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.downs++
}

func (p *pinger) refused(error, bool) {}

// TestRolesShareALink: each gets its own answers, and all of them keep within one window, also
// those that come while the link is busy.
func TestRolesShareALink(t *testing.T) {
	f := newFake(t)
	f.mu.Lock()
	f.window = 3
	f.mu.Unlock()
	c := dialFake(t, f)
	ctx := testContext(t)
	l := newLink(c, controlSlab, 0)
	first := newPinger(200)
	l.roles.add(first, &first.corr)
	l.start()
	defer l.close()
	all := []*pinger{first}
	for range 3 {
		p := newPinger(200)
		l.roles.add(p, &p.corr)
		l.kick()
		all = append(all, p)
	}
	for i, p := range all {
		select {
		case <-p.done:
		case <-ctx.Done():
			t.Fatalf("role %d got %d of 200 answers", i, p.got)
		}
		if p.corr>>memberShift != uint64(i) || p.ups != 1 {
			t.Errorf("role %d counts at %x and has seen %d connections", i, p.corr, p.ups)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.maxOpen > 3 {
		t.Errorf("%d requests were unanswered in a window of 3", f.maxOpen)
	}
}

// TestRoleLeaves: answers that come for it later bother nobody.
func TestRoleLeaves(t *testing.T) {
	f := newFake(t)
	held := make(chan struct{}, 1)
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdPing && h.Correlation>>memberShift == 1 {
			held <- struct{}{}
			bad.hold = 20 * time.Millisecond
		}
		return bad
	})
	c := dialFake(t, f)
	ctx := testContext(t)
	l := newLink(c, controlSlab, 0)
	stays, leaves := newPinger(1), newPinger(1)
	l.roles.add(stays, &stays.corr)
	l.start()
	defer l.close()
	<-stays.done
	l.roles.add(leaves, &leaves.corr)
	l.kick()
	<-held
	l.roles.remove(leaves, ErrClosed)
	l.roles.remove(leaves, ErrClosed) // again: nothing
	last := newPinger(1)
	l.roles.add(last, &last.corr)
	l.kick()
	select {
	case <-last.done:
	case <-ctx.Done():
		t.Fatal("the link stands still")
	}
	time.Sleep(30 * time.Millisecond) // the late answer arrives, or does not: both are right
	if leaves.downs != 1 || leaves.got != 0 || stays.downs != 0 {
		t.Errorf("%d ends and %d answers for who had left, %d ends for who stayed", leaves.downs, leaves.got, stays.downs)
	}
	if err := l.roles.handle(nil, native.Header{Command: native.CmdPing, Flags: native.FlagResponse, Correlation: 9 << memberShift}, nil, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("an answer for nobody: %v", err)
	}
}
