package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
)

func exchangeCommand() *cli.Command {
	return &cli.Command{Name: "exchange", Usage: "create, list, describe and delete exchanges", Subcommands: []*cli.Command{
		{Name: "create", ArgsUsage: "NAME", Usage: "create an exchange", Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Value: "direct", Usage: typeNames()},
			&cli.BoolFlag{Name: "transient", Usage: "it is not durable"},
			&cli.BoolFlag{Name: "auto-delete", Usage: "it goes with the last binding that leads from it"},
			&cli.BoolFlag{Name: "internal", Usage: "only other exchanges publish to it"},
			&cli.StringFlag{Name: "alternate", Usage: "the `NAME` of the exchange that gets what no binding matches"},
			&cli.StringFlag{Name: "hash-header", Usage: "the `NAME` of the header that x-consistent-hash hashes, instead of the routing key"},
		}, Action: withClient(createExchange)},
		{Name: "list", Usage: "list exchanges", Flags: []cli.Flag{intervalFlag(0), jsonFlag()}, Action: withClient(describeExchanges)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show exchanges, with rates", Flags: []cli.Flag{intervalFlag(describeInterval), jsonFlag()}, Action: withClient(describeExchanges)},
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
	kind, ok := admin.TypeNamed(c.String("type"))
	if !ok {
		return badUsage("--type is %q; it can be %s", c.String("type"), typeNames())
	}
	existed, err := client.CreateExchange(ctx, trimq.ExchangeSpec{
		Name: name[0], Type: kind, Durable: !c.Bool("transient"), AutoDelete: c.Bool("auto-delete"), Internal: c.Bool("internal"),
		Alternate: c.String("alternate"), HashHeader: c.String("hash-header"),
	})
	if err != nil {
		return err
	}
	return said(c, existed, "exchange %s of type %s", name[0], c.String("type"))
}

// typeNames lists the types of exchanges in words.
func typeNames() string {
	names := admin.TypeNames()
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// exchangeView is an exchange as JSON.
type exchangeView struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Durable    bool   `json:"durable"`
	AutoDelete bool   `json:"auto_delete"`
	Internal   bool   `json:"internal"`
	Alternate  string `json:"alternate,omitempty"`
	HashHeader string `json:"hash_header,omitempty"`
	Bindings   uint32 `json:"bindings"`
	Published  uint64 `json:"published"`
	Reached    uint64 `json:"reached"`
	In         rate   `json:"in_per_second,omitempty"`
	Out        rate   `json:"out_per_second,omitempty"`
}

// traits are the properties that most exchanges do not have, in a line.
func (v *exchangeView) traits() string {
	var has []string
	for _, trait := range []struct {
		there bool
		text  string
	}{
		{v.AutoDelete, "auto-delete"},
		{v.Internal, "internal"},
		{v.Alternate != "", "alternate=" + v.Alternate},
		{v.HashHeader != "", "hash-header=" + v.HashHeader},
	} {
		if trait.there {
			has = append(has, trait.text)
		}
	}
	return strings.Join(has, ",")
}

func describeExchanges(_ context.Context, c *cli.Context, client *trimq.Client) error {
	least, most := bounds(c)
	wanted, err := names(c, "the exchange's name", least, most)
	if err != nil {
		return err
	}
	l, err := lookTwice(c, func(ctx context.Context) ([]trimq.ExchangeInfo, error) { return client.Exchanges(ctx, wanted...) })
	if err != nil {
		return err
	}
	before := map[string]*trimq.ExchangeInfo{}
	for i := range l.first {
		before[l.first[i].Name] = &l.first[i]
	}
	t := newTable("EXCHANGE", "TYPE", "DURABLE", "BINDINGS", "IN/S", "OUT/S", "PROPERTIES")
	views := make([]exchangeView, len(l.last))
	for i := range l.last {
		x, v := &l.last[i], &views[i]
		*v = exchangeView{
			Name: x.Name, Type: x.Type.String(), Durable: x.Durable, AutoDelete: x.AutoDelete, Internal: x.Internal, Alternate: x.Alternate,
			HashHeader: x.HashHeader, Bindings: x.Bindings, Published: x.Published, Reached: x.Reached,
		}
		if was := before[x.Name]; was != nil {
			v.In, v.Out = ratePer(was.Published, x.Published, l.apart), ratePer(was.Reached, x.Reached, l.apart)
		}
		t.add(v.Name, v.Type, v.Durable, v.Bindings, rateText(v.In), rateText(v.Out), v.traits())
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
