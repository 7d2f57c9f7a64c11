package core

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// What scripts say of groups, and how traces show it. Member ids that the broker makes are long;
// scripts and traces call them $1, $2 … in the order in which they were told.

// memberIDs is what scripts call the ids that were told.
type memberIDs map[string]string

func (k memberIDs) learn(out []Output) {
	for _, o := range out {
		id := ""
		switch o.Type {
		case ipc.TypeGroupAssignment:
			m, _ := ipc.DecodeGroupAssignment(o.Record)
			id = m.Member
		case ipc.TypeGroupJoined:
			m, _ := ipc.DecodeGroupJoined(o.Record)
			id = m.Member
		}
		if _, known := k[id]; len(id) > 32 && !known {
			k[id] = fmt.Sprintf("$%d", len(k)+1)
		}
	}
}

func (k memberIDs) shorten(text string) string {
	for id, name := range k {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

func (k memberIDs) lengthen(line string) string {
	for i := len(k); i > 0; i-- { // $12 before $1
		for id, name := range k {
			if name == fmt.Sprintf("$%d", i) {
				line = strings.ReplaceAll(line, name, id)
			}
		}
	}
	return line
}

func groupConfig(cfg *Config, d *datadriven.TestData) {
	cfg.MaxGroupMembers, cfg.MaxGroupPartitions = number(d, "members"), number(d, "parts")
	cfg.GroupInitialDelayMS, cfg.OffsetRetentionMS = int64(number(d, "delay")), int64(number(d, "retention"))
}

func (w words) commits() (out []ipc.OffsetCommit) {
	if w["offsets"] == "" {
		return nil
	}
	for _, part := range strings.Split(w["offsets"], ",") {
		ix, off, _ := strings.Cut(part, ":")
		i, _ := strconv.ParseUint(ix, 10, 64)
		o, _ := strconv.ParseUint(off, 10, 64)
		leader, _ := strconv.ParseUint(w["leader"], 10, 32)
		out = append(out, ipc.OffsetCommit{Index: i, Offset: o, Metadata: w["meta"], Leader: uint32(leader)})
	}
	return out
}

func (w words) indexes(key string) (out []uint64) {
	for _, s := range w.list(key) {
		i, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			panic(s)
		}
		out = append(out, i)
	}
	return out
}

// groupInput makes the record of a group's request; type 0 where the verb is none.
func (s *script) groupInput(verb string, h ipc.Head, w words) (ipc.Type, []byte) {
	group, member, instance := w["group"], w["member"], w["instance"]
	i32 := func(key string) int32 { return int32(w.num(key, 0)) }
	switch verb {
	case "heartbeat":
		m := ipc.GroupHeartbeat{
			Head: h, Group: group, Member: member, Epoch: i32("epoch"), Instance: instance, TakeOver: w.flag("takeover"),
			ClientID: w["client"], ClientHost: w["host"], SessionMS: i32("session"), RebalanceMS: i32("rebalance"), Assignor: w["assignor"],
			HasTopics: w.flag("topics"), Topics: w.list("topics"), HasOwned: w.flag("owned"), Owned: w.indexes("owned"),
		}
		return ipc.TypeGroupHeartbeat, m.Append(nil)
	case "share":
		m := ipc.GroupHeartbeat{
			Head: h, Group: group, Member: member, Epoch: i32("epoch"), Instance: instance, ClientID: w["client"], ClientHost: w["host"],
			HasTopics: w.flag("topics"), Topics: w.list("topics"), HasOwned: w.flag("owned"),
		}
		return ipc.TypeShareHeartbeat, m.Append(nil)
	case "join":
		m := ipc.GroupJoin{
			Head: h, Group: group, Member: member, Instance: instance, ClientID: w["client"], ClientHost: w["host"], RequireID: w.flag("require"),
			SessionMS: int32(w.num("session", 10_000)), RebalanceMS: i32("rebalance"), ProtocolType: "consumer",
		}
		if w.flag("type") {
			m.ProtocolType = w["type"]
		}
		for _, p := range w.list("protocols") {
			name, meta, _ := strings.Cut(p, ":")
			m.Protocols = append(m.Protocols, ipc.GroupProtocol{Name: name, Metadata: []byte(meta)})
		}
		return ipc.TypeGroupJoin, m.Append(nil)
	case "sync":
		m := ipc.GroupSync{Head: h, Group: group, Member: member, Instance: instance, Generation: i32("gen"), Protocol: w["protocol"]}
		for _, p := range w.list("shares") {
			name, share, _ := strings.Cut(p, ":")
			m.Assignments = append(m.Assignments, ipc.GroupShare{Member: name, Assignment: []byte(share)})
		}
		return ipc.TypeGroupSync, m.Append(nil)
	case "beat":
		return ipc.TypeGroupBeat, (&ipc.GroupBeat{Head: h, Group: group, Member: member, Instance: instance, Generation: i32("gen")}).Append(nil)
	case "leave":
		m := ipc.GroupLeave{Head: h, Group: group}
		for _, p := range w.list("members") {
			id, instance, _ := strings.Cut(p, "/")
			m.Members = append(m.Members, ipc.GroupLeaver{Member: id, Instance: instance})
		}
		return ipc.TypeGroupLeave, m.Append(nil)
	case "member-commit":
		m := ipc.GroupCommit{Head: h, Group: group, Member: member, Instance: instance, Epoch: i32("epoch"), Level: w.level(), Offsets: w.commits()}
		return ipc.TypeGroupCommit, m.Append(nil)
	}
	return 0, nil
}

func named(key, value string) string {
	if value == "" {
		return ""
	}
	return " " + key + "=" + value
}

// traceGroupEvent shows the events of groups.
func traceGroupEvent(ev journal.Event) string {
	switch ev.Type {
	case journal.EvGroupMember:
		e, _ := journal.DecodeGroupMember(ev)
		return fmt.Sprintf("group-member %s %s%s%s%s topics=%v session=%d rebalance=%d", e.Group, e.Member,
			named("instance", e.Instance), named("replaces", e.Replaces), named("assignor", e.Assignor), e.Topics, e.SessionMS, e.RebalanceMS)
	case journal.EvShareMember:
		e, _ := journal.DecodeShareMember(ev)
		return fmt.Sprintf("share-member %s %s topics=%v session=%d", e.Group, e.Member, e.Topics, e.SessionMS)
	case journal.EvGroupConfigured:
		e, _ := journal.DecodeGroupConfigured(ev)
		return fmt.Sprintf("group-configured %s %v", e.Group, e.Settings)
	case journal.EvGroupTarget:
		e, _ := journal.DecodeGroupTarget(ev)
		return fmt.Sprintf("group-target %s epoch=%d %v", e.Group, e.Epoch, e.Shares)
	case journal.EvGroupAssigned:
		e, _ := journal.DecodeGroupAssigned(ev)
		return fmt.Sprintf("group-assigned %s %s epoch=%d %v revoking %v", e.Group, e.Member, e.Epoch, e.Assigned, e.Revoking)
	case journal.EvGroupAway:
		e, _ := journal.DecodeGroupAway(ev)
		return fmt.Sprintf("group-away %s %s", e.Group, e.Member)
	case journal.EvGroupMemberGone:
		e, _ := journal.DecodeGroupMemberGone(ev)
		why := [...]string{"", "left", "silent", "stubborn"}
		return fmt.Sprintf("group-member-gone %s %s%s %s", e.Group, e.Member, named("instance", e.Instance), why[e.Why])
	case journal.EvGroupGeneration:
		e, _ := journal.DecodeGroupGeneration(ev)
		s := fmt.Sprintf("group-generation %s %d type=%s protocol=%s leader=%s", e.Group, e.Generation, e.ProtocolType, e.Protocol, e.Leader)
		for _, m := range e.Members {
			s += fmt.Sprintf(" (%s%s %s)", m.Member, named("instance", m.Instance), m.Protocols)
		}
		return s
	case journal.EvGroupUnsettled:
		e, _ := journal.DecodeGroupUnsettled(ev)
		return "group-unsettled " + e.Group
	case journal.EvGroupSynced:
		e, _ := journal.DecodeGroupSynced(ev)
		return fmt.Sprintf("group-synced %s %s", e.Group, e.Assignments)
	case journal.EvGroupReplaced:
		e, _ := journal.DecodeGroupReplaced(ev)
		return fmt.Sprintf("group-replaced %s %s by %s%s", e.Group, e.Old, e.Member.Member, named("instance", e.Member.Instance))
	case journal.EvGroupDeleted:
		e, _ := journal.DecodeGroupDeleted(ev)
		return "group-deleted " + e.Group
	case journal.EvOffsetsDeleted:
		e, _ := journal.DecodeOffsetsDeleted(ev)
		return fmt.Sprintf("offsets-deleted %s %v", e.Group, e.Indexes)
	}
	return fmt.Sprintf("event of type %d", ev.Type)
}

// traceGroupOutput shows the answers to members.
func traceGroupOutput(who string, o Output) string {
	switch o.Type {
	case ipc.TypeGroupAssignment:
		m, _ := ipc.DecodeGroupAssignment(o.Record)
		s := fmt.Sprintf("assignment %s %s epoch=%d next=%d", who, m.Member, m.Epoch, m.HeartbeatMS)
		if !m.HasTopics {
			return s + " unchanged"
		}
		for _, t := range m.Topics {
			s += " " + t.Topic
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" %d:%d", p.Partition, p.Index)
			}
		}
		return s
	case ipc.TypeGroupJoined:
		m, _ := ipc.DecodeGroupJoined(o.Record)
		s := fmt.Sprintf("joined %s %s", who, m.Member)
		if m.Code != 0 {
			return s + " " + errcode.Code(m.Code).String()
		}
		s += fmt.Sprintf(" generation=%d protocol=%s leader=%s", m.Generation, m.Protocol, m.Leader)
		if m.SkipAssignment {
			s += " skip"
		}
		for _, p := range m.Members {
			s += fmt.Sprintf(" (%s%s %q)", p.Member, named("instance", p.Instance), p.Metadata)
		}
		return s
	case ipc.TypeGroupSynced:
		m, _ := ipc.DecodeGroupSynced(o.Record)
		return fmt.Sprintf("synced %s protocol=%s %q", who, m.Protocol, m.Assignment)
	case ipc.TypeGroupAlive:
		return "alive " + who
	case ipc.TypeGroupLeft:
		m, _ := ipc.DecodeGroupLeft(o.Record)
		s := "left " + who
		for _, code := range m.Codes {
			s += " " + errcode.Code(code).String()
		}
		return s
	}
	return fmt.Sprintf("output of type %d", o.Type)
}

