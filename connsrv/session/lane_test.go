package session

import (
	"testing"
	"unsafe"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// laneRig is a lane on a ring in plain memory, and the ring's other end.
type laneRig struct {
	*Lane
	in *shmqueue.Consumer
}

func newLaneRig(t *testing.T, capacity uint64) *laneRig {
	t.Helper()
	words := make([]uint64, (shmqueue.MemorySize(capacity)+7)/8)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), shmqueue.MemorySize(capacity))
	if err := shmqueue.Format(mem, capacity, 3); err != nil {
		t.Fatal(err)
	}
	ring, err := shmqueue.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := ring.Producer()
	if err != nil {
		t.Fatal(err)
	}
	in, err := ring.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	return &laneRig{NewLane(&Rings{
		Requests: producer, Capacity: capacity, MaxRecord: ring.MaxRecord(), Bell: ring.Bell(),
		Status: ring.Word(shmqueue.WordStatus), Counters: shmqueue.HeapMetrics().Tier(shmqueue.TierConn), Loops: 2,
	}, 1), in}
}

// read takes one record's type and first byte, without releasing it.
func (r *laneRig) read(t *testing.T) (ipc.Type, byte) {
	t.Helper()
	rec, ok := r.in.Next()
	if !ok {
		t.Fatal("the ring is empty")
	}
	first := byte(0)
	if len(rec.Payload) > 0 {
		first = rec.Payload[0]
	}
	return ipc.Type(rec.Type), first
}

func (r *laneRig) releaseAll() { r.in.Release(r.in.Read()) }

// waiter is a Link that only counts its calls to Resume.
type waiter struct {
	Link
	resumed int
}

func (w *waiter) Resume() { w.resumed++ }

func fill(r *laneRig, who Link) int {
	n := 0
	for r.Put(who, ipc.TypeAdmin, make([]byte, 200)) {
		n++
	}
	return n
}

func TestLaneServesInOrder(t *testing.T) {
	r := newLaneRig(t, 4096)
	a, b, c := &waiter{}, &waiter{}, &waiter{}
	n := fill(r, a)
	if n == 0 || r.Wants() == 0 {
		t.Fatalf("%d records, wants %d", n, r.Wants())
	}
	// b would fit, and must not overtake a. Asking twice gives one place in the line.
	if r.Put(b, ipc.TypeAdmin, nil) || r.Put(c, ipc.TypeAdmin, nil) || r.Put(b, ipc.TypeAdmin, nil) {
		t.Fatal("overtaken")
	}
	r.Advance()
	if a.resumed+b.resumed+c.resumed != 0 {
		t.Fatal("resumed without room")
	}
	for range n {
		r.read(t)
	}
	r.releaseAll()
	r.Forget(c)
	r.Advance()
	if a.resumed != 1 || b.resumed != 1 || c.resumed != 0 {
		t.Errorf("resumed %d %d %d", a.resumed, b.resumed, c.resumed)
	}
	if !r.Put(a, ipc.TypeAdmin, make([]byte, 200)) || r.Wants() != 0 {
		t.Error("no room after a release")
	}
}

// What nobody waits for goes before what somebody does, in its own order.
func TestLaneBacklogGoesFirst(t *testing.T) {
	r := newLaneRig(t, 4096)
	a := &waiter{}
	n := fill(r, a)
	for i := range 30 {
		r.PutLater(ipc.TypeUnwait, []byte{byte(i), 0, 0, 0, 0, 0, 0, 0})
	}
	for range n {
		r.read(t)
	}
	r.releaseAll()
	r.Advance()
	if a.resumed != 1 {
		t.Fatal("not resumed")
	}
	r.Put(a, ipc.TypeAdmin, []byte{200})
	for i := range 30 {
		if typ, first := r.read(t); typ != ipc.TypeUnwait || first != byte(i) {
			t.Fatalf("record %d is %d of type %d", i, first, typ)
		}
	}
	if typ, first := r.read(t); typ != ipc.TypeAdmin || first != 200 {
		t.Errorf("then %d of type %d", first, typ)
	}
}

