package trimq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Pulled are messages of a queue that Pull has got together.
type Pulled struct {
	Parcel
	Until time.Time // their lease ends then; zero: they are in the hand of the client, or settled
	Err   error     // why they cannot be read: then Messages is empty, and Handle tells of them all the same

	c      *Client
	holder Handle // without the offset
	auto   bool
}

// PullOption configures a Pull.
type PullOption func(*pullOptions)

type pullOptions struct {
	visibility time.Duration
	autoAck    bool
}

// WithVisibility leases the messages: they are invisible to all others for so long, whatever becomes
// of this client and its connections, and then come back. Without it they are in the hand of the
// client, and come back when its connection breaks.
func WithVisibility(d time.Duration) PullOption { return func(o *pullOptions) { o.visibility = d } }

// WithPullAutoAck settles what is pulled. What is on its way when the connection breaks, or the
// context ends, is lost.
func WithPullAutoAck() PullOption { return func(o *pullOptions) { o.autoAck = true } }

// Pull takes up to most messages of a queue that are ready, 4096 at most. Where there is none it
// waits for the first, as long as wait says (less, where ctx ends sooner), and may come back with
// none.
//
// A connection that breaks while a Pull is under way is made anew and the Pull sent again. What the
// first one got then comes back: at once, or, if it was leased, when the lease is over. So does what
// arrives after ctx has ended, one attempt more.
func (c *Client) Pull(ctx context.Context, queue string, most int, wait time.Duration, opts ...PullOption) ([]*Pulled, error) {
	var o pullOptions
	for _, set := range opts {
		set(&o)
	}
	m := native.Pull{Max: uint32(min(max(most, 0), ipc.MaxPull)), AutoAck: o.autoAck, InvisibleMS: ceilMS(o.visibility), WaitMS: waitMS(ctx, wait)}
	switch {
	case most <= 0:
		return nil, invalid("a pull of %d messages", most)
	case o.autoAck && m.InvisibleMS > 0:
		return nil, invalid("a pull WithPullAutoAck leaves nothing to be leased: leave WithVisibility out")
	}
	for again := false; ; again = true {
		got, err := c.pullOnce(ctx, queue, &m)
		if codeOf(err) != errcode.UnknownIndex || again {
			return got, err
		}
		c.pulls.forget(queue) // another queue of this name may have been made since
	}
}

// waitMS is how long a pull may wait: it should be answered before ctx ends.
func waitMS(ctx context.Context, wait time.Duration) uint64 {
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)*9/10)
	}
	return ceilMS(wait)
}

func (c *Client) pullOnce(ctx context.Context, queue string, m *native.Pull) (got []*Pulled, err error) {
	cs, err := c.pulls.begin()
	if err == nil {
		m.Queue, err = c.pulls.id(ctx, queue)
	}
	if err != nil {
		return nil, err
	}
	reply, a, err := ask(ctx, cs, nil, native.CmdPull, m, native.DecodePullReply)
	if err != nil {
		a.drop()
		return nil, err
	}
	count := uint64(0)
	for _, in := range a.got {
		count += uint64(in.m.Count)
	}
	if count != uint64(reply.Count) {
		a.drop()
		return nil, protocolError("PULL of %d messages came with %d", reply.Count, count)
	}
	for _, in := range a.got {
		d := &Pulled{c: c, auto: m.AutoAck, holder: Handle{queue: m.Queue, index: in.m.Index, lease: reply.Lease}}
		if reply.Lease != 0 {
			d.Until = time.UnixMilli(reply.UntilMS)
		} else {
			d.holder.sub, d.holder.on = in.m.Sub, a.on
		}
		d.Err = d.Parcel.open(in, queue)
		got = append(got, d)
	}
	return got, nil
}

// Count is how many messages they are.
func (d *Pulled) Count() int { return int(d.next - d.first) }

// Handle is the receipt handle of the i-th message.
func (d *Pulled) Handle(i int) Handle {
	h := d.holder
	h.offset = d.first + uint64(i)
	return h
}

// handles are those of all messages.
func (d *Pulled) handles() []Handle {
	if d.auto {
		return nil
	}
	all := make([]Handle, d.Count())
	for i := range all {
		all[i] = d.Handle(i)
	}
	return all
}

// Delete settles all of them as done, as Client.Delete does.
func (d *Pulled) Delete(ctx context.Context) error { return d.c.Delete(ctx, d.handles()...) }

// Return gives all of them back, as Client.Return does.
func (d *Pulled) Return(ctx context.Context) error { return d.c.Return(ctx, d.handles()...) }

// Reject makes all of them dead, as Client.Reject does.
func (d *Pulled) Reject(ctx context.Context) error { return d.c.Reject(ctx, d.handles()...) }

