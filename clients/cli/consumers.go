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
		{Name: "list", ArgsUsage: "[QUEUE...]", Usage: "list consumers, of these queues or of all", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listConsumers)},
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

func listConsumers(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	consumers, err := client.Consumers(ctx, c.Args().Slice()...)
	if err != nil {
		return err
	}
	t := newTable("QUEUE", "CONN", "SUB", "TAG", "PRIORITY", "CREDIT", "HELD", "PROPERTIES")
	views := make([]consumerView, len(consumers))
	for i, k := range consumers {
		v := &views[i]
		*v = consumerView{
			k.Queue, k.Conn, k.Sub, k.Consumer.Tag, k.Consumer.Priority, k.Consumer.AckTimeoutMS, k.Consumer.AutoAck, k.Consumer.Exclusive,
			k.Active, k.Credit, k.Held,
		}
		t.add(v.Queue, v.Conn, v.Sub, v.Tag, v.Priority, v.Credit, v.Held, v.traits())
	}
	return show(c, views, t)
}
