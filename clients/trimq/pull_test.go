package trimq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// offsets are those of all messages, with the attempts where there were any.
func offsets(all []*Pulled) string {
	var out []string
	for _, d := range all {
		for i := range d.Messages {
			text := fmt.Sprint(d.Messages[i].Offset)
			if d.Redelivered() {
				text += fmt.Sprint("+", d.Attempts)
			}
			out = append(out, text)
		}
	}
	return fmt.Sprint(out)
}

func (f *fake) settled(queue string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.queues[queue].cursors[0].acked.list)
}

func pull(t testing.TB, c *Client, most int, opts ...PullOption) []*Pulled {
	t.Helper()
	return must[[]*Pulled](t)(c.Pull(testContext(t), "q", most, patience, opts...))
}

// TestPullWithVisibility: what is leased is settled by its handles, from anywhere.
func TestPullWithVisibility(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 14)
	ctx := testContext(t)
	got := pull(t, c, 10, WithVisibility(time.Hour))
	if offsets(got) != "[0 1 2 3 4 5 6 7 8 9]" || len(got) != 2 || got[0].Count() != 7 {
		t.Fatalf("pulled %s in %d parts", offsets(got), len(got))
	}
	for _, d := range got {
		for i := range d.Messages {
			check(t, &d.Messages[i])
		}
		if left := time.Until(d.Until); left < time.Hour-patience || left > time.Hour {
			t.Fatalf("leased until %v", d.Until)
		}
	}
	other := dialFake(t, f)
	handle := must[Handle](t)(ParseHandle(got[0].Handle(3).String()))
	f.dropAll()
	if err := other.Delete(ctx, handle, got[0].Handle(1), got[1].Handle(0)); err != nil {
		t.Fatal(err)
	}
	if err := c.Return(ctx, got[0].Handle(2), got[0].Handle(4)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reject(ctx, got[1].Handle(2)); err != nil {
		t.Fatal(err)
	}
	if err := c.Extend(ctx, 2*time.Hour, got[0].Handle(0), got[0].Handle(5)); err != nil {
		t.Fatal(err)
	}
	if err := c.Extend(ctx, 0, got[1].Handle(1)); err != nil {
		t.Fatal(err)
	}
	if s := f.settled("q"); s != "[{1 2} {3 4} {7 8} {9 10}]" {
		t.Fatalf("settled are %s", s)
	}
	again := pull(t, c, 10, WithVisibility(time.Hour))
	if offsets(again) != "[2+1 4+1 8+1 10 11 12 13]" {
		t.Fatalf("then came %s", offsets(again))
	}
	if err := c.Delete(ctx, got[0].Handle(2)); !errors.Is(err, ErrLeaseExpired) {
		t.Fatalf("a handle from before it came back: %v", err)
	}
	f.expireAll("q")
	for name, err := range map[string]error{
		"Delete": got[0].Delete(ctx), "Return": got[0].Return(ctx), "Reject": again[0].Reject(ctx), "Extend": again[0].Extend(ctx, time.Hour),
	} {
		if !errors.Is(err, ErrLeaseExpired) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("%s when the lease is over: %v", name, err)
		}
	}
	if rest := pull(t, c, 100, WithPullAutoAck()); offsets(rest) != "[0+1 2+2 4+2 5+1 6+1 8+2 10+1 11+1 12+1 13+1]" || rest[0].Delete(ctx) != nil {
		t.Fatalf("the rest is %s", offsets(rest))
	}
	if s := f.settled("q"); s != "[{0 14}]" {
		t.Fatalf("settled are %s", s)
	}
	for _, d := range slices.Concat(got, again) {
		d.Release()
		d.Release() // again: nothing
	}
}

