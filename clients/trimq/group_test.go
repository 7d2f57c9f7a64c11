package trimq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// diary keeps what a member's callbacks are told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(what string) PartitionsFunc {
	return func(_ context.Context, _ *Consumer, at []Position) {
		for _, p := range at {
			d.write(fmt.Sprintf("%s %s/%d@%d", what, p.Topic, p.Partition, p.Offset))
		}
	}
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) has(line string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, ", ")
}

// options has a member write into the diary.
func (d *diary) options() []ConsumerOption {
	return []ConsumerOption{OnAssigned(d.note("assigned")), OnRevoked(d.note("revoked")), OnLost(d.note("lost"))}
}

// newMember makes a member of group g of topic t.
func newMember(t testing.TB, c *Client, opts ...ConsumerOption) *Consumer {
	t.Helper()
	return must[*Consumer](t)(c.NewConsumer(testContext(t), []string{"t"}, append([]ConsumerOption{WithGroup("g")}, opts...)...))
}

// owners tells how many partitions each member of group g has, by its place in the list.
func (f *fake) owners() (n []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.group("g").members {
		n = append(n, len(m.assigned)+len(m.revoking))
	}
	return n
}

func (f *fake) groupLog() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.group("g").log, ", ")
}

// committed is the position of an index in group g.
func (f *fake) committed(index uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.offsets["g"][index].Offset
}

// beats answers heartbeats as a test wants it.
func (f *fake) beats(change func(n int, m *native.GroupHeartbeat) fakeFault) {
	var n atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, body []byte) (bad fakeFault) {
		if m, err := native.DecodeGroupHeartbeat(body); h.Command == native.CmdGroupHeartbeat && err == nil {
			return change(int(n.Add(1)), &m)
		}
		return bad
	})
}

// TestGroupAlone: one member has everything, its commits count, and the next one goes on there.
func TestGroupAlone(t *testing.T) {
	for _, push := range []bool{false, true} {
		t.Run(fmt.Sprintf("push=%v", push), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f, WithName("somebody"))
			newTopic(t, c, "t", 3)
			for i := range uint64(3) {
				f.fill(t, i+1, 100, 10, batch.None)
			}
			ctx := testContext(t)
			opts := []ConsumerOption{}
			if push {
				opts = append(opts, WithPush())
			}
			var d diary
			k := newMember(t, c, append(opts, d.options()...)...)
			pollAll(t, k, 300, nil)
			if err := k.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			if at := must[[]Position](t)(k.Committed(ctx)); len(at) != 3 || at[2].Offset != 100 {
				t.Fatalf("committed %v", at)
			}
			if err := k.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if want := "left " + k.group.id; f.groupLog() != want || !strings.HasPrefix(want, "left somebody-") {
				t.Fatalf("of the group became %s", f.groupLog())
			}
			if got := d.String(); strings.Count(got, "revoked") != 3 || !strings.HasPrefix(got, "assigned t/0@0, assigned t/1@0, assigned t/2@0, revoked t/0@") {
				t.Fatalf("it was told: %s", got)
			}
			k = newMember(t, c)
			f.fill(t, 2, 50, 10, batch.None)
			eventually(t, "the next one knows its place", func() bool { return len(k.Positions()) == 3 })
			pollAll(t, k, 50, nil)
		})
	}
}

// TestGroupShares: partitions are shared among members; what stays with one is read on meanwhile,
// and what goes is given up before somebody else has it.
func TestGroupShares(t *testing.T) {
	f := newFake(t)
	newTopic(t, dialFake(t, f), "t", 4)
	var d diary
	a := newMember(t, dialFake(t, f, WithName("a")), append(d.options(), WithFetchWait(time.Millisecond))...)
	eventually(t, "the first one has all", func() bool { return len(a.Positions()) == 4 })
	a.mu.Lock()
	before := slices.Clone(a.parts)
	a.mu.Unlock()
	b := newMember(t, dialFake(t, f, WithName("b")), OnAssigned(func(_ context.Context, _ *Consumer, at []Position) {
		for _, p := range at {
			if line := fmt.Sprintf("revoked t/%d@0", p.Partition); !d.has(line) {
				t.Errorf("%s is assigned before it is %s", p.Topic, line)
			}
			d.write(fmt.Sprintf("taken %d", p.Partition))
		}
	}))
	eventually(t, "both have two", func() bool { return len(a.Positions()) == 2 && len(b.Positions()) == 2 })
	a.mu.Lock()
	for _, p := range a.parts {
		if !slices.Contains(before, p) || p.gen != 0 {
			t.Errorf("partition %s was begun anew", p)
		}
	}
	a.mu.Unlock()
	if err := b.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one has all again", func() bool { return len(a.Positions()) == 4 })
	for i := range uint64(4) {
		f.fill(t, i+1, 10, 10, batch.None)
	}
	pollAll(t, a, 40, nil)
}

