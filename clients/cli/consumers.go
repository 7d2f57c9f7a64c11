package main

import (
	"context"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func consumerCommand() *cli.Command {
	return &cli.Command{Name: "consumer", Usage: "show the consumers of queues", Subcommands: []*cli.Command{
		{Name: "list", ArgsUsage: "[QUEUE...]", Usage: "list consumers, of these queues or of all", Flags: []cli.Flag{intervalFlag(0), jsonFlag()}, Action: withClient(listConsumers)},
	}}
}

// consumerView is a consumer as JSON.
type consumerView struct {
	Queue        string `json:"queue"`
	Conn         uint64 `json:"conn"`
	Sub          uint64 `json:"sub"`
	Tag          string `json:"tag,omitempty"`
	Priority     int32  `json:"priority"`
	AckTimeoutMS uint64 `json:"ack_timeout_ms,omitempty"`
	AutoAck      bool   `json:"auto_ack,omitempty"`
	Exclusive    bool   `json:"exclusive,omitempty"`
	Active       bool   `json:"active"`
	Credit       uint64 `json:"credit"`
	Held         uint64 `json:"held"`
	Delivered    uint64 `json:"delivered"`
	Rate         rate   `json:"delivered_per_second,omitempty"`
}

// traits are the properties that most consumers do not have, in a line.
func (v *consumerView) traits() string {
	var has []string
	if v.AutoAck {
		has = append(has, "auto-ack")
	}
	if v.Exclusive {
		has = append(has, "exclusive")
	}
	if !v.Active {
		has = append(has, "waits")
	}
	if v.AckTimeoutMS > 0 {
		has = append(has, "ack-timeout="+(time.Duration(v.AckTimeoutMS)*time.Millisecond).String())
	}
	return strings.Join(has, ",")
}

func listConsumers(_ context.Context, c *cli.Context, client *trimq.Client) error {
	wanted := c.Args().Slice()
	l, err := lookTwice(c, func(ctx context.Context) ([]trimq.ConsumerInfo, error) { return client.Consumers(ctx, wanted...) })
	if err != nil {
		return err
	}
	type id struct{ conn, sub uint64 }
	before := map[id]uint64{}
	for _, k := range l.first {
		before[id{k.Conn, k.Sub}] = k.Delivered
	}
	t := newTable("QUEUE", "CONN", "SUB", "TAG", "PRIORITY", "CREDIT", "HELD", "DELIVERED", "RATE/S", "PROPERTIES")
	views := make([]consumerView, len(l.last))
	for i, k := range l.last {
		v := &views[i]
		*v = consumerView{
			Queue: k.Queue, Conn: k.Conn, Sub: k.Sub, Tag: k.Consumer.Tag, Priority: k.Consumer.Priority, AckTimeoutMS: k.Consumer.AckTimeoutMS,
			AutoAck: k.Consumer.AutoAck, Exclusive: k.Consumer.Exclusive, Active: k.Active, Credit: k.Credit, Held: k.Held, Delivered: k.Delivered,
		}
		if was, there := before[id{k.Conn, k.Sub}]; there {
			v.Rate = ratePer(was, k.Delivered, l.apart)
		}
		t.add(v.Queue, v.Conn, v.Sub, v.Tag, v.Priority, v.Credit, v.Held, v.Delivered, rateText(v.Rate), v.traits())
	}
	return show(c, views, t)
}
