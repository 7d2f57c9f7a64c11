package main

import (
	"context"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func txnCommand() *cli.Command {
	return &cli.Command{Name: "txn", Usage: "show open transactions, and end those that nobody decides", Subcommands: []*cli.Command{
		{Name: "list", ArgsUsage: "[GROUP...]", Usage: "list open transactions, of these producer groups or all", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listTxns)},
		{Name: "commit", ArgsUsage: "NUMBER", Usage: "make the messages of a producer group's transaction visible", Action: withClient(endTxn)},
		{Name: "rollback", ArgsUsage: "NUMBER", Usage: "drop the messages of a producer group's transaction", Action: withClient(endTxn)},
	}}
}

// txnView is a transaction as JSON. NextCheck is left out where it ends with its connection.
type txnView struct {
	Txn       uint64     `json:"txn"`
	Group     string     `json:"group,omitempty"`
	Key       string     `json:"key,omitempty"`
	Begun     time.Time  `json:"begun"`
	Batches   uint32     `json:"batches"`
	Checks    uint32     `json:"checks"`
	NextCheck *time.Time `json:"next_check,omitempty"`
}

func listTxns(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	txns, err := client.Txns(ctx, c.Args().Slice()...)
	if err != nil {
		return err
	}
	t := newTable("TXN", "GROUP", "KEY", "BEGUN", "BATCHES", "CHECKS", "NEXT CHECK")
	views := make([]txnView, len(txns))
	for i, x := range txns {
		v := &views[i]
		*v = txnView{Txn: x.Txn, Group: x.Group, Key: x.Key, Begun: time.UnixMilli(x.Begun).UTC(), Batches: x.Batches, Checks: x.Checks}
		next := "with its connection"
		if x.Group != "" {
			at := time.UnixMilli(x.CheckMS).UTC()
			v.NextCheck, next = &at, at.Format(time.RFC3339)
		}
		t.add(v.Txn, v.Group, v.Key, v.Begun.Format(time.RFC3339), v.Batches, v.Checks, next)
	}
	return show(c, views, t)
}

// endTxn serves commit and rollback.
func endTxn(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the transaction's number", 1, 1)
	if err != nil {
		return err
	}
	txn, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil || txn == 0 {
		return badUsage("NUMBER is %q; it must be that of a transaction, as txn list shows it", args[0])
	}
	commit := c.Command.Name == "commit"
	queues, err := client.EndTxn(ctx, txn, commit)
	if err != nil {
		return err
	}
	if !commit {
		return said(c, false, "transaction %d is rolled back", txn)
	}
	return said(c, false, "transaction %d is committed: its messages are in %d queues and partitions", txn, queues)
}