// TestGroupWaitsForHands: a partition of which the user has records goes when it polls again, and
// its commits still count; until then nothing more of it is given out.
func TestGroupWaitsForHands(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	ctx := testContext(t)
	var d diary
	a := newMember(t, c, d.options()...)
	eventually(t, "it has both", func() bool { return len(a.Positions()) == 2 })
	f.fill(t, 2, 10, 10, batch.None)
	if fetch := must[*Fetch](t)(a.Poll(ctx)); fetch.Partition != 1 {
		t.Fatalf("records of partition %d", fetch.Partition)
	}
	newMember(t, dialFake(t, f))
	eventually(t, "the second one is asked for", func() bool { return len(a.Positions()) == 1 })
	moved := a.Positions()[0].Partition == 0 // partition 1 is to go
	if !moved {
		t.Fatal("the fake does not give the second partition away")
	}
	f.fill(t, 2, 10, 10, batch.None)
	time.Sleep(3 * fakeBeat)
	if d.has("revoked t/1@10") || f.owners()[0] != 2 {
		t.Fatalf("it is gone while its records are worked on: %s", &d)
	}
	if err := a.Commit(ctx); err != nil || f.committed(2) != 10 {
		t.Fatalf("committed %d: %v", f.committed(2), err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = a.Poll(short)
	eventually(t, "it has gone", func() bool { return d.has("revoked t/1@10") && f.owners()[0] == 1 })
	if err := a.CommitPositions(ctx, Position{Topic: "t", Partition: 1, Offset: 10}); !errors.Is(err, ErrNotAssigned) {
		t.Fatalf("a commit for what has gone: %v", err)
	}
	if err := a.Seek(ctx, "t", 1, Earliest()); !errors.Is(err, ErrNotAssigned) {
		t.Fatalf("Seek in what has gone: %v", err)
	}
	if err := a.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestGroupImpatient: who does not poll gives a partition up in the end, and learns with its commit
// that its work is done again.
func TestGroupImpatient(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 10, 10, batch.None)
	ctx := testContext(t)
	var d diary
	a := newMember(t, c, append(d.options(), WithRebalanceTimeout(100*time.Millisecond))...)
	must[*Fetch](t)(a.Poll(ctx))
	f.mu.Lock()
	f.group("g").turn = 1
	f.mu.Unlock()
	newMember(t, dialFake(t, f))
	eventually(t, "it has gone", func() bool { return len(f.owners()) == 2 && f.owners()[0] == 0 })
	if !d.has("revoked t/0@0") {
		t.Fatalf("it was told: %s", &d)
	}
	var pe *PartitionError
	if err := a.Commit(ctx); !errors.Is(err, ErrNotAssigned) || !errors.As(err, &pe) || pe.Offset != 10 {
		t.Fatalf("Commit: %v", err)
	}
	if err := a.Commit(ctx); err != nil {
		t.Fatalf("the next Commit: %v", err)
	}
}

// TestGroupStaleCommit: a commit that the member's own progress has overtaken comes again.
func TestGroupStaleCommit(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 10, 10, batch.None)
	ctx := testContext(t)
	a := newMember(t, c)
	must[*Fetch](t)(a.Poll(ctx))
	var refused atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdGroupCommit && refused.Add(1) < 3 {
			bad.refuse = errcode.StaleMemberEpoch
		}
		return bad
	})
	if err := a.Commit(ctx); err != nil || f.committed(1) != 10 || refused.Load() != 3 {
		t.Fatalf("committed %d after %d attempts: %v", f.committed(1), refused.Load(), err)
	}
	f.fill(t, 1, 10, 10, batch.None)
	must[*Fetch](t)(a.Poll(ctx))
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdGroupCommit {
			bad.refuse = errcode.UnknownMember
		}
		return bad
	})
	if err := a.Commit(ctx); !errors.Is(err, ErrNotAssigned) || !errors.Is(err, ErrUnknownMember) {
		t.Fatalf("a commit of nobody: %v", err)
	}
}

