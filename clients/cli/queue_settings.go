package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/selector"
)

// settingsFlags are the properties of a queue; docs/queues.md says what they do.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "transient", Usage: "its messages need not survive"},
		&cli.BoolFlag{Name: "auto-delete", Usage: "it goes with its last consumer"},
		&cli.BoolFlag{Name: "exclusive", Usage: "refused here: such a queue goes with the connection that makes it, and so with this command", Hidden: true},
		&cli.BoolFlag{Name: "single-active", Usage: "one consumer at a time gets messages"},
		&cli.UintFlag{Name: "max-priority", Usage: "priorities from 0 to `N`, 255 at most; 0: none"},
		&cli.Uint64Flag{Name: "max-messages", Usage: "how many messages may be ready", DefaultText: "no limit"},
		&cli.Uint64Flag{Name: "max-bytes", Usage: "how many bytes may be ready", DefaultText: "no limit"},
		&cli.StringFlag{Name: "overflow", Value: "drop-head", Usage: "what makes room: " + strings.Join(overflows[:], ", ")},
		&cli.DurationFlag{Name: "message-ttl", Usage: "how long a message may wait; 0: not at all", DefaultText: "for ever"},
		&cli.DurationFlag{Name: "expires", Usage: "it goes when nobody has used it for so long", DefaultText: "never"},
		&cli.Uint64Flag{Name: "delivery-limit", Usage: "a message that came back more often is dead", DefaultText: "no limit"},
		&cli.DurationFlag{Name: "rewind", Usage: "for so long acknowledged messages are kept, for queue seek", DefaultText: "not at all"},
		&cli.StringFlag{Name: "dead-letter-exchange", Usage: "the `NAME` of the exchange that gets dead messages; an empty one is the default exchange", DefaultText: "they are dropped"},
		&cli.StringFlag{Name: "dead-letter-key", Usage: "the routing `KEY` that they get", DefaultText: "the one they came with"},
		&cli.StringFlag{Name: "topic", Usage: "its messages are those of the topic `NAME`"},
		&cli.StringFlag{Name: "from", Value: "earliest", Usage: "with --topic: earliest, latest, an offset, or a time (RFC 3339)"},
		&cli.StringFlag{Name: "filter", Usage: "with --topic: only messages whose headers fulfil the `CONDITION`, such as \"area = 'hz' AND price > 100\""},
		&cli.StringFlag{Name: "tags", Usage: "with --topic: only messages whose header tag is one of `TAGS`: a || b"},
	}
}

var overflows = [...]string{admin.DropHead: "drop-head", admin.RejectPublish: "reject-publish", admin.RejectDeadLetter: "reject-publish-dlx"}

// parseSettings reads them.
func parseSettings(c *cli.Context) (s trimq.QueueSettings, err error) {
	if c.Bool("exclusive") {
		return s, badUsage("--exclusive: such a queue goes with the connection that makes it, which ends with this command; a program makes one with DeclareAndConsume")
	}
	s = trimq.QueueSettings{Durable: !c.Bool("transient"), AutoDelete: c.Bool("auto-delete"), SingleActive: c.Bool("single-active")}
	if n := c.Uint("max-priority"); n > 255 {
		return s, badUsage("--max-priority is %d; it can be 0 to 255", n)
	} else {
		s.MaxPriority = uint8(n)
	}
	if s.Overflow, err = parseOverflow(c.String("overflow")); err != nil {
		return s, err
	}
	for name, to := range map[string]*admin.Opt{"max-messages": &s.MaxMessages, "max-bytes": &s.MaxBytes, "delivery-limit": &s.DeliveryLimit} {
		if c.IsSet(name) {
			*to = trimq.Some(c.Uint64(name))
		}
	}
	for _, f := range []struct {
		name  string
		least time.Duration
		to    *admin.Opt
	}{
		{"message-ttl", 0, &s.MessageTTLMS}, {"expires", time.Millisecond, &s.ExpiresMS}, {"rewind", time.Millisecond, &s.RewindMS},
	} {
		if *f.to, err = parseTime(c, f.name, f.least); err != nil {
			return s, err
		}
	}
	return s, parseRest(c, &s)
}

// parseTime reads a time that may be left out.
func parseTime(c *cli.Context, name string, least time.Duration) (admin.Opt, error) {
	d := c.Duration(name)
	switch {
	case !c.IsSet(name):
		return admin.Opt{}, nil
	case d < least:
		return admin.Opt{}, badUsage("--%s is %v; it must be at least %v", name, d, least)
	case d%time.Millisecond != 0:
		return admin.Opt{}, badUsage("--%s is %v; it must be whole milliseconds", name, d)
	}
	return trimq.Some(uint64(d.Milliseconds())), nil
}

func parseOverflow(text string) (admin.Overflow, error) {
	for o, name := range overflows {
		if name == text {
			return admin.Overflow(o), nil
		}
	}
	return 0, badUsage("--overflow is %q; it can be %s", text, strings.Join(overflows[:], ", "))
}

