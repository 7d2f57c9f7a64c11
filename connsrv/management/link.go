package management

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// LinkName is what the link calls itself: connections of this name are not shown among clients.
const LinkName = "trimq management"

const (
	linkIdle    = 5 * time.Second  // without a request the connection is closed
	linkTimeout = 20 * time.Second // of one request
	linkFrame   = 64 << 20
)

// Link is a Broker: a connection to connsrv's own listener, made when there is something to ask
// and closed when there was nothing for a while. Requests go one after the other.
type Link struct {
	address func() string
	secret  []byte

	mu          sync.Mutex
	conn        net.Conn
	dec         *native.Decoder
	correlation uint64
	idle        *time.Timer
}

// NewLink makes a link; nothing is dialled yet. secret is what clients must know; nil: nothing.
func NewLink(address func() string, secret []byte) *Link {
	return &Link{address: address, secret: secret}
}

// Close ends the connection.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *Link) drop() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// exchange sends one request and reads to its response. deliver is given what comes before that.
func (l *Link) exchange(ctx context.Context, cmd native.Command, body native.Body, deliver func([]byte) error) (reply []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		if err := l.dial(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnavailable, err)
		}
	}
	defer l.rest()
	reply, err = l.call(ctx, cmd, body, deliver)
	if _, refused := err.(*errcode.Error); err != nil && !refused { //nolint:errorlint // ours, as it is
		l.drop()
		err = fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return reply, err
}

// rest has the connection closed when nobody needs it any more.
func (l *Link) rest() {
	if l.idle != nil {
		l.idle.Stop()
	}
	l.idle = time.AfterFunc(linkIdle, l.Close)
}

func (l *Link) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: linkTimeout}
	conn, err := d.DialContext(ctx, "tcp", l.address())
	if err != nil {
		return err
	}
	l.conn, l.dec = conn, native.NewDecoder(conn, 64<<10, linkFrame)
	if err := l.greet(ctx); err != nil {
		l.drop()
		return err
	}
	return nil
}

// greet says hello, and shows the secret where one is asked for.
func (l *Link) greet(ctx context.Context) error {
	reply, err := l.call(ctx, native.CmdHello, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version, Client: LinkName}, nil)
	if err != nil {
		return err
	}
	m, err := native.DecodeHelloReply(reply)
	if err != nil || !m.AuthRequired {
		return err
	}
	proof := &native.Auth{Mechanism: native.AuthHMAC, Proof: native.AuthProof(l.secret, m.Challenge, "")}
	_, err = l.call(ctx, native.CmdAuth, proof, nil)
	return err
}

// call is exchange on a connection that is there.
func (l *Link) call(ctx context.Context, cmd native.Command, body native.Body, deliver func([]byte) error) ([]byte, error) {
	until := time.Now().Add(linkTimeout)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	if err := l.conn.SetDeadline(until); err != nil {
		return nil, err
	}
	conn := l.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	l.correlation++
	if _, err := l.conn.Write(native.AppendFrame(nil, cmd, 0, l.correlation, body)); err != nil {
		return nil, err
	}
	for {
		f, err := l.dec.Next()
		switch {
		case err != nil:
			return nil, err
		case f.Command == native.CmdGoodbye:
			return nil, errcode.New(errcode.ShuttingDown, "the broker stops")
		case f.Correlation != l.correlation: // nothing of ours
		case f.Command == native.CmdDeliver && deliver != nil:
			if err := deliver(f.Body); err != nil {
				return nil, err
			}
		case f.Flags&native.FlagError != 0:
			e, err := native.DecodeErrorBody(f.Body)
			if err != nil {
				return nil, err
			}
			return nil, e.Err()
		case f.Flags&native.FlagResponse != 0:
			return bytes.Clone(f.Body), nil
		}
	}
}

// Describe implements Broker.
func (l *Link) Describe(ctx context.Context, kind admin.Kind, names ...string) (*admin.Description, error) {
	var all admin.Description
	ask := admin.Describe{Kind: kind, Names: names}
	for {
		reply, err := l.exchange(ctx, native.CmdDescribe, &ask, nil)
		if err != nil {
			return nil, err
		}
		d, err := admin.DecodeDescription(reply)
		if err != nil {
			return nil, err
		}
		ask.After = gather(&all, &d)
		if !d.More {
			return &all, nil
		}
	}
}

