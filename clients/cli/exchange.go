package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

var exchangeTypes = map[string]trimq.ExchangeType{
	"fanout": trimq.Fanout, "direct": trimq.Direct, "topic": trimq.Topic, "headers": trimq.Headers,
}

func typeName(t trimq.ExchangeType) string {
	for name, v := range exchangeTypes {
		if v == t {
			return name
		}
	}
	return fmt.Sprintf("type %d", t)
}

func exchangeCommand() *cli.Command {
	return &cli.Command{Name: "exchange", Usage: "create, list, describe and delete exchanges", Subcommands: []*cli.Command{
		{Name: "create", ArgsUsage: "NAME", Usage: "create an exchange", Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Value: "direct", Usage: "fanout, direct, topic or headers"},
			&cli.BoolFlag{Name: "transient", Usage: "it is not durable"},
		}, Action: withClient(createExchange)},
		{Name: "list", Usage: "list exchanges", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeExchanges)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show exchanges", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeExchanges)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete an exchange", Flags: []cli.Flag{
			&cli.BoolFlag{Name: "if-unused", Usage: "only without bindings"},
		}, Action: withClient(deleteExchange)},
	}}
}

func createExchange(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the exchange's name", 1, 1)
	if err != nil {
		return err
	}
	kind, ok := exchangeTypes[c.String("type")]
	if !ok {
		return badUsage("--type is %q; it can be fanout, direct, topic or headers", c.String("type"))
	}
	existed, err := client.CreateExchange(ctx, trimq.ExchangeSpec{Name: name[0], Type: kind, Durable: !c.Bool("transient")})
	if err != nil {
		return err
	}
	return said(c, existed, "exchange %s of type %s", name[0], c.String("type"))
}

// exchangeView is an exchange as JSON.
type exchangeView struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Durable  bool   `json:"durable"`
	Bindings uint32 `json:"bindings"`
}

func describeExchanges(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	least, most := bounds(c)
	wanted, err := names(c, "the exchange's name", least, most)
	if err != nil {
		return err
	}
	exchanges, err := client.Exchanges(ctx, wanted...)
	if err != nil {
		return err
	}
	t := newTable("EXCHANGE", "TYPE", "DURABLE", "BINDINGS")
	views := make([]exchangeView, len(exchanges))
	for i, x := range exchanges {
		views[i] = exchangeView{x.Name, typeName(x.Type), x.Durable, x.Bindings}
		t.add(x.Name, typeName(x.Type), x.Durable, x.Bindings)
	}
	return show(c, views, t)
}

func deleteExchange(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the exchange's name", 1, 1)
	if err != nil {
		return err
	}
	if err := client.DeleteExchange(ctx, name[0], trimq.DeleteCondition{IfUnused: c.Bool("if-unused")}); err != nil {
		return err
	}
	return said(c, false, "exchange %s is deleted", name[0])
}

func bindingCommand() *cli.Command {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringFlag{Name: "exchange", Usage: "the exchange's `NAME`"},
			&cli.StringFlag{Name: "queue", Aliases: []string{"topic"}, Usage: "the `NAME` of the queue, or topic, that is bound to it"},
			&cli.StringFlag{Name: "key", Usage: "the routing `KEY`, or a pattern with * and # for a topic exchange"},
			&cli.StringSliceFlag{Name: "header", Usage: "`NAME=VALUE` that a headers exchange compares; several are allowed"},
			&cli.BoolFlag{Name: "match-any", Usage: "one equal header is enough"},
		}
	}
	list := func(name string) *cli.Command {
		return &cli.Command{Name: name, ArgsUsage: "[EXCHANGE...]", Usage: "show bindings", Flags: []cli.Flag{
			&cli.StringFlag{Name: "exchange", Usage: "only those of this exchange"}, jsonFlag(),
		}, Action: withClient(listBindings)}
	}
	return &cli.Command{Name: "binding", Usage: "bind queues and topics to exchanges", Subcommands: []*cli.Command{
		{Name: "create", Usage: "bind a queue or topic to an exchange", Flags: flags(), Action: withClient(createBinding)},
		list("list"), list("describe"),
		{Name: "delete", Usage: "take a binding back; name all that it was created with", Flags: flags(), Action: withClient(deleteBinding)},
	}}
}

func bindingSpec(c *cli.Context) (trimq.BindingSpec, error) {
	spec := trimq.BindingSpec{
		Exchange: c.String("exchange"), Queue: c.String("queue"), RoutingKey: c.String("key"), MatchAny: c.Bool("match-any"),
	}
	if _, err := names(c, "", 0, 0); err != nil {
		return spec, err
	}
	if spec.Exchange == "" || spec.Queue == "" {
		return spec, badUsage("--exchange and --queue are needed; see %s --help", c.Command.HelpName)
	}
	for _, h := range c.StringSlice("header") {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return spec, badUsage("--header is %q; it must be NAME=VALUE", h)
		}
		spec.Headers = append(spec.Headers, trimq.RoutingHeader{Key: name, Value: value})
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

// bindingView is a binding as JSON.
type bindingView struct {
	Exchange string            `json:"exchange"`
	Queue    string            `json:"queue"`
	Key      string            `json:"key"`
	MatchAny bool              `json:"match_any,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
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
	t := newTable("EXCHANGE", "QUEUE", "KEY", "HEADERS")
	views := make([]bindingView, len(bindings))
	for i, b := range bindings {
		views[i] = bindingView{Exchange: b.Exchange, Queue: b.Queue, Key: b.RoutingKey, MatchAny: b.MatchAny}
		var headers []string
		for _, h := range b.Headers {
			if views[i].Headers == nil {
				views[i].Headers = map[string]string{}
			}
			views[i].Headers[h.Key] = h.Value
			headers = append(headers, h.Key+"="+h.Value)
		}
		text := strings.Join(headers, ",")
		if b.MatchAny {
			text = "any of " + text
		}
		t.add(b.Exchange, b.Queue, b.RoutingKey, text)
	}
	return show(c, views, t)
}
