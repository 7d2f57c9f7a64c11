package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// forward puts a request without a batch into the ring; false: no room.
func (c *Conn) forward(h native.Header, typ ipc.Type, encode func(head ipc.Head, b []byte) []byte) bool {
	_, done := c.put(h, typ, encode)
	return done
}

// put is forward for who needs the request's number. 0: it is not in the ring, for want of room,
// or because it was refused.
func (c *Conn) put(h native.Header, typ ipc.Type, encode func(head ipc.Head, b []byte) []byte) (req uint64, done bool) {
	if c.inFlight() >= c.window { // one that wants no answer, see admit
		c.shareWait = true
		return 0, false
	}
	req = c.lane.Req()
	record := encode(c.head(req), c.lane.Scratch())
	if len(record) > c.lane.MaxRecord {
		c.refuse(h, errcode.New(errcode.LimitExceeded, "request of %d bytes, at most %d", len(record), c.lane.MaxRecord))
		return 0, true
	}
	if !c.lane.Put(c.link, typ, record) {
		return 0, false
	}
	c.add(h, session.Request{Req: req, Bytes: uint32(len(record))})
	return req, true
}

// initProducer asks for a producer id.
func (c *Conn) initProducer(h native.Header, body []byte) bool {
	m, err := native.DecodeInitProducer(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	return c.forward(h, ipc.TypeInitProducer, func(head ipc.Head, b []byte) []byte {
		record := ipc.InitProducer{Head: head, ProducerID: m.ProducerID, Epoch: m.Epoch}
		return record.Append(b)
	})
}

// commitOffsets stores positions of a group.
func (c *Conn) commitOffsets(h native.Header, body []byte) bool {
	m, err := native.DecodeCommitOffsets(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	return c.forward(h, ipc.TypeCommit, func(head ipc.Head, b []byte) []byte {
		record := ipc.CommitOffsets{Head: head, Group: m.Group, Level: m.Level, Offsets: m.Offsets}
		return record.Append(b)
	})
}

// fetchOffsets asks for positions of a group.
func (c *Conn) fetchOffsets(h native.Header, body []byte) bool {
	m, err := native.DecodeFetchOffsets(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	return c.forward(h, ipc.TypeOffsets, func(head ipc.Head, b []byte) []byte {
		record := ipc.FetchOffsets{Head: head, Group: m.Group, Indexes: m.Indexes}
		return record.Append(b)
	})
}

// admin passes an administrative command on; logicsrv decodes its body. A queue that is made may
// belong to the connection: logicsrv must hear of its end.
func (c *Conn) admin(h native.Header, body []byte) bool {
	if h.Command == native.CmdCreateQueue {
		c.told = true
	}
	return c.forward(h, ipc.TypeAdmin, func(head ipc.Head, b []byte) []byte {
		record := ipc.Admin{Head: head, Command: uint16(h.Command), Body: body}
		return record.Append(b)
	})
}
