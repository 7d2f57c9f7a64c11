package nativeconn

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// TestQueuesAgainstModel plays a client and a logicsrv, both naive, on either side of a room, in
// any order of deliveries, verdicts, pulls, recalls, transactions, markers, and a link that is
// crowded now and then. When all is through, the three agree on who holds what, whoever was to get
// a message has got it, and nobody got one that the filter keeps from him.
func TestQueuesAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newGame(t, rt)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			m.step()
			m.exchange()
		}
		m.finish()
	})
}

// holder is who has a message, for the naive logicsrv.
type holder struct {
	sub   uint64 // 0: nobody
	lease uint64
	done  bool
}

// gamePull is a Pull that the naive logicsrv has not answered.
type gamePull struct {
	ipc.Pull
	over bool // its PullEnd has come
}

type game struct {
	*play
	rt     *rapid.T
	filter ipc.Filter
	values []string // of the messages, by offset

	// logicsrv
	held   []holder
	limits map[uint64]uint64
	given  map[uint64]uint64
	skips  map[uint64]uint64
	auto   map[uint64]bool
	pulls  []gamePull
	txns   []ipc.EndTxn
	leases uint64
	taken  map[[2]uint64]bool // by subscription and offset: recalled, and the client has not heard of it

	// the client
	wants   map[uint64]uint64             // the limit, by subscription
	hands   map[uint64]map[uint64]bool    // by subscription
	leased  map[uint64]uint64             // by offset, the lease
	seen    map[uint64]int                // how often a message came
	waiting map[uint64]native.Pull        // unanswered, by correlation
	came    map[uint64][]uint64           // offsets that came for them
	ending  map[uint64]map[[2]uint64]bool // by END_TXN: subscriptions and offsets that it is about
}

const gameMessages = 60

func newGame(t *testing.T, rt *rapid.T) *game {
	g := &game{
		play: newPlay(t), rt: rt, held: make([]holder, gameMessages),
		limits: map[uint64]uint64{}, given: map[uint64]uint64{}, skips: map[uint64]uint64{}, wants: map[uint64]uint64{}, auto: map[uint64]bool{},
		hands: map[uint64]map[uint64]bool{}, leased: map[uint64]uint64{}, seen: map[uint64]int{},
		taken: map[[2]uint64]bool{}, waiting: map[uint64]native.Pull{}, came: map[uint64][]uint64{}, ending: map[uint64]map[[2]uint64]bool{},
	}
	g.play.t = rt
	rt.Cleanup(g.close)
	g.conn.window = 1 << 20
	if rapid.Bool().Draw(rt, "filter") {
		g.filter = word("a")
	}
	for len(g.values) < gameMessages {
		var list []string
		for range rapid.IntRange(1, 12).Draw(rt, "batch") {
			list = append(list, rapid.SampledFrom([]string{"a", "a", "b"}).Draw(rt, "value"))
		}
		list = list[:min(len(list), gameMessages-len(g.values))]
		g.log.store(7, words(rapid.SampledFrom([]batch.Codec{batch.None, batch.Zstd}).Draw(rt, "codec"), list...), 0)
		g.values = append(g.values, list...)
	}
	return g
}

func (g *game) matches(o uint64) bool { return g.filter.Kind == 0 || g.values[o] == "a" }

// step does one thing on one side.
func (g *game) step() {
	switch rapid.IntRange(0, 17).Draw(g.rt, "what") {
	case 0:
		g.subscribe()
	case 1, 2, 3:
		g.handOut()
	case 4, 5:
		g.settle()
	case 6:
		g.credit()
	case 7:
		g.pullSome()
	case 8, 9:
		g.answerPull()
	case 10:
		g.recallSome()
	case 11:
		g.endTxn()
	case 12:
		g.answerTxn()
	case 13:
		g.link.Most = rapid.SampledFrom([]int{0, 0, 1, 200}).Draw(g.rt, "most")
	case 14:
		g.conn.Drained()
	case 15:
		g.link.LaterMS += rapid.Int64Range(0, 80).Draw(g.rt, "later")
		g.conn.Deadline(g.link.NowMS())
	case 16, 17:
		g.handOver(g.t)
	}
}