// TestGroupLost: a member that the broker does not know any longer loses all, is told, and joins
// again.
func TestGroupLost(t *testing.T) {
	for _, code := range []errcode.Code{errcode.UnknownMember, errcode.FencedMemberEpoch} {
		t.Run(code.String(), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 1)
			f.fill(t, 1, 20, 10, batch.None)
			ctx := testContext(t)
			var d diary
			a := newMember(t, c, append(d.options(), WithFetchBytes(1<<10), WithBuffer(1))...)
			must[*Fetch](t)(a.Poll(ctx))
			var joined atomic.Bool
			f.beats(func(_ int, m *native.GroupHeartbeat) (bad fakeFault) {
				if joined.CompareAndSwap(false, true) {
					bad.refuse = code
				} else if m.Epoch == ipc.EpochJoin && !d.has("lost t/0@0") {
					t.Errorf("it joins again before it has said what is lost: %s", &d)
				}
				return bad
			})
			eventually(t, "it has all again", func() bool { return d.String() == "assigned t/0@0, lost t/0@0, assigned t/0@0" })
			if err := a.Commit(ctx); !errors.Is(err, ErrNotAssigned) {
				t.Fatalf("Commit of what was lost: %v", err)
			}
			pollAll(t, a, 20, nil)
			if err := a.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestGroupLease: a member that hears nothing gives nothing out any more when its session may have
// ended, whatever it has fetched.
func TestGroupLease(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 100, 10, batch.None)
	var d diary
	a := newMember(t, c, append(d.options(), WithFetchBytes(1<<10), WithSessionTimeout(200*time.Millisecond))...)
	must[*Fetch](t)(a.Poll(testContext(t)))
	hang := make(chan struct{})
	f.beats(func(int, *native.GroupHeartbeat) (bad fakeFault) {
		select {
		case <-hang:
		case <-f.closing:
		}
		return bad
	})
	eventually(t, "it knows that it is out", func() bool { return d.has("lost t/0@0") })
	short, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if fetch, err := a.Poll(short); err == nil {
		t.Fatalf("records from offset %d of a partition that may be another's", fetch.Records[0].Offset)
	}
	close(hang)
	eventually(t, "it is a member again", func() bool { return len(a.Positions()) == 1 })
	pollAll(t, a, 100, nil)
}

// TestGroupStatic: a static member comes back to what it had, and can be replaced.
func TestGroupStatic(t *testing.T) {
	f := newFake(t)
	newTopic(t, dialFake(t, f), "t", 2)
	ctx := testContext(t)
	static := func(name string, opts ...ConsumerOption) (*Consumer, error) {
		opts = append([]ConsumerOption{WithGroup("g"), WithInstanceID("one")}, opts...)
		return dialFake(t, f, WithName(name)).NewConsumer(ctx, []string{"t"}, opts...)
	}
	a := must[*Consumer](t)(static("a"))
	other := newMember(t, dialFake(t, f))
	eventually(t, "both have one", func() bool { return len(a.Positions()) == 1 && len(other.Positions()) == 1 })
	mine := a.Positions()[0].Partition
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	b := must[*Consumer](t)(static("b"))
	eventually(t, "it is back", func() bool { return len(b.Positions()) == 1 })
	if b.Positions()[0].Partition != mine || len(other.Positions()) != 1 {
		t.Fatalf("partition %d came back as %v; the other has %v", mine, b.Positions(), other.Positions())
	}
	// Without a leave the next one waits, unless it takes over.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := dialFake(t, f).NewConsumer(short, []string{"t"}, WithGroup("g"), WithInstanceID("one"))
	if !errors.Is(err, ErrUnreleasedInstanceID) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("an instance id that is taken: %v", err)
	}
	var d diary
	waits := make(chan *Consumer, 1)
	go func() {
		k, err := static("c", d.options()...)
		if err != nil {
			t.Error(err)
		}
		waits <- k
	}()
	time.Sleep(20 * time.Millisecond)
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	c := <-waits
	eventually(t, "who has waited has it", func() bool { return len(c.Positions()) == 1 })
	e := must[*Consumer](t)(static("e", WithTakeOver()))
	if _, err := c.Poll(ctx); !errors.Is(err, ErrFencedInstanceID) {
		t.Fatalf("Poll of one that was taken over: %v", err)
	}
	eventually(t, "it is told", func() bool { return d.has(fmt.Sprintf("lost t/%d@0", mine)) })
	eventually(t, "the new one has it", func() bool { return len(e.Positions()) == 1 })
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestGroupStuck: who does not poll for too long leaves, and is a member again when it polls.
func TestGroupStuck(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 20, 10, batch.None)
	ctx := testContext(t)
	var d diary
	a := newMember(t, c, append(d.options(), WithFetchBytes(1<<10), WithBuffer(1), WithMaxPollInterval(100*time.Millisecond))...)
	must[*Fetch](t)(a.Poll(ctx))
	eventually(t, "it leaves", func() bool { return f.groupLog() == "left "+a.group.id && d.has("lost t/0@0") })
	time.Sleep(3 * fakeBeat)
	if n := len(f.owners()); n != 0 {
		t.Fatalf("%d members while nobody polls", n)
	}
	if _, err := a.Poll(ctx); !errors.Is(err, ErrMaxPollInterval) {
		t.Fatalf("the Poll of one that was stuck: %v", err)
	}
	pollAll(t, a, 20, nil)
	// Who waits in Poll is not stuck.
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := a.Poll(short); !errors.Is(err, context.DeadlineExceeded) || len(f.owners()) != 1 {
		t.Fatalf("a Poll that waits for long: %v, %d members", err, len(f.owners()))
	}
}

