package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
)

// Commands of transactional ids: the transactions of Kafka's producers.

func txnalCommand() *cli.Command {
	return &cli.Command{Name: "transactional", Usage: "show transactional ids of Kafka's producers, and abort transactions that hang", Subcommands: []*cli.Command{
		{Name: "list", ArgsUsage: "[ID...]", Usage: "list these transactional ids or all, and how their last transactions stand", Flags: []cli.Flag{
			&cli.BoolFlag{Name: "open", Usage: "only those with an open transaction"},
			&cli.DurationFlag{Name: "older", Usage: "only those whose transaction has been open for longer than a `DURATION`"}, jsonFlag(),
		}, Action: withClient(listTxnals)},
		{Name: "describe", ArgsUsage: "ID...", Usage: "show the partitions of their open transactions too", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeTxnals)},
		{Name: "abort", ArgsUsage: "ID", Usage: "abort its open transaction, and fence its producer", Action: withClient(abortTxnal)},
	}}
}

// txnalView is a transactional id as JSON. Begun and Partitions are those of an open transaction.
type txnalView struct {
	ID         string           `json:"id"`
	Producer   int64            `json:"producer"`
	Epoch      int16            `json:"epoch"`
	State      string           `json:"state"`
	TimeoutMS  uint32           `json:"timeout_ms"`
	Begun      *time.Time       `json:"begun,omitempty"`
	Partitions []txnalPartition `json:"partitions,omitempty"`
}

type txnalPartition struct {
	Topic  string `json:"topic"`
	Number uint32 `json:"partition"`
}

// txnalStates name the phases.
var txnalStates = map[admin.TxnalPhase]string{
	admin.TxnalNew: "new", admin.TxnalOpen: "open", admin.TxnalCommitted: "committed", admin.TxnalAborted: "aborted",
}

func viewTxnal(x *trimq.TxnalInfo) txnalView {
	v := txnalView{ID: x.ID, Producer: x.ProducerID, Epoch: x.Epoch, State: txnalStates[x.Phase], TimeoutMS: x.TimeoutMS}
	if x.Phase == admin.TxnalOpen {
		at := time.UnixMilli(x.BegunMS).UTC()
		v.Begun = &at
	}
	for _, p := range x.Parts {
		v.Partitions = append(v.Partitions, txnalPartition{p.Topic, p.Number})
	}
	return v
}

// begunText is when its transaction began, for people.
func (v *txnalView) begunText() string {
	if v.Begun == nil {
		return ""
	}
	return v.Begun.Format(time.RFC3339)
}

func listTxnals(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	all, err := client.Txnals(ctx, c.Args().Slice()...)
	if err != nil {
		return err
	}
	t := newTable("ID", "PRODUCER", "EPOCH", "STATE", "BEGUN", "TIMEOUT", "PARTITIONS")
	views := []txnalView{}
	for i := range all {
		v := viewTxnal(&all[i])
		if (c.Bool("open") || c.IsSet("older")) && v.Begun == nil || c.IsSet("older") && time.Since(*v.Begun) < c.Duration("older") {
			continue
		}
		views = append(views, v)
		t.add(v.ID, v.Producer, v.Epoch, v.State, v.begunText(), (time.Duration(v.TimeoutMS) * time.Millisecond).String(), len(v.Partitions))
	}
	return show(c, views, t)
}

func describeTxnals(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	ids, err := names(c, "the transactional id", 1, -1)
	if err != nil {
		return err
	}
	all, err := client.Txnals(ctx, ids...)
	if err != nil {
		return err
	}
	t := newTable("ID", "PRODUCER", "EPOCH", "STATE", "BEGUN", "PARTITION")
	var views []txnalView
	for i := range all {
		v := viewTxnal(&all[i])
		views = append(views, v)
		if len(v.Partitions) == 0 {
			t.add(v.ID, v.Producer, v.Epoch, v.State, v.begunText(), "")
		}
		for _, p := range v.Partitions {
			t.add(v.ID, v.Producer, v.Epoch, v.State, v.begunText(), fmt.Sprintf("%s/%d", p.Topic, p.Number))
		}
	}
	return show(c, views, t)
}

func abortTxnal(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	id, err := names(c, "the transactional id", 1, 1)
	if err != nil {
		return err
	}
	if err := client.AbortTxnal(ctx, id[0]); err != nil {
		return err
	}
	return said(c, false, "the transaction of %s is aborted; its producer is fenced", id[0])
}
