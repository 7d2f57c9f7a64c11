package trimq

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The fake's transactions.

type fakeTxn struct {
	id         uint64
	group, key string
	c          *fakeConn // whose it is; nil with a group
	parts      []func() uint64
	checks     uint32
	ended      bool
	committed  bool
	queues     uint32
}

// openTxn finds a transaction that a connection may use.
func (f *fake) openTxn(c *fakeConn, id uint64) (*fakeTxn, error) {
	x := f.txns[id]
	if x == nil || x.ended || x.c != nil && x.c != c {
		return nil, errcode.New(errcode.UnknownTxn, "%d", id)
	}
	return x, nil
}

// part makes a batch part of a transaction; store is called with its commit.
func (f *fake) part(c *fakeConn, id uint64, store func() uint64) error {
	x, err := f.openTxn(c, id)
	if err == nil {
		x.parts = append(x.parts, store)
	}
	return err
}

func (f *fake) transact(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdBeginTxn:
		m, err := native.DecodeBeginTxn(body)
		return reply(&native.BeginTxnReply{Txn: f.beginTxn(c, &m)}, err)
	case native.CmdTxnMember:
		m, err := native.DecodeTxnMember(body)
		c.groups[m.Group] = m.Join
		return nil, err
	}
	m, err := native.DecodeEndTxn(body)
	if err != nil {
		return nil, err
	}
	x, err := f.openTxn(c, m.Txn)
	if err != nil && f.txns[m.Txn] != nil && f.txns[m.Txn].ended {
		x, err = f.txns[m.Txn], nil
		if x.committed != m.Commit {
			return nil, errcode.New(errcode.TxnEnded, "%d", m.Txn)
		}
	} else if err == nil {
		err = f.endTxn(c, x, &m)
	}
	if err != nil {
		return nil, err
	}
	return reply(&native.EndTxnReply{Committed: x.committed, Queues: x.queues}, nil)
}

func (f *fake) beginTxn(c *fakeConn, m *native.BeginTxn) uint64 {
	for _, x := range f.txns {
		if !x.ended && x.group != "" && x.group == m.Group && x.key == m.Key {
			return x.id
		}
	}
	f.lastTxn++
	x := &fakeTxn{id: f.lastTxn, group: m.Group, key: m.Key, c: c}
	if m.Group != "" {
		x.c = nil
	}
	f.txns[x.id] = x
	return x.id
}

func (f *fake) endTxn(c *fakeConn, x *fakeTxn, m *native.EndTxn) error {
	if m.Commit {
		for _, v := range m.Verdicts {
			q := f.queueByID(v.Queue)
			if q == nil || q.cursor(v.Index) == nil || !q.cursor(v.Index).holds(fakeHolder{c, v.Sub}, []ipc.Range{v.Range}) {
				return errcode.New(errcode.InvalidArgument, "not all of it is in hand")
			}
		}
		for _, store := range x.parts {
			x.queues += uint32(store())
		}
		for _, v := range m.Verdicts {
			f.queueByID(v.Queue).cursor(v.Index).settle(v.Verdict, []ipc.Range{v.Range})
		}
		f.wake()
	}
	x.ended, x.committed = true, m.Commit
	return nil
}

// leaveTxns rolls back what belonged to an ended connection.
func (f *fake) leaveTxns(c *fakeConn) {
	for _, x := range f.txns {
		if x.c == c {
			x.ended = true
		}
	}
}

// check asks a member of its group what has become of a transaction; false: there is none.
func (f *fake) check(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.txns[id]
	for c := range f.conns {
		if c.groups[x.group] {
			m := native.CheckTxn{Txn: x.id, Group: x.group, Key: x.key, Checks: x.checks}
			x.checks++
			c.write(native.AppendFrame(nil, native.CmdCheckTxn, 0, 0, &m))
			return true
		}
	}
	return false
}

// describeTxns lists open ones in order of their numbers, two a page.
func (f *fake) describeTxns(m *admin.Describe, d *admin.Description) {
	after, _ := strconv.ParseUint(m.After, 10, 64)
	var open []*fakeTxn
	for _, x := range f.txns {
		if !x.ended && x.id > after && (len(m.Names) == 0 || slices.Contains(m.Names, x.group)) {
			open = append(open, x)
		}
	}
	slices.SortFunc(open, func(a, b *fakeTxn) int { return cmp.Compare(a.id, b.id) })
	for _, x := range open {
		if d.More = len(d.Txns) == 2; d.More {
			return
		}
		d.Txns = append(d.Txns, admin.TxnInfo{Txn: x.id, Group: x.group, Key: x.key, Batches: uint32(len(x.parts)), Checks: x.checks})
	}
}
