package trimq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// TestGroupHistories has members join, leave, fall silent and die, at random, while connections break
// and requests are refused. Whatever happens:
//
//   - nobody is given records of a partition that may be another's;
//   - each member reads a partition without gaps, from what is committed on, and nobody begins
//     behind what has been read;
//   - no position goes back (the fake sees to that), and in the end all has been read.
func TestGroupHistories(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			playGroup(t, uint64(seed))
		})
	}
}

const (
	historyParts = 6
	historyTime  = 1500 * time.Millisecond
	// historySession is short, so that those who fall silent are out within the history.
	historySession = 300 * time.Millisecond
)

// groupHistory is one run.
type groupHistory struct {
	t    *testing.T
	f    *fake
	mu   sync.Mutex
	read [historyParts]uint64 // all below has been read, by partition
	all  []*actor
}

// actor is a member in a history.
type actor struct {
	h      *groupHistory
	name   string
	cut    atomic.Bool // its machine is off the net
	conns  sync.Map    // net.Conn → nothing
	online context.Context
	lose   context.CancelFunc // of online
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	has map[uint32]uint64 // partition → next offset, as the callbacks say
}

func playGroup(t *testing.T, seed uint64) {
	h := &groupHistory{t: t, f: newFake(t)}
	r := rand.New(rand.NewPCG(seed, 0))
	newTopic(t, dialFake(t, h.f), "t", historyParts)
	h.f.mu.Lock()
	h.f.group("g").turn = int(seed % 3)
	h.f.mu.Unlock()
	h.f.setFault(h.faults(seed))
	for n, end := 0, time.Now().Add(historyTime); time.Now().Before(end); n++ {
		for range 3 {
			h.f.fill(t, 1+r.Uint64N(historyParts), 1+r.IntN(40), 1+r.IntN(10), batch.None)
		}
		h.act(r, n)
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	h.f.setFault(nil)
	h.finish(r)
}

// faults mistreats some requests.
func (h *groupHistory) faults(seed uint64) func(*fakeConn, native.Header, []byte) fakeFault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	return func(_ *fakeConn, head native.Header, _ []byte) (bad fakeFault) {
		mu.Lock()
		defer mu.Unlock()
		switch head.Command {
		case native.CmdGroupHeartbeat, native.CmdGroupCommit, native.CmdFetchOffsets, native.CmdListOffsets, native.CmdFetch, native.CmdPing:
		default:
			return bad
		}
		switch r.IntN(60) {
		case 0:
			bad.before = true
		case 1:
			bad.after = true
		case 2, 3:
			bad.refuse = errcode.Unavailable
		case 4:
			bad.hold = time.Duration(r.IntN(30)) * time.Millisecond
		}
		return bad
	}
}

// act lets somebody come or go.
func (h *groupHistory) act(r *rand.Rand, n int) {
	living := slices.DeleteFunc(slices.Clone(h.all), func(a *actor) bool { return a.cut.Load() || a.ended() })
	switch x := r.IntN(10); {
	case len(living) == 0 || len(living) < 6 && x < 3:
		h.join(fmt.Sprintf("m%d", n), r)
	case x == 3:
		living[r.IntN(len(living))].leave()
	case x == 4 && r.IntN(3) == 0:
		living[r.IntN(len(living))].vanish()
	case x == 5:
		h.f.dropAll()
	case x == 6 && r.IntN(2) == 0: // as after a heartbeat that took too long
		h.f.mu.Lock()
		if g := h.f.group("g"); len(g.members) > 0 {
			m := g.members[r.IntN(len(g.members))]
			g.kicked[m.id] = true
			h.f.expel(g, m, "kicked")
		}
		h.f.mu.Unlock()
	}
}

func (h *groupHistory) join(name string, r *rand.Rand) {
	a := &actor{h: h, name: name, done: make(chan struct{}), has: map[uint32]uint64{}}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.online, a.lose = context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(a.lose)
	h.all = append(h.all, a)
	c := dialFake(h.t, h.f, WithName(name), WithDialer(a.dial))
	opts := []ConsumerOption{
		WithGroup("g"), WithSessionTimeout(historySession), WithFetchWait(10 * time.Millisecond), WithFetchBytes(2 << 10),
		OnAssigned(a.assigned), OnRevoked(a.revoked), OnLost(a.lost),
	}
	if r.IntN(3) == 0 {
		opts = append(opts, WithPush())
	}
	auto := r.IntN(3) == 0
	if auto {
		opts = append(opts, WithAutoCommit(10*time.Millisecond))
	}
	own := rand.New(rand.NewPCG(r.Uint64(), 2))
	go a.run(ctx, c, opts, auto, own)
}

// dial fails for one whose machine is off the net.
func (a *actor) dial(ctx context.Context, addr string) (net.Conn, error) {
	if a.cut.Load() {
		return nil, errors.New("off the net")
	}
	nc, err := dialTCP(ctx, addr)
	if err == nil {
		a.conns.Store(nc, nil)
	}
	return nc, err
}

// vanish is what the broker sees of a machine that dies. The member goes on polling: what it is
// given may not be another's.
func (a *actor) vanish() {
	a.cut.Store(true)
	a.lose()
	a.conns.Range(func(nc, _ any) bool {
		nc.(net.Conn).Close()
		return true
	})
}