// parseRest reads where dead messages go, and the topic.
func parseRest(c *cli.Context, s *trimq.QueueSettings) error {
	s.DeadLetter, s.DeadLetterExchange = c.IsSet("dead-letter-exchange"), c.String("dead-letter-exchange")
	s.DeadLetterKey = c.String("dead-letter-key")
	s.KeepKey = s.DeadLetter && !c.IsSet("dead-letter-key")
	switch {
	case c.IsSet("dead-letter-key") && !s.DeadLetter:
		return badUsage("--dead-letter-key is there without --dead-letter-exchange")
	case c.IsSet("dead-letter-key") && s.DeadLetterKey == "":
		return badUsage("--dead-letter-key is empty; leave it out, and dead messages keep their keys")
	}
	s.Topic = c.String("topic")
	for _, name := range []string{"from", "filter", "tags"} {
		if c.IsSet(name) && s.Topic == "" {
			return badUsage("--%s is for a queue over a topic; --topic is missing", name)
		}
	}
	for _, name := range []string{"max-priority", "max-messages", "max-bytes", "message-ttl", "rewind"} {
		if c.IsSet(name) && s.Topic != "" {
			return badUsage("--%s is not for a queue over a topic: the topic keeps the messages", name)
		}
	}
	return parseFilter(c, s)
}

func parseFilter(c *cli.Context, s *trimq.QueueSettings) error {
	if c.IsSet("filter") && c.IsSet("tags") {
		return badUsage("--filter and --tags are two filters; name one of them")
	}
	for name, kind := range map[string]selector.Kind{"filter": selector.KindSelector, "tags": selector.KindTags} {
		if !c.IsSet(name) {
			continue
		}
		if _, err := selector.Compile(kind, c.String(name)); err != nil {
			return badUsage("--%s is %q, %v", name, c.String(name), err)
		}
		s.FilterKind, s.Filter = admin.FilterKind(kind), c.String(name)
	}
	return nil
}

// settingsView are the properties of a queue as JSON; what it does not have is left out.
type settingsView struct {
	Durable            bool    `json:"durable"`
	Exclusive          bool    `json:"exclusive,omitempty"`
	AutoDelete         bool    `json:"auto_delete,omitempty"`
	SingleActive       bool    `json:"single_active,omitempty"`
	MaxPriority        uint8   `json:"max_priority,omitempty"`
	Overflow           string  `json:"overflow,omitempty"`
	MaxMessages        *uint64 `json:"max_messages,omitempty"`
	MaxBytes           *uint64 `json:"max_bytes,omitempty"`
	MessageTTLMS       *uint64 `json:"message_ttl_ms,omitempty"`
	ExpiresMS          *uint64 `json:"expires_ms,omitempty"`
	DeliveryLimit      *uint64 `json:"delivery_limit,omitempty"`
	RewindMS           *uint64 `json:"rewind_ms,omitempty"`
	DeadLetterExchange *string `json:"dead_letter_exchange,omitempty"`
	DeadLetterKey      string  `json:"dead_letter_key,omitempty"`
	Topic              string  `json:"topic,omitempty"`
	Filter             string  `json:"filter,omitempty"`
	Tags               string  `json:"tags,omitempty"`
}

func viewSettings(s *trimq.QueueSettings) settingsView {
	opt := func(o admin.Opt) *uint64 {
		if !o.Given {
			return nil
		}
		return &o.N
	}
	v := settingsView{
		Durable: s.Durable, Exclusive: s.Exclusive, AutoDelete: s.AutoDelete, SingleActive: s.SingleActive, MaxPriority: s.MaxPriority,
		MaxMessages: opt(s.MaxMessages), MaxBytes: opt(s.MaxBytes), MessageTTLMS: opt(s.MessageTTLMS), ExpiresMS: opt(s.ExpiresMS),
		DeliveryLimit: opt(s.DeliveryLimit), RewindMS: opt(s.RewindMS), DeadLetterKey: s.DeadLetterKey, Topic: s.Topic,
	}
	if (s.MaxMessages.Given || s.MaxBytes.Given) && int(s.Overflow) < len(overflows) {
		v.Overflow = overflows[s.Overflow]
	}
	if s.DeadLetter {
		v.DeadLetterExchange = &s.DeadLetterExchange
	}
	switch s.FilterKind {
	case admin.FilterSelector:
		v.Filter = s.Filter
	case admin.FilterTags:
		v.Tags = s.Filter
	}
	return v
}

// traits are the properties that most queues do not have, in a line.
func (v *settingsView) traits() string {
	var has []string
	add := func(there bool, format string, args ...any) {
		if there {
			has = append(has, fmt.Sprintf(format, args...))
		}
	}
	add(v.Exclusive, "exclusive")
	add(v.AutoDelete, "auto-delete")
	add(v.SingleActive, "single-active")
	add(v.MaxPriority > 0, "max-priority=%d", v.MaxPriority)
	for _, o := range []struct {
		name string
		n    *uint64
	}{{"max-messages", v.MaxMessages}, {"max-bytes", v.MaxBytes}, {"delivery-limit", v.DeliveryLimit}} {
		if o.n != nil {
			add(true, "%s=%d", o.name, *o.n)
		}
	}
	add(v.Overflow != "" && v.Overflow != overflows[admin.DropHead], "overflow=%s", v.Overflow)
	for _, o := range []struct {
		name string
		ms   *uint64
	}{{"message-ttl", v.MessageTTLMS}, {"expires", v.ExpiresMS}, {"rewind", v.RewindMS}} {
		if o.ms != nil {
			add(true, "%s=%v", o.name, time.Duration(*o.ms)*time.Millisecond)
		}
	}
	if v.DeadLetterExchange != nil {
		add(true, "dead-letter-exchange=%s", *v.DeadLetterExchange)
	}
	add(v.DeadLetterKey != "", "dead-letter-key=%s", v.DeadLetterKey)
	add(v.Topic != "", "topic=%s", v.Topic)
	add(v.Filter != "", "filter=%s", v.Filter)
	add(v.Tags != "", "tags=%s", v.Tags)
	return strings.Join(has, ",")
}
