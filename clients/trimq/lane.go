package trimq

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// lane is a place where a batch fills: what is in front of the batch on the wire is the same
// for all its messages, but for their weight and what is left of their delay.
type lane struct {
	s      *stream
	name   string // in stream.lanes
	key    string // the routing key
	shape  shape
	delay  time.Duration // of the message that the lane was made for, as at is; see fits
	at     time.Time
	prefix []byte
	open   *pending
	hint   atomic.Int64 // size of the last batch in bytes
}

// shape is what messages that share a batch have in common beside their destination, routing key
// and headers.
type shape struct {
	mandatory bool
	priority  uint8
	ttl       TTL
	delayMS   uint64
	dueMS     int64 // Unix time until which they are delayed; 0: see delayMS
	txn       *Txn
}

// shape is the message's own, as part of a transaction or of none.
func (m *Message) shape(x *Txn) shape {
	sh := shape{mandatory: m.Mandatory, priority: m.Priority, ttl: m.TTL, delayMS: ceilMS(m.Delay), txn: x}
	if !m.DeliverAt.IsZero() {
		sh.dueMS = m.DeliverAt.UnixMilli()
	}
	return sh
}

// ceilMS is a time in ms, which begins where it is positive.
func ceilMS(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// laneOf finds the lane of a message; nil: its transaction takes nothing more. REQUIRES: s.mu held.
func (s *stream) laneOf(m *Message, x *Txn) *lane {
	if x != nil && x.closing.Load() {
		return nil
	}
	if !s.exchange {
		if x == nil {
			return &s.lane
		}
		return s.find(m, shape{txn: x})
	}
	if ln := s.cur; ln != nil && !s.byHeaders && ln.fits(m, x) {
		return ln
	}
	ln := s.find(m, m.shape(x))
	if ln == nil {
		return nil
	}
	if s.cur != ln && s.cur != nil && !s.p.opt.byKey {
		s.close(s.cur) // an exchange gets messages in order
	}
	s.cur = ln
	return ln
}

// fits tells whether a message has the lane's shape, at first sight: where it is false, find may
// still find this lane.
func (ln *lane) fits(m *Message, x *Txn) bool {
	sh := &ln.shape
	return ln.key == m.RoutingKey && sh.txn == x && sh.priority == m.Priority && sh.mandatory == m.Mandatory && sh.ttl == m.TTL &&
		ln.delay == m.Delay && ln.at == m.DeliverAt
}

// find looks a lane up, or makes it.
func (s *stream) find(m *Message, sh shape) *lane {
	s.key = s.laneKey(s.key[:0], m, &sh)
	if ln := s.lanes[string(s.key)]; ln != nil {
		return ln
	}
	return s.newLane(m, sh)
}

// laneKey tells the lanes of a stream apart.
func (s *stream) laneKey(b []byte, m *Message, sh *shape) []byte {
	strict := byte(0)
	if sh.mandatory {
		strict = 1
	}
	b = append(b, strict, sh.priority)
	b = binary.LittleEndian.AppendUint64(b, uint64(sh.ttl))
	b = binary.LittleEndian.AppendUint64(b, sh.delayMS)
	b = binary.LittleEndian.AppendUint64(b, uint64(sh.dueMS))
	b = binary.LittleEndian.AppendUint64(b, sh.txn.mark())
	if !s.exchange {
		return b
	}
	b = append(binary.AppendUvarint(b, uint64(len(m.RoutingKey))), m.RoutingKey...)
	if s.byHeaders {
		for i := range m.Headers {
			h := &m.Headers[i]
			b = append(binary.AppendUvarint(b, uint64(len(h.Key))), h.Key...)
			b = append(binary.AppendUvarint(b, uint64(len(h.Value))), h.Value...)
		}
	}
	return b
}

func (s *stream) newLane(m *Message, sh shape) *lane {
	if s.lanes == nil {
		s.lanes = map[string]*lane{}
	}
	if len(s.lanes) >= maxLanes {
		for k, ln := range s.lanes {
			if ln.open == nil {
				delete(s.lanes, k)
			}
		}
	}
	ln := &lane{s: s, name: string(s.key), shape: sh, delay: m.Delay, at: m.DeliverAt, prefix: s.prefix(m, sh)}
	if s.exchange {
		ln.key = m.RoutingKey
	}
	if !sh.txn.fillsIn(ln) {
		return nil
	}
	s.lanes[ln.name] = ln
	return ln
}

// dropLane forgets the lane of a transaction that has ended.
func (s *stream) dropLane(ln *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == ln {
		s.cur = nil
	}
	if s.lanes[ln.name] == ln {
		delete(s.lanes, ln.name)
	}
	if b := ln.open; b != nil { // without a record, or it would have been closed
		ln.open = nil
		s.p.win.release(b.weight)
		s.p.recycle(b)
	}
}

// prefix is what stands in front of the batches of a lane.
func (s *stream) prefix(m *Message, sh shape) []byte {
	if !s.exchange {
		body := native.Produce{Index: s.index, Level: s.p.opt.level, Txn: sh.txn.number()}
		return body.Append(nil)
	}
	body := native.Publish{
		Level: s.p.opt.level, Mandatory: sh.mandatory, Priority: sh.priority, Txn: sh.txn.number(), TTLMS: sh.ttl.ms(),
		Exchange: s.name, RoutingKey: m.RoutingKey,
	}
	if s.byHeaders {
		for _, h := range m.Headers {
			body.Headers = append(body.Headers, ipc.Header{Key: h.Key, Value: string(h.Value)})
		}
	}
	return body.Append(nil)
}

// guess is how large a lane's next batch is likely to become.
func (ln *lane) guess() int { return max(int(ln.hint.Load())*5/4, firstRoom) }

// delay is what is left of the delay of a batch that is to be sent. Whoever is told it counts
// from then on, so that nothing is early; what was sent before counts from that time.
func (b *pending) delay() (ms uint64) {
	sh := &b.ln.shape
	if sh.delayMS == 0 && sh.dueMS == 0 {
		return 0
	}
	now := time.Now().UnixMilli()
	if b.dueMS == 0 {
		if b.dueMS = sh.dueMS; sh.dueMS == 0 {
			b.dueMS = now + int64(min(sh.delayMS, math.MaxInt64/2))
		}
	}
	return uint64(max(b.dueMS-now, 0))
}
