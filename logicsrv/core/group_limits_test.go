package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestSmallGroupEntries: with a small ring, entries stay below its limit whatever groups do: many
// members with long names and many topics, heavy metadata, everybody's session over at once,
// topics that many groups subscribe to.
func TestSmallGroupEntries(t *testing.T) {
	cfg := Config{MaxEntryBytes: 8 << 10, GroupInitialDelayMS: -1}
	w := newWorld(t, cfg)
	w.attach(1)
	largest, turns := 0, 0
	end := func() {
		e, _ := w.end()
		turns++
		if e != nil {
			largest = max(largest, len(e.AppendRing(nil)))
		}
	}
	run := func(typ ipc.Type, payload []byte) {
		for w.c.TurnFull() {
			end()
		}
		w.step(typ, payload)
	}
	for i := range 20 {
		w.topic(fmt.Sprintf("topic-%d", i), 30, ipc.LevelPage)
	}
	long := strings.Repeat("x", 200)
	req := uint64(0)
	head := func() ipc.Head { req++; return ipc.Head{Epoch: 1, Conn: 256, Req: req} }
	for i := range 300 {
		var topics []string
		for k := range i % 4 {
			topics = append(topics, fmt.Sprintf("topic-%d", (i+k)%20))
		}
		beat := ipc.GroupHeartbeat{
			Head: head(), Group: fmt.Sprintf("g%d", i%30), Member: fmt.Sprintf("%s-%d", long[:i%200], i), ClientID: long[:i%150], SessionMS: 20_000,
			HasTopics: true, Topics: topics, Assignor: []string{"", "range", "hash", "roundrobin"}[i%4],
		}
		run(ipc.TypeGroupHeartbeat, beat.Append(nil))
		join := ipc.GroupJoin{
			Head: head(), Group: fmt.Sprintf("c%d", i%10), ClientID: long[:i%200], SessionMS: 20_000, ProtocolType: "consumer",
			Protocols: []ipc.GroupProtocol{{Name: "range", Metadata: make([]byte, 10*(i%90))}},
		}
		run(ipc.TypeGroupJoin, join.Append(nil))
		leave := ipc.GroupLeave{Head: head(), Group: fmt.Sprintf("c%d", i%10), Members: make([]ipc.GroupLeaver, i%3)}
		run(ipc.TypeGroupLeave, leave.Append(nil))
		end()
	}
	add := func(name string, n uint32) {
		m := ipc.Admin{Head: head(), Command: uint16(admin.CmdAddPartitions), Body: (&admin.AddPartitions{Name: name, Total: n}).Append(nil)}
		run(ipc.TypeAdmin, m.Append(nil))
	}
	for i := range 20 {
		add(fmt.Sprintf("topic-%d", i), 31)
	}
	for w.c.Busy() {
		end()
	}
	members := 0
	for _, g := range w.c.groups.all {
		members += len(g.members)
		if g.kind == admin.GroupModern && g.stale {
			t.Errorf("group %s has no new target", g.name)
		}
	}
	// All are silent, and found out in the same millisecond; but for those whose joins were parked so
	// long, who are members from then on.
	before, left := turns, 0
	for range 3 {
		w.now += 20_000
		for ms, ok := w.c.NextTimer(); ok && ms <= w.now; ms, ok = w.c.NextTimer() {
			end()
		}
		left = 0
		for _, g := range w.c.groups.all {
			left += len(g.members)
		}
	}
	if members < 100 || left != 0 || turns-before < 10 {
		t.Errorf("%d of %d members are left after %d turns", left, members, turns-before)
	}
	if limit := cfg.MaxEntryBytes + journal.RingHeaderSize; largest > limit || largest < limit/4 {
		t.Errorf("the largest entry has %d bytes, at most %d are allowed", largest, limit)
	}
	if got := w.rebuilt().Digest(); got != w.c.Digest() {
		t.Errorf("digest %x, replayed %x", w.c.Digest(), got)
	}
}

// TestManyMembersDescribed: of a group that no reply can hold, as many members are described as fit.
func TestManyMembersDescribed(t *testing.T) {
	w := newWorld(t, Config{})
	w.attach(1)
	w.topic("t", 1, ipc.LevelPage)
	for i := range 3000 {
		e := journal.GroupMember{Group: "g", Member: fmt.Sprintf("%s-%d", strings.Repeat("m", 200), i), ClientHost: strings.Repeat("h", 100), Topics: []string{"t"}}
		if err := w.c.apply(e.Append(nil), 1); err != nil {
			t.Fatal(err)
		}
	}
	m := ipc.Admin{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Command: uint16(admin.CmdDescribe), Body: (&admin.Describe{Kind: admin.KindMembership}).Append(nil)}
	w.step(ipc.TypeAdmin, m.Append(nil))
	_, out := w.end()
	r, err := ipc.DecodeAdminReply(out[len(out)-1].Record)
	if err != nil {
		t.Fatal(err)
	}
	d, err := admin.DecodeDescription(r.Body)
	if err != nil || len(d.Memberships) != 1 {
		t.Fatal(err, d)
	}
	if g := d.Memberships[0]; len(g.Members)+int(g.MembersLeft) != 3000 || len(g.Members) < 1000 || len(r.Body) > maxReplyBytes {
		t.Fatalf("%d members, %d left, %d bytes", len(g.Members), g.MembersLeft, len(r.Body))
	}
}

// TestDoubt: a session that has run out ends only when what lay in the ring at that moment has been
// read.
func TestDoubt(t *testing.T) {
	w := newWorld(t, Config{})
	w.attach(1)
	w.topic("t", 1, ipc.LevelPage)
	h := &ipc.GroupHeartbeat{Group: "g", Member: "a", SessionMS: 10_000, HasTopics: true, Topics: []string{"t"}}
	w.beat(h)
	h.Epoch, h.HasTopics, h.Topics = 1, false, nil
	unread := *h
	w.now += 10_000
	w.c.Tail(w.pos + 64) // its heartbeat lies there
	w.end()
	w.now += 500
	w.end()
	if w.c.groupOf("g") == nil {
		t.Fatal("out, with its heartbeat unread")
	}
	w.beat(&unread)
	w.now += 9999
	w.end()
	if w.c.groupOf("g") == nil {
		t.Fatal("out, though it was heard 9,999 ms ago")
	}
	w.now++
	w.c.Tail(w.pos)
	w.end()
	if w.c.groupOf("g") != nil {
		t.Fatal("still a member at the end of its session")
	}
}
