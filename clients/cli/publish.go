package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

// maxLine bounds a message that is read from a line, in bytes.
const maxLine = 64 << 20

func publishCommand() *cli.Command {
	return &cli.Command{Name: "publish", Usage: "send the lines of standard input, each as a message", Flags: []cli.Flag{
		&cli.StringFlag{Name: "topic", Usage: "send to the topic `NAME`"},
		&cli.IntFlag{Name: "partition", Value: -1, Usage: "always to this `PARTITION`", DefaultText: "by the key, or any"},
		&cli.StringFlag{Name: "exchange", Usage: "send through the exchange `NAME`"},
		&cli.StringFlag{Name: "key", Usage: "the messages' `KEY` (to a topic) or routing key (through an exchange)"},
		&cli.StringFlag{Name: "key-separator", Usage: "each line is a key, this `TEXT`, and the message"},
		&cli.StringSliceFlag{Name: "header", Usage: "`NAME=VALUE` for each message; several are allowed"},
		&cli.UintFlag{Name: "priority", Usage: "through an exchange: 0 to 255; queues with priorities deliver higher ones first"},
		&cli.DurationFlag{Name: "delay", Usage: "through an exchange: nobody sees them before"},
		&cli.DurationFlag{Name: "ttl", Usage: "through an exchange: they expire when they have waited in a queue for so long; 0: unless they can be delivered at once", DefaultText: "never"},
		&cli.BoolFlag{Name: "mandatory", Usage: "a message that reaches no queue is an error"},
		levelFlag("what an acknowledgement waits for"),
		&cli.BoolFlag{Name: "zstd", Usage: "compress"},
		&cli.DurationFlag{Name: "retry-for", Value: defaultTimeout, Usage: "how long to try again what the broker refuses for now"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "do not tell how many were sent"},
	}, Action: publish}
}

// publishing is one run of publish.
type publishing struct {
	template  trimq.Message
	separator []byte

	mu     sync.Mutex
	acked  int
	queues uint64
	failed int
	first  error
}

func publish(c *cli.Context) error {
	p, opts, err := newPublishing(c)
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close(context.WithoutCancel(c.Context))
	if err := reach(c, client); err != nil {
		return err
	}
	producer, err := client.NewProducer(opts...)
	if err != nil {
		return err
	}
	err = p.lines(c.Context, producer, c.App.Reader)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), c.Duration("retry-for")+c.Duration("timeout"))
	defer cancel()
	if e := producer.Close(ctx); err == nil {
		err = e
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.Bool("quiet") {
		text := fmt.Sprintf("%d messages acknowledged", p.acked)
		if p.template.Topic == "" {
			text += fmt.Sprintf(", %d copies in queues", p.queues)
		}
		fmt.Fprintln(c.App.ErrWriter, text)
	}
	if p.failed > 0 {
		return fmt.Errorf("%d messages failed, the first with: %w", p.failed, p.first)
	}
	return err
}

func newPublishing(c *cli.Context) (*publishing, []trimq.ProducerOption, error) {
	if _, err := names(c, "", 0, 0); err != nil {
		return nil, nil, err
	}
	p := &publishing{separator: []byte(c.String("key-separator"))}
	m := &p.template
	m.Topic, m.Exchange, m.Mandatory = c.String("topic"), c.String("exchange"), c.Bool("mandatory")
	if (m.Topic == "") == !c.IsSet("exchange") {
		return nil, nil, badUsage("publish: either --topic or --exchange is needed")
	}
	if err := parseDelivery(c, m); err != nil {
		return nil, nil, err
	}
	if n := c.Int("partition"); n >= 0 {
		m.Partition = trimq.ToPartition(uint32(n))
	}
	if c.IsSet("key") {
		if m.Topic != "" {
			m.Key = []byte(c.String("key"))
		}
		m.RoutingKey = c.String("key")
	}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, nil, badUsage("--header is %q; it must be NAME=VALUE", h)
		}
		m.Headers = append(m.Headers, trimq.Header{Key: name, Value: []byte(value)})
	}
	level, err := parseLevel(c)
	if err != nil {
		return nil, nil, err
	}
	opts := []trimq.ProducerOption{trimq.WithLevel(level), trimq.WithRetryFor(c.Duration("retry-for"))}
	if c.Bool("zstd") {
		opts = append(opts, trimq.WithZstd())
	}
	return p, opts, nil
}

// parseDelivery reads when and how queues are to deliver.
func parseDelivery(c *cli.Context, m *trimq.Message) error {
	for _, name := range []string{"priority", "delay", "ttl", "mandatory"} {
		if c.IsSet(name) && m.Topic != "" {
			return badUsage("publish: --%s is for --exchange; a topic takes messages as they come", name)
		}
	}
	for _, name := range []string{"delay", "ttl"} {
		if d := c.Duration(name); d < 0 {
			return badUsage("--%s is %v; it must not be negative", name, d)
		}
	}
	if n := c.Uint("priority"); n > 255 {
		return badUsage("--priority is %d; it can be 0 to 255", n)
	}
	m.Priority, m.Delay = uint8(c.Uint("priority")), c.Duration("delay")
	if c.IsSet("ttl") {
		m.TTL = trimq.ExpireAfter(c.Duration("ttl"))
	}
	return nil
}

// lines sends what r holds, until its end or the first message that is not taken.
func (p *publishing) lines(ctx context.Context, producer *trimq.Producer, r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	for in.Scan() && ctx.Err() == nil {
		m := p.template
		m.Value = in.Bytes()
		if len(p.separator) > 0 {
			key, value, ok := bytes.Cut(m.Value, p.separator)
			if !ok {
				return fmt.Errorf("line %q has no key separator", short(m.Value))
			}
			m.Value, m.RoutingKey = value, string(key)
			if m.Topic != "" {
				m.Key = key
			}
		}
		if err := producer.Produce(ctx, &m, p.done); err != nil {
			return err
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	return errors.Join(in.Err(), ctx.Err())
}

func short(b []byte) []byte { return b[:min(len(b), 60)] }

func (p *publishing) done(r trimq.Result, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.acked++
		p.queues += uint64(r.Queues)
		return
	}
	if p.failed++; p.failed == 1 {
		p.first = err
	}
}
