package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func bindingCommand() *cli.Command {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringFlag{Name: "exchange", Usage: "the exchange's `NAME`"},
			&cli.StringFlag{Name: "queue", Aliases: []string{"topic"}, Usage: "the `NAME` of the queue, or topic, that is bound to it"},
			&cli.StringFlag{Name: "to-exchange", Usage: "instead of --queue, the `NAME` of the exchange that is bound to it"},
			&cli.StringFlag{Name: "key", Usage: "the routing `KEY`: a pattern with * and # for a topic exchange, the weight for x-consistent-hash"},
			&cli.StringSliceFlag{Name: "header", Usage: "`NAME=VALUE` that a headers exchange compares, or NAME, with any value; several are allowed"},
			&cli.BoolFlag{Name: "match-any", Usage: "one of the headers is enough"},
			&cli.BoolFlag{Name: "with-x", Usage: "headers whose names begin with x- count too"},
		}
	}
	list := func(name string) *cli.Command {
		return &cli.Command{Name: name, ArgsUsage: "[EXCHANGE...]", Usage: "show bindings", Flags: []cli.Flag{
			&cli.StringFlag{Name: "exchange", Usage: "only those of this exchange"}, jsonFlag(),
		}, Action: withClient(listBindings)}
	}
	return &cli.Command{Name: "binding", Usage: "bind queues, topics and exchanges to exchanges", Subcommands: []*cli.Command{
		{Name: "create", Usage: "bind a queue, topic or exchange to an exchange", Flags: flags(), Action: withClient(createBinding)},
		list("list"), list("describe"),
		{Name: "delete", Usage: "take a binding back; name all that it was created with", Flags: flags(), Action: withClient(deleteBinding)},
	}}
}

func bindingSpec(c *cli.Context) (trimq.BindingSpec, error) {
	spec := trimq.BindingSpec{
		Exchange: c.String("exchange"), Queue: c.String("queue"), RoutingKey: c.String("key"),
		MatchAny: c.Bool("match-any"), WithX: c.Bool("with-x"),
	}
	if _, err := names(c, "", 0, 0); err != nil {
		return spec, err
	}
	if to := c.String("to-exchange"); to != "" {
		if spec.Queue != "" {
			return spec, badUsage("--queue and --to-exchange are two bindings; name one of them")
		}
		spec.Queue, spec.ToExchange = to, true
	}
	if spec.Exchange == "" || spec.Queue == "" {
		return spec, badUsage("--exchange and --queue or --to-exchange are needed; see %s --help", c.Command.HelpName)
	}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, "=")
		switch {
		case name == "":
			return spec, badUsage("--header is %q; it must be NAME=VALUE, or NAME", h)
		case ok:
			spec.Headers = append(spec.Headers, trimq.RoutingHeader{Key: name, Value: value})
		default:
			spec.Present = append(spec.Present, name)
		}
	}
	return spec, nil
}

func createBinding(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	spec, err := bindingSpec(c)
	if err != nil {
		return err
	}
	existed, err := client.CreateBinding(ctx, spec)
	if err != nil {
		return err
	}
	return said(c, existed, "%s is bound to %s", spec.Queue, spec.Exchange)
}

func deleteBinding(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	spec, err := bindingSpec(c)
	if err != nil {
		return err
	}
	if err := client.DeleteBinding(ctx, spec); err != nil {
		return err
	}
	return said(c, false, "%s is no longer bound to %s", spec.Queue, spec.Exchange)
}

// bindingView is a binding as JSON. One of queue (or topic) and to_exchange is there.
type bindingView struct {
	Exchange   string              `json:"exchange"`
	Queue      string              `json:"queue,omitempty"`
	ToExchange string              `json:"to_exchange,omitempty"`
	Key        string              `json:"key"`
	MatchAny   bool                `json:"match_any,omitempty"`
	WithX      bool                `json:"with_x,omitempty"`
	Headers    map[string][]string `json:"headers,omitempty"`
	Present    []string            `json:"present,omitempty"`
}

func viewBinding(b *trimq.BindingInfo) bindingView {
	v := bindingView{Exchange: b.Exchange, Queue: b.Queue, Key: b.RoutingKey, MatchAny: b.MatchAny, WithX: b.WithX, Present: b.Present}
	if b.ToExchange {
		v.Queue, v.ToExchange = "", b.Queue
	}
	for _, h := range b.Headers {
		if v.Headers == nil {
			v.Headers = map[string][]string{}
		}
		v.Headers[h.Key] = append(v.Headers[h.Key], h.Value)
	}
	return v
}

// headersText is what a binding asks of headers, in a line.
func headersText(b *trimq.BindingInfo) string {
	var headers []string
	for _, h := range b.Headers {
		headers = append(headers, h.Key+"="+h.Value)
	}
	text := strings.Join(append(headers, b.Present...), ",")
	if b.MatchAny {
		text = "any of " + text
	}
	if b.WithX {
		text += " with x-"
	}
	return text
}

func listBindings(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	wanted := c.Args().Slice()
	if x := c.String("exchange"); x != "" {
		wanted = append(wanted, x)
	}
	bindings, err := client.Bindings(ctx, wanted...)
	if err != nil {
		return err
	}
	t := newTable("EXCHANGE", "TO", "KEY", "HEADERS")
	views := make([]bindingView, len(bindings))
	for i := range bindings {
		b := &bindings[i]
		views[i] = viewBinding(b)
		to := b.Queue
		if b.ToExchange {
			to = "exchange " + to
		}
		t.add(b.Exchange, to, b.RoutingKey, headersText(b))
	}
	return show(c, views, t)
}
