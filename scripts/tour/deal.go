package tour

import (
	"context"
	"errors"

	"github.com/trimq/trimq/clients/trimq"
)

// deal has transactions, over two queues: some are committed, some rolled back.
func deal(t *tour, ctx context.Context, name string) error {
	queues := []string{name + ".a", name + ".b"}
	for _, q := range queues {
		if err := t.durable(ctx, q, trimq.QueueSettings{}); err != nil {
			return err
		}
	}
	p, err := t.client.NewProducer(trimq.WithRetryFor(patience))
	if err != nil {
		return err
	}
	var certain, open [][]string // of queue a and b: what must come, what may
	for n := range 6 {
		values := []string{value(queues[0], n, 60), value(queues[1], n, 60)}
		switch err := t.trade(ctx, p, queues, values, n%3 == 2); {
		case err == nil && n%3 != 2:
			certain = append(certain, values)
		case errors.Is(err, trimq.ErrUnknownOutcome):
			open = append(open, values)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	return t.judgeDeals(ctx, queues, certain, open)
}

// trade is one transaction. It fails where its connection breaks, and then nothing of it may be seen.
func (t *tour) trade(ctx context.Context, p *trimq.Producer, queues, values []string, back bool) error {
	x, err := p.BeginTxn(ctx)
	if err != nil {
		return err
	}
	for i, q := range queues {
		m := letter(q, values[i])
		if err := x.Produce(ctx, &m, nil); err != nil {
			return errors.Join(err, x.Rollback(ctx))
		}
	}
	if back {
		return x.Rollback(ctx)
	}
	return x.Commit(ctx)
}

// judgeDeals: a transaction whose end nobody was told is in both queues or in neither.
func (t *tour) judgeDeals(ctx context.Context, queues []string, certain, open [][]string) error {
	boxes := make([]*box, len(queues))
	for i, q := range queues {
		info, err := t.client.Queues(ctx, q)
		if err != nil {
			return err
		}
		boxes[i] = newBox(q)
		if err := t.empty(ctx, boxes[i], max(len(certain), int(info[0].Ready)), nil); err != nil {
			return err
		}
	}
	for i, b := range boxes {
		var want, may []string
		for _, values := range certain {
			want = append(want, values[i])
		}
		for _, values := range open {
			may = append(may, values[i])
			if b.has(values[i:i+1]) != boxes[0].has(values[:1]) {
				b.fault("the transaction of %.40q is in one queue, and not in the other", values[i])
			}
		}
		t.wrongs(b.judge(want, may))
	}
	return t.leave(ctx, queues...)
}
