package definitions

import (
	"encoding/json"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
)

// The reverse: descriptions of the broker in RabbitMQ's JSON.

// UserOf is a user. Limits are not in its definition.
func UserOf(d *admin.Definition) User {
	return User{
		Name: d.Name, PasswordHash: d.Text("password_hash"), HashingAlgorithm: d.Text("hashing_algorithm"), Tags: ParseTags(d.Text("tags")),
		ScramSHA256: d.Text("scram_sha_256"), ScramSHA512: d.Text("scram_sha_512"),
	}
}

// VHostOf is a vhost.
func VHostOf(d *admin.Definition) VHost {
	v := VHost{Name: d.Name, Description: d.Text("description"), Tags: ParseTags(d.Text("tags")), DefaultQueueType: d.Text("default_queue_type")}
	v.Metadata = map[string]any{"description": v.Description, "tags": v.Tags}
	if v.DefaultQueueType != "" {
		v.Metadata["default_queue_type"] = v.DefaultQueueType
	}
	return v
}

// PermissionOf is a permission.
func PermissionOf(d *admin.Definition) Permission {
	return Permission{User: d.Name, VHost: d.VHost, Configure: d.Text("configure"), Write: d.Text("write"), Read: d.Text("read")}
}

// TopicPermissionOf is a permission for a topic exchange.
func TopicPermissionOf(d *admin.Definition) TopicPermission {
	return TopicPermission{User: d.Name, VHost: d.VHost, Exchange: d.Item, Write: d.Text("write"), Read: d.Text("read")}
}

// PolicyOf is a policy, of operators or not.
func PolicyOf(d *admin.Definition) Policy {
	p := Policy{VHost: d.VHost, Name: d.Name, Pattern: d.Text("pattern"), ApplyTo: d.Text("apply-to"), Priority: Number(d.Number("priority")), Definition: map[string]any{}}
	for i := range d.Values {
		v := &d.Values[i]
		key, ok := strings.CutPrefix(v.Key, admin.PolicyPrefix)
		switch {
		case ok && v.IsNumber:
			p.Definition[key] = v.Number
		case ok:
			p.Definition[key] = v.Text
		}
	}
	return p
}

// ParameterOf is a parameter; a global one has neither component nor vhost.
func ParameterOf(d *admin.Definition) Parameter {
	value := json.RawMessage(d.Text("value"))
	if !json.Valid(value) {
		value, _ = json.Marshal(d.Text("value"))
	}
	return Parameter{VHost: d.VHost, Component: d.Item, Name: d.Name, Value: value}
}

// LimitsOf are the limits of a user or vhost.
func LimitsOf(d *admin.Definition) map[string]int64 {
	out := map[string]int64{}
	for i := range d.Values {
		out[d.Values[i].Key] = d.Values[i].Number
	}
	return out
}

// asParameter is a definition in the form in which files have those that are no parameters here.
func asParameter(component, name, vhost string, value any) Parameter {
	raw, _ := json.Marshal(value)
	return Parameter{VHost: vhost, Component: component, Name: name, Value: raw}
}

// QueueOf is a queue as it was declared: by an AMQP client with its own arguments, by others with those
// that come to the same.
func QueueOf(q *admin.QueueInfo) Queue {
	vhost, name := admin.SplitVHost(q.Name)
	out := Queue{Name: name, VHost: vhost, Type: queueTypes[q.Settings.Type], Durable: Truth(q.Settings.Durable), AutoDelete: Truth(q.Settings.AutoDelete)}
	if q.Settings.Arguments != "" {
		out.Arguments = Arguments(amqp.Table(q.Settings.Arguments))
		return out
	}
	out.Arguments = argumentsOf(&q.Settings)
	return out
}

// argumentsOf are arguments that come to the settings of a queue.
func argumentsOf(s *admin.QueueSettings) map[string]any {
	out := map[string]any{}
	for key, o := range map[string]admin.Opt{
		"x-message-ttl": s.MessageTTLMS, "x-expires": s.ExpiresMS, "x-max-length": s.MaxMessages, "x-max-length-bytes": s.MaxBytes, "x-delivery-limit": s.DeliveryLimit,
		"x-max-priority": {Given: s.MaxPriority > 0, N: uint64(s.MaxPriority)},
	} {
		if o.Given {
			out[key] = int64(o.N)
		}
	}
	if s.SingleActive {
		out["x-single-active-consumer"] = true
	}
	if s.DeadLetter {
		_, out["x-dead-letter-exchange"] = admin.SplitVHost(s.DeadLetterExchange)
	}
	if s.DeadLetterKey != "" {
		_, out["x-dead-letter-routing-key"] = admin.SplitVHost(s.DeadLetterKey)
	}
	for word, how := range overflows {
		if how == s.Overflow && how != admin.DropHead {
			out["x-overflow"] = word
		}
	}
	if s.Type != admin.ClassicQueue {
		out["x-queue-type"] = queueTypes[s.Type]
	}
	return out
}

// StreamOf is a topic as a queue of type stream.
func StreamOf(t *admin.TopicInfo) Queue {
	args := map[string]any{"x-queue-type": queueTypes[admin.StreamQueue]}
	if t.RetentionBytes > 0 {
		args["x-max-length-bytes"] = t.RetentionBytes
	}
	vhost, name := admin.SplitVHost(t.Name)
	return Queue{Name: name, VHost: vhost, Type: queueTypes[admin.StreamQueue], Durable: true, Arguments: args}
}