func (a *actor) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *actor) leave() {
	a.cancel()
	<-a.done
}

// run polls and commits until ctx ends.
func (a *actor) run(ctx context.Context, c *Client, opts []ConsumerOption, auto bool, r *rand.Rand) {
	defer close(a.done)
	long := testContext(a.h.t)
	k, err := c.NewConsumer(ctx, []string{"t"}, opts...)
	if err != nil {
		if ctx.Err() == nil {
			a.h.t.Errorf("%s: %v", a.name, err)
		}
		return
	}
	for ctx.Err() == nil {
		tenure := a.tenure(k)
		fetch, err := k.Poll(ctx)
		if err != nil {
			if ctx.Err() == nil {
				a.h.t.Errorf("%s: Poll: %v", a.name, err)
				return
			}
			break
		}
		a.took(k, fetch, tenure)
		if r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
		}
		if !auto {
			a.commit(k, fetch, r)
		}
		fetch.Release()
	}
	if a.cut.Load() {
		long = ctx
	}
	if err := k.Close(long); err != nil && !a.cut.Load() {
		a.h.t.Errorf("%s: Close: %v", a.name, err)
	}
}

// tenure tells memberships apart. That of one whose lease has ended is none.
func (a *actor) tenure(k *Consumer) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.group.standing != belonging || time.Now().After(k.group.lease) {
		return -1
	}
	return k.group.tenures
}

// took judges what Poll has given, which has begun in a tenure.
func (a *actor) took(k *Consumer, fetch *Fetch, tenure int) {
	first, behind := fetch.Records[0].Offset, fetch.Records[len(fetch.Records)-1].Offset+1
	a.mu.Lock()
	next, ok := a.has[fetch.Partition]
	if lost := !ok && a.tenure(k) != tenure; !lost && (!ok || next != first || int(behind-first) != len(fetch.Records)) {
		a.h.t.Errorf("%s was given partition %d from %d to %d; it should go on at %d (%v)", a.name, fetch.Partition, first, behind, next, ok)
	}
	if ok {
		a.has[fetch.Partition] = behind
	}
	a.mu.Unlock()
	for i := range fetch.Records {
		check(a.h.t, &fetch.Records[i])
	}
	a.h.f.mu.Lock()
	g := a.h.f.group("g")
	owner := g.owner(uint64(fetch.Partition) + 1)
	mine := owner != nil && owner.id == k.group.id || g.kicked[k.group.id]
	a.h.f.mu.Unlock()
	if now := a.tenure(k); !mine && now >= 0 && now == tenure {
		a.h.t.Errorf("%s was given records of partition %d, which is not its own", a.name, fetch.Partition)
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if high := a.h.read[fetch.Partition]; first > high {
		a.h.t.Errorf("%s reads partition %d from %d on; nobody has read from %d", a.name, fetch.Partition, first, high)
	}
	a.h.read[fetch.Partition] = max(a.h.read[fetch.Partition], behind)
}

// commit commits in one of the ways that there are; only what has been lost may be refused.
func (a *actor) commit(k *Consumer, fetch *Fetch, r *rand.Rand) {
	judge := func(err error) {
		if err != nil && !a.cut.Load() && !errors.Is(err, ErrNotAssigned) && !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
			a.h.t.Errorf("%s: commit: %v", a.name, err)
		}
	}
	switch r.IntN(5) {
	case 0, 1:
		judge(k.Commit(a.online))
	case 2:
		k.CommitAsync(judge)
	case 3:
		at := Position{Topic: fetch.Topic, Partition: fetch.Partition, Offset: fetch.Records[len(fetch.Records)-1].Offset + 1}
		judge(k.CommitPositions(a.online, at))
	}
}

// assigned, revoked and lost keep what the member has been told.

func (a *actor) assigned(_ context.Context, _ *Consumer, at []Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range at {
		if _, ok := a.has[p.Partition]; ok {
			a.h.t.Errorf("%s is assigned partition %d, which it has", a.name, p.Partition)
		}
		a.has[p.Partition] = p.Offset
	}
}

func (a *actor) revoked(ctx context.Context, k *Consumer, at []Position) { a.parted(at) }
func (a *actor) lost(ctx context.Context, k *Consumer, at []Position)    { a.parted(at) }

func (a *actor) parted(at []Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range at {
		next, ok := a.has[p.Partition]
		if !ok || p.Offset > next {
			a.h.t.Errorf("%s gives up partition %d at %d; it has it: %v, at %d", a.name, p.Partition, p.Offset, ok, next)
		}
		delete(a.has, p.Partition)
	}
}

// finish has one last member read all that is left.
func (h *groupHistory) finish(r *rand.Rand) {
	for _, a := range h.all {
		if !a.ended() {
			a.leave()
		}
	}
	h.join("last", r)
	eventually(h.t, "all has been read", func() bool {
		h.f.mu.Lock()
		defer h.f.mu.Unlock()
		h.mu.Lock()
		defer h.mu.Unlock()
		for n, at := range h.read {
			if at < h.f.indexes[uint64(n)+1].next {
				return h.t.Failed()
			}
		}
		return true
	})
	h.all[len(h.all)-1].leave()
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.t.Logf("%d members, %d epochs, %d connections; of the group became: %v", len(h.all), h.f.group("g").epoch, h.f.accepted, h.f.group("g").log)
}