// gather adds a page to the whole, and tells behind what the next one begins.
func gather(all, d *admin.Description) (after string) {
	all.Topics = append(all.Topics, d.Topics...)
	all.Exchanges = append(all.Exchanges, d.Exchanges...)
	all.Queues = append(all.Queues, d.Queues...)
	all.Bindings = append(all.Bindings, d.Bindings...)
	all.Consumers = append(all.Consumers, d.Consumers...)
	all.Definitions = append(all.Definitions, d.Definitions...)
	switch {
	case len(d.Topics) > 0:
		return d.Topics[len(d.Topics)-1].Name
	case len(d.Exchanges) > 0:
		return d.Exchanges[len(d.Exchanges)-1].Name
	case len(d.Queues) > 0:
		return d.Queues[len(d.Queues)-1].Name
	case len(d.Bindings) > 0:
		b := admin.CreateBinding(d.Bindings[len(d.Bindings)-1])
		b.Canonical()
		return b.Identity()
	case len(d.Consumers) > 0:
		return d.Consumers[len(d.Consumers)-1].Queue
	case len(d.Definitions) > 0:
		return d.Definitions[len(d.Definitions)-1].Identity()
	}
	return ""
}

// Do implements Broker.
func (l *Link) Do(ctx context.Context, cmd definitions.Command) (admin.Created, error) {
	reply, err := l.exchange(ctx, native.Command(cmd.Command), cmd.Body, nil)
	if err != nil {
		return admin.Created{}, err
	}
	return admin.DecodeCreated(reply)
}

// publishing is the body of a PUBLISH with its batch.
type publishing struct {
	head  *native.Publish
	batch []byte
}

// Append encodes it. REQUIRES: the body begins at the end of b.
func (p publishing) Append(b []byte) []byte { return append(p.head.Append(b), p.batch...) }

// Publish implements Broker.
func (l *Link) Publish(ctx context.Context, head *native.Publish, sealed []byte) (queues uint32, err error) {
	reply, err := l.exchange(ctx, native.CmdPublish, publishing{head, sealed}, nil)
	if err != nil {
		return 0, err
	}
	m, err := native.DecodePublishReply(reply)
	return m.Queues, err
}

// Get implements Broker.
func (l *Link) Get(ctx context.Context, queue uint64, most uint32, wait time.Duration, verdict ipc.Verdict) (got []Message, err error) {
	var acks []native.Ack
	deliver := func(body []byte) error {
		m, note, batches, err := native.DecodeDeliver(body)
		if err != nil {
			return err
		}
		acks = append(acks, native.Ack{Sub: m.Sub, Queue: queue, Index: m.Index, Verdict: verdict, Ranges: []ipc.Range{{First: m.First, Count: m.Count}}})
		messages, err := messagesOf(&m, note, batches)
		got = append(got, messages...)
		return err
	}
	if _, err = l.exchange(ctx, native.CmdPull, &native.Pull{Queue: queue, Max: most, WaitMS: uint64(wait.Milliseconds())}, deliver); err != nil {
		return nil, err
	}
	for i := range acks {
		if _, err := l.exchange(ctx, native.CmdAck, &acks[i], nil); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// messagesOf are the messages of a delivery.
func messagesOf(m *native.Deliver, note, batches []byte) (got []Message, err error) {
	var n ipc.Note
	if len(note) > 0 {
		if n, err = native.DecodeNote(note); err != nil {
			return nil, err
		}
	}
	var r batch.Reader
	if err := r.Reset(batches); err != nil {
		return nil, err
	}
	r.Rebase(m.Base)
	var rec batch.Record
	for r.Next(&rec) {
		if offset := uint64(rec.Offset); offset < m.First || offset >= m.First+uint64(m.Count) {
			continue
		}
		x := Message{Exchange: n.Exchange, Key: n.Key, Body: bytes.Clone(rec.Value), Redelivered: m.Attempts > 0}
		if len(note) == 0 {
			x.Key = string(rec.Key)
		}
		for headers := rec.Headers(); ; {
			key, value, ok := headers.Next()
			if !ok {
				break
			}
			x.Headers = append(x.Headers, ipc.Header{Key: string(key), Value: string(value)})
		}
		got = append(got, x)
	}
	return got, r.Err()
}

// Definitions are all that is defined.
func (l *Link) Definitions(ctx context.Context) ([]admin.Definition, error) {
	d, err := l.Describe(ctx, admin.KindDefinition)
	if err != nil {
		return nil, err
	}
	return d.Definitions, nil
}

// Without leaves the link's own connection out of a list.
func (l *Link) Without(conns []connview.Conn) []connview.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return conns
	}
	own := l.conn.LocalAddr().String()
	return slices.DeleteFunc(conns, func(c connview.Conn) bool { return c.Peer == own })
}
