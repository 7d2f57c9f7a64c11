package kafkaconn

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Users as Kafka's tools see them: who has secrets of SCRAM, and which (KIP-554). Users are definitions, which logicsrv
// has; here they are read from there each time, so that a change is seen at once.

// scramKey is under which key a user's secret of a mechanism is kept, given the protocol's number of that; empty: there is
// no such mechanism.
func scramKey(number int8) string {
	return access.ScramKey(map[int8]string{1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}[number])
}

// users asks for users by name, or for all where there are no names.
func (c *Conn) users(k *call, names []string, then func(byName map[string]*admin.Definition, err error)) {
	ask := admin.Describe{Kind: admin.KindDefinition}
	for _, name := range names {
		d := admin.Definition{Kind: admin.DefUser, Name: name}
		ask.Names = append(ask.Names, d.Identity())
	}
	byName := map[string]*admin.Definition{}
	c.describe(k, ask, func(d *admin.Description) {
		for i := range d.Definitions {
			if u := &d.Definitions[i]; u.Kind == admin.DefUser {
				byName[u.Name] = u
			}
		}
	}, func(err error) { then(byName, err) })
}

// describeScram tells which secrets users have, not what they are.
func (c *Conn) describeScram(k *call, m *kmsg.DescribeUserSCRAMCredentialsRequest) {
	var names []string
	for i := range m.Users {
		names = append(names, m.Users[i].Name)
	}
	c.users(k, names, func(byName map[string]*admin.Definition, err error) {
		resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
		if err != nil {
			resp.ErrorCode, resp.ErrorMessage = codeOf(err), textOf(err)
			c.finish(k, resp)
			return
		}
		all := names
		if len(names) == 0 {
			for name := range byName {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		for _, name := range slices.Compact(all) {
			r := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
			r.User, r.CredentialInfos = name, scramOf(byName[name])
			if len(r.CredentialInfos) == 0 {
				if len(names) == 0 {
					continue
				}
				r.ErrorCode, r.ErrorMessage = codeResourceNotFound, kmsg.StringPtr(fmt.Sprintf("user %q has no secret of SCRAM", name))
			}
			resp.Results = append(resp.Results, r)
		}
		c.finish(k, resp)
	})
}

// scramOf are the secrets of a user; nil: there is no such user.
func scramOf(d *admin.Definition) (list []kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo) {
	for _, number := range []int8{1, 2} {
		if d == nil {
			break
		}
		if s, ok := definitions.ScramOf(d, scramKey(number)); ok {
			info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
			info.Mechanism, info.Iterations = number, int32(s.Rounds)
			list = append(list, info)
		}
	}
	return list
}

// alterScram gives users secrets of SCRAM, and takes them. A user that is not there is made; he may do nothing then,
// until he is given permissions. Each user is changed as a whole, or not.
func (c *Conn) alterScram(k *call, m *kmsg.AlterUserSCRAMCredentialsRequest) {
	var names []string
	for i := range m.Deletions {
		names = append(names, m.Deletions[i].Name)
	}
	for i := range m.Upsertions {
		names = append(names, m.Upsertions[i].Name)
	}
	if len(names) == 0 {
		c.finish(k, kmsg.NewPtrAlterUserSCRAMCredentialsResponse())
		return
	}
	c.users(k, names, func(byName map[string]*admin.Definition, err error) {
		resp := alteredScram(m, func(name string) (int16, string) {
			if err != nil {
				return codeOf(err), err.Error()
			}
			return checkScram(m, name, byName[name])
		})
		all := newTally(func() { c.finish(k, resp) })
		for i := range resp.Results {
			r := &resp.Results[i]
			if r.ErrorCode != codeNone {
				continue
			}
			all.begin()
			c.admin(k, admin.CmdDefine, changedScram(m, r.User, byName[r.User]), func(_ []byte, err error) {
				r.ErrorCode, r.ErrorMessage = codeOf(err), textOf(err)
				all.done()
			})
		}
		all.done()
	})
}

// alteredScram is a response in which check says why each user cannot be changed.
func alteredScram(m *kmsg.AlterUserSCRAMCredentialsRequest, check func(name string) (code int16, text string)) *kmsg.AlterUserSCRAMCredentialsResponse {
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	add := func(name string) {
		if slices.ContainsFunc(resp.Results, func(r kmsg.AlterUserSCRAMCredentialsResponseResult) bool { return r.User == name }) {
			return
		}
		r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		r.User = name
		if code, text := check(name); code != codeNone {
			r.ErrorCode, r.ErrorMessage = code, &text
		}
		resp.Results = append(resp.Results, r)
	}
	for i := range m.Deletions {
		add(m.Deletions[i].Name)
	}
	for i := range m.Upsertions {
		add(m.Upsertions[i].Name)
	}
	return resp
}

// checkScram tells why a user cannot be changed so; have is what he is now, nil: he is not there.
func checkScram(m *kmsg.AlterUserSCRAMCredentialsRequest, name string, have *admin.Definition) (code int16, text string) {
	if name == "" {
		return codeUnacceptableSecret, "a user has a name"
	}
	seen := map[int8]bool{}
	named := func(number int8) (int16, string) {
		switch {
		case scramKey(number) == "":
			return codeUnsupportedMechanism, fmt.Sprintf("there is no mechanism %d", number)
		case seen[number]:
			return codeDuplicateResource, "a mechanism is named twice for a user"
		}
		seen[number] = true
		return codeNone, ""
	}
	for i := range m.Deletions {
		d := &m.Deletions[i]
		if d.Name != name {
			continue
		}
		if code, text := named(d.Mechanism); code != codeNone {
			return code, text
		}
		if have == nil || have.Text(scramKey(d.Mechanism)) == "" {
			return codeResourceNotFound, "the user has no such secret"
		}
	}
	for i := range m.Upsertions {
		u := &m.Upsertions[i]
		if u.Name != name {
			continue
		}
		if code, text := named(u.Mechanism); code != codeNone {
			return code, text
		}
		if u.Iterations < definitions.MinScramRounds || u.Iterations > definitions.MaxScramRounds {
			return codeUnacceptableSecret, fmt.Sprintf("%d rounds; %d to %d are allowed", u.Iterations, definitions.MinScramRounds, definitions.MaxScramRounds)
		}
		if len(u.Salt) == 0 || !definitions.SaltedFits(scramKey(u.Mechanism), u.SaltedPassword) {
			return codeUnacceptableSecret, "a salt or a salted password is missing, or not as long as its mechanism has it"
		}
	}
	return codeNone, ""
}

// changedScram is what a user is to be.
func changedScram(m *kmsg.AlterUserSCRAMCredentialsRequest, name string, have *admin.Definition) *admin.Definition {
	d := &admin.Definition{Kind: admin.DefUser, Name: name}
	if have != nil {
		d.Values = slices.Clone(have.Values)
	} else {
		d.Values = []admin.Value{admin.TextValue("tags", "")}
	}
	drop := func(number int8) {
		d.Values = slices.DeleteFunc(d.Values, func(v admin.Value) bool { return v.Key == scramKey(number) })
	}
	for i := range m.Deletions {
		if m.Deletions[i].Name == name {
			drop(m.Deletions[i].Mechanism)
		}
	}
	for i := range m.Upsertions {
		if u := &m.Upsertions[i]; u.Name == name {
			drop(u.Mechanism)
			key := scramKey(u.Mechanism)
			d.Values = append(d.Values, admin.TextValue(key, definitions.ScramText(key, int(u.Iterations), u.Salt, u.SaltedPassword)))
		}
	}
	d.Canonical()
	return d
}
