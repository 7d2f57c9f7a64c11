package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func consumeCommand() *cli.Command {
	return &cli.Command{Name: "consume", Usage: "print messages of a topic or queue, a line each", Flags: []cli.Flag{
		&cli.StringFlag{Name: "topic", Usage: "read the topic `NAME`"},
		&cli.StringFlag{Name: "partition", Usage: "only these `PARTITIONS` of it, separated by commas", DefaultText: "all"},
		&cli.StringFlag{Name: "from", Value: "earliest", Usage: "earliest, latest, an offset, or a time (RFC 3339); where the group has committed, from there"},
		&cli.StringFlag{Name: "group", Usage: "be a member of the group `NAME`: share the partitions with others, and commit what was printed"},
		&cli.DurationFlag{Name: "session-timeout", Usage: "with --group: others get the partitions after so long a silence of this command", DefaultText: "the broker's"},
		&cli.StringFlag{Name: "positions", Usage: "read everything, whoever else does, and commit for the group `NAME` without being its member"},
		&cli.BoolFlag{Name: "push", Usage: "have the broker push instead of fetching"},
		&cli.StringFlag{Name: "queue", Usage: "take from the queue `NAME`"},
		&cli.StringFlag{Name: "ack", Value: "yes", Usage: "with a queue: yes settles what was printed, no gives it back at the end, auto lets the broker settle what it delivers"},
		&cli.BoolFlag{Name: "pull", Usage: "with a queue: ask for messages instead of being a consumer"},
		&cli.DurationFlag{Name: "visibility", Usage: "with --pull: nobody else sees them for so long, even if this command is killed", DefaultText: "until this command ends"},
		&cli.BoolFlag{Name: "exclusive", Usage: "be the queue's only consumer, or fail"},
		&cli.Uint64Flag{Name: "count", Aliases: []string{"n"}, Usage: "end after so many messages", DefaultText: "no end"},
		&cli.DurationFlag{Name: "idle", Usage: "end when for so long nothing has come", DefaultText: "never"},
		&cli.BoolFlag{Name: "with-key", Usage: "print the key and a tab before each message"},
		&cli.BoolFlag{Name: "json", Usage: "print a JSON object for each message"},
	}, Action: consume}
}

// consuming is one run of consume.
type consuming struct {
	out     *bufio.Writer
	json    bool
	withKey bool
	left    uint64 // to be printed
	idle    time.Duration
}

const noLimit = ^uint64(0)

func consume(c *cli.Context) (err error) {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	if c.IsSet("topic") == c.IsSet("queue") {
		return badUsage("consume: either --topic or --queue is needed")
	}
	k := &consuming{
		out: bufio.NewWriterSize(c.App.Writer, 64<<10), json: c.Bool("json"), withKey: c.Bool("with-key"),
		left: noLimit, idle: c.Duration("idle"),
	}
	if c.IsSet("count") {
		k.left = c.Uint64("count")
	}
	run, err := k.plan(c)
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), c.Duration("timeout"))
		defer cancel()
		err = errors.Join(err, k.out.Flush(), client.Close(ctx))
	}()
	if err := reach(c, client); err != nil {
		return err
	}
	err = run(client)
	if c.Context.Err() != nil && errors.Is(err, c.Context.Err()) {
		return nil // interrupted: what was printed is committed or settled
	}
	return err
}

// plan reads the options, so that a mistake is told before a broker is asked.
func (k *consuming) plan(c *cli.Context) (run func(*trimq.Client) error, err error) {
	for _, name := range []string{"pull", "visibility"} {
		if c.IsSet(name) && !c.IsSet("queue") {
			return nil, badUsage("--%s is for --queue", name)
		}
	}
	switch c.String("ack") {
	case "yes", "no", "auto":
	default:
		return nil, badUsage("--ack is %q; it can be yes, no or auto", c.String("ack"))
	}
	if c.Bool("pull") {
		opts, err := k.pullOptions(c)
		return func(client *trimq.Client) error { return k.pull(c, client, opts) }, err
	}
	if c.IsSet("visibility") {
		return nil, badUsage("--visibility is for --pull")
	}
	if c.IsSet("queue") {
		opts := k.queueOptions(c)
		return func(client *trimq.Client) error { return k.queue(c, client, opts) }, nil
	}
	opts, err := consumerOptions(c)
	return func(client *trimq.Client) error { return k.topic(c, client, opts) }, err
}

// errIdle ends a run in which nothing more comes.
var errIdle = errors.New("nothing more came")