func (g *game) subscribe() {
	sub := uint64(1 + len(g.limits))
	if sub > 3 {
		return
	}
	m := native.Subscribe{Sub: sub, Index: 7, Kind: native.SubQueue, Limit: rapid.Uint64Range(0, 20).Draw(g.rt, "limit"), AutoAck: rapid.Bool().Draw(g.rt, "auto")}
	g.auto[sub], g.wants[sub] = m.AutoAck, m.Limit
	g.ask(native.CmdSubscribe, &m)
}

// run draws messages that lie side by side and that want fits.
func (g *game) run(most int, want func(o uint64) bool) (r ipc.Range, ok bool) {
	first := rapid.Uint64Range(0, gameMessages-1).Draw(g.rt, "first")
	for ; first < gameMessages && !want(first); first++ {
	}
	n := uint32(0)
	for int(n) < most && first+uint64(n) < gameMessages && want(first+uint64(n)) {
		n++
	}
	if n == 0 {
		return r, false
	}
	return ipc.Range{First: first, Count: uint32(rapid.IntRange(1, int(n)).Draw(g.rt, "count"))}, true
}

func (g *game) ready(o uint64) bool { return g.held[o] == holder{} }

func offsets(r ipc.Range) (list []uint64) {
	for o := r.First; o < r.First+uint64(r.Count); o++ {
		list = append(list, o)
	}
	return list
}

// giveTo makes somebody the holder of messages.
func (g *game) giveTo(r ipc.Range, h holder) {
	for _, o := range offsets(r) {
		g.held[o] = h
	}
}

// handOut gives a consumer with credit what is ready.
func (g *game) handOut() {
	for _, sub := range slices.Sorted(maps.Keys(g.limits)) {
		credit := g.limits[sub] - min(g.limits[sub], g.given[sub])
		if credit == 0 || rapid.Bool().Draw(g.rt, "pass over") {
			continue
		}
		// Not to who has been handed it before and may be about to acknowledge that.
		r, ok := g.run(int(min(credit, 15)), func(o uint64) bool { return g.ready(o) && !g.taken[[2]uint64{sub, o}] })
		if !ok {
			return
		}
		g.giveTo(r, holder{sub: sub})
		g.given[sub] += uint64(r.Count)
		g.reply(ipc.TypeDeliver, &ipc.Deliver{Head: g.head(0), Sub: sub, Index: 7, First: r.First, Count: r.Count})
		g.exchange()
	}
}

// settle passes a verdict on what the client holds.
func (g *game) settle() {
	for _, sub := range slices.Sorted(maps.Keys(g.hands)) {
		r, ok := g.run(8, func(o uint64) bool { return g.hands[sub][o] && !g.pledged(sub, o) })
		if !ok {
			continue
		}
		m := native.Ack{Sub: sub, Queue: 7, Index: 7, Verdict: rapid.SampledFrom([]ipc.Verdict{ipc.VerdictAck, ipc.VerdictRequeue}).Draw(g.rt, "verdict"), Ranges: []ipc.Range{r}}
		g.feed(g.t, native.AppendFrame(nil, native.CmdAck, native.FlagNoReply, 0, &m))
		for _, o := range offsets(r) {
			delete(g.hands[sub], o)
		}
	}
	r, ok := g.run(8, func(o uint64) bool { return g.leased[o] != 0 })
	if !ok {
		return
	}
	for _, o := range offsets(r) {
		m := native.Ack{Queue: 7, Index: 7, Lease: g.leased[o], Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: o, Count: 1}}}
		g.feed(g.t, native.AppendFrame(nil, native.CmdAck, native.FlagNoReply, 0, &m))
		delete(g.leased, o)
	}
}

