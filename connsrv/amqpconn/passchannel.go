package amqpconn

import (
	"bytes"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
)

// What is passed on of a channel: see pass.go. The exchange to which it may publish is found again;
// what a line waited for is asked again.

// goOver goes over a channel. Of one that was closed for an error nothing is left but its number.
func (ch *channel) goOver(s *handover.Codec, subs *subTable) {
	if s.Bool(&ch.closing); ch.closing {
		ch.gone = true
		return
	}
	handover.Uint(s, &ch.mode)
	s.Check(ch.mode <= modeTx)
	s.String(&ch.queue)
	handover.Uint(s, &ch.prefetch)
	handover.Uint(s, &ch.shared)
	s.Bool(&ch.sorting)
	ch.passIncoming(s)
	ch.confirms.pass(s)
	ch.unacked.pass(s, subs)
	ch.tx.pass(s, subs, ch.conn)
	handover.List(s, &ch.line, 5, func(s *handover.Codec, p *parcel) {
		subs.pass(s, &p.sub)
		session.PassRun(s, &p.run)
		s.Check(p.run.Count > 0 && p.run.First+uint64(p.run.Count) > p.run.First)
		s.Check(s.Failed() || p.sub.channel == ch && !p.sub.Closing)
	})
	ch.passDoing(s)
}

// passIncoming goes over the content that is coming in. Of one that has come only the memory is left,
// and to which exchange it was published.
func (ch *channel) passIncoming(s *handover.Codec) {
	there := ch.incoming != nil
	if s.Bool(&there); !there {
		return
	}
	if s.Reading() {
		ch.incoming = new(incoming)
	}
	in := ch.incoming
	s.Bytes(&in.exchange)
	handover.Uint(s, &in.awaits)
	s.Check(in.awaits <= awaitsBody)
	if in.awaits == awaitsMethod || s.Failed() {
		return
	}
	s.Bytes(&in.key)
	passKeys(s, &in.more)
	s.Bool(&in.mandatory)
	s.Bytes(&in.properties)
	handover.Int(s, &in.size)
	s.Bytes(&in.body)
	s.Bool(&in.ready)
	in.routing.pass(s)
	s.Check(in.size >= 0 && in.size <= ch.conn.largest() && len(in.body) <= in.size)
	s.Check(len(in.exchange) <= amqp.MaxShortstr && len(in.key) <= amqp.MaxShortstr)
}

func passKeys(s *handover.Codec, keys *[]string) {
	handover.List(s, keys, 1, func(s *handover.Codec, key *string) { s.String(key) })
	s.Check(len(*keys) <= ipc.MaxHeaders)
}

// pass goes over where a message goes.
func (r *routing) pass(s *handover.Codec) {
	handover.Uint(s, &r.level)
	s.Bool(&r.mandatory)
	handover.Uint(s, &r.priority)
	handover.Int(s, &r.ttlMS)
	handover.Int(s, &r.delayMS)
	handover.Uint(s, &r.txn)
	s.Check(r.level <= ipc.LevelDisk && r.ttlMS >= ipc.NoTTL && r.delayMS >= 0)
}

// pass goes over the publishes that are not confirmed.
func (k *confirms) pass(s *handover.Codec) {
	handover.Uint(s, &k.published)
	next := uint64(0)
	handover.List(s, &k.open, 4, func(s *handover.Codec, x *confirming) {
		handover.Uint(s, &x.first)
		handover.Uint(s, &x.count)
		s.Bool(&x.done)
		s.Bool(&x.taken)
		s.Check(x.count > 0 && x.first >= next && x.first > 0 && x.first <= k.published && uint64(x.count) <= k.published-x.first+1)
		next = x.first + uint64(x.count)
	})
}

// pass goes over what the client holds.
func (u *unacked) pass(s *handover.Codec, subs *subTable) {
	handover.Uint(s, &u.last)
	var list []held
	for _, h := range u.list[u.head:] {
		if h.sub != nil {
			list = append(list, h)
		}
	}
	last := uint64(0)
	handover.List(s, &list, 4, func(s *handover.Codec, h *held) {
		h.pass(s, subs)
		s.Check(h.tag > last && h.tag <= u.last)
		last = h.tag
	})
	if s.Reading() && !s.Failed() && len(list) > 0 {
		u.restore(list)
	}
}

func (h *held) pass(s *handover.Codec, subs *subTable) {
	handover.Uint(s, &h.tag)
	subs.pass(s, &h.sub)
	handover.Uint(s, &h.index)
	handover.Uint(s, &h.offset)
}

// pass goes over a transaction.
func (t *transaction) pass(s *handover.Codec, subs *subTable, c *Conn) {
	handover.Uint(s, &t.number)
	handover.Int(s, &t.pushed)
	handover.List(s, &t.verdicts, 5, func(s *handover.Codec, v *verdictOn) {
		v.held.pass(s, subs)
		handover.Uint(s, &v.verdict)
		s.Check(v.verdict >= ipc.VerdictAck && v.verdict <= ipc.VerdictReject)
	})
	handover.List(s, &t.pledged, 6, func(s *handover.Codec, v *ipc.TxnVerdict) {
		handover.Uint(s, &v.Sub)
		handover.Uint(s, &v.Queue)
		handover.Uint(s, &v.Index)
		handover.Uint(s, &v.Verdict)
		handover.Uint(s, &v.Range.First)
		handover.Uint(s, &v.Range.Count)
	})
	handover.List(s, &t.returns, 10, func(s *handover.Codec, x **run) {
		if s.Reading() {
			*x = new(run)
		}
		(*x).pass(s, c)
	})
}

// passDoing goes over the method that waits for answers.
func (ch *channel) passDoing(s *handover.Codec) {
	there := ch.doing != nil
	if s.Bool(&there); !there {
		return
	}
	if s.Reading() {
		ch.doing = new(doing)
	}
	d := ch.doing
	id, args := amqp.Method(0), []byte(nil)
	if !s.Reading() {
		id, args = d.method.Method(), d.method.Append(nil)
	}
	handover.Uint(s, &id)
	s.Bytes(&args)
	if s.Reading() {
		d.method = amqp.New(id)
		if s.Check(d.method != nil && d.method.Decode(args) == nil && bytes.Equal(d.method.Append(nil), args)); s.Failed() {
			return
		}
	}
	handover.List(s, &d.questions, 4, passQuestion)
	s.Check(len(d.questions) > 0)
}

// passQuestion goes over a question.
func passQuestion(s *handover.Codec, q *question) {
	handover.Uint(s, &q.req)
	handover.Uint(s, &q.typ)
	s.Bytes(&q.record)
	s.Check(len(q.record) >= ipc.HeadSize)
	answered := q.had != nil
	if s.Bool(&answered); !answered {
		return
	}
	s.Check(q.req == 0)
	if s.Reading() {
		q.had = new(reply)
	}
	handover.Uint(s, &q.had.typ)
	s.Bytes(&q.had.payload)
}
