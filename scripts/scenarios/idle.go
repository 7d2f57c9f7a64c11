package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/trimq/trimq/clients/perf/usage"
)

const (
	idleConnections = 10_000
	idleGoal        = 16 << 10        // bytes of all daemons together, for each
	idleHeartbeat   = time.Minute     // as RabbitMQ proposes it, and most clients take it
	idleSettle      = 5 * time.Second // until the garbage of the openings is gone
)

// idle: AMQP connections with a channel each that do nothing but beat. What each takes of the daemons' own
// memory, and what all of them take of a processor.
func idle(ctx context.Context, b *bench) (err error) {
	before := usage.Read(b.broker.Config.RunDir)
	conns := make([]*amqp.Connection, idleConnections)
	defer func() {
		err = errors.Join(err, each(context.WithoutCancel(ctx), len(conns), func(i int) error {
			if conns[i] == nil {
				return nil
			}
			return conns[i].Close()
		}))
	}()
	start := time.Now()
	if err := each(ctx, len(conns), func(i int) (err error) {
		if conns[i], err = amqp.DialConfig(b.amqp, amqp.Config{Heartbeat: idleHeartbeat}); err != nil {
			return err
		}
		_, err = conns[i].Channel()
		return err
	}); err != nil {
		return err
	}
	fmt.Printf("  %d connections with a channel each opened in %.1f s\n", len(conns), time.Since(start).Seconds())
	runtime.GC()
	if err := wait(ctx, idleSettle); err != nil {
		return err
	}
	quiet := usage.Read(b.broker.Config.RunDir)
	if err := wait(ctx, b.seconds); err != nil {
		return err
	}
	after := usage.Read(b.broker.Config.RunDir)
	all, cpu := int64(0), 0.0
	for _, name := range usage.Tiers {
		more := max(0, after[name].OwnBytes-before[name].OwnBytes)
		busy := (after[name].CPUSeconds - quiet[name].CPUSeconds) / b.seconds.Seconds()
		fmt.Printf("  %-34s %6d bytes for each connection, %.2f %% of a processor\n", name, more/idleConnections, 100*busy)
		all, cpu = all+more, cpu+busy
	}
	want(all/idleConnections < idleGoal, "less than %d bytes for each connection", idleGoal)
	want(cpu < 0.01, "less than 1 %% of a processor")
	return nil
}