// tellingRoom tells so many records in a resync, and asks as many again behind it.
type tellingRoom struct {
	Protocol
	lane  *Lane
	n     int
	told  int
	asked int
}

func (p *tellingRoom) AskAgain(first bool) bool {
	if first {
		p.asked = 0
	}
	for ; p.asked < p.n; p.asked++ {
		record := ipc.Pull{Max: uint32(p.asked)}
		if p.lane.Answering() || !p.lane.Put(nil, ipc.TypePull, record.Append(nil)) {
			return false
		}
	}
	return true
}

func (p *tellingRoom) Resync(m ipc.Marker, first bool) bool {
	if first {
		p.told = 0
	}
	for ; p.told < p.n; p.told++ {
		record := ipc.SubState{Term: m.Term, Ask: m.Ask, Sub: uint64(p.told)}
		if !p.lane.Put(nil, ipc.TypeSubState, record.Append(nil)) {
			return false
		}
	}
	return true
}

// A marker's answer larger than the ring comes in pieces, whole, and ends with ResyncEnd; what is
// asked again follows; a newer marker replaces it.
func TestResyncLargerThanTheRing(t *testing.T) {
	r := newLaneRig(t, 4096)
	rooms := []Protocol{&tellingRoom{lane: r.Lane, n: 60}, &tellingRoom{lane: r.Lane, n: 0}, &tellingRoom{lane: r.Lane, n: 40}}
	r.Marked(ipc.Marker{Term: 1, Ask: 1}, append([]Protocol(nil), rooms...))
	a := &waiter{}
	if r.Put(a, ipc.TypeAdmin, nil) {
		t.Error("a request overtook the resync")
	}
	r.Marked(ipc.Marker{Term: 2, Ask: 1}, append([]Protocol(nil), rooms...))
	var subs, pulls []uint64
	ended := false
	for range 100 {
		for {
			rec, ok := r.in.Next()
			if !ok {
				break
			}
			switch ipc.Type(rec.Type) {
			case ipc.TypeSubState:
				m, err := ipc.DecodeSubState(rec.Payload)
				if err != nil {
					t.Fatal(err)
				}
				if m.Term == 2 {
					subs = append(subs, m.Sub)
				}
			case ipc.TypeResyncEnd:
				m, err := ipc.DecodeResyncEnd(rec.Payload)
				if err != nil || m.Term != 2 || m.Loop != 1 || m.Loops != 2 {
					t.Fatalf("%+v %v", m, err)
				}
				checkTold(t, subs, 60, 40)
				ended = true
			case ipc.TypePull:
				m, err := ipc.DecodePull(rec.Payload)
				if err != nil || !ended {
					t.Fatalf("%+v in front of the end %v, %v", m, !ended, err)
				}
				pulls = append(pulls, uint64(m.Max))
			}
		}
		r.releaseAll()
		r.Advance()
	}
	checkTold(t, pulls, 60, 40)
	if a.resumed != 1 || !ended {
		t.Errorf("the request was resumed %d times, ended %v", a.resumed, ended)
	}
}

func checkTold(t *testing.T, subs []uint64, counts ...int) {
	t.Helper()
	for _, n := range counts {
		for i := range n {
			if len(subs) == 0 || subs[0] != uint64(i) {
				t.Fatalf("told %v", subs)
			}
			subs = subs[1:]
		}
	}
	if len(subs) > 0 {
		t.Fatalf("told twice: %v", subs)
	}
}

func TestRequestNumbersNameTheirLoop(t *testing.T) {
	r := newLaneRig(t, 4096)
	a, b := r.Req(), r.Req()
	if a&0xff != 1 || b&0xff != 1 || b <= a {
		t.Errorf("%#x %#x", a, b)
	}
}

func TestEnds(t *testing.T) {
	e := Ends{}
	if e.Raise(1, 0) != 0 || e.Raise(1, 5) != 5 || e.Raise(1, 3) != 5 || e[1] != 5 {
		t.Error("ends fall")
	}
}