func (g *game) pledged(sub, o uint64) bool {
	for _, set := range g.ending {
		if set[[2]uint64{sub, o}] {
			return true
		}
	}
	return false
}

func (g *game) credit() {
	for _, sub := range slices.Sorted(maps.Keys(g.limits)) {
		m := native.Credit{Sub: sub, Limit: rapid.Uint64Range(0, 100).Draw(g.rt, "limit")}
		g.wants[sub] = max(g.wants[sub], m.Limit)
		g.feed(g.t, native.AppendFrame(nil, native.CmdCredit, native.FlagNoReply, 0, &m))
	}
}

func (g *game) pullSome() {
	m := native.Pull{Queue: 7, Max: rapid.Uint32Range(1, 10).Draw(g.rt, "max"), WaitMS: rapid.SampledFrom([]uint64{0, 50}).Draw(g.rt, "wait")}
	switch rapid.IntRange(0, 2).Draw(g.rt, "kind") {
	case 1:
		m.AutoAck = true
	case 2:
		m.InvisibleMS = 1000
	}
	g.waiting[g.ask(native.CmdPull, &m)] = m
}

// answerPull gives a pull what is ready, or nothing where it waits no longer.
func (g *game) answerPull() {
	if len(g.pulls) == 0 {
		return
	}
	i := rapid.IntRange(0, len(g.pulls)-1).Draw(g.rt, "pull")
	p := g.pulls[i]
	m := ipc.Pulled{Head: p.Head, Queue: 7, Filter: g.filter}
	h := holder{sub: p.Sub}
	if p.InvisibleMS > 0 {
		g.leases++
		m.Lease, m.UntilMS, h = g.leases, 5, holder{lease: g.leases}
	}
	for left := int(p.Max); left > 0; {
		r, ok := g.run(left, g.ready)
		if !ok {
			break
		}
		g.giveTo(r, h)
		m.Runs = append(m.Runs, ipc.PulledRun{Index: 7, First: r.First, Count: r.Count})
		if left -= int(r.Count); rapid.Bool().Draw(g.rt, "enough") {
			break
		}
	}
	if len(m.Runs) == 0 {
		if p.Wait && !p.over {
			return
		}
		m.Lease, m.UntilMS = 0, 0
	}
	g.pulls = slices.Delete(g.pulls, i, i+1)
	g.reply(ipc.TypePulled, &m)
}

// recallSome takes messages back from who holds them.
func (g *game) recallSome() {
	for _, sub := range slices.Sorted(maps.Keys(g.limits)) {
		if g.auto[sub] {
			continue
		}
		r, ok := g.run(6, func(o uint64) bool { return g.held[o].sub == sub })
		if !ok {
			continue
		}
		for _, o := range offsets(r) {
			g.held[o] = holder{}
			g.taken[[2]uint64{sub, o}] = true
		}
		g.reply(ipc.TypeRecall, &ipc.Recall{Head: g.head(0), Sub: sub, Index: 7, Ranges: []ipc.Range{r}})
		g.exchange()
	}
}

func (g *game) endTxn() {
	var list []ipc.TxnVerdict
	for _, sub := range slices.Sorted(maps.Keys(g.hands)) {
		if r, ok := g.run(4, func(o uint64) bool { return g.hands[sub][o] && !g.pledged(sub, o) }); ok {
			list = append(list, verdict(sub, r.First, r.Count))
		}
	}
	if len(list) == 0 {
		return
	}
	set := map[[2]uint64]bool{}
	for _, v := range list {
		for _, o := range offsets(v.Range) {
			set[[2]uint64{v.Sub, o}] = true
		}
	}
	g.ending[g.ask(native.CmdEndTxn, &native.EndTxn{Txn: 1, Commit: true, Verdicts: list})] = set
}

