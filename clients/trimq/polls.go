package trimq

import "time"

// polls is what a consumer knows of its user's Polls. Who polls again has worked on what the Poll
// before has given: so far it is safe to commit, and a partition may go to somebody else without
// its last records being worked on twice. Guarded by Consumer.mu; counted for members of groups and
// with WithAutoCommit only.
type polls struct {
	begun  uint64    // their number
	inside int       // how many have not ended
	last   time.Time // when the last one ended
}

// pollBegins notes that the user is done with what it was given.
func (k *Consumer) pollBegins() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.polls.begun++
	k.polls.inside++
	if k.group != nil {
		k.group.polled.ring()
	}
}

func (k *Consumer) pollEnds() {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.polls.inside--
	k.polls.last = now
}

// inHand tells whether the user may still be at work on the partition's records. REQUIRES: k.mu held.
func (k *Consumer) inHand(p *part) bool { return p.given != 0 && p.given == k.polls.begun }

// worked is how far the user has got in a partition, as far as is known. REQUIRES: k.mu held.
func (k *Consumer) worked(p *part) uint64 {
	if k.inHand(p) {
		return p.done
	}
	return p.pos
}

// stuck tells whether the user has not polled for longer than limit (0: for ever). REQUIRES: k.mu held.
func (k *Consumer) stuck(now time.Time, limit time.Duration) bool {
	return limit > 0 && k.polls.inside == 0 && now.Sub(k.polls.last) > limit
}

// alarm wakes all who wait for a change of what a mutex guards. Its zero value is ready; its methods
// are called with that mutex held.
type alarm struct{ c chan struct{} }

// next is closed with the next ring.
func (a *alarm) next() <-chan struct{} {
	if a.c == nil {
		a.c = make(chan struct{})
	}
	return a.c
}

func (a *alarm) ring() {
	if a.c != nil {
		close(a.c)
		a.c = nil
	}
}
