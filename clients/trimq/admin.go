package trimq

import (
	"context"
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// What the broker has, as it is created and described.
type (
	TopicSpec    = admin.CreateTopic
	ExchangeSpec = admin.CreateExchange
	QueueSpec    = admin.CreateQueue
	// QueueSettings are the properties by which two queues are equal.
	QueueSettings = admin.QueueSettings
	BindingSpec   = admin.CreateBinding
	TopicInfo     = admin.TopicInfo
	ExchangeInfo  = admin.ExchangeInfo
	QueueInfo     = admin.QueueInfo
	BindingInfo   = admin.BindingInfo
	GroupInfo     = admin.GroupInfo
	ExchangeType  = admin.ExchangeType
	// RoutingHeader is a header that a binding of a headers exchange compares.
	RoutingHeader = ipc.Header
)

// Exchange types.
const (
	Fanout         = admin.Fanout
	Direct         = admin.Direct
	Topic          = admin.Topic
	Headers        = admin.Headers
	ConsistentHash = admin.ConsistentHash
)

// CreateTopic makes a topic. Existed tells that an equal one was there before; an unequal
// one is ErrInequivalent.
func (c *Client) CreateTopic(ctx context.Context, spec TopicSpec) (existed bool, err error) {
	return c.create(ctx, native.CmdCreateTopic, &spec)
}

// CreateExchange makes an exchange, as CreateTopic does.
func (c *Client) CreateExchange(ctx context.Context, spec ExchangeSpec) (existed bool, err error) {
	return c.create(ctx, native.CmdCreateExchange, &spec)
}

// CreateQueue makes a queue, as CreateTopic does.
func (c *Client) CreateQueue(ctx context.Context, spec QueueSpec) (existed bool, err error) {
	return c.create(ctx, native.CmdCreateQueue, &spec)
}

// CreateBinding binds a queue, topic or exchange to an exchange; the rest as CreateTopic.
func (c *Client) CreateBinding(ctx context.Context, spec BindingSpec) (existed bool, err error) {
	return c.create(ctx, native.CmdCreateBinding, &spec)
}

func (c *Client) create(ctx context.Context, cmd native.Command, body native.Body) (bool, error) {
	made, err := request(ctx, c, cmd, body, admin.DecodeCreated)
	return made.Existed, err
}

// AddPartitions raises the number of a topic's partitions to total. Keys may map to other
// partitions from then on.
func (c *Client) AddPartitions(ctx context.Context, topic string, total uint32) error {
	_, err := c.calls.do(ctx, native.CmdAddPartitions, &admin.AddPartitions{Name: topic, Total: total})
	c.topics.forget(topic)
	return err
}

// DeleteTopic deletes a topic and all its records.
func (c *Client) DeleteTopic(ctx context.Context, name string) error {
	err := c.drop(ctx, native.CmdDeleteTopic, &admin.Delete{Name: name})
	c.topics.forget(name)
	return err
}

// DeleteCondition restricts a deletion.
type DeleteCondition struct {
	IfUnused bool // only without consumers (a queue) or bindings (an exchange)
	IfEmpty  bool // only without messages
}

// DeleteQueue deletes a queue.
func (c *Client) DeleteQueue(ctx context.Context, name string, cond DeleteCondition) error {
	return c.drop(ctx, native.CmdDeleteQueue, &admin.Delete{Name: name, IfUnused: cond.IfUnused, IfEmpty: cond.IfEmpty})
}

// DeleteExchange deletes an exchange.
func (c *Client) DeleteExchange(ctx context.Context, name string, cond DeleteCondition) error {
	return c.drop(ctx, native.CmdDeleteExchange, &admin.Delete{Name: name, IfUnused: cond.IfUnused})
}

// DeleteBinding takes a binding back; spec is what CreateBinding was given.
func (c *Client) DeleteBinding(ctx context.Context, spec BindingSpec) error {
	body := admin.DeleteBinding(spec)
	return c.drop(ctx, native.CmdDeleteBinding, &body)
}

// drop deletes. A request that had to be sent again may find its own work done.
func (c *Client) drop(ctx context.Context, cmd native.Command, body native.Body) error {
	a, err := c.calls.do(ctx, cmd, body)
	if a.sent > 1 && codeOf(err) == errcode.NotFound {
		return nil
	}
	return err
}

// Topics describes the named topics, or all of them. A name that is not there is ErrNotFound.
func (c *Client) Topics(ctx context.Context, names ...string) ([]TopicInfo, error) {
	var all []TopicInfo
	err := c.describe(ctx, admin.KindTopic, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Topics...)
		return lastName(d.Topics, func(t *TopicInfo) string { return t.Name })
	})
	return all, err
}

// Exchanges describes exchanges, as Topics does topics.
func (c *Client) Exchanges(ctx context.Context, names ...string) ([]ExchangeInfo, error) {
	var all []ExchangeInfo
	err := c.describe(ctx, admin.KindExchange, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Exchanges...)
		return lastName(d.Exchanges, func(t *ExchangeInfo) string { return t.Name })
	})
	return all, err
}

// Queues describes queues, as Topics does topics.
func (c *Client) Queues(ctx context.Context, names ...string) ([]QueueInfo, error) {
	var all []QueueInfo
	err := c.describe(ctx, admin.KindQueue, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Queues...)
		return lastName(d.Queues, func(t *QueueInfo) string { return t.Name })
	})
	return all, err
}

// queueNamed describes a queue.
func (c *Client) queueNamed(ctx context.Context, name string) (*QueueInfo, error) {
	found, err := c.Queues(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, protocolError("DESCRIBE of queue %q tells of %d", name, len(found))
	}
	return &found[0], nil
}

// Bindings describes the bindings of the named exchanges, or of all.
func (c *Client) Bindings(ctx context.Context, exchanges ...string) ([]BindingInfo, error) {
	var all []BindingInfo
	err := c.describe(ctx, admin.KindBinding, exchanges, func(d *admin.Description) (string, int) {
		all = append(all, d.Bindings...)
		return lastName(d.Bindings, func(b *BindingInfo) string { return (*admin.CreateBinding)(b).Identity() })
	})
	return all, err
}

// Groups describes the committed offsets of groups, as Topics does topics.
func (c *Client) Groups(ctx context.Context, names ...string) ([]GroupInfo, error) {
	var all []GroupInfo
	err := c.describe(ctx, admin.KindGroup, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Groups...)
		return lastName(d.Groups, func(g *GroupInfo) string { return g.Name })
	})
	return all, err
}

func lastName[T any](list []T, name func(*T) string) (string, int) {
	if len(list) == 0 {
		return "", 0
	}
	return name(&list[len(list)-1]), len(list)
}

// describe asks page by page. take keeps a page and gives its last name and its length.
func (c *Client) describe(ctx context.Context, kind admin.Kind, names []string, take func(*admin.Description) (string, int)) error {
	ask := admin.Describe{Kind: kind, Names: names}
	for {
		page, err := request(ctx, c, native.CmdDescribe, &ask, admin.DecodeDescription)
		if err != nil {
			return err
		}
		if len(page.Missing) > 0 {
			return &Error{Code: errcode.NotFound, Text: fmt.Sprintf("%q", page.Missing[0])}
		}
		last, n := take(&page)
		if !page.More {
			return nil
		}
		if n == 0 || last <= ask.After && len(names) == 0 {
			return protocolError("DESCRIBE does not get on behind %q", ask.After)
		}
		ask.After = last
	}
}
