package drill

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Clients that are processes of their own, so that they can be killed as such. What they note comes to
// the run through a pipe, each operation before, or behind, what it tells of.

// Roles of such a client.
const (
	roleProducer = "producer"
	roleWorker   = "worker"
)

// child is one of them, as the run sees it.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer // when it is closed, the child ends as clients do
	done  chan struct{}

	mu      sync.Mutex
	parties []string
	senders []string
}

// raise starts a child, and takes in what it notes.
func (w *world) raise(name, role string, seed uint64) (*child, error) {
	c := &child{done: make(chan struct{})}
	c.cmd = exec.Command(filepath.Join(w.b.Bin, "trimq"), "drill", "client", "--addr", w.b.Addr, "--name", name, "--role", role,
		"--seed", fmt.Sprint(seed), "--began", fmt.Sprint(w.h.began.UnixNano()))
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.done)
		if err := w.relay(c, out); err != nil {
			w.h.report("%s: %v", name, err)
		}
		_ = c.cmd.Wait() // killed, mostly
	}()
	return c, nil
}

// relay notes what a child writes, at the times that the child gives; its consumers get numbers of the
// run's.
func (w *world) relay(c *child, out io.Reader) error {
	var holders []int
	in := bufio.NewScanner(out)
	in.Buffer(make([]byte, 1<<20), maxLine)
	in.Split(wholeLines)
	for in.Scan() {
		l, err := parseLine(in.Bytes())
		if err != nil {
			return err
		}
		switch o := l.op.(type) {
		case *opParty:
			c.note(&c.parties, o.Name)
		case *opSender:
			c.note(&c.senders, o.Name)
		case *opHolds:
			o.N = w.h.hold(o.Party, o.Timeout)
			holders = append(holders, o.N)
			continue
		case *opLetsGo:
			o.N, err = known(holders, o.N)
		case *opGot:
			o.Holder, err = known(holders, o.Holder)
		case *opSettled:
			if o.Fate == acked {
				w.acked.Add(1)
			}
		}
		if err != nil {
			return err
		}
		w.h.noteAt(l.op, l.at)
	}
	return in.Err()
}

// known is the run's number of a child's consumer.
func known(holders []int, n int) (int, error) {
	if n < 0 || n >= len(holders) {
		return 0, fmt.Errorf("it has no consumer %d", n)
	}
	return holders[n], nil
}

func (c *child) note(list *[]string, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, name)
}

// kill ends a child between any two of its instructions.
func (w *world) kill(c *child) {
	c.mu.Lock()
	parties, senders := c.parties, c.senders
	c.mu.Unlock()
	for _, p := range parties {
		w.h.note(&opLost{Party: p, Cut: true})
	}
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.done
	for _, s := range senders {
		w.h.note(&opSender{Name: s, Killed: true})
	}
}

// family keeps two children alive until the run ends: each is killed after a time, by the nemesis or
// by itself, and has a successor.
type family struct {
	mu       sync.Mutex
	children map[string]*child // by role; those that are alive
}

// bringUp has a child of a role, and another one when it was killed.
func (w *world) bringUp(role string, r *rand.Rand) {
	for i := 0; w.ctx.Err() == nil; i++ {
		c, err := w.raise(fmt.Sprintf("process-%s-%d", role, i), role, r.Uint64())
		if err != nil {
			w.h.report("%s: %v", role, err)
			return
		}
		w.family.mu.Lock()
		w.family.children[role] = c
		w.family.mu.Unlock()
		select {
		case <-c.done:
		case <-w.ctx.Done():
			_ = c.stdin.Close() // it may have ended
			select {
			case <-c.done:
			case <-time.After(patience):
				w.h.report("a client of role %s does not end", role)
				w.kill(c)
			}
		}
	}
}

// killClient kills one of the children.
func (n *nemesis) killClient() {
	role := []string{roleProducer, roleWorker}[n.r.IntN(2)]
	n.w.family.mu.Lock()
	c := n.w.family.children[role]
	n.w.family.mu.Unlock()
	if c != nil {
		n.w.kill(c)
	}
}

// Client is what such a process does: it works at the broker at an address, and notes everything in out,
// until the context ends. The run began at a time of the machine's clock, by which both tell the time.
func Client(ctx context.Context, addr, name, role string, seed uint64, began time.Time, out io.WriteCloser) error {
	w := &world{o: Options{Log: func(string) {}}, addr: addr, h: newHistory()}
	w.h.began = began
	w.h.out = newRecorder(out)
	w.h.out.atOnce = true
	w.life, w.end = context.WithCancel(context.WithoutCancel(ctx))
	defer w.end()
	w.ctx = ctx
	r := rand.New(rand.NewPCG(seed, 0))
	switch role {
	case roleProducer:
		next := toTopic("disk", 3)
		if r.IntN(2) == 0 {
			next = toExchange
		}
		w.produce(name, r, true, time.Hour, next)
	case roleWorker:
		w.work(name, "small", r)
	default:
		return fmt.Errorf("there is no role %q; there are %s and %s", role, roleProducer, roleWorker)
	}
	return w.h.out.flush()
}
