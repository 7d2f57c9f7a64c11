package trimq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/native"
)

// Client is a user's handle on a broker: administration, and the maker of producers and
// consumers. It is safe for use by many goroutines.
type Client struct {
	addrs  []string
	opt    options
	calls  *calls
	topics *topicTable
	pulls  pulls

	checkOnce sync.Once
	checker   *checks // made with the first TxnChecker

	mu     sync.Mutex
	closed bool
	parts  []closer // producers and consumers, to be closed with the client
}

type closer interface {
	Close(ctx context.Context) error
}

// NewClient makes a client without waiting for a connection. Addresses are host:port, or a
// host alone for port 7420; with several, the client uses one that answers.
func NewClient(addrs []string, opts ...Option) (*Client, error) {
	if len(addrs) == 0 {
		return nil, errors.New("trimq: no broker address")
	}
	c := &Client{opt: newOptions(opts)}
	for _, a := range addrs {
		full, err := withPort(a)
		if err != nil {
			return nil, err
		}
		c.addrs = append(c.addrs, full)
	}
	c.calls = newCalls(newLink(c, controlSlab, native.DefaultMaxFrame))
	c.calls.link.start()
	c.topics = startTopicTable(c)
	c.pulls.c = c
	return c, nil
}

// controlSlab is the read buffer of links that carry small frames, in bytes.
const controlSlab = 16 << 10

// Dial makes a client and waits until it is connected, or until ctx ends: it tells then why
// no broker was reached.
func Dial(ctx context.Context, addrs []string, opts ...Option) (*Client, error) {
	c, err := NewClient(addrs, opts...)
	if err != nil {
		return nil, err
	}
	if _, err := c.Ping(ctx); err != nil {
		c.Close(ctx)
		return nil, fmt.Errorf("trimq: dial %s: %w", strings.Join(addrs, ","), err)
	}
	return c, nil
}

func withPort(addr string) (string, error) {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr, nil
	}
	host := strings.Trim(addr, "[]")
	if host == "" || strings.ContainsAny(host, ": ") && net.ParseIP(host) == nil {
		return "", fmt.Errorf("trimq: broker address %q is not host:port", addr)
	}
	return net.JoinHostPort(host, strconv.Itoa(native.DefaultPort)), nil
}

// Ping measures a round trip to the broker's connection tier.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	pong, err := request(ctx, c, native.CmdPing, &native.Ping{Token: uint64(began.UnixNano())}, native.DecodePing)
	if err != nil {
		return 0, err
	}
	if pong.Token != uint64(began.UnixNano()) {
		return 0, protocolError("PING came back as %d", pong.Token)
	}
	return time.Since(began), nil
}

// BrokerInfo is what a broker tells of itself.
type BrokerInfo = native.InfoReply

// Info asks the broker for its state.
func (c *Client) Info(ctx context.Context) (BrokerInfo, error) {
	return request(ctx, c, native.CmdInfo, native.Empty{}, native.DecodeInfoReply)
}

// request is a call over the client's own link, with a typed answer.
func request[T any](ctx context.Context, c *Client, cmd native.Command, body native.Body, decode func([]byte) (T, error)) (T, error) {
	v, _, err := ask(ctx, c.calls, nil, cmd, body, decode)
	return v, err
}

// Close closes what the client has made, then the client. Producers deliver what they have
// taken before they close, until ctx ends.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	parts := c.parts
	c.parts = nil
	c.mu.Unlock()
	var errs []error
	for _, p := range parts {
		if err := p.Close(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	c.topics.close()
	c.pulls.close()
	c.calls.close()
	return errors.Join(errs...)
}

// adopt has p closed with the client.
func (c *Client) adopt(p closer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.parts = append(c.parts, p)
	return nil
}

// disown forgets p, which is closing by itself.
func (c *Client) disown(p closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.parts, p); i >= 0 {
		c.parts = slices.Delete(c.parts, i, i+1)
	}
}

// until is a context for work in the background: it ends when stop is closed, or with
// cancel, which must be called.
func until(stop <-chan struct{}) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