// traceGroups shows what was described of groups.
func traceGroups(d *admin.Description) (s string) {
	states := [...]string{"empty", "preparing", "completing", "stable", "reconciling"}
	types := [...]string{"simple", "modern", "classic", "share"}
	for _, g := range d.Summaries {
		s += fmt.Sprintf("\n     group %s %s %s%s members=%d", g.Name, types[g.Type], states[g.State], named("type", g.ProtocolType), g.Members)
	}
	for _, g := range d.Configs {
		s += fmt.Sprintf("\n     group %s %v", g.Group, g.Settings)
	}
	for _, g := range d.Memberships {
		s += fmt.Sprintf("\n     group %s %s %s epoch=%d%s%s%s empty=%d left=%d", g.Name, types[g.Type], states[g.State], g.Epoch,
			named("type", g.ProtocolType), named("protocol", g.Protocol), named("leader", g.Leader), g.EmptyMS, g.MembersLeft)
		for _, m := range g.Members {
			s += fmt.Sprintf("\n       %s%s epoch=%d", m.ID, named("instance", m.Instance), m.Epoch)
			if g.Type != admin.GroupClassic {
				s += fmt.Sprintf(" topics=%v assigned=%v target=%v", m.Topics, m.Assigned, m.Target)
			} else {
				s += fmt.Sprintf(" metadata=%q assignment=%q", m.Metadata, m.Assignment)
			}
		}
		for _, o := range g.Offsets {
			s += fmt.Sprintf("\n       %d: %d of %d, lag %d", o.Index, o.Offset, o.Visible, o.Lag())
		}
	}
	return s
}
