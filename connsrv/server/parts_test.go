package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Indexes that hold parts of batches: what a reader gets is in the index, and nothing else of
// those batches.

// namedBatch is a batch of n records that tell whose they are.
func namedBatch(name string, n, size int, codec batch.Codec) []byte {
	var b batch.Builder
	for i := range n {
		b.Add(1000, []byte(name), fmt.Appendf(bytes.Repeat([]byte{'.'}, size), "%s %d", name, i), nil)
	}
	return append([]byte(nil), b.Seal(codec, batch.NoProducer, 0, 0)...)
}

// parts fills index 1 of a broker with parts of batches in index 3.
type parts struct {
	b       *broker
	c       *client
	stored  []commitlog.Entry
	names   []string
	records []string // of index 1, by offset
}

func newParts(t *testing.T) *parts {
	b := start(t, nil)
	return &parts{b: b, c: b.connect()}
}

func (p *parts) store(name string, n, size int, codec batch.Codec) {
	p.c.produce(3, namedBatch(name, n, size, codec))
	p.b.stub.set(func() { p.stored = append(p.stored, p.b.stub.indexes[3].last) })
	p.names = append(p.names, name)
}

// refer makes records of a stored batch the next ones of index 1.
func (p *parts) refer(i int, skip, count uint32) {
	e := p.stored[i]
	e.Flags = commitlog.FlagRebase
	if skip > 0 || count < e.Count {
		e.Flags |= commitlog.FlagPartial
	}
	e.Skip, e.Count = skip, count
	p.b.stub.set(func() { p.b.stub.add(1, e) })
	for k := range count {
		p.records = append(p.records, fmt.Sprintf("%s %d", p.names[i], skip+k))
	}
}

// fill makes index 1 of all sorts of parts.
func (p *parts) fill() {
	p.store("plain", 200, 50, batch.None)
	p.store("packed", 200, 50, batch.Zstd)
	p.store("large", 40, 9000, batch.None)
	p.store("small", 3, 5, batch.None)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		i := rng.IntN(len(p.stored))
		n := p.stored[i].Count
		skip := uint32(rng.IntN(int(n)))
		if rng.IntN(4) == 0 {
			skip = 0
		}
		count := 1 + uint32(rng.IntN(int(min(n-skip, 20))))
		if skip == 0 && rng.IntN(2) == 0 {
			count = n
		}
		p.refer(i, skip, count)
	}
	for k := range uint32(100) { // one by one, as messages die
		p.refer(int(k%2), 50+k, 1)
	}
}

// check compares batches with what the index holds from base on, and returns where they end.
func (p *parts) check(batches []byte, base uint64) uint64 {
	p.c.t.Helper()
	for len(batches) > 0 {
		first, rest, err := batch.Split(batches)
		must(p.c.t, err)
		if got := batch.Header(first).BaseOffset(); got != base {
			p.c.t.Fatalf("a batch begins at %d, want %d", got, base)
		}
		p.checkBatch(first, base)
		base += uint64(batch.Header(first).Count())
		batches = rest
	}
	return base
}

// checkBatch compares the records of one batch, of which all must be in the index.
func (p *parts) checkBatch(b []byte, base uint64) {
	p.c.t.Helper()
	_, err := batch.Validate(b)
	must(p.c.t, err)
	var r batch.Reader
	must(p.c.t, r.Reset(b))
	r.Rebase(base)
	var rec batch.Record
	for r.Next(&rec) {
		want := p.records[rec.Offset]
		if string(bytes.TrimLeft(rec.Value, ".")) != want {
			p.c.t.Fatalf("offset %d holds %q, want %q", rec.Offset, bytes.TrimLeft(rec.Value, "."), want)
		}
	}
	must(p.c.t, r.Err())
}

