//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/ipc"
)

// fetcher follows one partition as a long poll does: it waits until there is more than it has
// read, reads it, and commits where it is.
type fetcher struct {
	party
	topic     string
	partition int
	group     string

	pos        uint64
	waiting    bool
	committing bool
	asking     bool
	committed  uint64 // acknowledged
	offered    uint64 // the highest that may have been stored
	stopped    bool
}

func (f *fetcher) settled() bool { return !f.committing && !f.asking }

func (f *fetcher) dropped() {
	f.conn, f.waiting, f.committing, f.asking = nil, false, false, false
}

func (f *fetcher) tick() {
	r := f.w.rng
	if !f.stopped && f.conn != nil && r.IntN(f.w.plan.clientDeath) == 0 {
		f.die(f)
		return
	}
	index := f.w.indexOf(f.topic, f.partition)
	if index == 0 || f.stopped || !f.ready(f) {
		return
	}
	switch n := r.IntN(8); {
	case n == 0 && !f.committing && f.pos > f.offered:
		f.commit(index)
	case n == 1 && !f.asking:
		f.askCommitted(index)
	case !f.waiting:
		f.wait(index)
	}
}

// wait parks until something lies beyond the position; now and then it only looks.
func (f *fetcher) wait(index uint64) {
	f.waiting = true
	beyond := f.pos
	if f.w.rng.IntN(5) == 0 {
		f.w.conn.ask(f.conn, ipc.TypeWait, func(h ipc.Head) []byte {
			m := ipc.Wait{Head: h, Index: index, Beyond: ipc.WaitNow}
			return m.Append(nil)
		}, nil, func(typ ipc.Type, b []byte) { f.visible(index, beyond, typ, b) })
		return
	}
	f.w.conn.park(f.conn, index, beyond, func(typ ipc.Type, b []byte) { f.visible(index, beyond+1, typ, b) })
}

func (f *fetcher) visible(index, atLeast uint64, typ ipc.Type, b []byte) {
	f.waiting = false
	if typ != ipc.TypeVisible {
		code, text := f.refusal(b)
		f.w.fail("%s cannot wait on index %d: %v %s", f.name, index, code, text)
	}
	m, err := ipc.DecodeVisible(b)
	f.w.must(err, "decode a visible end")
	if m.Index != index || m.End < atLeast {
		f.w.fail("%s: index %d is visible up to %d, at least %d was expected of index %d", f.name, m.Index, m.End, atLeast, index)
	}
	f.w.trace("%s sees index %d up to %d", f.name, index, m.End)
	f.w.observed(index, m.End)
	f.pos = m.End
}

func (f *fetcher) commit(index uint64) {
	f.committing = true
	pos := f.pos
	o := f.w.conn.ask(f.conn, ipc.TypeCommit, func(h ipc.Head) []byte {
		m := ipc.CommitOffsets{Head: h, Group: f.group, Offsets: []ipc.OffsetCommit{{Index: index, Offset: pos, Metadata: "m", Leader: leaderAt(pos)}}}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		f.committing = false
		if typ != ipc.TypeCommitted {
			code, text := f.refusal(b)
			f.w.fail("%s cannot commit: %v %s", f.name, code, text)
		}
		f.committed = max(f.committed, pos)
		f.w.stats.commits++
	})
	o.before = func() { f.offered = max(f.offered, pos) }
}

// leaderAt is the leader epoch that goes with a position: one that was of another is seen.
func leaderAt(pos uint64) uint32 { return uint32(pos % 5) }

func (f *fetcher) askCommitted(index uint64) {
	f.asking = true
	least := f.committed
	f.w.conn.ask(f.conn, ipc.TypeOffsets, func(h ipc.Head) []byte {
		m := ipc.FetchOffsets{Head: h, Group: f.group, Indexes: []uint64{index}}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		f.asking = false
		if typ != ipc.TypeOffsetList {
			code, text := f.refusal(b)
			f.w.fail("%s cannot read its offset: %v %s", f.name, code, text)
		}
		m, err := ipc.DecodeOffsetList(b)
		f.w.must(err, "decode offsets")
		var got uint64
		if len(m.Offsets) > 0 {
			got = m.Offsets[0].Offset
			if m.Offsets[0].Leader != leaderAt(got) {
				f.w.fail("%s: offset %d of index %d was committed with leader epoch %d, told is %d", f.name, got, index, leaderAt(got), m.Offsets[0].Leader)
			}
		}
		if got < least || got > f.offered {
			f.w.fail("%s: committed offset of index %d is %d, outside [%d, %d]", f.name, index, got, least, f.offered)
		}
	})
}

// powerCut forgets what need not survive it: the visible end and the offset committed of a
// topic whose level is not disk.
func (f *fetcher) powerCut() {
	for _, t := range topicSpec {
		if t.name == f.topic && t.level < diskLevel {
			f.pos, f.committed = 0, 0
		}
	}
}
