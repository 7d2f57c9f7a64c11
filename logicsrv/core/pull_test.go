package core

import (
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// pulled decodes the answers to pulls among outputs.
func pulled(t *testing.T, out []Output) (list []ipc.Pulled) {
	t.Helper()
	for _, o := range out {
		if o.Type == ipc.TypePulled {
			m, err := ipc.DecodePulled(o.Record)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
	}
	return list
}

// TestPullsKeepEntriesSmall: however scattered the messages are that many pulls have waited for, a
// turn leases no more runs than its entry has room for, and goes on with the next.
func TestPullsKeepEntriesSmall(t *testing.T) {
	const n, pulls = 20_000, 30
	w, index := holding(t, n)
	for req := range uint64(pulls) {
		m := ipc.Pull{Head: ipc.Head{Epoch: 1, Conn: 512, Req: 100 + req}, Queue: index, Max: 300, Wait: true, InvisibleMS: 60_000}
		if got := pulled(t, w.turn(ipc.TypePull, m.Append(nil))); len(got) != 0 {
			t.Fatalf("there is nothing ready, and %+v was pulled", got)
		}
	}
	w.cfg.MaxEntryBytes = 64 << 10 // small, so that the limits bite
	w.c.cfg.MaxEntryBytes = 64 << 10
	since := w.c.LSN()
	out := w.turn(ipc.TypeConnClosed, (&ipc.ConnClosed{Head: ipc.Head{Epoch: 1, Conn: 256}}).Append(nil))
	answers := pulled(t, append(out, w.settle()...))
	seen := map[uint64]bool{}
	for _, a := range answers {
		if a.Lease == 0 || len(a.Runs) == 0 || len(a.Runs) > w.c.cfg.turnPulled() {
			t.Errorf("request %d: %d runs under lease %d", a.Req, len(a.Runs), a.Lease)
		}
		for _, r := range a.Runs {
			for o := r.First; o < r.First+uint64(r.Count); o++ {
				if seen[o] {
					t.Fatalf("offset %d is leased twice", o)
				}
				seen[o] = true
			}
		}
	}
	if len(answers) != pulls {
		t.Errorf("%d pulls were answered, of %d", len(answers), pulls)
	}
	for _, e := range w.log {
		if size := len(e.Events); e.LSN > since && size > w.c.cfg.MaxEntryBytes/2 {
			t.Errorf("entry %d has %d bytes of events", e.LSN, size)
		}
	}
}

// TestFilterIsTold: whoever gets messages of a queue is told what the queue wants of them, with
// every answer, also with one that is repeated from the log.
func TestFilterIsTold(t *testing.T) {
	w := newWorld(t, Config{})
	w.attach(1)
	part := w.topic("t", 1, ipc.LevelPage)
	want := ipc.Filter{Kind: uint8(admin.FilterSelector), Text: "price > 100"}
	q := w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: "q", QueueSettings: admin.QueueSettings{
		Durable: true, Topic: "t", FilterKind: admin.FilterSelector, Filter: want.Text,
	}}).Index
	w.turn(ipc.TypeAppend, appendRecord(&ipc.Append{Index: part, Batch: batch(5)}))
	told := map[ipc.Type]int{}
	look := func(out []Output) {
		t.Helper()
		for _, o := range out {
			var got ipc.Filter
			switch o.Type {
			case ipc.TypeSubscribed:
				m, _ := ipc.DecodeSubscribed(o.Record)
				got = m.Filter
			case ipc.TypePulled:
				m, _ := ipc.DecodePulled(o.Record)
				got = m.Filter
			default:
				continue
			}
			if got != want {
				t.Errorf("record %d tells of the filter %+v", o.Type, got)
			}
			told[o.Type]++
		}
	}
	head := ipc.Head{Epoch: 1, Conn: 256, Req: 7}
	look(w.turn(ipc.TypeSubscribe, (&ipc.Subscribe{Head: head, Sub: 1, Queue: q}).Append(nil)))
	at := w.pos
	head.Req++
	look(w.turn(ipc.TypePull, (&ipc.Pull{Head: head, Queue: q, Max: 2, InvisibleMS: 1000}).Append(nil)))
	w.kill(at, 0)
	_, out := w.end()
	look(out)
	if told[ipc.TypeSubscribed] != 1 || told[ipc.TypePulled] != 2 {
		t.Errorf("told %v", told)
	}
}
