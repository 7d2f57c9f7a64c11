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
