package trimq

import (
	"context"
	"fmt"
	"strconv"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

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

// Consumers describes the consumers of the named queues, or of all.
func (c *Client) Consumers(ctx context.Context, queues ...string) ([]ConsumerInfo, error) {
	var all []ConsumerInfo
	err := c.describe(ctx, admin.KindConsumer, queues, func(d *admin.Description) (string, int) {
		all = append(all, d.Consumers...)
		return lastName(d.Consumers, func(k *ConsumerInfo) string { return k.Queue })
	})
	return all, err
}

// Txns describes the open transactions of the named producer groups, or all, in order of their
// numbers.
func (c *Client) Txns(ctx context.Context, groups ...string) ([]TxnInfo, error) {
	var all []TxnInfo
	err := c.describe(ctx, admin.KindTxn, groups, func(d *admin.Description) (string, int) {
		all = append(all, d.Txns...)
		return lastName(d.Txns, func(x *TxnInfo) string { return strconv.FormatUint(x.Txn, 10) })
	})
	return all, err
}

// Txnals describes transactional ids of Kafka's producers, those that are named or all.
func (c *Client) Txnals(ctx context.Context, ids ...string) ([]TxnalInfo, error) {
	var all []TxnalInfo
	err := c.describe(ctx, admin.KindTxnal, ids, func(d *admin.Description) (string, int) {
		all = append(all, d.Txnals...)
		return lastName(d.Txnals, func(x *TxnalInfo) string { return x.ID })
	})
	return all, err
}

// AbortTxnal aborts the open transaction of a transactional id, and fences its producer.
func (c *Client) AbortTxnal(ctx context.Context, id string) error {
	return c.drop(ctx, native.CmdAbortTxnal, &admin.Delete{Name: id})
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
		if n == 0 || !behind(kind, last, ask.After) && len(names) == 0 {
			return protocolError("DESCRIBE does not get on behind %q", ask.After)
		}
		ask.After = last
	}
}

// behind tells whether a name comes behind another in the order of a kind.
func behind(kind admin.Kind, name, other string) bool {
	if kind != admin.KindTxn {
		return name > other
	}
	a, _ := strconv.ParseUint(name, 10, 64)
	b, _ := strconv.ParseUint(other, 10, 64)
	return a > b
}
