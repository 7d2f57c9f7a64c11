package core

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// TestScripts runs testdata/<area>/<behaviour>.txt: inputs in, the whole trace of entries
// and outputs out. Commands:
//
//	turn                   one input a line; ends the turn
//	advance written= synced=   moves the cursors; ends a turn without inputs
//	settle                 moves both cursors to the end until nothing is left to do
//	drop-transient         what a start with new rings does to exchanges, in as many turns as it takes
//	checkpoint             takes one, for the next kill
//	kill head=pos lose=n   rebuilds the core without the last n entries, reads the ring from
//	                       head again, ends the turn
//	noted                  shows which notes are wanted, and tells them; ends a turn
//	state                  describes the queues
//	config key=value …     starts anew with other limits
//
// now=ms with any of them moves the clock.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" || filepath.Base(filepath.Dir(path)) == "golden" {
			return
		}
		s := &script{world: newWorld(t, Config{})}
		s.ids = memberIDs{}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	*world
	ids memberIDs
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.tb = t
	var b strings.Builder
	if now := number(d, "now"); now != 0 {
		s.now = int64(now)
	}
	switch d.Cmd {
	case "config":
		cfg := Config{
			MaxQueues: number(d, "queues"), MaxTopics: number(d, "topics"), MaxPartitions: number(d, "partitions"),
			MaxBindings: number(d, "bindings"), MaxExchanges: number(d, "exchanges"), MaxTargets: number(d, "targets"),
			MaxProducers: number(d, "producers"), MaxConsumers: number(d, "consumers"), MaxWaits: number(d, "waits"),
			MaxGroups: number(d, "groups"), ProducerExpiryMS: int64(number(d, "expiry")), MaxEntryBytes: number(d, "entry"),
			MaxDelayed: number(d, "delayed"), MaxTxns: number(d, "txns"), TxnChecks: number(d, "checks"), TxnMaxMS: int64(number(d, "txn-max")),
		}
		groupConfig(&cfg, d)
		s.world = newWorld(t, cfg)
	case "turn":
		for _, line := range strings.Split(d.Input, "\n") {
			if line != "" {
				s.step(s.input(s.ids.lengthen(line)))
			}
		}
		s.trace(&b)
	case "advance":
		s.cursors(uint64(number(d, "written")), uint64(number(d, "synced")))
		s.trace(&b)
	case "settle":
		for first := true; first || s.c.Busy() || s.written != s.c.LSN(); first = false {
			s.cursors(s.c.LSN(), s.c.LSN())
			s.trace(&b)
		}
	case "new-rings":
		s.newRings()
		s.trace(&b)
	case "checkpoint":
		s.checkpoint()
		fmt.Fprintf(&b, "lsn=%d\n", s.blobLSN)
	case "kill":
		s.kill(uint64(number(d, "head")), number(d, "lose"))
		s.trace(&b)
	case "noted": // the shell has read the notes that are wanted
		s.readNotes(&b, d)
		s.trace(&b)
	case "state":
		s.state(&b)
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	if b.Len() == 0 {
		return "ok"
	}
	return s.ids.shorten(b.String())
}

func (s *script) trace(b *strings.Builder) {
	e, out := s.end()
	s.ids.learn(out)
	traceEntry(b, e)
	traceOutputs(b, out)
}

// state shows what the queues hold.
func (s *script) state(b *strings.Builder) {
	for name, q := range s.c.queues.all {
		for i, k := range q.cursors {
			if i > 0 || q.topic != nil {
				fmt.Fprintf(b, "%s/%d", name, k.number)
			} else {
				b.WriteString(name)
			}
			n := k.leases.count() + k.dead.count()
			fmt.Fprintf(b, " floor=%d next=%d visible=%d acked=%d inhand=%d attempts=%v", k.floor, k.ix.next, k.ix.visible, k.acked.n, k.taken.n-n, k.attempts)
			if n > 0 {
				fmt.Fprintf(b, " leased=%d dead=%d", k.leases.count(), k.dead.count())
			}
			b.WriteByte('\n')
		}
	}
	for name, t := range s.c.topics.all {
		fmt.Fprintf(b, "%s", name)
		for _, ix := range t.partitions {
			fmt.Fprintf(b, " %d:%d/%d", ix.id, ix.visible, ix.next)
		}
		b.WriteByte('\n')
	}
}

func number(d *datadriven.TestData, key string) int {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			n, err := strconv.Atoi(a.Vals[0])
			if err != nil {
				panic(err)
			}
			return n
		}
	}
	return 0
}

