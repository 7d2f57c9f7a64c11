//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// hermit makes a queue that is its connection's alone, under a name that the broker chooses, and
// consumes from it.
type hermit struct {
	party
	queue    uint64
	making   bool
	sub      *subscription
	entering bool
	open     int
	lastSub  uint64
	stopped  bool
}

func (h *hermit) settled() bool {
	return !h.making && !h.entering && h.open == 0 && (h.sub == nil || len(h.sub.inHand) == 0)
}

func (h *hermit) dropped() {
	h.conn, h.queue, h.making, h.sub, h.entering, h.open = nil, 0, false, nil, false, 0
}

func (h *hermit) closed(s *subscription, code errcode.Code) {
	h.w.fail("the exclusive queue %d has gone, its connection is there: %v", s.queue, code)
}

func (h *hermit) checked(*ipc.CheckTxn) {}

func (h *hermit) tick() {
	r := h.w.rng
	if !h.stopped && h.conn != nil && r.IntN(min(h.w.plan.clientDeath, 200)) == 0 {
		h.die(h)
		return
	}
	if !h.w.admin.done() || !h.ready(h) || h.making || h.entering {
		return
	}
	switch {
	case h.queue == 0:
		if !h.stopped {
			h.make()
		}
	case h.sub == nil:
		h.subscribe()
	case h.sub.limit < h.sub.delivered+2:
		h.sub.limit = h.sub.delivered + 4
		h.w.tellCredit(h.conn, h.sub)
	case len(h.sub.inHand) > 0 && (h.stopped || r.IntN(4) == 0):
		h.w.settleSome(h.conn, h.sub, ipc.VerdictAck, true, true, &h.open)
	}
}

func (h *hermit) make() {
	h.making = true
	m := admin.CreateQueue{Level: ipc.Level(1 + h.w.rng.IntN(3)), QueueSettings: admin.QueueSettings{Exclusive: true, Durable: h.w.rng.IntN(2) == 0}}
	h.w.conn.ask(h.conn, ipc.TypeAdmin, func(head ipc.Head) []byte {
		a := ipc.Admin{Head: head, Command: uint16(admin.CmdCreateQueue), Body: m.Append(nil)}
		return a.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		h.making = false
		if typ == ipc.TypeError {
			code, text := h.refusal(b)
			h.w.fail("an exclusive queue is refused: %v %s", code, text)
		}
		a, err := ipc.DecodeAdminReply(b)
		h.w.must(err, "decode an answer")
		c, err := admin.DecodeCreated(a.Body)
		h.w.must(err, "decode an answer to create queue")
		h.queue, h.w.hermitQueue, h.w.hermitage = c.Index, c.Index, c.Name
		h.w.trace("the hermit has queue %d, %s", c.Index, c.Name)
	})
}

func (h *hermit) subscribe() {
	h.entering = true
	h.lastSub++
	s := &subscription{sub: h.lastSub, queue: h.queue, limit: 3, owner: h}
	h.w.conn.ask(h.conn, ipc.TypeSubscribe, func(head ipc.Head) []byte {
		m := ipc.Subscribe{Head: head, Sub: s.sub, Queue: s.queue, Limit: s.limit}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		h.entering = false
		if typ == ipc.TypeError {
			code, text := h.refusal(b)
			if code != errcode.UnknownIndex || !h.w.theme.policies { // by one of which it may have expired
				h.w.fail("who has an exclusive queue cannot consume from it: %v %s", code, text)
			}
			h.queue, h.sub = 0, nil
			h.conn.subs = nil
		}
	})
	h.conn.subs = append(h.conn.subs, s)
	h.sub = s
}