// TestPullIntoTheHand: without a lease the connection has them.
func TestPullIntoTheHand(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 7)
	ctx := testContext(t)
	got := pull(t, c, 10)
	d := got[0]
	if h := d.Handle(0); h.String() != "" || !d.Until.IsZero() || offsets(got) != "[0 1 2 3 4 5 6]" {
		t.Fatalf("pulled %s until %v with handle %q", offsets(got), d.Until, h)
	}
	if _, err := json.Marshal(d.Handle(0)); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("the handle of a message in hand as text: %v", err)
	}
	if err := d.Extend(ctx, time.Hour); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("Extend without a lease: %v", err)
	}
	if err := c.Delete(ctx, d.Handle(0), d.Handle(2)); err != nil {
		t.Fatal(err)
	}
	if err := c.Return(ctx, d.Handle(1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reject(ctx, d.Handle(3)); err != nil {
		t.Fatal(err)
	}
	if s := f.settled("q"); s != "[{0 1} {2 4}]" {
		t.Fatalf("settled are %s", s)
	}
	f.dropAll()
	var again []*Pulled
	for n := 0; n < 4; n = strings.Count(offsets(again), "+") { // the broker may take its time to notice
		again = append(again, pull(t, c, 10)...)
	}
	if offsets(again) != "[1+1 4+1 5+1 6+1]" {
		t.Fatalf("after the connection broke came %s", offsets(again))
	}
	if err := c.Delete(ctx, d.Handle(4)); !errors.Is(err, ErrRecalled) {
		t.Fatalf("what was in the hand of a broken connection: %v", err)
	}
	if err := c.Delete(ctx, Handle{}); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("the zero handle: %v", err)
	}
}

// TestPullWaits: a pull waits for the first message, and not for ever.
func TestPullWaits(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 0)
	ctx := testContext(t)
	if got, err := c.Pull(ctx, "q", 5, 0); err != nil || len(got) != 0 {
		t.Fatalf("an empty queue: %d, %v", len(got), err)
	}
	if got, err := c.Pull(ctx, "q", 5, 5*time.Millisecond); err != nil || len(got) != 0 {
		t.Fatalf("an empty queue, after a while: %d, %v", len(got), err)
	}
	done := make(chan []*Pulled)
	for range 3 {
		go func() { done <- pull(t, c, 5, WithVisibility(time.Hour)) }()
	}
	eventually(t, "three pulls wait", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.queues["q"].pulls) == 3
	})
	must[time.Duration](t)(c.Ping(ctx)) // they hold up nothing else
	f.fill(t, index, 3, 1, batch.None)
	n := len(<-done) // 3 parts of one message each
	f.fill(t, index, 2, 2, batch.None)
	f.fill(t, index, 2, 2, batch.None)
	for range 2 {
		for _, d := range <-done {
			n += d.Count()
		}
	}
	if n != 7 {
		t.Fatalf("three pulls got %d of 7 messages", n)
	}
	d := waitMS(ctx, time.Hour)
	if end, _ := ctx.Deadline(); d == 0 || time.Duration(d)*time.Millisecond > time.Until(end) {
		t.Fatalf("a pull would wait for %d ms, its context ends at %v", d, end)
	}
}

// TestPullGivenUp: what comes after the context has ended goes back.
func TestPullGivenUp(t *testing.T) {
	for name, opts := range map[string][]PullOption{"in hand": nil, "leased": {WithVisibility(time.Hour)}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			index := newQueue(t, f, c, "q", 0)
			short, cancel := context.WithCancel(testContext(t))
			ended := make(chan error)
			go func() {
				_, err := c.Pull(short, "q", 5, patience, opts...)
				ended <- err
			}()
			eventually(t, "the pull waits", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.queues["q"].pulls) == 1
			})
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Fatalf("a pull that is given up: %v", err)
			}
			f.fill(t, index, 3, 3, batch.None)
			if got := pull(t, c, 5); offsets(got) != "[0+1 1+1 2+1]" {
				t.Fatalf("then came %s", offsets(got))
			}
		})
	}
}

// TestPullRefused: mistakes are told; a queue that was deleted and made again is found.
func TestPullRefused(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 3)
	ctx := testContext(t)
	if _, err := c.Pull(ctx, "none", 1, 0); !errors.Is(err, ErrNotFound) {
		t.Fatalf("an unknown queue: %v", err)
	}
	if _, err := c.Pull(ctx, "q", 0, 0); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("a pull of nothing: %v", err)
	}
	if _, err := c.Pull(ctx, "q", 1, 0, WithPullAutoAck(), WithVisibility(1)); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("settled and leased: %v", err)
	}
	if got := pull(t, c, 1, WithPullAutoAck()); offsets(got) != "[0]" {
		t.Fatalf("pulled %s", offsets(got))
	}
	if err := c.DeleteQueue(ctx, "q", DeleteCondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(ctx, "q", 1, 0); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a deleted queue: %v", err)
	}
	newQueue(t, f, c, "q", 2)
	if got := pull(t, c, 5); offsets(got) != "[0 1]" {
		t.Fatalf("from another queue of the name came %s", offsets(got))
	}
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdPull {
			bad.refuse = errcode.LimitExceeded
		}
		return bad
	})
	if _, err := c.Pull(ctx, "q", 1, 0); !errors.Is(err, ErrLimitExceeded) {
		t.Fatalf("refused: %v", err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(ctx, "q", 1, 0); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed client: %v", err)
	}
}