// wait bounds a wait for the next messages.
func (k *consuming) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	if k.idle <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, k.idle, errIdle)
}

func (k *consuming) topic(c *cli.Context, client *trimq.Client, opts []trimq.ConsumerOption) error {
	ctx, cancel := limit(c)
	consumer, err := client.NewConsumer(ctx, []string{c.String("topic")}, opts...)
	cancel()
	if err != nil {
		return err
	}
	for k.left > 0 {
		ctx, cancel := k.wait(c.Context)
		f, err := consumer.Poll(ctx)
		cancel()
		if errors.Is(context.Cause(ctx), errIdle) && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := k.fetched(c, consumer, f); err != nil {
			return err
		}
	}
	return nil
}

// lingering ends only when the program has been told to end and the time-out has passed since: what
// was printed is to be committed, however long the broker, or this process, was stopped meanwhile.
func lingering(c *cli.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	stop := context.AfterFunc(c.Context, func() { time.AfterFunc(c.Duration("timeout"), cancel) })
	return ctx, func() { stop(); cancel() }
}

// fetched prints the records of a fetch and commits them.
func (k *consuming) fetched(c *cli.Context, consumer *trimq.Consumer, f *trimq.Fetch) error {
	defer f.Release()
	var next uint64
	for i := range f.Records {
		if k.left == 0 {
			break
		}
		partition := int64(f.Partition)
		if err := k.print(&f.Records[i], &line{Topic: f.Topic, Partition: &partition}); err != nil {
			return err
		}
		next = f.Records[i].Offset + 1
	}
	if err := k.out.Flush(); err != nil || !c.IsSet("group") && !c.IsSet("positions") || next == 0 {
		return err
	}
	ctx, cancel := lingering(c)
	defer cancel()
	err := consumer.CommitPositions(ctx, trimq.Position{Topic: f.Topic, Partition: f.Partition, Offset: next})
	if errors.Is(err, trimq.ErrNotAssigned) { // the broker has not heard from here for too long
		fmt.Fprintln(c.App.ErrWriter, "trimq: printed too late, another member has it too:", err)
		err = nil
	}
	return err
}

func consumerOptions(c *cli.Context) ([]trimq.ConsumerOption, error) {
	from, err := parseFrom("from", c.String("from"))
	if err != nil {
		return nil, err
	}
	opts := []trimq.ConsumerOption{trimq.WithFrom(from)}
	switch {
	case c.IsSet("group") && c.IsSet("positions"):
		return nil, badUsage("--group or --positions: a consumer either shares partitions with a group's members, or reads everything")
	case c.IsSet("group") && c.IsSet("partition"):
		return nil, badUsage("--partition: a group's members are assigned theirs; with --positions instead of --group they can be named")
	case c.IsSet("group"):
		opts = append(opts, trimq.WithGroup(c.String("group")))
		if c.IsSet("session-timeout") {
			opts = append(opts, trimq.WithSessionTimeout(c.Duration("session-timeout")))
		}
	case c.IsSet("session-timeout"):
		return nil, badUsage("--session-timeout is for members of a group: name it with --group")
	case c.IsSet("positions"):
		opts = append(opts, trimq.WithPositions(c.String("positions")))
	}
	if c.Bool("push") {
		opts = append(opts, trimq.WithPush())
	}
	if c.IsSet("partition") {
		list, err := parsePartitions(c.String("partition"))
		if err != nil {
			return nil, err
		}
		opts = append(opts, trimq.WithPartitions(list...))
	}
	return opts, nil
}

// parseFrom reads the value of a flag that says where to begin.
func parseFrom(flag, text string) (trimq.From, error) {
	switch text {
	case "earliest":
		return trimq.Earliest(), nil
	case "latest":
		return trimq.Latest(), nil
	}
	if n, ok := parseOffset(text); ok {
		return trimq.AtOffset(n), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return trimq.AtTime(t), nil
	}
	return trimq.From{}, badUsage("--%s is %q; it can be earliest, latest, an offset, or a time like 2006-01-02T15:04:05Z", flag, text)
}

func parseOffset(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

func parsePartitions(text string) ([]uint32, error) {
	var list []uint32
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, badUsage("--partition is %q; it must be numbers, separated by commas", text)
		}
		list = append(list, uint32(n))
	}
	return list, nil
}