// TestGroupAutoCommit: what is committed by itself is what the user was done with.
func TestGroupAutoCommit(t *testing.T) {
	for _, as := range []ConsumerOption{WithGroup("g"), WithPositions("g")} {
		f := newFake(t)
		c := dialFake(t, f)
		newTopic(t, c, "t", 1)
		ctx := testContext(t)
		k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, as, WithAutoCommit(5*time.Millisecond)))
		next := func() {
			f.fill(t, 1, 10, 10, batch.None)
			if fetch := must[*Fetch](t)(k.Poll(ctx)); len(fetch.Records) != 10 {
				t.Fatalf("%d records", len(fetch.Records))
			}
		}
		next()
		time.Sleep(20 * time.Millisecond)
		if at := f.committed(1); at != 0 {
			t.Fatalf("committed %d while the first records are worked on", at)
		}
		next()
		eventually(t, "the first records are committed", func() bool { return f.committed(1) == 10 })
		next()
		if err := k.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if at := f.committed(1); at != 20 {
			t.Fatalf("committed %d with Close", at)
		}
	}
}

// TestGroupBegins where its options say, and lets nobody begin later.
func TestGroupBegins(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 100, 10, batch.None)
	ctx := testContext(t)
	k := newMember(t, c, WithFrom(Latest()))
	eventually(t, "it stands at the end", func() bool { return len(k.Positions()) == 1 })
	if at := k.Positions()[0].Offset; at != 100 || f.committed(1) != 100 {
		t.Fatalf("it begins at %d, committed %d", at, f.committed(1))
	}
	f.fill(t, 1, 10, 10, batch.None)
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	k = newMember(t, c, WithFrom(Latest()))
	f.fill(t, 1, 10, 10, batch.None)
	if fetch := must[*Fetch](t)(k.Poll(ctx)); fetch.Records[0].Offset != 100 {
		t.Fatalf("the next one begins at %d", fetch.Records[0].Offset)
	}
	// What is added later is read from its beginning.
	f.mu.Lock()
	f.grow(f.topics["t"], 2)
	f.mu.Unlock()
	f.fill(t, 2, 10, 10, batch.None)
	for {
		fetch := must[*Fetch](t)(k.Poll(ctx))
		if fetch.Partition == 1 {
			if fetch.Records[0].Offset != 0 {
				t.Fatalf("an added partition begins at %d", fetch.Records[0].Offset)
			}
			break
		}
	}
	// OnAssigned may have it begin elsewhere.
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	k = newMember(t, c, OnAssigned(func(ctx context.Context, k *Consumer, at []Position) {
		for _, p := range at {
			if err := k.Seek(ctx, p.Topic, p.Partition, AtOffset(7)); err != nil {
				t.Error(err)
			}
		}
	}))
	if fetch := must[*Fetch](t)(k.Poll(ctx)); fetch.Records[0].Offset != 7 {
		t.Fatalf("behind a Seek it begins at %d", fetch.Records[0].Offset)
	}
}

