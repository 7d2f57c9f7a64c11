package replay

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"pgregory.net/rapid"
)

// files is a data directory in memory.
type files map[string][]byte

func (f files) Open(name string) (commitlog.File, error) {
	b, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return file{bytes.NewReader(b)}, nil
}

func (f files) List(dir string) (names []string, err error) {
	for name := range f {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

type file struct{ *bytes.Reader }

func (f file) Size() (int64, error) { return f.Reader.Size(), nil }
func (f file) Close() error         { return nil }

// dump writes the directory to the disk.
func (f files) dump(t *testing.T) (dir string) {
	dir = t.TempDir()
	for name, b := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// history is a live core whose entries are written to a log, with its state after each of them.
type history struct {
	t       failer
	files   files
	core    *core.Core
	ring    []byte // everything that came in; positions are offsets
	now     int64
	segment commitlog.SegmentHeader
	live    map[uint64][]byte // blobs by LSN
	newest  uint64            // checkpoint
	req     uint64
}

// failer is what fails: a test, or a property's.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newHistory(t failer) *history {
	h := &history{t: t, files: files{}, core: core.New(core.Config{}), now: 1_700_000_000_000, live: map[uint64][]byte{}}
	h.core.Begin(1, 1, 0, 0)
	h.core.EndTurn(h.now, 1, 0) // the marker
	h.live[0] = h.core.Checkpoint(nil)
	h.roll()
	return h
}

// roll begins a segment.
func (h *history) roll() {
	h.segment = commitlog.SegmentHeader{BaseLSN: h.core.LSN() + 1, Capacity: 1 << 30, Salt: 0xfeedface + h.core.LSN()}
	for name, b := range h.files {
		if strings.HasPrefix(name, commitlog.LogDir) {
			h.segment.Position += uint64(len(b) - commitlog.SegmentHeaderSize)
		}
	}
	h.files[commitlog.SegmentName(h.segment.Position)] = h.segment.Append(nil)
}

// step lets the core take one input in.
func (h *history) step(typ ipc.Type, record []byte) {
	pos := uint64(len(h.ring))
	h.ring = append(append(h.ring, make([]byte, 16)...), record...)
	h.core.Step(h.now, core.Input{Pos: pos, PayloadPos: pos + 16, Type: typ, Payload: record})
}

// end ends the turn and writes its entry.
func (h *history) end() {
	e, _ := h.core.EndTurn(h.now, 1, uint64(len(h.ring)))
	if e == nil {
		return
	}
	name := commitlog.SegmentName(h.segment.Position)
	b := h.files[name]
	b = e.AppendDisk(b, 0, h.segment.EntrySalt(h.segment.Position+uint64(len(b)-commitlog.SegmentHeaderSize)))
	for _, body := range e.Bodies {
		b = append(b, h.ring[body.RingPos:body.RingPos+uint64(body.Length)]...)
	}
	h.files[name] = append(b, make([]byte, -len(b)&7)...)
	h.live[e.LSN] = h.core.Checkpoint(nil)
	h.core.Advance(e.LSN, e.LSN)
}

// store makes a blob the newest checkpoint.
func (h *history) store(lsn uint64, blob []byte) {
	h.files[commitlog.CheckpointDir+"/"+journal.CheckpointName(lsn)] = journal.AppendCheckpoint(nil, lsn, lsn+1, blob)
	h.newest = lsn
}

// head is that of the next request.
func (h *history) head() ipc.Head {
	h.req++
	return ipc.Head{Epoch: 1, Conn: 256, Req: h.req}
}

func (h *history) admin(cmd admin.Command, body interface{ Append([]byte) []byte }) {
	h.step(ipc.TypeAdmin, (&ipc.Admin{Head: h.head(), Command: uint16(cmd), Body: body.Append(nil)}).Append(nil))
}

func (h *history) append(index uint64, bytes int, producer int64, seq int32) {
	m := ipc.Append{Head: h.head(), Index: index, Level: ipc.LevelPage, Batch: ipc.BatchMeta{Count: 2, Length: uint32(bytes), ProducerID: producer, BaseSeq: seq}}
	h.step(ipc.TypeAppend, append(m.Append(nil), make([]byte, bytes)...))
}

// random lets one input come in whose kind and numbers are drawn.
func (h *history) random(t *rapid.T) {
	small := func(what string, limit uint64) uint64 { return rapid.Uint64Range(0, limit).Draw(t, what) }
	name := func(of string) string { return fmt.Sprintf("%s%d", of, small(of, 3)) }
	switch rapid.SampledFrom([]string{"append", "publish", "ack", "commit", "producer", "topic", "queue", "exchange", "binding", "delete"}).Draw(t, "input") {
	case "append":
		h.append(small("index", 12), 61+int(small("bytes", 3)*9000), int64(small("pid", 4))-1, int32(small("seq", 3)*2))
	case "publish":
		m := ipc.Publish{Head: h.head(), Exchange: name("x"), RoutingKey: name("k"), TTLMS: int64(small("ttl", 3)) - 1, Batch: ipc.BatchMeta{Count: 3, Length: 61, ProducerID: -1}}
		if small("delay", 3) == 0 {
			m.DueMS = h.now + 1 + int64(small("due", 5000))
		}
		if small("default", 1) == 0 {
			m.Exchange, m.RoutingKey = "", name("q")
		}
		h.step(ipc.TypePublish, append(m.Append(nil), make([]byte, 61)...))
	case "ack":
		ranges := []ipc.Range{{First: small("first", 20), Count: uint32(1 + small("count", 3))}}
		h.step(ipc.TypeAck, (&ipc.Ack{Head: h.head(), Sub: 1, Queue: small("index", 12), Index: small("index", 12), Verdict: ipc.VerdictAck, Ranges: ranges}).Append(nil))
	case "commit":
		offsets := []ipc.OffsetCommit{{Index: small("index", 12), Offset: small("offset", 50), Metadata: name("m")}}
		h.step(ipc.TypeCommit, (&ipc.CommitOffsets{Head: h.head(), Group: name("g"), Offsets: offsets}).Append(nil))
	case "producer":
		h.step(ipc.TypeInitProducer, (&ipc.InitProducer{Head: h.head(), ProducerID: int64(small("pid", 4)) - 1, Epoch: -1}).Append(nil))
	case "topic":
		h.admin(admin.CmdCreateTopic, &admin.CreateTopic{Name: name("t"), Partitions: uint32(1 + small("partitions", 2)), Level: ipc.LevelPage})
	case "queue":
		m := admin.CreateQueue{Name: name("q"), Level: ipc.LevelPage, QueueSettings: admin.QueueSettings{Durable: true, MaxPriority: uint8(small("priorities", 2))}}
		if small("limited", 1) == 0 {
			m.MaxMessages, m.MessageTTLMS = admin.Some(small("max", 9)), admin.Some(small("queue ttl", 5000))
		}
		h.admin(admin.CmdCreateQueue, &m)
	case "exchange":
		h.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: name("x"), Type: admin.ExchangeType(1 + small("type", 3))})
	case "binding":
		h.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: name("x"), Queue: name("q"), RoutingKey: name("k")})
	case "delete":
		h.admin(rapid.SampledFrom([]admin.Command{admin.CmdDeleteTopic, admin.CmdDeleteQueue, admin.CmdDeleteExchange}).Draw(t, "what"),
			&admin.Delete{Name: name(rapid.SampledFrom([]string{"t", "q", "x"}).Draw(t, "kind"))})
	}
}

// sample is a history without chance: some things of each kind, in ten entries and two segments.
func sample(t failer) *history {
	h := newHistory(t)
	h.admin(admin.CmdCreateTopic, &admin.CreateTopic{Name: "t", Partitions: 2, Level: ipc.LevelPage})
	h.end()
	h.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: "q", Level: ipc.LevelPage, QueueSettings: admin.QueueSettings{Durable: true}})
	h.end()
	h.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "x", Queue: "q", RoutingKey: "k"})
	h.end()
	for i := range 7 {
		if i == 3 {
			h.roll()
		}
		h.append(2, 61+i*5000, -1, 0)
		h.end()
	}
	if h.core.LSN() != 10 {
		t.Fatalf("%d entries", h.core.LSN())
	}
	return h
}