// TestPullUnreadable: messages that cannot be read are told of, and can be rejected.
func TestPullUnreadable(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 14)
	f.mu.Lock()
	f.indexes[index].runs[0].b[80] ^= 1
	f.mu.Unlock()
	got := pull(t, c, 100, WithVisibility(time.Hour))
	if len(got) != 2 || !errors.Is(got[0].Err, ErrCorrupt) || got[0].Count() != 7 || len(got[0].Messages) != 0 || got[1].Err != nil {
		t.Fatalf("pulled %+v", got)
	}
	if err := got[0].Reject(testContext(t)); err != nil || f.settled("q") != "[{0 7}]" {
		t.Fatalf("%v, settled are %s", err, f.settled("q"))
	}
}

// TestPullThroughFaults: connections break at every point; in the end all is settled, and what was
// said to be deleted never comes again.
func TestPullThroughFaults(t *testing.T) {
	const n = 600
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", n)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(21, 22))
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		mu.Lock()
		defer mu.Unlock()
		switch h.Command {
		case native.CmdPull, native.CmdAck, native.CmdExtend:
			switch r.IntN(8) {
			case 0:
				bad.before = true
			case 1:
				bad.after = true
			case 2:
				bad.refuse = errcode.Unavailable
			case 3: // answered behind later ones
				bad.hold = 2 * time.Millisecond
			}
		}
		return bad
	})
	ctx := testContext(t)
	deleted := map[uint64]bool{}
	var wg sync.WaitGroup
	for worker := range 3 {
		opts := []PullOption{WithVisibility(10 * time.Millisecond)}
		if worker == 0 {
			opts = nil
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := c.Pull(ctx, "q", 1+worker*20, 20*time.Millisecond, opts...)
				if err != nil {
					t.Error(err)
					return
				}
				for _, d := range got {
					err := d.Delete(ctx)
					switch {
					case err == nil:
						mu.Lock()
						for i := range d.Messages {
							check(t, &d.Messages[i])
							if o := d.Messages[i].Offset; deleted[o] {
								t.Errorf("message %d came after it was deleted", o)
							} else {
								deleted[o] = true
							}
						}
						mu.Unlock()
					case !errors.Is(err, ErrLeaseExpired) && !errors.Is(err, ErrUnknownOutcome) && !errors.Is(err, ErrRecalled):
						t.Error(err)
						return
					}
				}
				if f.settled("q") == fmt.Sprintf("[{0 %d}]", n) {
					return
				}
			}
		})
	}
	wg.Wait()
	if s := f.settled("q"); s != fmt.Sprintf("[{0 %d}]", n) || f.accepted < 10 {
		t.Fatalf("settled are %s, over %d connections", s, f.accepted)
	}
}

func TestHandleText(t *testing.T) {
	if got := (Handle{queue: 9, index: 10, offset: 300, lease: 5}).String(); got != "AQkKrAIFGsINig" {
		t.Fatalf("a handle is %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64()
		h := Handle{queue: n.Draw(t, "queue"), index: n.Draw(t, "index"), offset: n.Draw(t, "offset"), lease: max(n.Draw(t, "lease"), 1)}
		got, err := ParseHandle(h.String())
		if err != nil || got != h || len(h.String()) > handleTextSize {
			t.Fatalf("%+v became %q and %+v, %v", h, h.String(), got, err)
		}
		text := []byte(h.String())
		text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		if got, err := ParseHandle(string(text)); err == nil {
			t.Fatalf("%s was read as %+v", text, got)
		} else if !errors.Is(err, ErrBadHandle) {
			t.Fatal(err)
		}
	})
	type parcel struct{ H Handle }
	in := parcel{Handle{queue: 1, index: 2, offset: 3, lease: 4}}
	b := must[[]byte](t)(json.Marshal(in))
	var out parcel
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("%s became %+v, %v", b, out, err)
	}
}

// FuzzHandle reads arbitrary texts. Invariants: no panic; what is read is written the same.
func FuzzHandle(f *testing.F) {
	f.Add("")
	f.Add(Handle{queue: 9, index: 10, offset: 300, lease: 5}.String())
	f.Add("AQkKrAIF")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHandle(text)
		if err == nil && h.String() != text {
			t.Fatalf("%q was read and became %q", text, h.String())
		}
		if err != nil && !errors.Is(err, ErrBadHandle) {
			t.Fatal(err)
		}
	})
}
