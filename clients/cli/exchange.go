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
	t := newTable("EXCHANGE", "TYPE", "DURABLE", "BINDINGS", "PROPERTIES")
	views := make([]exchangeView, len(exchanges))
	for i, x := range exchanges {
		v := &views[i]
		*v = exchangeView{x.Name, x.Type.String(), x.Durable, x.AutoDelete, x.Internal, x.Alternate, x.HashHeader, x.Bindings}
		t.add(v.Name, v.Type, v.Durable, v.Bindings, v.traits())
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