// Extend has all of them for longer, as Client.Extend does.
func (d *Pulled) Extend(ctx context.Context, visibility time.Duration) error {
	return d.c.Extend(ctx, visibility, d.handles()...)
}

// Release gives the memory of the messages back, as Fetch.Release does. Handles stay good.
func (d *Pulled) Release() {
	if d != nil {
		d.release()
	}
}

// Delete settles pulled messages as done, and waits until the broker has that. ErrLeaseExpired: the
// lease of one of them is over; it, and those of the same lease and index, are not deleted. If the
// connection broke meanwhile, so that it may be this very Delete that ended the lease, the error is
// ErrUnknownOutcome as well. ErrRecalled: they were in the hand of a connection that broke.
func (c *Client) Delete(ctx context.Context, handles ...Handle) error {
	return c.settle(ctx, ipc.VerdictAck, handles)
}

// Return gives pulled messages back to their places in the queue now, one attempt more; errors as of
// Delete.
func (c *Client) Return(ctx context.Context, handles ...Handle) error {
	return c.settle(ctx, ipc.VerdictRequeue, handles)
}

// Reject makes pulled messages dead: they go to the queue's dead-letter exchange, or are dropped;
// errors as of Delete.
func (c *Client) Reject(ctx context.Context, handles ...Handle) error {
	return c.settle(ctx, ipc.VerdictReject, handles)
}

// Extend sets the end of the leases anew, from now on; with 0 the messages come back. Errors as of
// Delete, for each message by itself.
func (c *Client) Extend(ctx context.Context, visibility time.Duration, handles ...Handle) error {
	requests := make([]pullRequest, len(handles))
	for i, h := range handles {
		if h.lease == 0 {
			return invalid("a message without a lease cannot be extended: pull WithVisibility")
		}
		requests[i] = pullRequest{cmd: native.CmdExtend, body: &native.Extend{
			Queue: h.queue, Index: h.index, Offset: h.offset, Lease: h.lease, InvisibleMS: ceilMS(visibility),
		}}
	}
	return c.sendAll(ctx, requests)
}

// settle passes a verdict, in as few requests as it takes.
func (c *Client) settle(ctx context.Context, v ipc.Verdict, handles []Handle) error {
	all := slices.Clone(handles)
	slices.SortFunc(all, Handle.compare)
	var requests []pullRequest
	for len(all) > 0 {
		holder := all[0].holder()
		if holder.lease == 0 && holder.on == nil {
			return invalid("the zero Handle is no message's")
		}
		var set rangeSet
		n := 0
		for n < len(all) && all[n].holder() == holder {
			set.add(all[n].offset, all[n].offset+1)
			n++
		}
		all = all[n:]
		for !set.empty() {
			requests = append(requests, pullRequest{cmd: native.CmdAck, on: holder.on, body: &native.Ack{
				Sub: holder.sub, Queue: holder.queue, Index: holder.index, Lease: holder.lease, Verdict: v, Ranges: set.take(maxAckRanges),
			}})
		}
	}
	return c.sendAll(ctx, requests)
}

// pullRequest is a verdict on what was pulled.
type pullRequest struct {
	cmd  native.Command
	body native.Body
	on   *conn // in whose hand the messages are; nil: they are leased
}

// maxVerdictsAtOnce bounds the verdicts of one call that are on the wire together.
const maxVerdictsAtOnce = 32

// sendAll sends requests beside each other and waits for all; it gives the first error.
func (c *Client) sendAll(ctx context.Context, requests []pullRequest) error {
	if len(requests) == 1 {
		return c.send(ctx, &requests[0])
	}
	var next atomic.Int64
	errs := make([]error, len(requests))
	var senders sync.WaitGroup
	for range min(len(requests), maxVerdictsAtOnce) {
		senders.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(requests); i = next.Add(1) - 1 {
				errs[i] = c.send(ctx, &requests[i])
			}
		})
	}
	senders.Wait()
	return cmp.Or(errs...)
}

func (c *Client) send(ctx context.Context, r *pullRequest) error {
	cs := c.calls
	if r.on != nil {
		var err error
		if cs, err = c.pulls.begin(); err != nil {
			return err
		}
	}
	a, err := cs.doOn(ctx, r.on, r.cmd, r.body)
	switch {
	case errors.Is(err, errConnLost) && a.sent > 0:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, errConnLost)
	case errors.Is(err, errConnLost):
		return fmt.Errorf("%w with its connection", ErrRecalled)
	case a.sent > 1 && codeOf(err) == errcode.LeaseExpired:
		return errors.Join(ErrUnknownOutcome, err)
	}
	return err
}
