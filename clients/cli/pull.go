package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

const (
	pullAtOnce = 100              // messages of one pull
	pullWait   = 20 * time.Second // of one pull; more follow
)

// pullOptions are those of consume --pull.
func (k *consuming) pullOptions(c *cli.Context) (opts []trimq.PullOption, err error) {
	visibility := c.Duration("visibility")
	switch {
	case c.Bool("exclusive"):
		return nil, badUsage("--exclusive is for a consumer; --pull makes none")
	case c.IsSet("visibility") && visibility <= 0:
		return nil, badUsage("--visibility is %v; it must be longer", visibility)
	case c.IsSet("visibility") && c.String("ack") == "auto":
		return nil, badUsage("--visibility has no meaning with --ack auto: what was pulled is settled")
	case c.String("ack") == "auto":
		opts = append(opts, trimq.WithPullAutoAck())
	case c.IsSet("visibility"):
		opts = append(opts, trimq.WithVisibility(visibility))
	}
	return opts, nil
}

// pull takes messages of a queue by asking for them.
func (k *consuming) pull(c *cli.Context, client *trimq.Client, opts []trimq.PullOption) error {
	wait := pullWait
	if k.idle > 0 {
		wait = min(wait, k.idle)
	}
	last := time.Now()
	for k.left > 0 {
		got, err := client.Pull(c.Context, c.String("queue"), int(min(k.left, pullAtOnce)), wait, opts...)
		if err != nil {
			return err
		}
		for _, d := range got {
			if err := k.pulled(c, d); err != nil {
				return err
			}
			last = time.Now()
		}
		if len(got) == 0 && k.idle > 0 && time.Since(last) >= k.idle {
			return nil
		}
	}
	return nil
}

// pulled prints what a pull got, and settles it or gives it back.
func (k *consuming) pulled(c *cli.Context, d *trimq.Pulled) error {
	defer d.Release()
	if d.Err != nil {
		return d.Err
	}
	for i := range d.Messages {
		if err := k.print(&d.Messages[i], lineOf(&d.Parcel)); err != nil {
			return err
		}
	}
	if err := k.out.Flush(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), c.Duration("timeout"))
	defer cancel()
	switch c.String("ack") {
	case "yes":
		return d.Delete(ctx)
	case "no":
		return d.Return(ctx)
	}
	return nil
}
