package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The death of messages. Where their queue has a dead-letter exchange they go there, in two steps,
// for core does not know how they were published; that stands in the log, in their note:
//
//	Died ──► Wanted: the shell reads the notes ──► Noted ──► bury: DeadLettered
//
// In between they are in the queue's graves: hard state, so that a restart asks for the notes
// anew, and nobody is given them. DeadLettered routes the message, makes it part of the targets'
// indexes by reference, without another byte of it being stored, and takes it out of the queue:
// all in one event. Where there is no exchange to go to they are simply done with.

// grave is the value of a dead offset.
type grave struct{ reason ipc.Reason }

// die decides that ranges of a queue are dead, by whose verdict: that of a consumer (conn and sub
// 0: nobody's).
func (c *Core) die(k *cursor, reason ipc.Reason, h ipc.Head, sub uint64, ranges []ipc.Range) {
	if len(ranges) == 0 {
		return
	}
	t := c.turn
	t.raise(ipc.LevelPage)
	if k.queue.set.DeadLetter && !failpoint.Broken("dead-letters-dropped") {
		ev := journal.Died{
			Pos: journal.NoInput, Queue: k.queue.id, Index: k.ix.id, Reason: reason, Conn: h.Conn, Sub: sub, Ranges: ranges,
		}
		t.events = ev.Append(t.events)
	} else {
		ev := journal.Acked{
			Pos: journal.NoInput, Queue: k.queue.id, Index: k.ix.id, Reason: reason, Conn: h.Conn, Sub: sub, Ranges: ranges,
		}
		t.events = ev.Append(t.events)
	}
	for _, r := range ranges {
		c.stats.Died += uint64(r.Count)
	}
	c.applyNew()
}

// bury takes [first, next), as far as it is pending, into the graves. What is there already has
// died of another reason, which stays. It is part of apply.
func (c *Core) bury(k *cursor, first, next uint64, reason ipc.Reason) {
	k.pending(first, next, func(first, next uint64) {
		k.attempts = k.attempts.drop(first, next)
		k.leases.drop(first, next)
		k.dead.gaps(first, next, func(first, next uint64) { k.dead.set(first, next, grave{reason}) })
		k.take(first, next)
	})
	c.toGraves(k)
}

// toGraves lists a cursor of which notes are to be asked for.
func (c *Core) toGraves(k *cursor) {
	if !k.inGraves {
		k.inGraves = true
		c.graves = append(c.graves, k)
	}
}

// Wanted is a range of dead messages whose notes the shell shall read: those of each batch that
// it touches.
type Wanted struct {
	Queue, Index, First uint64
	Count               uint32
}

// Noted is what the shell has read: the messages [First, First+Count) of Index are of one batch,
// and came there with this note.
type Noted struct {
	Queue, Index, First uint64
	Count               uint32
	Note                ipc.Note
	Weight              uint32 // payload bytes that they weigh
	// Unreadable says that the note or the batch is damaged: the messages are lost, and not
	// for their death.
	Unreadable bool
}

// maxWanted bounds what is asked for at a time, in messages.
const maxWanted = 1024

// Wanted tells which notes are needed next, at most max ranges; each is told once in a term.
func (c *Core) Wanted(dst []Wanted, max int) []Wanted {
	for len(dst) < max && len(c.graves) > 0 {
		k := c.graves[0]
		w, ok := c.wantedOf(k)
		if !ok {
			k.inGraves = false
			c.graves[0] = nil
			c.graves = c.graves[1:]
			continue
		}
		dst = append(dst, w)
	}
	return dst
}

// wantedOf is the next range of a cursor's graves that has not been asked for and can be read.
func (c *Core) wantedOf(k *cursor) (Wanted, bool) {
	if k.queue.gone {
		return Wanted{}, false
	}
	for i := range k.dead.list {
		run := &k.dead.list[i]
		first := k.asked.nextClear(run.first)
		next := min(run.next, k.ix.visible, first+maxWanted, k.asked.nextSet(first))
		if first >= next {
			continue
		}
		k.asked.add(first, next)
		return Wanted{k.queue.id, k.ix.id, first, uint32(next - first)}, true
	}
	return Wanted{}, false
}

// Noted takes a note in that was asked for. It is kept until the next EndTurn, which decides.
func (c *Core) Noted(n Noted) { c.notes = append(c.notes, n) }

// buryNoted decides where the dead go whose notes have come, as far as the turn has room.
func (c *Core) buryNoted() {
	done := 0
	for i := range c.notes {
		if !c.letterDead(&c.notes[i]) {
			break
		}
		done++
	}
	c.notes = slices.Delete(c.notes, 0, done)
}

// letterDead publishes dead messages of one batch to the dead-letter exchange of their queue. false:
// the turn has no room for all; n is what is left.
func (c *Core) letterDead(n *Noted) bool {
	q := c.queueByID[n.Queue]
	if q == nil {
		return true
	}
	k := q.cursor(n.Index)
	if k == nil {
		return true
	}
	// Runs of one reason; what has left the graves meanwhile (a purge, a seek) stays out.
	for at, end := n.First, n.First+uint64(n.Count); at < end; {
		run, ok := k.dead.at(at)
		if !ok {
			at++
			continue
		}
		next := min(run.next, end)
		if !c.hasRoom() || !c.letterRun(k, at, next, run.v.reason, n) {
			n.Weight = uint32(uint64(n.Weight) * (end - at) / uint64(n.Count))
			n.First, n.Count = at, uint32(end-at)
			return false
		}
		at = next
	}
	return true
}

