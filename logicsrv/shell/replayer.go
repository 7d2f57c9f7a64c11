package shell

import (
	"context"
	"sync"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/commitlog"
)

// replayer has checkpoints made beside the loop, by package replay: in a process of its own where
// Options.Replay says so, otherwise by whoever calls step, Run's goroutine or the simulator.
// With the loop it shares the two channels alone.
type replayer struct {
	cfg    core.Config
	fs     commitlog.FS
	beside func(ctx context.Context, lsn uint64, spare []byte) (replay.Result, error)
	orders chan order // from the loop; at most one is under way, so neither side ever waits
	made   chan made  // to the loop

	lsn   uint64        // of the order in hand
	maker *replay.Maker // of the order in hand; nil: none
}

// order asks for a checkpoint.
type order struct {
	lsn   uint64 // of the state; persistsrv has written it
	spare []byte // memory for the blob
}

// made is what came of an order.
type made struct {
	lsn uint64
	replay.Result
	err error // then there is no Result
}

func newReplayer(o *Options) *replayer {
	return &replayer{cfg: o.Core, fs: o.LogFS, beside: o.Replay, orders: make(chan order, 1), made: make(chan made, 1)}
}

// step does the next piece of work on an order; false when there is none.
func (r *replayer) step() bool {
	if r.maker == nil {
		select {
		case o := <-r.orders:
			r.take(o)
		default:
			return false
		}
	}
	done, err := r.maker.Step()
	if done || err != nil {
		r.finish(r.maker.Result(), err)
	}
	return true
}

func (r *replayer) take(o order) {
	r.lsn, r.maker = o.lsn, replay.NewMaker(r.cfg, r.fs, o.lsn, o.spare)
}

// finish hands over what came of the order, and lets go of all that it took.
func (r *replayer) finish(result replay.Result, err error) {
	r.drop()
	r.made <- made{r.lsn, result, err}
}

func (r *replayer) drop() {
	if r.maker != nil {
		r.maker.Close()
		r.maker = nil
	}
}

// start lets a goroutine see to the orders; ring is called when something was made. The result
// ends it and breaks off what is under way.
func (r *replayer) start(ring func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		defer r.drop()
		for {
			select {
			case <-ctx.Done():
				return
			case o := <-r.orders:
				r.serve(ctx, o)
				ring()
			}
		}
	}()
	return func() { cancel(); running.Wait() }
}

// serve sees to one order, unless ctx ends before.
func (r *replayer) serve(ctx context.Context, o order) {
	if r.beside != nil {
		result, err := r.beside(ctx, o.lsn, o.spare)
		r.made <- made{o.lsn, result, err}
		return
	}
	r.take(o)
	for r.maker != nil && ctx.Err() == nil {
		r.step()
	}
}