// TestGroupMistakes are told by NewConsumer.
func TestGroupMistakes(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	g := WithGroup("g")
	for name, tc := range map[string]struct {
		opts []ConsumerOption
		want error
		says string
	}{
		"two kinds":            {[]ConsumerOption{g, WithPositions("g")}, ErrInvalidArgument, "WithPositions"},
		"no name":              {[]ConsumerOption{WithGroup("")}, ErrInvalidArgument, "empty"},
		"chosen partitions":    {[]ConsumerOption{g, WithPartitions(0)}, ErrInvalidArgument, "WithPartitions"},
		"no member":            {[]ConsumerOption{WithPositions("g"), WithAssignor(AssignRange)}, ErrInvalidArgument, "WithAssignor"},
		"nothing to commit":    {[]ConsumerOption{WithAutoCommit(0)}, ErrInvalidArgument, "WithAutoCommit"},
		"take-over of nothing": {[]ConsumerOption{g, WithTakeOver()}, ErrInvalidArgument, "WithInstanceID"},
		"negative":             {[]ConsumerOption{g, WithSessionTimeout(-1)}, ErrInvalidArgument, "WithSessionTimeout"},
		"too long":             {[]ConsumerOption{g, WithRebalanceTimeout(1 << 62)}, ErrInvalidArgument, "WithRebalanceTimeout"},
		"negative interval":    {[]ConsumerOption{g, WithMaxPollInterval(-1)}, ErrInvalidArgument, "WithMaxPollInterval"},
		"unknown assignor":     {[]ConsumerOption{g, WithAssignor("bogus")}, ErrUnsupportedAssignor, "sticky"},
	} {
		k, err := c.NewConsumer(ctx, []string{"t"}, tc.opts...)
		if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	if _, err := c.NewConsumer(ctx, []string{"none"}, g); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown topic: %v", err)
	}
	if n := len(f.owners()); n != 0 {
		t.Errorf("%d members have come of mistakes", n)
	}
}

// TestGroupBrokenBeats breaks the connection at each of the first heartbeats, before and after the
// broker has acted on it; nothing is lost by that, and no second member is made.
func TestGroupBrokenBeats(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%v", after), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 4)
			var d diary
			f.beats(func(n int, _ *native.GroupHeartbeat) (bad fakeFault) {
				bad.before, bad.after = !after && n%2 == 1, after && n%2 == 1
				return bad
			})
			a := newMember(t, c, d.options()...)
			eventually(t, "it has all", func() bool { return len(a.Positions()) == 4 })
			b := newMember(t, dialFake(t, f))
			eventually(t, "both have two", func() bool { return len(a.Positions()) == 2 && len(b.Positions()) == 2 })
			if err := b.Close(testContext(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has all again", func() bool { return len(a.Positions()) == 4 })
			if log := f.groupLog(); log != "left "+b.group.id || strings.Contains(d.String(), "lost") {
				t.Fatalf("of the group became: %s; the first member was told: %s", log, &d)
			}
		})
	}
}

// TestGroupRefusedForNow: what the broker refuses for now is tried again.
func TestGroupRefusedForNow(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 10, 10, batch.None)
	f.fill(t, 2, 10, 10, batch.None)
	var n atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		switch h.Command {
		case native.CmdGroupHeartbeat, native.CmdFetchOffsets, native.CmdListOffsets:
			if n.Add(1)%2 == 1 {
				bad.refuse = errcode.Internal
			}
		}
		return bad
	})
	k := newMember(t, c)
	pollAll(t, k, 20, nil)
}

