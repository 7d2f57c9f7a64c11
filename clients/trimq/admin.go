package trimq

import (
	"context"

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
	ConsumerInfo  = admin.ConsumerInfo
	TxnInfo       = admin.TxnInfo
	TxnalInfo     = admin.TxnalInfo
	ExchangeType  = admin.ExchangeType
	// Created tells of what a creation has made, or found.
	Created = admin.Created
	// SeekTo is a position in one of a queue's indexes.
	SeekTo = admin.SeekTo
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

// Some is a number of QueueSettings that is given.
func Some(n uint64) admin.Opt { return admin.Some(n) }

// What a full queue does.
const (
	DropHead         = admin.DropHead         // the oldest messages make room
	RejectPublish    = admin.RejectPublish    // the new message is not taken: ErrQueueFull
	RejectDeadLetter = admin.RejectDeadLetter // … and is dead-lettered
)

// How the filter of a queue over a topic is written.
const (
	FilterSelector = admin.FilterSelector // a condition over headers
	FilterTags     = admin.FilterTags     // a || b
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

// CreateQueue makes a queue, as CreateTopic does. QueueSettings says what it can be; a number that
// may be left out is given with Some.
func (c *Client) CreateQueue(ctx context.Context, spec QueueSpec) (existed bool, err error) {
	return c.create(ctx, native.CmdCreateQueue, &spec)
}

// DeclareQueue is CreateQueue that tells more: the queue's id, and its name, which the broker
// chooses where the spec has none. An exclusive queue belongs to the connection that made it: make
// it with DeclareAndConsume.
func (c *Client) DeclareQueue(ctx context.Context, spec QueueSpec) (Created, error) {
	return request(ctx, c, native.CmdCreateQueue, &spec, admin.DecodeCreated)
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
