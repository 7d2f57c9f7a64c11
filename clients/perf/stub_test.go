package main

import (
	"bytes"
	"errors"
	"net"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// stub is a broker in memory with one topic of one partition. Its faults are what mq_perf
// must notice.
type stub struct {
	addr string

	mu      sync.Mutex
	topic   string // "": not made yet
	batches [][]byte
	bases   []uint64
	next    uint64

	drop    int // batches from this one on are acknowledged and not stored; 0: none
	double  int // this batch is stored twice; 0: none
	corrupt int // a byte of this batch's last record is changed, with a right CRC; 0: none
}

func newStub(t *testing.T) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *stub) serve(c net.Conn) {
	defer c.Close()
	d := native.NewDecoder(c, 64<<10, native.DefaultMaxFrame)
	for {
		f, err := d.Next()
		if err != nil {
			return
		}
		reply, err := s.answer(f)
		out := append(native.AppendHeader(nil, f.Command, native.FlagResponse, f.Correlation, len(reply)), reply...)
		if err != nil {
			out = native.AppendError(nil, f.Command, f.Correlation, err)
		}
		if f.Flags&native.FlagNoReply == 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

func (s *stub) answer(f native.Frame) ([]byte, error) {
	switch f.Command {
	case native.CmdHello:
		return (&native.HelloReply{Version: native.Version, WindowRequests: 64, WindowBytes: 16 << 20, MaxFrame: native.DefaultMaxFrame}).Append(nil), nil
	case native.CmdPing:
		return f.Body, nil
	case native.CmdInitProducer:
		return (&native.InitProducer{ProducerID: 1}).Append(nil), nil
	case native.CmdCreateTopic:
		m, err := admin.DecodeCreateTopic(f.Body)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.topic = m.Name
		s.mu.Unlock()
		return (&admin.Created{}).Append(nil), nil
	case native.CmdDescribe:
		return s.describe(f.Body)
	case native.CmdListOffsets:
		m, err := native.DecodeListOffsets(f.Body)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		r := native.ListOffsetsReply{Index: m.Index, TimeMS: -1, Visible: s.next}
		if m.TimeMS == native.TimeLatest {
			r.Offset = s.next
		}
		return r.Append(nil), nil
	case native.CmdCommitOffsets:
		return nil, nil
	case native.CmdFetchOffsets:
		return (&native.OffsetsReply{}).Append(nil), nil
	case native.CmdProduce:
		return s.produce(f.Body[native.ProduceSize:])
	case native.CmdFetch:
		m, err := native.DecodeFetch(f.Body)
		if err != nil {
			return nil, err
		}
		return s.fetch(m), nil
	}
	return nil, errcode.New(errcode.UnsupportedCommand, "%s", f.Command)
}

func (s *stub) describe(body []byte) ([]byte, error) {
	m, err := admin.DecodeDescribe(body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := admin.Description{Kind: m.Kind}
	for _, name := range m.Names {
		if name != s.topic {
			d.Missing = append(d.Missing, name)
			continue
		}
		d.Topics = append(d.Topics, admin.TopicInfo{
			Name: name, UUID: [16]byte{1}, Partitions: []admin.PartitionInfo{{Index: 5, Next: s.next, Visible: s.next}},
		})
	}
	return d.Append(nil), nil
}

func (s *stub) produce(b []byte) ([]byte, error) {
	m, err := batch.Validate(b)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := native.ProduceReply{Base: s.next}
	n := len(s.batches) + 1
	if s.drop > 0 && n >= s.drop {
		return r.Append(nil), nil
	}
	b = bytes.Clone(b)
	if n == s.corrupt {
		b[len(b)-5] ^= 1
		batch.PatchProducer(b, m.ProducerID, m.Epoch, m.BaseSeq) // makes the CRC fit again
	}
	s.store(b, m.Count)
	if n == s.double {
		s.store(bytes.Clone(b), m.Count)
	}
	return r.Append(nil), nil
}

func (s *stub) store(b []byte, count uint32) {
	batch.PatchBase(b, s.next, 0)
	s.batches = append(s.batches, b)
	s.bases = append(s.bases, s.next)
	s.next += uint64(count)
}

// fetch waits for what is asked, in small steps.
func (s *stub) fetch(m native.Fetch) []byte {
	until := time.Now().Add(time.Duration(m.MaxWaitMS) * time.Millisecond)
	for {
		s.mu.Lock()
		var out []byte
		for i := max(sort.Search(len(s.bases), func(i int) bool { return s.bases[i] > m.Offset })-1, 0); i < len(s.batches) && m.Offset < s.next; i++ {
			if len(out) > 0 && len(out)+len(s.batches[i]) > int(m.MaxBytes) {
				break
			}
			out = append(out, s.batches[i]...)
		}
		r := native.FetchReply{Index: m.Index, Visible: s.next, NBytes: uint32(len(out))}
		s.mu.Unlock()
		if len(out) > 0 || !time.Now().Before(until) {
			return append(r.Append(nil), out...)
		}
		time.Sleep(time.Millisecond)
	}
}

// perf runs the program against the stub and gives its report.
func (s *stub) perf(t *testing.T, args ...string) (*Report, error) {
	t.Helper()
	var got *Report
	app := newApp()
	app.Writer = &bytes.Buffer{}
	err := app.Run(append([]string{"mq_perf", args[0], "--addr", s.addr, "--run-dir", t.TempDir(), "--json", "--drain", "20s"}, args[1:]...))
	if b := app.Writer.(*bytes.Buffer).Bytes(); len(b) > 0 {
		got = &Report{}
		if err := jsonInto(b, got); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil && !errors.Is(err, errUnsound) {
		t.Fatalf("%v: %v", args, err)
	}
	return got, err
}

func batchCodec(s *stub) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return batch.Header(s.batches[0]).Codec().String()
}
