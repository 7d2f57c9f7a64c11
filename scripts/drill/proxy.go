package drill

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// mood is what a proxy does to what goes through it.
type mood int32

const (
	calm    mood = iota // nothing
	torn                // pieces of a few bytes, each a segment of its own
	slow                // little at a time, and late
	stalled             // nothing goes through; nobody is told
)

// proxy lies between one client and connsrv. Its listener ends when the run does.
type proxy struct {
	l      net.Listener
	target string
	mood   *atomic.Int32 // of all proxies of a run

	mu    sync.Mutex
	pairs map[*pair]struct{}
}

// pair is one connection: its client's end and connsrv's.
type pair struct{ client, server *net.TCPConn }

// newProxy listens for one client. The goroutine that accepts ends with close, those of a connection
// when either end is gone.
func newProxy(target string, of *atomic.Int32) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, target: target, mood: of, pairs: map[*pair]struct{}{}}
	go p.accept()
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// close ends the listener and all connections.
func (p *proxy) close() {
	_ = p.l.Close()
	p.cut()
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.join(c.(*net.TCPConn))
	}
}

// join connects a client through. A connsrv that is not there looks to it like a connection that ends at
// once.
func (p *proxy) join(client *net.TCPConn) {
	c, err := net.Dial("tcp", p.target)
	if err != nil {
		reset(client)
		return
	}
	x := &pair{client, c.(*net.TCPConn)}
	p.mu.Lock()
	p.pairs[x] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{client, x.server}, {x.server, client}} {
		both.Go(func() { p.pass(way[0], way[1]) })
	}
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, x)
	p.mu.Unlock()
	client.Close()
	x.server.Close()
}

// pass copies one way. An orderly end is passed on when all before it was; another one resets both ways.
func (p *proxy) pass(from, to *net.TCPConn) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) // timing, which no seed decides
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		for sent := 0; sent < n && (err == nil || errors.Is(err, io.EOF)); {
			most := p.wait(r)
			k := min(n-sent, most)
			if _, e := to.Write(b[sent : sent+k]); e != nil {
				err = e
			}
			sent += k
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // fails where that end is gone already
			return
		case err != nil:
			reset(from)
			reset(to)
			return
		}
	}
}

// wait lets time go by as the mood is, and tells how many bytes may go through at once.
func (p *proxy) wait(r *rand.Rand) int {
	for mood(p.mood.Load()) == stalled {
		time.Sleep(time.Millisecond)
	}
	switch mood(p.mood.Load()) {
	case torn:
		time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		return 1 + r.IntN(40)
	case slow:
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		return 1 + r.IntN(4096)
	}
	return 1 + r.IntN(32<<10)
}

// cut resets all connections, wherever in a frame they are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.pairs {
		reset(x.client)
		reset(x.server)
	}
}

// reset ends a connection as the death of a machine does.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // it may be closed already
	_ = c.Close()
}
