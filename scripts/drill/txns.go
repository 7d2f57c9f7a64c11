package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// Who posts letters in transactions.

// part is one letter of a transaction.
func (d *drill) part(scene string, of *deal, x *trimq.Txn, r *rand.Rand) {
	l, m := letter{places: []string{"txn-a"}, deal: of}, trimq.Message{RoutingKey: "txn-a"}
	switch r.IntN(3) {
	case 0:
		l.places, m = []string{"txn-a", "txn-b"}, trimq.Message{Exchange: "both"}
	case 1:
		l.priority = uint8(r.IntN(3))
		l.places, m = []string{"txn-b"}, trimq.Message{RoutingKey: "txn-b", Priority: l.priority}
	}
	d.send(d.life, scene, x.Produce, &l, &m)
}

// ended is the outcome of a transaction whose commit ended with err.
func ended(err error) outcome {
	switch {
	case err == nil:
		return committed
	case errors.Is(err, trimq.ErrUnknownOutcome):
		return undecided
	}
	return rolledBack
}

// trade has transactions of its connection.
func (d *drill) trade(name string, r *rand.Rand) {
	party, p := d.producer(name, r)
	if p == nil {
		return
	}
	defer party.leave(false)
	for n := 0; d.ctx.Err() == nil; n++ {
		x, err := p.BeginTxn(d.life)
		if err != nil {
			d.h.report("%s: begin: %v", name, err)
			return
		}
		deal := d.l.open(fmt.Sprintf("transaction %d of %s", n, name), undecided, "")
		for range 1 + r.IntN(5) {
			d.part(name, deal, x, r)
		}
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		if r.IntN(3) == 0 {
			switch err := x.Rollback(d.life); {
			case err == nil:
				d.l.end(deal, rolledBack)
			default:
				d.h.report("%s: rollback: %v", name, err)
			}
			continue
		}
		d.l.end(deal, ended(x.Commit(d.life)))
	}
}

// destiny is how a transaction of the group has to end.
func destiny(key string) outcome {
	if dice(key, 2) == 0 {
		return committed
	}
	return rolledBack
}

// promise has transactions of a group, most of which it leaves to the checkers.
func (d *drill) promise(name string, r *rand.Rand) {
	checker, err := d.check("checker")
	if err != nil {
		d.h.report("%v", err)
		return
	}
	defer checker.leave(false)
	party, p := d.producer(name, r)
	if p == nil {
		return
	}
	defer party.leave(false)
	for n := 0; d.ctx.Err() == nil; n++ {
		key := fmt.Sprintf("promise %d", n)
		deal := d.l.open(key, destiny(key), "")
		x, err := p.BeginTxn(d.life, trimq.WithTxnGroup("promisers", deal.name), trimq.WithCheckAfter(checkAfter))
		if err != nil {
			d.h.report("%s: begin: %v", name, err)
			return
		}
		for range 1 + r.IntN(3) {
			d.part(name, deal, x, r)
		}
		switch {
		case r.IntN(3) > 0: // the checkers are asked
		case deal.ends == committed:
			err = x.Commit(d.life)
		default:
			err = x.Rollback(d.life)
		}
		if err != nil && !errors.Is(err, trimq.ErrUnknownOutcome) && !errors.Is(err, trimq.ErrTxnEnded) {
			d.complain(err, "%s: end of %s", name, deal.name)
		}
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
}

// check is a member of the group that knows how each transaction has to end, though not always at once.
func (d *drill) check(name string) (*party, error) {
	party, err := d.newParty(name)
	if err != nil {
		return nil, err
	}
	_, err = party.client.TxnChecker(d.life, "promisers", func(_ context.Context, c trimq.Check) trimq.Decision {
		switch {
		case c.Checks == 0 && dice(c.Key, 3) == 0:
			return trimq.TxnUnknown
		case destiny(c.Key) == committed:
			return trimq.TxnCommit
		}
		return trimq.TxnRollback
	})
	return party, err
}

// transform takes letters of one queue, and makes of each one of another, in a transaction. It has
// incarnations.
func (d *drill) transform(name string, r *rand.Rand) {
	for life := 0; d.ctx.Err() == nil; life++ {
		party, err := d.newParty(fmt.Sprintf("%s-%d", name, life))
		if err != nil {
			d.h.report("%v", err)
			return
		}
		k, err := party.client.ConsumeQueue(d.life, "txn-in", trimq.WithPrefetch(1+r.IntN(6)), trimq.WithAckTimeout(0))
		var p *trimq.Producer
		if err == nil {
			p, err = k.NewProducer()
		}
		if err != nil {
			d.h.report("%s: %v", party.name, err)
			return
		}
		who := d.h.hold(party.name, 0)
		ctx, cancel := context.WithTimeout(d.ctx, time.Duration(1000+r.IntN(5000))*time.Millisecond)
		for ctx.Err() == nil {
			m, err := k.Receive(ctx)
			if err != nil {
				if ctx.Err() == nil {
					d.complain(err, "%s: receive", party.name)
				}
				break
			}
			for i, v := range d.l.sawAll(m, who, time.Time{}) {
				d.transformOne(k, p, string(m.Messages[i].Value), v, r)
			}
			m.Release()
		}
		cancel()
		d.h.letGo(who)
		party.leave(r.IntN(2) == 0)
	}
}

// transformOne makes one of one, or gives it back. A transaction fails where the connection breaks: then
// the message has gone back by itself.
func (d *drill) transformOne(k *trimq.QueueConsumer, p *trimq.Producer, value string, v *viewing, r *rand.Rand) {
	x, err := p.BeginTxn(d.life)
	if err != nil {
		d.h.report("transform: begin: %v", err)
		return
	}
	deal := d.l.open("the transformation of "+value, undecided, value)
	d.part("made", deal, x, r)
	if err = x.AckOffsets(k, v.index, v.offset); err == nil && r.IntN(5) > 0 {
		err = x.Commit(d.life)
		d.l.end(deal, ended(err))
		if err == nil {
			d.l.confirm("txn-in", value)
		}
	} else {
		if err = x.Rollback(d.life); err == nil {
			d.l.end(deal, rolledBack)
			err = errGivenUp
		}
	}
	if err != nil && !errors.Is(err, trimq.ErrUnknownOutcome) {
		d.l.putBack(v)
		_ = k.Nack(v.index, v.offset) // it may have gone back by itself
	}
}

var errGivenUp = errors.New("given up")
