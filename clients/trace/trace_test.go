package trace

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

const none = journal.NoInput

func durable(id uint64, name string) *journal.QueueCreated {
	return &journal.QueueCreated{Pos: none, Queue: id, Name: name, Level: ipc.LevelDisk, Settings: admin.QueueSettings{Durable: true}}
}

func sentOf(count uint32) journal.Sent {
	return journal.Sent{Count: count, ProducerID: journal.NoProducer, TTLMS: ipc.NoTTL}
}

func run(first uint64, count uint32) []ipc.Range { return []ipc.Range{{First: first, Count: count}} }

// storyOf is what Follow tells, one step a line.
func storyOf(t *testing.T, l *testLog, o Origin, err error) string {
	t.Helper()
	names := NewNames()
	if err == nil {
		err = LearnNames(l.fs(), names, o.LSN)
	}
	var b strings.Builder
	if err == nil {
		err = Follow(l.fs(), o, names, func(s Step) { fmt.Fprintf(&b, "%d %s: %s\n", s.LSN, s.Message, s.What) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantStory(t *testing.T, l *testLog, p Place, want string) {
	t.Helper()
	o, err := Find(l.fs(), p)
	if got := storyOf(t, l, o, err); got != strings.TrimLeft(want, "\n") {
		t.Errorf("%+v:\n%s", p, got)
	}
}

// deadLetterLog: three messages go to two queues; one of them is put back, rejected and dead-lettered.
func deadLetterLog(t *testing.T) *testLog {
	l := newLog(t)
	l.entry(nil, nil, durable(1, "orders"), durable(2, "audit"), durable(3, "dead"), &journal.LaneAdded{Pos: none, Queue: 2, Index: 4, Priority: 5})
	l.entry(nil, nil, &journal.Joined{Pos: none, Queue: 1, Conn: 256, Sub: 1, Tag: "worker"})
	to := []journal.Target{{Index: 1, Base: 10}, {Index: 4, Base: 0}}
	l.entry([]stored{{[]string{"a", "b", "c"}, to}}, nil,
		&journal.Routed{Pos: 1, Sent: sentOf(3), Full: 1, Targets: to, Note: ipc.Note{Exchange: "x", Key: "eu", Priority: 5, Headers: []ipc.Header{{Key: "k", Value: "v"}}}})
	l.entry(nil, nil, &journal.Returned{Pos: 2, Queue: 1, Index: 1, Reason: ipc.ReasonTimeout, Ranges: run(11, 1)},
		&journal.Acked{Pos: 3, Queue: 1, Index: 1, Reason: ipc.ReasonAcked, Conn: 256, Sub: 1, Ranges: run(12, 1)})
	l.entry(nil, nil, &journal.Died{Pos: 4, Queue: 1, Index: 1, Reason: ipc.ReasonRejected, Conn: 256, Sub: 1, Ranges: run(10, 2)},
		&journal.Acked{Pos: 5, Queue: 2, Index: 4, Reason: ipc.ReasonAcked, Conn: 512, Sub: 7, Ranges: run(0, 3)})
	l.entry(nil, []journal.Ref{{Index: 3, Base: 100, Source: 1, SourceOffset: 10, Count: 2, MaxTimeMS: -1}},
		&journal.DeadLettered{Pos: none, Queue: 1, Index: 1, Offset: 10, Count: 2, Targets: []journal.Target{{Index: 3, Base: 100}}, Note: ipc.Note{Exchange: "dlx", Key: "eu"}})
	l.entry(nil, nil, &journal.Leased{Pos: 6, Queue: 3, Lease: 1, UntilMS: 1_800_000_060_000, Runs: []journal.Run{{Index: 3, Range: ipc.Range{First: 100, Count: 1}}}})
	l.entry(nil, nil, &journal.Purged{Pos: 7, Queue: 3, Messages: 1, Indexes: []journal.PurgedIndex{{Index: 3, Next: 102, Kept: run(100, 1)}}},
		&journal.QueueDeleted{Pos: 8, Queue: 2})
	return l
}

func TestStory(t *testing.T) {
	l := deadLetterLog(t)
	const begin = `
3 : published to exchange "x" with key "eu" k=v, priority 5
3 : 1 queues did not take it: they were full
`
	second := begin + `3 orders@11: stored
3 audit/5@1: stored
4 orders@11: back in the queue: its consumer held it for too long
5 orders@11: dead: rejected by worker (connection 256, subscription 1)
5 audit/5@1: acknowledged by connection 512, subscription 7
6 orders@11: dead-lettered to exchange "dlx" with key "eu"
6 dead@101: stored
8 dead@101: purged
8 audit/5@1: the queue was deleted
`
	wantStory(t, l, Place{1, 11}, second)
	wantStory(t, l, Place{4, 1}, second)
	wantStory(t, l, Place{3, 101}, second) // by a reference
	wantStory(t, l, Place{1, 12}, begin+`3 orders@12: stored
3 audit/5@2: stored
4 orders@12: acknowledged by worker (connection 256, subscription 1)
5 audit/5@2: acknowledged by connection 512, subscription 7
8 audit/5@2: the queue was deleted
`)
	o, _, err := FindHeader(l.fs(), "id", "a")
	if got := storyOf(t, l, o, err); !strings.Contains(got, "7 dead@100: pulled, invisible until 2027-01-15 08:01:00.000\n") || strings.Contains(got, "purged") {
		t.Errorf("by its header:\n%s", got)
	}
}

// What is held back is told with its time or its transaction, and what became of it.
func TestStoryOfWhatIsHeldBack(t *testing.T) {
	l := newLog(t)
	l.entry(nil, nil, durable(1, "q"), &journal.LimboAdded{Pos: none, Index: 9, Class: 1})
	l.entry([]stored{{[]string{"late"}, []journal.Target{{Index: 9, Base: 0}}}}, nil,
		&journal.Delayed{Pos: 1, Sent: sentOf(1), Later: journal.Later{Limbo: 9, DueMS: 1_800_000_003_000}, Dests: []uint64{1}, Note: ipc.Note{Key: "q"}})
	l.entry([]stored{{[]string{"half"}, []journal.Target{{Index: 9, Base: 1}}}}, nil,
		&journal.TxnHeld{Pos: 2, Txn: 5, Sent: sentOf(1), Later: journal.Later{Limbo: 9, Offset: 1}, Note: ipc.Note{Key: "q"}})
	l.entry(nil, []journal.Ref{{Index: 1, Base: 0, Source: 9, SourceOffset: 0, Count: 1, MaxTimeMS: -1}},
		&journal.Released{Pos: none, Limbo: 9, Offset: 0, Count: 1, TTLMS: ipc.NoTTL, Targets: []journal.Target{{Index: 1, Base: 0}}})
	l.entry(nil, nil, &journal.TxnEnded{Pos: 3, Txn: 5})
	wantStory(t, l, Place{1, 0}, `
2 : published to the default exchange with key "q", held back until 2027-01-15 08:00:03.000
4 q@0: stored
`)
	wantStory(t, l, Place{9, 1}, `
3 : published to the default exchange with key "q", in transaction 5
5 #9@1: the transaction was rolled back
`)
}

// Of a topic: who read past it, and each queue over it for itself.
func TestStoryOfATopic(t *testing.T) {
	l := newLog(t)
	l.entry(nil, nil, &journal.TopicCreated{Pos: none, ID: 1, Name: "logs", Level: ipc.LevelDisk, Indexes: []uint64{2, 3}},
		&journal.QueueCreated{Pos: none, Queue: 4, Name: "view", Level: ipc.LevelDisk, Settings: admin.QueueSettings{Durable: true, Topic: "logs"}, Starts: []admin.SeekTo{{Index: 2}, {Index: 3}}})
	l.entry([]stored{{[]string{"x", "y"}, []journal.Target{{Index: 3, Base: 0}}}}, nil,
		&journal.Appended{Pos: 1, Index: 3, Base: 0, Count: 2, ProducerID: 8, Epoch: 1, BaseSeq: 20})
	l.entry(nil, nil, &journal.OffsetsCommitted{Pos: 2, Group: "g", Offsets: []ipc.OffsetCommit{{Index: 3, Offset: 1}}},
		&journal.Acked{Pos: 3, Queue: 4, Index: 3, Reason: ipc.ReasonSkipped, Conn: 256, Sub: 1, Ranges: run(0, 2)})
	l.entry(nil, nil, &journal.OffsetsCommitted{Pos: 4, Group: "g", Offsets: []ipc.OffsetCommit{{Index: 3, Offset: 2}}},
		&journal.Sought{Pos: 5, Queue: 4, To: []admin.SeekTo{{Index: 3, Offset: 1}}}, &journal.TopicDeleted{Pos: 6, ID: 1})
	wantStory(t, l, Place{3, 1}, `
2 : produced by producer 8, epoch 1, in the batch with sequence 20
2 logs/1@1: stored
3 logs/1@1: queue view: passed over: the filter does not match by connection 256, subscription 1
4 logs/1@1: group g has read past it (offset 2 committed)
4 logs/1@1: queue view was set back to offset 1: it is ready again unless somebody holds it
4 logs/1@1: the topic was deleted
`)
}

func TestNotFound(t *testing.T) {
	l := deadLetterLog(t)
	for _, p := range []Place{{1, 9}, {1, 13}, {7, 0}} {
		if _, err := Find(l.fs(), p); err == nil {
			t.Errorf("%+v was found", p)
		}
	}
	if _, _, err := FindHeader(l.fs(), "id", "z"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := Follow(l.fs(), Origin{LSN: 99}, NewNames(), nil); err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := Follow(l.fs(), Origin{LSN: 3, Body: 0, Record: 3}, NewNames(), func(Step) {}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