// words are the arguments of an input line: key=value, or a bare key.
type words map[string]string

func (w words) num(key string, otherwise int64) int64 {
	v, ok := w[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (w words) flag(key string) bool { _, ok := w[key]; return ok }

func (w words) level() ipc.Level {
	for i, name := range levelNames {
		if name == w["level"] {
			return ipc.Level(i)
		}
	}
	return ipc.LevelUnset
}

// ranges reads first+count,first+count.
func (w words) ranges(key string) (out []ipc.Range) {
	if w[key] == "" {
		return nil
	}
	for _, part := range strings.Split(w[key], ",") {
		first, count, _ := strings.Cut(part, "+")
		if count == "" {
			count = "1"
		}
		f, err1 := strconv.ParseUint(first, 10, 64)
		n, err2 := strconv.ParseUint(count, 10, 32)
		if err1 != nil || err2 != nil {
			panic(part)
		}
		out = append(out, ipc.Range{First: f, Count: uint32(n)})
	}
	return out
}

// held reads ranges that are all of one index.
func (w words) held(key string, index uint64) (out []ipc.Held) {
	for _, r := range w.ranges(key) {
		out = append(out, ipc.Held{Index: uint64(w.num("held-index", int64(index))), Range: r})
	}
	return out
}

func (w words) consumer() ipc.Consumer {
	return ipc.Consumer{
		AutoAck: w.flag("auto"), Exclusive: w.flag("exclusive"), Puller: w.flag("puller"), Priority: int32(w.num("priority", 0)),
		AckTimeoutMS: uint64(w.num("timeout", 0)), Tag: w["tag"],
	}
}

func (w words) opt(key string) admin.Opt {
	if !w.flag(key) {
		return admin.Opt{}
	}
	return admin.Some(uint64(w.num(key, 0)))
}

// queue reads the properties of a queue.
func (w words) queue() *admin.CreateQueue {
	m := &admin.CreateQueue{Name: w["name"], Level: w.level(), QueueSettings: admin.QueueSettings{
		Durable: !w.flag("transient"), Exclusive: w.flag("exclusive"), AutoDelete: w.flag("auto-delete"), SingleActive: w.flag("single"),
		MaxPriority: uint8(w.num("priorities", 0)), Overflow: admin.Overflow(w.num("overflow", 0)),
		MaxMessages: w.opt("max"), MaxBytes: w.opt("max-bytes"), MessageTTLMS: w.opt("ttl"), ExpiresMS: w.opt("expires"),
		DeliveryLimit: w.opt("delivery-limit"), RewindMS: w.opt("rewind"),
		DeadLetter: w.flag("dlx"), DeadLetterExchange: w["dlx"], DeadLetterKey: w["dlkey"], KeepKey: w.flag("dlx") && !w.flag("dlkey"),
		Topic: w["topic"], Filter: w["filter"], Type: admin.QueueType(w.num("type", 0)), Arguments: w["arguments"],
	}}
	switch {
	case m.Filter != "":
		m.FilterKind = admin.FilterTags
	case w.flag("selector"):
		m.FilterKind, m.Filter = admin.FilterSelector, w["selector"]
	}
	switch w["from"] {
	case "latest":
		m.From = admin.FromLatest
	case "nowhere":
		m.From = admin.FromNowhere
	case "offset":
		m.From, m.Offsets = admin.FromOffsets, []uint64{uint64(w.num("offset", 0))}
	}
	m.Name, m.DeadLetterExchange, m.DeadLetterKey = inVHost(m.Name), inVHost(m.DeadLetterExchange), inVHost(m.DeadLetterKey)
	return m
}

// inVHost reads vhost::name.
func inVHost(name string) string { return strings.ReplaceAll(name, "::", admin.VHostMark) }

// headers reads name:value,name:value.
func (w words) headers() []ipc.Header { return w.headersOf("headers") }

func (w words) headersOf(key string) (out []ipc.Header) {
	for _, part := range w.list(key) {
		k, v, _ := strings.Cut(part, ":")
		out = append(out, ipc.Header{Key: k, Value: v})
	}
	return out
}

// list reads word,word.
func (w words) list(key string) []string {
	if w[key] == "" {
		return nil
	}
	return strings.Split(w[key], ",")
}

func (w words) batch() ipc.BatchMeta {
	return ipc.BatchMeta{
		Count: uint32(w.num("count", 1)), Length: uint32(w.num("length", 100)), CRC: 1,
		ProducerID: w.num("pid", journal.NoProducer), Epoch: int16(w.num("pepoch", 0)), BaseSeq: int32(w.num("seq", 0)),
	}
}

// input makes the record that a line describes.
func (s *script) input(line string) (ipc.Type, []byte) {
	fields := strings.Fields(line)
	w := words{}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		w[k] = v
	}
	h := ipc.Head{Epoch: uint64(w.num("epoch", 1)), Conn: uint64(w.num("conn", 256)), Req: uint64(w.num("req", 0))}
	index, sub := uint64(w.num("index", 0)), uint64(w.num("sub", 1))
	queue := uint64(w.num("of", int64(index)))
	ack := func(v ipc.Verdict) (ipc.Type, []byte) {
		m := ipc.Ack{Head: h, Sub: sub, Queue: queue, Index: index, Lease: uint64(w.num("lease", 0)), Verdict: v, Ranges: w.ranges("offsets")}
		return ipc.TypeAck, m.Append(nil)
	}
	switch fields[0] {
	case "hello":
		return ipc.TypeHello, (&ipc.Hello{Head: h, Loops: uint32(w.num("loops", 1))}).Append(nil)
	case "append":
		return ipc.TypeAppend, appendRecord(&ipc.Append{Head: h, Index: index, Level: w.level(), Batch: w.batch(), Txn: uint64(w.num("txn", 0))})
	case "publish":
		return ipc.TypePublish, publishRecord(&ipc.Publish{
			Head: h, Level: w.level(), Mandatory: w.flag("mandatory"), Batch: w.batch(),
			Exchange: inVHost(w["exchange"]), RoutingKey: inVHost(w["key"]), Headers: w.headers(), Priority: uint8(w.num("priority", 0)),
			TTLMS: w.num("ttl", ipc.NoTTL), DueMS: w.num("due", 0), Weight: uint32(w.num("weight", 0)), Txn: uint64(w.num("txn", 0)),
			MoreKeys: w.list("more"), DelayedOnly: w.flag("delayed-only"), Whole: w.flag("whole"), NoHeaders: w.flag("no-headers"), Keyless: w.flag("keyless"),
		})
	case "pull":
		m := ipc.Pull{Head: h, Sub: sub, Queue: queue, Max: uint32(w.num("max", 1)), Wait: w.flag("wait"), InvisibleMS: uint64(w.num("invisible", 0))}
		return ipc.TypePull, m.Append(nil)
	case "pull-from":
		m := ipc.PullFrom{Pull: ipc.Pull{Head: h, Queue: queue, Max: uint32(w.num("max", 1)), Wait: w.flag("wait"), InvisibleMS: uint64(w.num("invisible", 0))}, Indexes: w.indexes("indexes")}
		return ipc.TypePullFrom, m.Append(nil)
	case "pull-end":
		return ipc.TypePullEnd, (&ipc.PullEnd{Head: h, Target: uint64(w.num("target", 0))}).Append(nil)
	case "extend":
		m := ipc.Extend{Head: h, Queue: queue, Index: index, Offset: uint64(w.num("offset", 0)), Lease: uint64(w.num("lease", 0)), InvisibleMS: uint64(w.num("invisible", 0))}
		return ipc.TypeExtend, m.Append(nil)
	case "begin-txn":
		return ipc.TypeBeginTxn, (&ipc.BeginTxn{Head: h, Group: w["group"], Key: w["key"], CheckMS: uint64(w.num("check", 0))}).Append(nil)
	case "end-txn":
		m := ipc.EndTxn{Head: h, Txn: uint64(w.num("txn", 0)), Commit: w.flag("commit"), Unheld: w.flag("unheld")}
		for _, r := range w.ranges("offsets") {
			m.Verdicts = append(m.Verdicts, ipc.TxnVerdict{Sub: sub, Queue: queue, Index: index, Verdict: ipc.VerdictAck, Range: r})
		}
		return ipc.TypeEndTxn, m.Append(nil)
	case "txn-member":
		return ipc.TypeTxnMember, (&ipc.TxnMember{Head: h, Group: w["group"], Join: !w.flag("leave")}).Append(nil)
	case "skip":
		return ack(ipc.VerdictSkip)
	case "ack":
		return ack(ipc.VerdictAck)
	case "unsent":
		return ack(ipc.VerdictUnsent)
	case "requeue":
		return ack(ipc.VerdictRequeue)
	case "reject":
		return ack(ipc.VerdictReject)
	case "init-producer":
		return ipc.TypeInitProducer, (&ipc.InitProducer{Head: h, ProducerID: w.num("pid", -1), Epoch: int16(w.num("pepoch", -1))}).Append(nil)
	case "wait":
		m := ipc.Wait{Head: h, Index: index}
		switch w["beyond"] {
		case "now":
			m.Beyond = ipc.WaitNow
		case "stored":
			m.Beyond = ipc.WaitStored
		default:
			m.Beyond = uint64(w.num("beyond", 0))
		}
		return ipc.TypeWait, m.Append(nil)
	case "unwait":
		return ipc.TypeUnwait, (&ipc.Unwait{Head: h, Target: uint64(w.num("target", 0))}).Append(nil)
	case "subscribe":
		return ipc.TypeSubscribe, (&ipc.Subscribe{Head: h, Sub: sub, Queue: queue, Limit: uint64(w.num("limit", 0)), Consumer: w.consumer()}).Append(nil)
	case "unsubscribe":
		return ipc.TypeUnsubscribe, (&ipc.Unsubscribe{Head: h, Sub: sub, Keep: w.flag("keep")}).Append(nil)
	case "credit":
		return ipc.TypeCredit, (&ipc.Credit{Head: h, Sub: sub, Limit: uint64(w.num("limit", 0))}).Append(nil)
	case "conn-closed":
		return ipc.TypeConnClosed, (&ipc.ConnClosed{Head: h}).Append(nil)
	case "substate":
		return ipc.TypeSubState, (&ipc.SubState{
			Head: h, Term: uint64(w.num("term", 1)), Ask: uint64(w.num("ask", 1)), Sub: sub, Queue: queue,
			Limit: uint64(w.num("limit", 0)), Delivered: uint64(w.num("delivered", 0)),
			Consumer: w.consumer(), InHand: w.held("inhand", queue),
		}).Append(nil)
	case "handed":
		return ipc.TypeHanded, (&ipc.Handed{
			Head: h, Term: uint64(w.num("term", 1)), Ask: uint64(w.num("ask", 1)),
			List: []ipc.HandedUpTo{{Queue: queue, Index: uint64(w.num("index", int64(queue))), Next: uint64(w.num("next", 0))}},
		}).Append(nil)
	case "resync-end":
		return ipc.TypeResyncEnd, (&ipc.ResyncEnd{Head: h, Term: uint64(w.num("term", 1)), Ask: uint64(w.num("ask", 1)), Loop: uint32(w.num("loop", 0)), Loops: uint32(w.num("loops", 1))}).Append(nil)
	case "commit":
		m := ipc.CommitOffsets{Head: h, Group: w["group"], Level: w.level(), Offsets: w.commits()}
		return ipc.TypeCommit, m.Append(nil)
	case "offsets":
		return ipc.TypeOffsets, (&ipc.FetchOffsets{Head: h, Group: w["group"]}).Append(nil)
	case "raw":
		b, err := hex.DecodeString(w["hex"])
		if err != nil {
			panic(err)
		}
		return ipc.Type(w.num("type", 0)), append((&ipc.Done{Head: h}).Append(nil), b...)
	}
	if typ, b := s.groupInput(fields[0], h, w); typ != 0 {
		return typ, b
	}
	return s.adminInput(fields[0], h, w)
}

// adminInput makes the record of a command.
func (s *script) adminInput(verb string, h ipc.Head, w words) (ipc.Type, []byte) {
	binding := admin.CreateBinding{
		Exchange: w["exchange"], Queue: w["queue"] + w["to"], ToExchange: w.flag("to"), RoutingKey: w["key"],
		MatchAny: w.flag("any"), WithX: w.flag("with-x"), Headers: w.headers(), Present: w.list("present"), Arguments: w["arguments"],
	}
	binding.Exchange, binding.Queue = inVHost(binding.Exchange), inVHost(binding.Queue)
	gone := admin.Delete{Name: inVHost(w["name"]), IfUnused: w.flag("if-unused"), IfEmpty: w.flag("if-empty")}
	var cmd admin.Command
	var body []byte
	switch verb {
	case "exchange":
		typ, _ := admin.TypeNamed(w["type"])
		cmd, body = admin.CmdCreateExchange, (&admin.CreateExchange{
			Name: inVHost(w["name"]), Type: typ, Durable: !w.flag("transient"), AutoDelete: w.flag("auto-delete"), Internal: w.flag("internal"),
			Alternate: inVHost(w["alternate"]), HashHeader: w["hash-header"], Delayed: w.flag("delayed"), Arguments: w["arguments"],
		}).Append(nil)
	case "queue":
		cmd, body = admin.CmdCreateQueue, w.queue().Append(nil)
	case "topic":
		cmd, body = admin.CmdCreateTopic, (&admin.CreateTopic{Name: inVHost(w["name"]), Partitions: uint32(w.num("partitions", 1)), Level: w.level(), RetentionMS: w.num("ms", 0), RetentionBytes: w.num("bytes", 0), Configs: w.headersOf("config")}).Append(nil)
	case "alter":
		m := admin.AlterTopic{Name: w["name"], Replace: w.flag("replace"), Changes: topicconf.Sets(w.headersOf("set"))}
		for op, word := range map[topicconf.Op]string{topicconf.Append: "append", topicconf.Subtract: "subtract"} {
			for _, g := range w.headersOf(word) {
				m.Changes = append(m.Changes, topicconf.Change{Op: op, Key: g.Key, Value: g.Value})
			}
		}
		for _, key := range w.list("unset") {
			m.Changes = append(m.Changes, topicconf.Change{Op: topicconf.Unset, Key: key})
		}
		cmd, body = admin.CmdAlterTopic, m.Append(nil)
	case "delete-records":
		cmd, body = admin.CmdDeleteRecords, (&admin.DeleteRecords{To: []admin.SeekTo{{Index: uint64(w.num("index", 0)), Offset: uint64(w.num("offset", 0))}}}).Append(nil)
	case "add-partitions":
		cmd, body = admin.CmdAddPartitions, (&admin.AddPartitions{Name: w["name"], Total: uint32(w.num("total", 0))}).Append(nil)
	case "bind":
		cmd, body = admin.CmdCreateBinding, binding.Append(nil)
	case "unbind":
		cmd, body = admin.CmdDeleteBinding, binding.Append(nil)
	case "purge":
		cmd, body = admin.CmdPurge, (&admin.Purge{Name: inVHost(w["name"])}).Append(nil)
	case "seek":
		cmd, body = admin.CmdSeek, (&admin.Seek{Name: w["name"], To: []admin.SeekTo{{Index: uint64(w.num("index", 0)), Offset: uint64(w.num("offset", 0))}}}).Append(nil)
	case "delete-exchange":
		cmd, body = admin.CmdDeleteExchange, gone.Append(nil)
	case "delete-queue":
		cmd, body = admin.CmdDeleteQueue, gone.Append(nil)
	case "delete-topic":
		cmd, body = admin.CmdDeleteTopic, gone.Append(nil)
	case "describe":
		kinds := map[string]admin.Kind{
			"topics": admin.KindTopic, "exchanges": admin.KindExchange, "queues": admin.KindQueue, "bindings": admin.KindBinding, "groups": admin.KindGroup,
			"consumers": admin.KindConsumer, "txns": admin.KindTxn, "membership": admin.KindMembership, "summary": admin.KindGroupSummary, "settings": admin.KindGroupConfig,
			"definitions": admin.KindDefinition,
		}
		d := admin.Describe{Kind: kinds[w["kind"]], After: strings.ReplaceAll(w["after"], "|", "\x00"), Max: uint32(w.num("max", 0))}
		d.Names = w.list("names")
		cmd, body = admin.CmdDescribe, d.Append(nil)
	case "define":
		cmd, body = admin.CmdDefine, w.definition().Append(nil)
	case "undefine":
		cmd, body = admin.CmdUndefine, w.definition().Append(nil)
	case "delete-group":
		cmd, body = admin.CmdDeleteGroup, gone.Append(nil)
	case "reset-offsets":
		cmd, body = admin.CmdResetOffsets, (&admin.ResetOffsets{Group: w["group"], Offsets: w.commits()}).Append(nil)
	case "set-group":
		m := admin.SetGroup{Group: w["group"], Unset: w.list("unset")}
		for _, s := range w.list("set") {
			name, value, _ := strings.Cut(s, ":")
			m.Set = append(m.Set, admin.Setting{Name: name, Value: value})
		}
		cmd, body = admin.CmdSetGroup, m.Append(nil)
	case "delete-offsets":
		cmd, body = admin.CmdDeleteOffsets, (&admin.DeleteOffsets{Group: w["group"], Indexes: w.indexes("indexes")}).Append(nil)
	default:
		panic("unknown input " + verb)
	}
	return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(cmd), Body: body}).Append(nil)
}