// answerTxn commits or refuses.
func (g *game) answerTxn() {
	if len(g.txns) == 0 {
		return
	}
	m := g.txns[0]
	g.txns = g.txns[1:]
	if m.Unheld || rapid.Bool().Draw(g.rt, "refuse") {
		g.fail(m.Req, errcode.LimitExceeded)
		return
	}
	for _, v := range m.Verdicts {
		for _, o := range offsets(v.Range) {
			g.held[o] = holder{done: true}
		}
	}
	g.reply(ipc.TypeTxnEnded, &ipc.TxnEnded{Head: m.Head, Committed: true})
}

// exchange takes in what has come out on both sides.
func (g *game) exchange() {
	for {
		records, frames := g.records(), g.frames()
		for _, rec := range records {
			g.input(rec)
		}
		for _, f := range frames {
			g.hear(f)
		}
		if len(records)+len(frames) == 0 {
			return
		}
	}
}

// input is the naive logicsrv.
func (g *game) input(rec record) {
	switch rec.typ {
	case ipc.TypeSubscribe:
		m, _ := ipc.DecodeSubscribe(rec.payload)
		g.limits[m.Sub] = m.Limit
		g.reply(ipc.TypeSubscribed, &ipc.Subscribed{Head: m.Head, Sub: m.Sub, Filter: g.filter})
	case ipc.TypeCredit:
		m, _ := ipc.DecodeCredit(rec.payload)
		g.limits[m.Sub] = m.Limit
	case ipc.TypeAck:
		m, _ := ipc.DecodeAck(rec.payload)
		g.judge(&m)
	case ipc.TypePull:
		m, _ := ipc.DecodePull(rec.payload)
		g.pulls = append(g.pulls, gamePull{Pull: m})
	case ipc.TypePullEnd:
		m, _ := ipc.DecodePullEnd(rec.payload)
		for i := range g.pulls {
			g.pulls[i].over = g.pulls[i].over || g.pulls[i].Req == m.Target
		}
	case ipc.TypeEndTxn:
		m, _ := ipc.DecodeEndTxn(rec.payload)
		g.txns = append(g.txns, m)
	default:
		g.t.Fatalf("a record of type %d", rec.typ)
	}
}

// judge carries a verdict out. Acks hold whoever has the message; the others are for who holds it.
func (g *game) judge(m *ipc.Ack) {
	for _, r := range m.Ranges {
		for _, o := range offsets(r) {
			mine := g.held[o].sub == m.Sub && g.held[o].lease == m.Lease && !g.held[o].done
			if m.Verdict == ipc.VerdictSkip && g.matches(o) {
				g.t.Fatalf("offset %d is skipped: %q of %+v by %+v", o, g.values[o], g.held[o], m)
			}
			if m.Verdict == ipc.VerdictSkip {
				g.skips[m.Sub]++
			}
			switch {
			case m.Verdict != ipc.VerdictRequeue:
				g.held[o] = holder{done: true}
			case mine:
				g.held[o] = holder{}
			}
		}
	}
}

// hear is the client.
func (g *game) hear(f native.Frame) {
	switch f.Command {
	case native.CmdDeliver:
		g.got(g.delivered([]native.Frame{f}, 0)[0])
	case native.CmdRecall:
		m, err := native.DecodeRecall(f.Body)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, r := range m.Ranges {
			for _, o := range offsets(r) {
				delete(g.hands[m.Sub], o)
				delete(g.taken, [2]uint64{m.Sub, o})
				for _, set := range g.ending {
					delete(set, [2]uint64{m.Sub, o})
				}
			}
		}
	case native.CmdPull:
		g.pulled(f)
	case native.CmdEndTxn:
		set := g.ending[f.Correlation]
		delete(g.ending, f.Correlation)
		if f.Flags&native.FlagError == 0 {
			for x := range set {
				delete(g.hands[x[0]], x[1])
			}
		}
	case native.CmdSubscribe:
	default:
		g.t.Fatalf("%+v", f.Header)
	}
}

