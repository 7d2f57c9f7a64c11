package trimq

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces the attempts to reach a broker: doubling, capped, and spread at random over
// [half, whole), so that a thousand clients of a restarted broker do not come back as one.
type backoff struct {
	min, max time.Duration
	next     time.Duration
}

// delay is how long to wait before the next attempt.
func (b *backoff) delay() time.Duration {
	if b.next < b.min {
		b.next = b.min
	}
	d := b.next
	b.next = min(b.next*2, b.max)
	half := d / 2
	return half + rand.N(half+1)
}

// reset is called after a success.
func (b *backoff) reset() { b.next = 0 }

// sleep waits for the next attempt; it returns early with ctx's error.
func (b *backoff) sleep(ctx context.Context) error {
	t := time.NewTimer(b.delay())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