func TestFetchOfParts(t *testing.T) {
	p := newParts(t)
	p.fill()
	end := uint64(len(p.records))
	for _, most := range []uint32{1, 500, 5000, 60_000, 400_000} {
		frames := 0
		for at := uint64(0); at < end; frames++ {
			r, got := p.c.fetch(native.Fetch{Index: 1, Offset: at, MaxBytes: most})
			if r.Visible != end || len(got) == 0 {
				t.Fatalf("at %d of %d: %d bytes, %+v", at, end, len(got), r)
			}
			first, rest, err := batch.Split(got)
			must(t, err)
			if len(got) > int(most) && len(rest) > 0 {
				t.Fatalf("%d bytes in several batches, at most %d were wanted", len(got), most)
			}
			// A whole batch may begin before what was asked for; its records are in the index.
			base := batch.Header(first).BaseOffset()
			if base > at {
				t.Fatalf("begins at %d, wanted %d", base, at)
			}
			at = p.check(got, base)
		}
		if most == 400_000 && frames > 30 {
			t.Errorf("%d fetches of %d bytes for %d records", frames, most, end)
		}
	}
	// From any offset: of a part nothing comes that lies before it.
	for at := range end {
		_, got := p.c.fetch(native.Fetch{Index: 1, Offset: at, MaxBytes: 2000})
		p.check(got, batch.Header(got).BaseOffset())
	}
}

func TestPushOfParts(t *testing.T) {
	p := newParts(t)
	p.fill()
	p.c.call(native.CmdSubscribe, &native.Subscribe{Sub: 7, Index: 1, Limit: 1 << 30, Kind: native.SubTopic})
	for at := uint64(0); at < uint64(len(p.records)); {
		m, got := p.c.readDeliver()
		if m.First != at || m.Base > at {
			t.Fatalf("%+v, want %d", m, at)
		}
		if at = p.check(got, m.Base); at != m.First+uint64(m.Count) {
			t.Fatalf("%+v ends at %d", m, at)
		}
	}
}

// TestQueueOfParts: of a message that was dead-lettered the consumer does not get the neighbours,
// whether they are compressed or not.
func TestQueueOfParts(t *testing.T) {
	p := newParts(t)
	p.fill()
	d := p.b.connect()
	d.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 30, Kind: native.SubQueue, AutoAck: true})
	for at := uint64(0); at < uint64(len(p.records)); {
		m, got := d.readDeliver()
		if m.First != at {
			t.Fatalf("%+v, want %d", m, at)
		}
		p.checkBatch(got, m.Base)
		at += uint64(m.Count)
		d.write(native.AppendFrame(nil, native.CmdCredit, native.FlagNoReply, 0, &native.Credit{Sub: 1, Limit: at + 30}))
	}
}

// TestPartsThatCannotBeCut: of another codec than it says, and a record that is too large when
// it is not compressed. A partition's reader is told; whoever knows better can go on behind it.
func TestPartsThatCannotBeCut(t *testing.T) {
	p := newParts(t)
	gzip := namedBatch("gzip", 5, 10, batch.None)
	gzip[batch.OffAttributes+1] |= byte(batch.Gzip)
	crc := batch.Checksum(gzip)
	gzip[batch.OffCRC], gzip[batch.OffCRC+1], gzip[batch.OffCRC+2], gzip[batch.OffCRC+3] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	p.c.produce(3, gzip)
	p.b.stub.set(func() { p.stored = append(p.stored, p.b.stub.indexes[3].last) })
	p.names = append(p.names, "gzip")
	p.store("huge", 2, 5<<20, batch.Zstd)
	p.store("plain", 5, 10, batch.None)
	p.refer(0, 3, 2) // offsets 0 and 1
	p.refer(1, 1, 1) // 2
	p.refer(2, 1, 3) // 3 to 5
	p.refer(0, 0, 1) // 6
	p.c.refused(errcode.Damaged, native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 1000})
	p.c.refused(errcode.BatchTooLarge, native.CmdFetch, &native.Fetch{Index: 1, Offset: 2, MaxBytes: 1000})
	if _, got := p.c.fetch(native.Fetch{Index: 1, Offset: 3, MaxBytes: 1000}); p.check(got, 3) != 6 {
		t.Error("what lies between is not all there")
	}
	// A consumer of a queue gets the whole batch, and which of it is its own.
	d := p.b.connect()
	d.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 2, Kind: native.SubQueue})
	m, got := d.readDeliver()
	if before := uint64(3); m.First != 0 || m.Count != 2 || m.Base != -before || !bytes.Equal(got[16:], gzip[16:]) {
		t.Errorf("%+v, %d bytes", m, len(got))
	}
	d.call(native.CmdAck, &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 2}}})
}
