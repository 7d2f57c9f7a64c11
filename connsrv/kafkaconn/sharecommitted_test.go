package kafkaconn

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// mixed is a partition with transactions of one producer in it, and what of it a committed reader gets.
type mixed struct {
	*sharer
	index   uint64
	next    uint64
	kept    []uint64 // offsets of messages, but for those that were aborted
	all     []uint64 // offsets of messages
	aborted []ipc.AbortedTxn
}

// add stores a batch of n messages.
func (h *mixed) add(b []byte, n int, kept bool) {
	h.store(h.index, b)
	for range n {
		if h.all = append(h.all, h.next); kept {
			h.kept = append(h.kept, h.next)
		}
		h.next++
	}
}

// transact stores a transaction of some batches, with other producers' between them.
func (h *mixed) transact(rt *rapid.T, commit bool) {
	first := h.next
	for range rapid.IntRange(1, 3).Draw(rt, "batches") {
		n := rapid.IntRange(1, 6).Draw(rt, "records")
		h.add(txnBatch(n, 10), n, commit)
		if rapid.Bool().Draw(rt, "between") {
			h.add(testBatch(2, 10), 2, true)
		}
	}
	if !commit {
		h.aborted = append(h.aborted, ipc.AbortedTxn{ProducerID: batch.Header(txnBatch(1, 1)).ProducerID(), First: first, Last: h.next})
	}
	h.store(h.index, batch.AppendControl(nil, batch.Header(txnBatch(1, 1)).ProducerID(), 0, commit, 1))
	h.next++
}

// TestShareCommitted: who reads committed records is given all of them and nothing else, and what was passed over is done with;
// others are given what was aborted, too.
func TestShareCommitted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &mixed{sharer: newSharer(t)}
		topic := h.topic("t", 1)
		h.index = topic.Partitions[0].Index
		committed := rapid.Bool().Draw(rt, "committed")
		if committed {
			h.shares.settings["g"] = append(h.shares.settings["g"], admin.Setting{Name: groupIsolation, Value: isolationCommitted})
		}
		for range rapid.IntRange(1, 6).Draw(rt, "parts") {
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				h.add(testBatch(3, 10), 3, true)
			case 1:
				h.transact(rt, true)
			case 2:
				h.transact(rt, false)
			}
		}
		h.stableAt(h.index, h.next, h.aborted...)
		var got []uint64
		strict, max := rapid.Bool().Draw(rt, "strict"), rapid.Int32Range(1, 20).Draw(rt, "max")
		for range h.next + 1 {
			resp := h.fetch(func(m *kmsg.ShareFetchRequest) {
				m.MaxWaitMillis, m.MaxRecords = 0, max
				if strict {
					m.ShareAcquireMode = 1
				}
			}, part(topic, 0))
			got = append(got, h.sentTo(rt, resp)...)
		}
		want := h.all
		if committed {
			want = h.kept
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v; aborted %v", got, want, h.aborted)
		}
		for offset := range h.next {
			x := h.queueByID(500).at(h.index, offset)
			if passed := committed && !slices.Contains(want, offset); passed != (x.done == ipc.VerdictSkip) || !passed && x.lease == 0 {
				rt.Fatalf("offset %d: %+v", offset, x)
			}
		}
	})
}

// sentTo lists the offsets of messages that a response gives its member; each of them must be in it.
func (h *mixed) sentTo(rt *rapid.T, resp *kmsg.ShareFetchResponse) (offsets []uint64) {
	for i := range resp.Topics {
		for _, p := range resp.Topics[i].Partitions {
			sent := messagesIn(rt, p.Records)
			for _, a := range p.AcquiredRecords {
				for o := uint64(a.FirstOffset); o <= uint64(a.LastOffset); o++ {
					switch message, there := sent[o]; {
					case !there:
						rt.Fatalf("offset %d was acquired and not sent", o)
					case message:
						offsets = append(offsets, o)
					}
				}
			}
		}
	}
	return offsets
}

// messagesIn lists the offsets of the records in batches, and whether they are messages.
func messagesIn(rt *rapid.T, b []byte) map[uint64]bool {
	sent := map[uint64]bool{}
	for len(b) > 0 {
		first, rest, err := batch.Split(b)
		if err != nil {
			rt.Fatal(err)
		}
		hd := batch.Header(first)
		for i := range uint64(hd.Count()) {
			sent[hd.BaseOffset()+i] = !hd.Control()
		}
		b = rest
	}
	return sent
}