// letterRun is letterDead for messages that died of one reason.
func (c *Core) letterRun(k *cursor, first, next uint64, reason ipc.Reason, n *Noted) bool {
	t, q := c.turn, k.queue
	ev := journal.DeadLettered{
		Pos: journal.NoInput, Queue: q.id, Index: k.ix.id, Offset: first, Count: uint32(next - first),
		Weight: uint32(uint64(n.Weight) * (next - first) / uint64(n.Count)),
	}
	c.targets = c.targets[:0]
	x, ok := c.exchanges.get(q.set.DeadLetterExchange)
	if ok = ok && !n.Unreadable; ok {
		ev.Note = c.noteOfDead(k, reason, n)
		c.routeNoted(x, &ev.Note)
		c.targets = slices.DeleteFunc(c.targets, func(ix *index) bool { return circling(ix, ev.Note.Deaths) })
	}
	c.scratch = journal.AppendNoteBody(c.scratch[:0], &ev.Note)
	if !c.fits(len(c.scratch) + deadBytes + c.placeBytes(ev.Note.Priority)) {
		return false
	}
	level := ipc.LevelPage
	if ok {
		p := c.place(arrival{priority: ev.Note.Priority, count: ev.Count, weight: ev.Weight, promised: true})
		ev.Targets, ev.Full = p.targets, p.full
		x.count(ev.Count, len(p.targets)-len(p.newborn))
		level = max(level, p.level)
	}
	t.raise(level)
	note := journal.NoteAt(len(t.events))
	t.events = ev.Append(t.events)
	for _, to := range ev.Targets {
		t.addRef(to, k.ix.id, first, ev.Count, note)
	}
	c.takeRoom(1 + len(ev.Targets))
	c.stats.DeadLettered += next - first
	c.applyNew()
	if len(ev.Targets) > 0 {
		c.killNewborn(c.placing.newborn)
	}
	c.touch(q)
	return true
}

// deadBytes is what the event takes besides its note and its targets, and more.
const deadBytes = 256

// noteOfDead is the note of a dead message on its way. Of its deaths the latest stand in it, as many
// as a note has room for.
func (c *Core) noteOfDead(k *cursor, reason ipc.Reason, n *Noted) ipc.Note {
	set := k.queue.set
	note := ipc.Note{
		Exchange: set.DeadLetterExchange, Key: set.DeadLetterKey, Headers: n.Note.Headers, Priority: n.Note.Priority,
		Deaths: addDeath(&n.Note, k.queue.name, reason, c.turn.timeMS),
	}
	if set.KeepKey {
		note.Key, note.More = n.Note.Key, slices.Clone(n.Note.More)
	}
	if vhost, _ := admin.SplitVHost(k.queue.name); note.Exchange == "" { // names of queues bear the vhost
		note.Key = queueKey(vhost, note.Key)
		for i := range note.More {
			note.More[i] = queueKey(vhost, note.More[i])
		}
	}
	for c.scratch = journal.AppendNoteBody(c.scratch[:0], &note); len(c.scratch) > 2*c.cfg.maxNote() && len(note.Deaths) > 1; c.scratch = journal.AppendNoteBody(c.scratch[:0], &note) {
		note.Deaths = note.Deaths[:len(note.Deaths)-1]
	}
	return note
}

// queueKey is a key as the default exchange wants it: a queue's name, with its vhost.
func queueKey(vhost, key string) string {
	if strings.Contains(key, admin.VHostMark) {
		return key
	}
	return admin.InVHost(vhost, key)
}

// addDeath is the message's deaths with one more, latest first.
func addDeath(n *ipc.Note, queue string, reason ipc.Reason, timeMS int64) []ipc.Death {
	death := ipc.Death{Queue: queue, Reason: reason, Count: 1, FirstMS: timeMS, Exchange: n.Exchange, Keys: []string{n.Key}}
	out := make([]ipc.Death, 0, len(n.Deaths)+1)
	out = append(out, death)
	for _, d := range n.Deaths {
		if d.Queue == queue && d.Reason == reason && !failpoint.Broken("deaths-not-counted") {
			out[0] = d
			out[0].Count++
		} else if len(out) < ipc.MaxDeaths {
			out = append(out, d)
		}
	}
	return out
}

// circling tells whether a message would come back to a queue in a circle in which nobody
// rejected it: it would go round for ever.
func circling(ix *index, deaths []ipc.Death) bool {
	if ix.cursor == nil || failpoint.Broken("circles-go-on") {
		return false
	}
	for _, d := range deaths {
		if d.Reason == ipc.ReasonRejected {
			return false
		}
		if d.Queue == ix.cursor.queue.name {
			return true
		}
	}
	return false
}