// ExchangeOf is an exchange as it was declared.
func ExchangeOf(x *admin.ExchangeInfo) Exchange {
	vhost, name := admin.SplitVHost(x.Name)
	out := Exchange{Name: name, VHost: vhost, Type: x.Type.String(), Durable: Truth(x.Durable), AutoDelete: Truth(x.AutoDelete), Internal: Truth(x.Internal)}
	out.Arguments = Arguments(amqp.Table(x.Arguments))
	if x.Delayed {
		out.Arguments["x-delayed-type"] = out.Type
		out.Type = "x-delayed-message"
	}
	if x.Alternate != "" {
		_, out.Arguments["alternate-exchange"] = admin.SplitVHost(x.Alternate)
	}
	if x.HashHeader != "" {
		out.Arguments["hash-header"] = x.HashHeader
	}
	return out
}

// BindingOf is a binding.
func BindingOf(b *admin.BindingInfo) Binding {
	vhost, source := admin.SplitVHost(b.Exchange)
	_, destination := admin.SplitVHost(b.Queue)
	out := Binding{Source: source, VHost: vhost, Destination: destination, DestinationType: "queue", RoutingKey: b.RoutingKey}
	if b.ToExchange {
		out.DestinationType = "exchange"
	}
	if b.Arguments != "" {
		out.Arguments = Arguments(amqp.Table(b.Arguments))
		return out
	}
	out.Arguments = map[string]any{}
	for _, h := range b.Headers {
		out.Arguments[h.Key] = h.Value
	}
	for _, name := range b.Present {
		out.Arguments[name] = nil
	}
	if b.MatchAny || b.WithX {
		out.Arguments["x-match"] = matchWord(b.MatchAny, b.WithX)
	}
	return out
}

func matchWord(any, withX bool) string {
	word := "all"
	if any {
		word = "any"
	}
	if withX {
		word += "-with-x"
	}
	return word
}

// Whole is what a file is made of.
type Whole struct {
	Definitions []admin.Definition
	Queues      []admin.QueueInfo
	Topics      []admin.TopicInfo
	Exchanges   []admin.ExchangeInfo
	Bindings    []admin.BindingInfo
}

// Export makes a file of it; of one vhost, where that is not empty, which leaves out users and what
// belongs to no vhost. What the broker itself makes, and what belongs to a connection, is left out.
func (w *Whole) Export(vhost string) *File {
	f := &File{
		Permissions: []Permission{}, TopicPermissions: []TopicPermission{}, Parameters: []Parameter{},
		Policies: []Policy{}, Queues: []Queue{}, Exchanges: []Exchange{}, Bindings: []Binding{},
	}
	if vhost == "" { // a vhost has none
		f.Users, f.VHosts, f.GlobalParameters = []User{}, []VHost{}, []Parameter{}
	}
	in := func(v string) bool { return vhost == "" || vhost == v }
	for i := range w.Definitions {
		d := &w.Definitions[i]
		if of := d.VHost; of != "" && in(of) || of == "" && vhost == "" {
			f.add(d)
		}
	}
	for i := range w.Exchanges {
		if x := ExchangeOf(&w.Exchanges[i]); in(x.VHost) && x.Name != "" && !strings.HasPrefix(x.Name, "amq.") {
			f.Exchanges = append(f.Exchanges, x)
		}
	}
	for i := range w.Queues {
		if q := QueueOf(&w.Queues[i]); in(q.VHost) && !w.Queues[i].Settings.Exclusive && w.Queues[i].Settings.Topic == "" {
			f.Queues = append(f.Queues, q)
		}
	}
	for i := range w.Topics {
		if q := StreamOf(&w.Topics[i]); in(q.VHost) && len(w.Topics[i].Partitions) == 1 {
			f.Queues = append(f.Queues, q)
		}
	}
	for i := range w.Bindings {
		if b := BindingOf(&w.Bindings[i]); in(b.VHost) {
			f.Bindings = append(f.Bindings, b)
		}
	}
	return f
}

// add enters a definition in its list.
func (f *File) add(d *admin.Definition) {
	switch d.Kind {
	case admin.DefVHost:
		f.VHosts = append(f.VHosts, VHostOf(d))
	case admin.DefUser:
		f.Users = append(f.Users, UserOf(d))
	case admin.DefPermission:
		f.Permissions = append(f.Permissions, PermissionOf(d))
	case admin.DefTopicPermission:
		f.TopicPermissions = append(f.TopicPermissions, TopicPermissionOf(d))
	case admin.DefPolicy:
		f.Policies = append(f.Policies, PolicyOf(d))
	case admin.DefOperatorPolicy:
		p := PolicyOf(d)
		f.Parameters = append(f.Parameters, asParameter("operator_policy", d.Name, d.VHost, map[string]any{
			"pattern": p.Pattern, "apply-to": p.ApplyTo, "priority": p.Priority, "definition": p.Definition,
		}))
	case admin.DefParameter:
		f.Parameters = append(f.Parameters, ParameterOf(d))
	case admin.DefGlobalParameter:
		f.GlobalParameters = append(f.GlobalParameters, ParameterOf(d))
	case admin.DefVHostLimit:
		f.Parameters = append(f.Parameters, asParameter("vhost-limits", "limits", d.Name, LimitsOf(d)))
	case admin.DefUserLimit:
		for i := range f.Users { // they stand before their limits
			if f.Users[i].Name == d.Name {
				f.Users[i].Limits = LimitsOf(d)
			}
		}
	}
}