func (k *consuming) queueOptions(c *cli.Context) []trimq.QueueOption {
	const prefetch = 1000
	opts := []trimq.QueueOption{trimq.WithPrefetch(int(min(prefetch, max(k.left, 1)))), trimq.WithTag("trimq consume")}
	switch c.String("ack") {
	case "no":
		opts = append(opts, trimq.WithAckTimeout(0)) // it holds them to the end
	case "auto":
		opts = append(opts, trimq.WithAutoAck())
	}
	if c.Bool("exclusive") {
		opts = append(opts, trimq.WithExclusive())
	}
	return opts
}

func (k *consuming) queue(c *cli.Context, client *trimq.Client, opts []trimq.QueueOption) error {
	ctx, cancel := limit(c)
	consumer, err := client.ConsumeQueue(ctx, c.String("queue"), opts...)
	cancel()
	if err != nil {
		return err
	}
	for k.left > 0 {
		ctx, cancel := k.wait(c.Context)
		d, err := consumer.Receive(ctx)
		cancel()
		if errors.Is(context.Cause(ctx), errIdle) && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := k.delivered(c, consumer, d); err != nil {
			return err
		}
	}
	return nil
}

// delivered prints messages of a queue and settles those that were printed.
func (k *consuming) delivered(c *cli.Context, consumer *trimq.QueueConsumer, d *trimq.Deliveries) error {
	defer d.Release()
	var printed []uint64
	for i := range d.Messages {
		if k.left == 0 {
			break
		}
		if err := k.print(&d.Messages[i], lineOf(&d.Parcel)); err != nil {
			return err
		}
		printed = append(printed, d.Messages[i].Offset)
	}
	if err := k.out.Flush(); err != nil || c.String("ack") != "yes" {
		return err
	}
	err := consumer.Ack(d.Index, printed...)
	if errors.Is(err, trimq.ErrRecalled) { // whoever reads the output is slow
		fmt.Fprintln(c.App.ErrWriter, "trimq: printed too late, will come again:", err)
		err = nil
	}
	return err
}

// deathView is a row of a message's deaths as JSON.
type deathView struct {
	Queue    string    `json:"queue"`
	Reason   string    `json:"reason"`
	Count    uint64    `json:"count"`
	First    time.Time `json:"first"`
	Exchange string    `json:"exchange"`
	Keys     []string  `json:"keys"`
}

// lineOf is what all messages of a parcel share.
func lineOf(d *trimq.Parcel) *line {
	l := &line{Queue: d.Queue, Index: d.Index, Attempts: d.Attempts, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Priority: d.Priority}
	for _, x := range d.Deaths {
		l.Deaths = append(l.Deaths, deathView{x.Queue, x.Reason.String(), x.Count, time.UnixMilli(x.FirstMS).UTC(), x.Exchange, x.Keys})
	}
	return l
}

// line is a message as JSON. Text that is not UTF-8 stands in base64.
type line struct {
	Topic       string            `json:"topic,omitempty"`
	Partition   *int64            `json:"partition,omitempty"`
	Queue       string            `json:"queue,omitempty"`
	Index       uint64            `json:"index,omitempty"`
	Offset      uint64            `json:"offset"`
	Time        time.Time         `json:"time"`
	Attempts    uint16            `json:"attempts,omitempty"`
	Exchange    string            `json:"exchange,omitempty"`
	RoutingKey  string            `json:"routing_key,omitempty"`
	Priority    uint8             `json:"priority,omitempty"`
	Deaths      []deathView       `json:"deaths,omitempty"`
	Key         *string           `json:"key,omitempty"`
	KeyBase64   []byte            `json:"key_base64,omitempty"`
	Value       *string           `json:"value,omitempty"`
	ValueBase64 []byte            `json:"value_base64,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
}

func (k *consuming) print(r *trimq.Record, l *line) error {
	k.left--
	if !k.json {
		if k.withKey {
			k.out.Write(r.Key)
			k.out.WriteByte('\t')
		}
		k.out.Write(r.Value)
		return k.out.WriteByte('\n')
	}
	l.Offset, l.Time = r.Offset, r.Time().UTC()
	l.Key, l.KeyBase64 = text(r.Key)
	l.Value, l.ValueBase64 = text(r.Value)
	for _, h := range r.Headers {
		if l.Headers == nil {
			l.Headers = map[string]string{}
		}
		l.Headers[h.Key] = string(h.Value)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("offset %d: %w", r.Offset, err)
	}
	k.out.Write(b)
	return k.out.WriteByte('\n')
}

func text(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
