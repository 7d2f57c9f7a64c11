package amqpconn

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/ipc"
)

// Delivery tags against a model that is a sorted list of those in the client's hand.
func TestUnackedModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u unacked
		var model []uint64
		s := &consumer{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				noAck := rapid.Bool().Draw(t, "no ack")
				tag := u.give(s, &ipc.PulledRun{First: u.last + 1000}, noAck)
				if !noAck {
					model = append(model, tag)
				}
			case 2:
				tag := rapid.Uint64Range(0, u.last+2).Draw(t, "tag")
				i, in := slices.BinarySearch(model, tag)
				at := u.find(tag)
				if in != (at >= 0) {
					t.Fatalf("tag %d is there: %v, found at %d", tag, in, at)
				}
				if in {
					if h := u.take(at); h.tag != tag || h.offset != tag+999 {
						t.Fatalf("tag %d gives %+v", tag, h)
					}
					model = slices.Delete(model, i, i+1)
				}
			case 3:
				if u.count < 2 {
					continue
				}
				back := []held{u.take(u.head), u.take(u.head)}
				u.restore(back)
			}
			if u.count != len(model) {
				t.Fatalf("%d are counted, %d there", u.count, len(model))
			}
		}
	})
}

// Verdicts on neighbours become one range.
func TestVerdictsGather(t *testing.T) {
	var s settled
	a, b := &consumer{}, &consumer{}
	for i := range uint64(4) {
		s.add(held{sub: a, index: 1, offset: i}, ipc.VerdictAck)
		s.add(held{sub: b, index: 1, offset: 2 * i}, ipc.VerdictReject)
	}
	if len(s.groups) != 2 || len(s.groups[0].ranges) != 1 || s.groups[0].ranges[0].Count != 4 || len(s.groups[1].ranges) != 4 {
		t.Errorf("%+v", s.groups)
	}
}

// The limit that consumers share counts what they hold, and what they have settled in a transaction that is
// open; not what was got. Who acknowledges nothing uses none of it up, and waits all the same.
func TestSharedLimit(t *testing.T) {
	r := newRig(t)
	r.open()
	ch := r.conn.channels[1]
	pushed, got, careless := &consumer{channel: ch, tag: []byte("t")}, &consumer{channel: ch}, &consumer{channel: ch, tag: []byte("n"), noAck: true}
	const all = 1<<32 - 1
	room := func(what string, want, carelessly uint32) {
		t.Helper()
		if a, b := ch.room(pushed), ch.room(careless); a != want || b != carelessly {
			t.Errorf("%s: room for %d and %d, want %d and %d", what, a, b, want, carelessly)
		}
	}
	room("no limit", all, all)
	ch.share(2)
	ch.unacked.give(got, &ipc.PulledRun{First: 1}, false)
	room("something was got", 2, all)
	ch.unacked.give(pushed, &ipc.PulledRun{First: 2}, false)
	ch.unacked.give(careless, &ipc.PulledRun{First: 3}, true)
	room("one was given", 1, all)
	ch.unacked.give(pushed, &ipc.PulledRun{First: 4}, false)
	room("two were given", 0, 0)
	ch.mode = modeTx
	ch.verdict(0, 1, false, ipc.VerdictAck)
	ch.verdict(0, 2, false, ipc.VerdictAck)
	room("one is acknowledged, uncommitted", 0, 0)
	ch.unacked.restore([]held{ch.tx.verdicts[0].held, ch.tx.verdicts[1].held})
	ch.tx = transaction{}
	room("rolled back", 0, 0)
	ch.mode = modePlain
	ch.verdict(0, 2, false, ipc.VerdictAck)
	room("one is acknowledged", 1, all)
	ch.share(0)
	room("no limit any more", all, all)
}

// A consumer without a limit of its own is given as much as all may hold together, and more when they may.
func TestSharedLimitBoundsCredit(t *testing.T) {
	r := newRig(t)
	r.open()
	ch := r.conn.channels[1]
	s := &consumer{channel: ch, tag: []byte("t"), window: 3}
	s.Queue, s.Answered, s.Limit, s.Delivered = true, true, 5, 2
	r.conn.addSub(s)
	for _, step := range []struct {
		limit uint32
		want  uint64
	}{{3, 5}, {5, 7}, {1, 7}, {5, 7}, {0, unlimited}, {4, unlimited}} {
		if ch.share(step.limit); s.Limit != step.want {
			t.Errorf("limit %d: credit %d, want %d", step.limit, s.Limit, step.want)
		}
	}
}
