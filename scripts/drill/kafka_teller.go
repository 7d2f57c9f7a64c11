package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Tellers have transactions of several topics and partitions, of which a part is aborted.

// tell is a teller of some topics under a transactional id, in incarnations some of which are killed in the middle of a
// transaction.
func (w ktxnLoad) tell(name, id string, r *rand.Rand, topics ...string) {
	for life := 0; w.ctx.Err() == nil; life++ {
		x, err := w.newKafka(fmt.Sprintf("%s-%d", name, life), kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			w.h.report("%v", err)
			return
		}
		w.h.note(&opSender{Name: x.name, Idempotent: true})
		killed := r.IntN(2) == 0
		ctx, cancel := context.WithTimeout(w.ctx, time.Duration(500+r.IntN(5000))*time.Millisecond)
		n, good := 0, true
		for ; good && ctx.Err() == nil; n++ {
			good = x.tellOnce(n, r, false, topics)
			time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
		}
		if cancel(); good && killed {
			x.tellOnce(n, r, true, topics)
		}
		x.leave(killed)
	}
}

// tellOnce has one transaction; false: this incarnation can have no more.
func (x *kafkaClient) tellOnce(n int, r *rand.Rand, dies bool, topics []string) bool {
	if err := x.c.BeginTransaction(); err != nil {
		return x.gone(err, "begin")
	}
	t := x.newTxn(n)
	for range 1 + r.IntN(12) {
		t.send(topics[r.IntN(len(topics))], "", r)
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
		}
	}
	ctx := x.life
	commit := r.IntN(3) > 0 && t.taken()
	if commit {
		x.h.ledger.end(t.deal, undecided)
	}
	if dies {
		ctx = x.doomed(ctx, r)
	}
	switch err := x.endTxn(ctx, commit); {
	case err == nil && commit:
		x.h.ledger.end(t.deal, committed)
	case errors.Is(err, kerr.OperationNotAttempted): // and so it is aborted
		x.h.ledger.end(t.deal, rolledBack)
		return false
	case err != nil && !dies:
		return x.gone(err, "end of a transaction")
	case err != nil:
		return false
	}
	return true
}

// endTxn ends a transaction. What is not sent yet is not sent any more if it is aborted.
func (x *kafkaClient) endTxn(ctx context.Context, commit bool) error {
	ctx, cancel := context.WithTimeout(ctx, txnTimeout)
	defer cancel()
	if !commit {
		if err := x.c.AbortBufferedRecords(ctx); err != nil {
			return err
		}
	}
	return x.c.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}
