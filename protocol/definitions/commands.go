package definitions

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
)

// Command is one administrative command, and what it makes, in words.
type Command struct {
	What    string
	Command admin.Command
	Body    interface{ Append([]byte) []byte }
}

// define is the command that makes a definition so.
func define(d *admin.Definition) (Command, error) {
	what := fmt.Sprintf("%s %q", d.Kind, d.Name)
	if d.VHost != "" {
		what += fmt.Sprintf(" in vhost %q", d.VHost)
	}
	if !d.Canonical() {
		return Command{}, fmt.Errorf("%s: a property is given twice", what)
	}
	return Command{what, admin.CmdDefine, d}, nil
}

// Undefine is the command that ends one.
func Undefine(kind admin.DefinitionKind, vhost, name, item string) Command {
	d := &admin.Definition{Kind: kind, VHost: vhost, Name: name, Item: item}
	return Command{fmt.Sprintf("%s %q", kind, name), admin.CmdUndefine, d}
}

// Command makes the user. A password needs SaltBytes random bytes; without one the hash is taken over, and
// an empty hash lets nobody in.
func (u *User) Command(salt []byte) (Command, error) {
	d := &admin.Definition{Kind: admin.DefUser, Name: u.Name, Values: []admin.Value{admin.TextValue("tags", strings.Join(u.Tags, ","))}}
	if u.Password != nil && *u.Password != "" {
		values, err := Credentials(*u.Password, salt)
		if err != nil {
			return Command{}, err
		}
		d.Values = append(d.Values, values...)
		return define(d)
	}
	algorithm := u.HashingAlgorithm
	if algorithm == "" {
		algorithm = "rabbit_password_hashing_sha256"
	}
	if !Algorithms(algorithm) {
		return Command{}, fmt.Errorf("user %q: the hashing algorithm %q is not known; %s are", u.Name, algorithm, strings.Join(slices.Sorted(maps.Keys(hashes)), ", "))
	}
	if _, err := base64.StdEncoding.DecodeString(u.PasswordHash); err != nil {
		return Command{}, fmt.Errorf("user %q: the password hash is not in Base64: %w", u.Name, err)
	}
	d.Values = append(d.Values, admin.TextValue("hashing_algorithm", algorithm), admin.TextValue("password_hash", u.PasswordHash))
	for _, v := range []admin.Value{admin.TextValue("scram_sha_256", u.ScramSHA256), admin.TextValue("scram_sha_512", u.ScramSHA512)} {
		switch {
		case v.Text == "":
			continue
		case !isScram(v.Key, v.Text):
			return Command{}, fmt.Errorf("user %q: %s is no secret of SCRAM: rounds (%d at least), salt, stored key and server key in base64, with commas between them", u.Name, v.Key, MinScramRounds)
		}
		d.Values = append(d.Values, v)
	}
	return define(d)
}

// LimitsCommand sets limits of a user or vhost; false: there are none.
func LimitsCommand(kind admin.DefinitionKind, name string, limits map[string]int64) (Command, bool, error) {
	if len(limits) == 0 {
		return Command{}, false, nil
	}
	d := &admin.Definition{Kind: kind, Name: name}
	for key, n := range limits {
		d.Values = append(d.Values, admin.Number(key, n))
	}
	cmd, err := define(d)
	return cmd, true, err
}

// Command makes the vhost.
func (v *VHost) Command() (Command, error) {
	d := &admin.Definition{Kind: admin.DefVHost, Name: v.Name}
	text := func(key, s string) {
		if s == "" {
			if m, ok := v.Metadata[key].(string); ok {
				s = m
			}
		}
		if s != "" && s != "undefined" {
			d.Values = append(d.Values, admin.TextValue(key, s))
		}
	}
	text("description", v.Description)
	text("default_queue_type", v.DefaultQueueType)
	text("tags", strings.Join(v.Tags, ","))
	return define(d)
}

// Command gives the permission.
func (p *Permission) Command() (Command, error) {
	return define(&admin.Definition{Kind: admin.DefPermission, VHost: p.VHost, Name: p.User, Values: []admin.Value{
		admin.TextValue("configure", p.Configure), admin.TextValue("write", p.Write), admin.TextValue("read", p.Read),
	}})
}

// Command gives the permission.
func (p *TopicPermission) Command() (Command, error) {
	return define(&admin.Definition{Kind: admin.DefTopicPermission, VHost: p.VHost, Name: p.User, Item: p.Exchange, Values: []admin.Value{
		admin.TextValue("write", p.Write), admin.TextValue("read", p.Read),
	}})
}

// Command makes the policy, or with operator one of operators.
func (p *Policy) Command(operator bool) (Command, error) {
	d := &admin.Definition{Kind: admin.DefPolicy, VHost: p.VHost, Name: p.Name}
	if operator {
		d.Kind = admin.DefOperatorPolicy
	}
	to := p.ApplyTo
	if to == "" {
		to = "all"
	}
	d.Values = []admin.Value{admin.TextValue("pattern", p.Pattern), admin.TextValue("apply-to", to), admin.Number("priority", int64(p.Priority))}
	for key, x := range p.Definition {
		key := admin.PolicyPrefix + key
		if n, ok := wholeNumber(x); ok {
			d.Values = append(d.Values, admin.Number(key, n))
			continue
		}
		switch x := x.(type) {
		case string:
			d.Values = append(d.Values, admin.TextValue(key, x))
		case bool:
			d.Values = append(d.Values, admin.TextValue(key, fmt.Sprint(x)))
		default:
			d.Values = append(d.Values, admin.TextValue(key, fmt.Sprint(x))) // lists of federation and the like: kept, without effect
		}
	}
	return define(d)
}

// errNoValue refuses a parameter without a value.
var errNoValue = errors.New("it has no value")

// Command sets the parameter. Operators' policies and limits of vhosts are parameters in files, and
// become what they are.
func (p *Parameter) Command() (Command, error) {
	switch p.Component {
	case "operator_policy":
		policy := Policy{VHost: p.VHost, Name: p.Name}
		if err := Decode(strings.NewReader(string(p.Value)), &policy); err != nil {
			return Command{}, fmt.Errorf("operator policy %q: %w", p.Name, err)
		}
		policy.VHost, policy.Name = p.VHost, p.Name
		return policy.Command(true)
	case "vhost-limits":
		limits := map[string]int64{}
		if err := Decode(strings.NewReader(string(p.Value)), &limits); err != nil {
			return Command{}, fmt.Errorf("limits of vhost %q: %w", p.VHost, err)
		}
		cmd, given, err := LimitsCommand(admin.DefVHostLimit, p.VHost, limits)
		if !given {
			err = fmt.Errorf("limits of vhost %q: %w", p.VHost, errNoValue)
		}
		return cmd, err
	}
	d := &admin.Definition{Kind: admin.DefParameter, VHost: p.VHost, Name: p.Name, Item: p.Component, Values: []admin.Value{admin.TextValue("value", compact(p.Value))}}
	if p.Component == "" {
		d.Kind, d.VHost = admin.DefGlobalParameter, ""
	}
	if len(p.Value) == 0 {
		return Command{}, fmt.Errorf("parameter %q: %w", p.Name, errNoValue)
	}
	return define(d)
}