func (g *game) got(d handed) {
	for i, o := range offsets(ipc.Range{First: d.First, Count: d.Count}) {
		if d.values[i] != g.values[o] || !g.matches(o) {
			g.t.Fatalf("offset %d came as %q, it is %q", o, d.values[i], g.values[o])
		}
		g.seen[o]++
		if d.correlation != 0 {
			g.came[d.correlation] = append(g.came[d.correlation], o)
		}
		pull := g.waiting[d.correlation]
		if d.Sub == 0 || pull.AutoAck || g.auto[d.Sub] {
			continue
		}
		if g.hands[d.Sub] == nil {
			g.hands[d.Sub] = map[uint64]bool{}
		}
		g.hands[d.Sub][o] = true
	}
}

func (g *game) pulled(f native.Frame) {
	m, err := native.DecodePullReply(f.Body)
	list := g.came[f.Correlation]
	pull, asked := g.waiting[f.Correlation]
	if err != nil || !asked || int(m.Count) != len(list) || m.Count > pull.Max || (m.Lease != 0) != (pull.InvisibleMS > 0 && m.Count > 0) {
		g.t.Fatalf("%+v answers %+v, for which %v came: %v", m, pull, list, err)
	}
	delete(g.waiting, f.Correlation)
	for _, o := range list {
		if m.Lease != 0 {
			g.leased[o] = m.Lease
		}
	}
}

// close gives back what a history took.
func (g *game) close() {
	g.log.close()
	g.lane.View.Close()
}

// finish lets everything come to its end and compares.
func (g *game) finish() {
	g.link.Most = 0
	g.link.LaterMS += 100_000
	for range 100 {
		g.conn.Drained()
		g.conn.Deadline(g.link.NowMS())
		g.exchange()
		g.answerPull()
		g.answerTxn()
		g.exchange()
	}
	if len(g.waiting)+len(g.ending)+len(g.pulls)+g.conn.pending.Len()+len(g.conn.pulls)+len(g.conn.txns)+len(g.conn.line) > 0 || g.conn.asked != 0 {
		g.t.Fatalf("unanswered: %v, %v; %d requests, %d messages are asked for", g.waiting, g.ending, g.conn.pending.Len(), g.conn.asked)
	}
	g.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	told := map[uint64]map[uint64]bool{}
	for _, s := range sent(g.play, ipc.TypeSubState, ipc.DecodeSubState) {
		for _, h := range s.InHand {
			for _, o := range offsets(h.Range) {
				if told[s.Sub] == nil {
					told[s.Sub] = map[uint64]bool{}
				}
				told[s.Sub][o] = true
			}
		}
		if !s.Consumer.Puller && (s.Delivered != g.given[s.Sub] || s.Limit != g.limits[s.Sub] || s.Limit != g.wants[s.Sub]+g.skips[s.Sub]) {
			g.t.Fatalf("told again as %+v, with %d delivered and %d skipped, a limit of %d, for %d", s, g.given[s.Sub], g.skips[s.Sub], g.limits[s.Sub], g.wants[s.Sub])
		}
	}
	for o, h := range g.held {
		o := uint64(o)
		// What is done with may be in somebody's hand: it was recalled from who has settled it.
		for sub := range told {
			if in := told[sub][o]; in != (h.sub == sub) && !(in && h.done) {
				g.t.Fatalf("offset %d: told as in hand of %d: %v; it is %+v", o, sub, in, h)
			}
		}
		for sub := range g.hands {
			if in := g.hands[sub][o]; in != (h.sub == sub) && !(in && h.done) {
				g.t.Fatalf("offset %d: in hand of %d for the client: %v; it is %+v", o, sub, in, h)
			}
		}
		if g.leased[o] != h.lease && !h.done {
			g.t.Fatalf("offset %d is leased %d for the client; it is %+v", o, g.leased[o], h)
		}
		if h.sub != 0 && !told[h.sub][o] || h.done && g.matches(o) && g.seen[o] == 0 || g.seen[o] > 0 && !g.matches(o) {
			g.t.Fatalf("offset %d %q, %+v: it came %d times, told %v", o, g.values[o], h, g.seen[o], fmt.Sprint(told))
		}
	}
}
