package drill

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Movers are members of a group that make of each message one of another topic, in transactions with the
// positions to which they have come: whatever dies, each message is made once.

// mover is one incarnation.
type mover struct {
	*kafkaMember
	s       *kgo.GroupTransactSession
	n       int      // of its transactions
	sources []string // what came and is in no transaction yet
}

// newMover starts one, under a transactional id: what its predecessor has left open ends with that.
func (w ktxnLoad) newMover(id string, life int) (*mover, error) {
	x, err := w.newGuest(fmt.Sprintf("%s-%d", id, life))
	if err != nil {
		return nil, err
	}
	m := &mover{kafkaMember: &kafkaMember{kafkaClient: x, group: moversGroup, at: map[string]*standing{}}}
	w.h.note(&opSender{Name: x.name, Idempotent: true})
	m.s, err = kgo.NewGroupTransactSession(x.options([]kgo.Opt{
		w.balancer(), kgo.ConsumerGroup(moversGroup), kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(300 * time.Millisecond), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.BlockRebalanceOnPoll(), kgo.AdjustFetchOffsetsFn(m.assigned), kgo.OnPartitionsRevoked(m.dropped), kgo.OnPartitionsLost(m.dropped),
		kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	})...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.name, err)
	}
	m.c = m.s.Client()
	return m, nil
}

// move is a mover, in incarnations some of which are killed in the middle of a transaction.
func (w ktxnLoad) move(id string, r *rand.Rand) {
	for life := 0; w.ctx.Err() == nil; life++ {
		m, err := w.newMover(id, life)
		if err != nil {
			w.h.report("%v", err)
			return
		}
		killed := r.IntN(2) == 0
		ctx, cancel := context.WithTimeout(w.ctx, time.Duration(2+r.IntN(8))*time.Second)
		good := true
		for good && ctx.Err() == nil {
			good = m.once(ctx, r, false)
		}
		if cancel(); good && killed && w.ctx.Err() == nil {
			short, over := context.WithTimeout(w.ctx, time.Second)
			m.once(short, r, true)
			over()
		}
		m.leave(killed)
	}
}

// once makes one transaction of what comes; false: this incarnation can make no more. One that dies does so
// within it, at some time from when all is sent.
func (m *mover) once(ctx context.Context, r *rand.Rand, dies bool) bool {
	m.sources = nil
	m.poll(ctx, 1+r.IntN(300), func(where string, asked time.Time, seen []sight) {
		m.read(where, asked, seen)
		for _, s := range seen {
			m.sources = append(m.sources, s.Value)
		}
	})
	defer m.c.AllowRebalance()
	if len(m.sources) == 0 {
		return true
	}
	if r.IntN(2) == 0 { // what was read may be somebody else's before all is sent
		m.c.AllowRebalance()
	}
	if err := m.s.Begin(); err != nil {
		return m.gone(err, "begin")
	}
	m.n++
	t := m.newTxn(m.n)
	for _, source := range m.sources {
		t.send("out", source, r)
	}
	commit := r.IntN(5) > 0 && t.taken()
	m.c.AllowRebalance() // the end wants a heartbeat, of which there are none while a rebalance has to wait
	return m.end(t, commit, dies, r)
}

// end ends a transaction, and notes how.
func (m *mover) end(t *kafkaTxn, commit, dies bool, r *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(m.life, txnTimeout)
	defer cancel()
	var tried map[string]uint64
	if commit {
		tried = m.tries()
		m.h.ledger.end(t.deal, undecided)
	}
	if dies {
		ctx = m.doomed(ctx, r)
	}
	done, err := m.s.End(ctx, kgo.TransactionEndTry(commit))
	switch {
	case err != nil && dies:
		return false
	case err != nil:
		return m.gone(err, "end")
	case done:
		m.h.ledger.end(t.deal, committed)
	default:
		m.h.ledger.end(t.deal, rolledBack)
	}
	m.stands(tried, done)
	return true
}

// gone tells that an incarnation is at its end, and reports what should not have ended it.
func (x *kafkaClient) gone(err error, what string) bool {
	if !superseded(err) && !disconnected(err) {
		x.w.complain(err, "%s: %s", x.name, what)
	}
	return false
}

// tries notes where the group will stand if a commit counts.
func (m *mover) tries() map[string]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	tried := map[string]uint64{}
	for where, s := range m.at {
		if s.next != s.committed {
			tried[where] = s.next
			m.h.note(&opCommits{m.group, where, s.next, stepTried})
		}
	}
	return tried
}

// stands notes where the group stands when a transaction has ended: from there the mover reads on.
func (m *mover) stands(tried map[string]uint64, committed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for where, next := range tried {
		if !committed {
			break
		}
		m.h.note(&opCommits{m.group, where, next, stepAnswered})
		if s := m.at[where]; s != nil {
			s.committed = next
		}
	}
	for _, s := range m.at {
		s.next = s.committed
	}
}

// moveRest makes what has not been made, when all others are gone.
func (w ktxnLoad) moveRest(first *party) error {
	topics, err := first.client.Topics(w.life, "in")
	if err != nil {
		return err
	}
	m, err := w.newMover("last-mover", 0)
	if err != nil {
		return err
	}
	defer m.leave(false)
	ctx, cancel := context.WithTimeout(w.life, cmp.Or(w.o.Settle, patience/2))
	defer cancel()
	r := rand.New(rand.NewPCG(1, 1))
	left := func() (list []string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, p := range topics[0].Partitions {
			if s := m.at[place("in", uint32(i))]; p.Visible > 0 && (s == nil || s.committed < p.Visible) {
				list = append(list, fmt.Sprintf("%s below %d", place("in", uint32(i)), p.Visible))
			}
		}
		return list
	}
	for len(left()) > 0 && ctx.Err() == nil {
		short, over := context.WithTimeout(ctx, 300*time.Millisecond)
		if !m.once(short, r, false) {
			over()
			break
		}
		over()
	}
	if rest := left(); len(rest) > 0 {
		w.h.report("the last mover has not moved all: it stands in %v", rest)
	}
	return nil
}
