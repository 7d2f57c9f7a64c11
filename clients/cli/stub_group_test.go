package main

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The stub's groups: "g" has one member and positions in both partitions of "t", "old" has positions
// only. Whoever joins a group is its only member.

// ofGroups answers what is asked by members and about groups. REQUIRES: s.mu held.
func (s *stub) ofGroups(cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdGroupHeartbeat:
		m, err := native.DecodeGroupHeartbeat(body)
		s.heard = append(s.heard, m.Epoch)
		r := native.GroupAssignment{Member: m.Member, Epoch: 1, HeartbeatMS: 50, SessionMS: 10_000}
		if m.Epoch < 0 {
			r.Epoch = m.Epoch
		}
		if m.Epoch == ipc.EpochJoin {
			r.HasTopics = true
			r.Topics = []ipc.AssignedTopic{{Topic: "t", Partitions: []ipc.AssignedPartition{{Partition: 0, Index: 1}, {Partition: 1, Index: 2}}}}
		}
		return r.Append(nil), err
	case native.CmdGroupCommit:
		m, err := native.DecodeGroupCommit(body)
		s.commits = append(s.commits, m.Offsets...)
		return nil, err
	case native.CmdDeleteGroup:
		if m, err := admin.DecodeDelete(body); err != nil || m.Name == "g" {
			return nil, errcode.New(errcode.InUse, "group %q has 1 members; stop them first", m.Name)
		}
	}
	return nil, nil
}

// memberships describes them. REQUIRES: s.mu held.
func (s *stub) memberships(names []string) []admin.Membership {
	s.looked++
	all := []admin.Membership{
		{
			Name: "g", Type: admin.GroupModern, State: admin.GroupReconciling, Epoch: 3, Protocol: "sticky",
			Members: []admin.MemberInfo{{ID: "m-1", Instance: "one", ClientID: "app", ClientHost: "h", Epoch: 3, Topics: []string{"t"}, Assigned: []uint64{2, 1}, Target: []uint64{1}}},
			Offsets: []admin.LagInfo{{Index: 1, Offset: 4 + s.looked, Visible: 50 + 10*s.looked}},
		},
		{Name: "old", EmptyMS: 1, Offsets: []admin.LagInfo{{Index: 1, Offset: 60, Visible: 60}, {Index: 77, Offset: 3, Visible: 9}}},
	}
	if len(names) == 0 {
		return all
	}
	var found []admin.Membership
	for _, g := range all {
		for _, name := range names {
			if name == g.Name {
				found = append(found, g)
			}
		}
	}
	return found
}
