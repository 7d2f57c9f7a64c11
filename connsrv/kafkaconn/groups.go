package kafkaconn

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
)

// What Kafka calls the kinds of groups, and where they stand.
const (
	typeClassic  = "classic"
	typeConsumer = "consumer"
	stateDead    = "Dead"
)

var groupStates = map[admin.GroupState]string{
	admin.GroupEmpty: "Empty", admin.GroupPreparing: "PreparingRebalance", admin.GroupCompleting: "CompletingRebalance",
	admin.GroupStable: "Stable", admin.GroupReconciling: "Reconciling",
}

// listGroups lists all groups, or those in some states or of some kinds.
func (c *Conn) listGroups(k *call, m *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	c.describe(k, admin.Describe{Kind: admin.KindGroupSummary}, func(d *admin.Description) {
		for i := range d.Summaries {
			if g := listedGroup(&d.Summaries[i]); among(m.StatesFilter, g.GroupState) && among(m.TypesFilter, g.GroupType) {
				resp.Groups = append(resp.Groups, g)
			}
		}
	}, func(err error) {
		resp.ErrorCode = codeOf(err)
		c.finish(k, resp)
	})
}

// listedGroup is a line about a group.
func listedGroup(s *admin.GroupSummary) kmsg.ListGroupsResponseGroup {
	g := kmsg.NewListGroupsResponseGroup()
	g.Group, g.ProtocolType, g.GroupState, g.GroupType = s.Name, s.ProtocolType, groupStates[s.State], typeClassic
	if s.Type == admin.GroupModern {
		g.ProtocolType, g.GroupType = typeConsumer, typeConsumer
	}
	if s.Type == admin.GroupShare {
		g.ProtocolType, g.GroupType = typeShare, typeShare
	}
	return g
}

// among tells whether a filter lets a word pass. No filter lets all pass.
func among(filter []string, word string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, word) })
}

// memberships asks for groups with their members. missing are those that are not there.
func (c *Conn) memberships(k *call, names []string, then func(byName map[string]*admin.Membership, err error)) {
	byName := map[string]*admin.Membership{}
	if len(names) == 0 {
		then(byName, nil)
		return
	}
	c.describe(k, admin.Describe{Kind: admin.KindMembership, Names: names}, func(d *admin.Description) {
		for i := range d.Memberships {
			byName[d.Memberships[i].Name] = &d.Memberships[i]
		}
	}, func(err error) { then(byName, err) })
}

// describeGroups describes classic groups, and groups that are positions alone.
func (c *Conn) describeGroups(k *call, m *kmsg.DescribeGroupsRequest) {
	c.memberships(k, m.Groups, func(byName map[string]*admin.Membership, err error) {
		resp := kmsg.NewPtrDescribeGroupsResponse()
		for _, name := range m.Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.State, g.ErrorCode = name, stateDead, codeOf(err)
			if d := byName[name]; d != nil && d.Type != admin.GroupModern && d.Type != admin.GroupShare {
				describeClassic(&g, d)
			} else if m.Version >= 6 && err == nil {
				g.ErrorCode, g.ErrorMessage = codeGroupNotFound, kmsg.StringPtr("there is no classic group of this name")
			}
			resp.Groups = append(resp.Groups, g)
		}
		c.finish(k, resp)
	})
}

// describeClassic fills in what is known of a group.
func describeClassic(g *kmsg.DescribeGroupsResponseGroup, d *admin.Membership) {
	g.State, g.ProtocolType = groupStates[d.State], d.ProtocolType
	if d.State == admin.GroupStable || d.State == admin.GroupCompleting {
		g.Protocol = d.Protocol
	}
	for i := range d.Members {
		m := kmsg.NewDescribeGroupsResponseGroupMember()
		m.MemberID, m.InstanceID, m.ClientID, m.ClientHost = d.Members[i].ID, orNull(d.Members[i].Instance), d.Members[i].ClientID, d.Members[i].ClientHost
		m.ProtocolMetadata, m.MemberAssignment = d.Members[i].Metadata, d.Members[i].Assignment
		g.Members = append(g.Members, m)
	}
}

// deleteGroups deletes groups that have no members, with their positions.
func (c *Conn) deleteGroups(k *call, m *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(m.Groups))
	all := newTally(func() { c.finish(k, resp) })
	for i, name := range m.Groups {
		resp.Groups[i].Group = name
		if !c.may(access.Configure, name) {
			resp.Groups[i].ErrorCode = codeGroupDenied
			continue
		}
		all.begin()
		c.admin(k, admin.CmdDeleteGroup, &admin.Delete{Name: name}, func(_ []byte, err error) {
			resp.Groups[i].ErrorCode = groupCode(name, err)
			all.done()
		})
	}
	all.done()
}