// TestGroupCloses: a member leaves though its Close has no time, and so does one that nobody waits
// for any more.
func TestGroupCloses(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	k := newMember(t, c)
	if err := k.Close(ended); err != nil {
		t.Fatal(err)
	}
	if f.groupLog() != "left "+k.group.id {
		t.Fatalf("of the group became %s", f.groupLog())
	}
	if err := k.Close(ctx); err != nil {
		t.Fatalf("a second Close: %v", err)
	}
	if _, err := k.Poll(ctx); !errors.Is(err, ErrClosed) {
		t.Fatalf("Poll of a closed member: %v", err)
	}
	if err := k.Commit(ctx); !errors.Is(err, ErrClosed) {
		t.Fatalf("Commit of a closed member: %v", err)
	}
	// The answer to the join comes too late.
	f.beats(func(_ int, m *native.GroupHeartbeat) (bad fakeFault) {
		if m.Epoch == ipc.EpochJoin {
			bad.hold = 100 * time.Millisecond
		}
		return bad
	})
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.NewConsumer(short, []string{"t"}, WithGroup("g")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("NewConsumer whose context ends: %v", err)
	}
	f.beats(func(int, *native.GroupHeartbeat) (bad fakeFault) { return bad })
	// The join is carried out behind the leave here, so only its session ends it; what matters is that
	// the leave was sent.
	eventually(t, "it leaves", func() bool { return f.count(native.CmdGroupHeartbeat) >= 4 })
}

// TestGroupCloseHandsOver: Close tells what is given up, with time to commit for it, and takes no
// longer than its context even if nobody answers.
func TestGroupCloseHandsOver(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 10, 10, batch.None)
	ctx := testContext(t)
	k := newMember(t, c, OnRevoked(func(ctx context.Context, k *Consumer, at []Position) {
		if err := k.CommitPositions(ctx, Position{Topic: "t", Offset: 10}); err != nil {
			t.Error(err)
		}
	}))
	must[*Fetch](t)(k.Poll(ctx))
	if err := k.Close(ctx); err != nil || f.committed(1) != 10 {
		t.Fatalf("committed %d: %v", f.committed(1), err)
	}
	k = newMember(t, c)
	var done sync.WaitGroup
	done.Add(1)
	hang := make(chan struct{})
	defer close(hang)
	f.setFault(func(*fakeConn, native.Header, []byte) (bad fakeFault) {
		select {
		case <-hang:
		case <-f.closing:
		}
		return bad
	})
	k.CommitAsync(func(error) { done.Done() })
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := k.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close without answers: %v", err)
	}
	done.Wait()
}

// TestGroupUnreachable: the reason why nobody is joined is told.
func TestGroupUnreachable(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f, WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if f.count(native.CmdCreateTopic) > 0 {
			return nil, errors.New("no way")
		}
		return dialTCP(ctx, addr)
	}))
	newTopic(t, c, "t", 1)
	must[*topicEntry](t)(c.topics.get(testContext(t), "t"))
	f.dropAll()
	short, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, err := c.NewConsumer(short, []string{"t"}, WithGroup("g")); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no way") {
		t.Fatalf("nobody there: %v", err)
	}
}

// TestGroupStrangePositions: a member stores only what lies in what it was given since it has the
// partition; other positions are of an earlier time, and others may have got further.
func TestGroupStrangePositions(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 100, 10, batch.None)
	ctx := testContext(t)
	if err := c.SetOffsets(ctx, "g", Position{Topic: "t", Offset: 50}); err != nil {
		t.Fatal(err)
	}
	k := newMember(t, c)
	for n := 0; n < 50; {
		got := must[*Fetch](t)(k.Poll(ctx))
		n += len(got.Records)
		got.Release()
	}
	f.mu.Lock()
	f.group("g").rewinds = true // a user may go back in what it was given
	f.mu.Unlock()
	for offset, ok := range map[uint64]bool{49: false, 101: false, 50: true, 100: true} {
		err := k.CommitPositions(ctx, Position{Topic: "t", Offset: offset})
		if ok && (err != nil || f.committed(1) != offset) || !ok && !errors.Is(err, ErrNotAssigned) {
			t.Errorf("position %d: %v, committed is %d", offset, err, f.committed(1))
		}
	}
	if err := k.CommitPositions(ctx, Position{Topic: "t", Partition: 7}); !errors.Is(err, ErrNotAssigned) {
		t.Errorf("a partition that it has not: %v", err)
	}
}
