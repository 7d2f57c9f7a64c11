package trimq

import (
	"context"
	"sync"
)

// window is a semaphore that counts bytes and serves waiters in order. It bounds what a
// producer has taken and not yet reported.
type window struct {
	mu      sync.Mutex
	free    int64
	size    int64
	closed  bool
	waiters []*windowWaiter
}

type windowWaiter struct {
	n     int64
	ready chan struct{} // closed once n is granted, or the window is closed
	ok    bool
}

func newWindow(size int64) *window { return &window{free: size, size: size} }

// fits lets something larger than the whole window pass when the window is empty.
func (w *window) fits(n int64) bool { return n <= w.free || w.free == w.size }

// acquire takes n, waiting for them in turn until ctx ends or the window is closed. waits is
// called once it is known, to everybody, that somebody waits.
func (w *window) acquire(ctx context.Context, n int64, waits func()) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	if len(w.waiters) == 0 && w.fits(n) {
		w.free -= n
		w.mu.Unlock()
		return nil
	}
	me := &windowWaiter{n: n, ready: make(chan struct{})}
	w.waiters = append(w.waiters, me)
	w.mu.Unlock()
	waits()
	select {
	case <-me.ready:
		if !me.ok {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		return w.abandon(me, ctx.Err())
	}
}

// abandon takes a waiter out; what it was granted in the meantime goes back.
func (w *window) abandon(me *windowWaiter, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.ok {
		w.free += me.n
	}
	for i, other := range w.waiters {
		if other == me {
			w.waiters = append(w.waiters[:i], w.waiters[i+1:]...)
			break
		}
	}
	w.grant()
	return err
}

// release gives n back.
func (w *window) release(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
	w.grant()
}

// waiting says whether somebody is held up.
func (w *window) waiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiters) > 0
}

// close refuses all who wait and all who come.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, x := range w.waiters {
		close(x.ready)
	}
	w.waiters = nil
}

// grant serves the waiters whose turn it is. REQUIRES: w.mu held.
func (w *window) grant() {
	for len(w.waiters) > 0 && w.fits(w.waiters[0].n) {
		x := w.waiters[0]
		w.waiters = w.waiters[1:]
		w.free -= x.n
		x.ok = true
		close(x.ready)
	}
}
