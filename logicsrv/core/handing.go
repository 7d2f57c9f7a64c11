package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// A message that is told without earlier attempts has never been given to anybody: so consumers may
// rely on it, whatever has died. But what is in hand is soft state, and with whoever tells of it this
// goes too: a consumer that ended while there was no logicsrv, all of them where connsrv and logicsrv
// died together. What may have been given so and is in nobody's hand is *lost*: it comes back with an
// attempt, before anything is delivered.
//
//	in hand, and …                                  it is lost if
//	its consumer is there, and told again           (it is in hand)
//	its consumer has ended while we were away       connsrv tells that it was given out (ipc.Handed)
//	connsrv has ended while we were away            nobody tells anything: all that could be given
//
// Which of the last two it is says the log: whose connections may hold messages, as the event Handing
// has it. It names another connsrv only when all that was in the hands of the ones before has come
// back, and nobody when nobody holds anything. Where it has named nobody, nothing is delivered before
// it names somebody on the disk: else a power cut would take the name back, and not the deliveries.

// handingBytes is what the event takes of an entry, at most.
const handingBytes = 40

// handing names a connsrv, by its epoch under the nonce of the rings. Its zero value: nobody.
type handing struct{ nonce, epoch uint64 }

// mayHand tells whether messages may be given to anybody.
func (c *Core) mayHand() bool {
	return c.resynced && (c.handing.epoch != 0 && c.synced >= c.handingLSN || failpoint.Broken("handing-not-noted"))
}

// handingDue tells what the log is to say of whose connections may hold messages, if it does not.
func (c *Core) handingDue() (now handing, due bool) {
	now = handing{c.ringNonce, c.epoch}
	switch {
	case !c.resynced || len(c.returning) > 0 || failpoint.Broken("handing-not-noted"):
		return now, false
	case c.ending:
		return handing{}, c.handing.epoch != 0 && c.idleHands()
	case c.handing.epoch == 0 && len(c.consumers) == 0 && len(c.pulls) == 0:
		return now, false
	}
	return now, now != c.handing
}

// tellHanding notes in the log whose connections may hold messages from now on.
func (c *Core) tellHanding() {
	now, due := c.handingDue()
	if !due || !c.fits(handingBytes) {
		return
	}
	t := c.turn
	t.raise(ipc.LevelPage)
	if c.handing.epoch == 0 {
		t.raise(ipc.LevelDisk)
	}
	ev := journal.Handing{Pos: journal.NoInput, Nonce: now.nonce, Epoch: now.epoch}
	t.events = ev.Append(t.events)
	c.applyNew()
}

func (c *Core) applyHanding(e *journal.Handing) error {
	if c.handing.epoch == 0 { // else what the log says on the disk already is true enough
		c.handingLSN = c.nextLSN()
	}
	c.handing = handing{e.Nonce, e.Epoch}
	return nil
}

// idleHands tells whether nobody holds anything.
func (c *Core) idleHands() bool {
	holds := func(k *consumer) bool { return k.holding() > 0 }
	for _, q := range c.queues.all {
		if slices.ContainsFunc(q.consumers, holds) || slices.ContainsFunc(q.pullers, holds) {
			return false
		}
	}
	return true
}

// Settle is told that the process is about to end in order. If nobody holds a message the log will
// say so, and whoever comes next need not take any for lost; true: another turn is needed for that.
func (c *Core) Settle() (more bool) {
	c.ending = true
	_, more = c.handingDue()
	return more
}

// decideHanded takes in what a loop has given out.
func (c *Core) decideHanded() {
	m, err := ipc.DecodeHanded(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Term != c.ownTerm || m.Ask != c.ask || c.resynced {
		return // the answer to another marker
	}
	for _, x := range m.List {
		if q := c.queueByID[x.Queue]; q != nil {
			if k := q.cursor(x.Index); k != nil {
				k.given = max(k.given, min(x.Next, k.had))
			}
		}
	}
}

// noteRecovered notes, when a term begins, how many messages there were: no other ones can have been
// given to anybody.
func (c *Core) noteRecovered() {
	for _, q := range c.queues.all {
		for _, k := range q.cursors {
			k.had = k.ix.next
		}
	}
}

// findLost has come back what may have been given to somebody before the term began, and is in
// nobody's hand: when all loops have told for the first time.
func (c *Core) findLost() {
	if c.sure {
		return
	}
	c.sure = true
	if c.handing.epoch == 0 || failpoint.Broken("lost-ignored") {
		return
	}
	told := c.handing == handing{c.ringNonce, c.epoch}
	for _, q := range c.queues.all {
		for _, k := range q.cursors {
			upTo := k.had
			if told {
				upTo = k.given
			}
			c.lose(k, upTo)
		}
	}
}

// lose gives messages below upTo back that nobody holds, as far as they do not show already that
// they were given to somebody.
func (c *Core) lose(k *cursor, upTo uint64) {
	k.readyIn(k.floor, min(upTo, k.ix.next, k.floor+maxSpan/2), func(first, next uint64) bool {
		for first < next {
			attempts, until := k.attempts.at(first)
			end := min(next, until)
			if attempts == 0 {
				k.take(first, end)
				c.giveBackLater(k, first, end, ipc.ReasonLost)
			}
			first = end
		}
		return true
	})
}
