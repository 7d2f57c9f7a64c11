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
)

// TestScripts runs testdata/<area>/<behaviour>.txt: inputs in, the whole trace of entries
// and outputs out. Commands:
//
//	turn                   one input a line; ends the turn
//	advance written= synced=   moves the cursors; ends a turn without inputs
//	settle                 moves both cursors to the end until nothing is left to do
//	checkpoint             takes one, for the next kill
//	kill head=pos lose=n   rebuilds the core without the last n entries, reads the ring from
//	                       head again, ends the turn
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
			MaxGroups: number(d, "groups"), ProducerExpiryMS: int64(number(d, "expiry")),
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
	case "checkpoint":
		s.checkpoint()
		fmt.Fprintf(&b, "lsn=%d\n", s.blobLSN)
	case "kill":
		s.kill(uint64(number(d, "head")), number(d, "lose"))
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
	for name, ix := range s.c.queues.all {
		q := ix.queue
		fmt.Fprintf(b, "%s floor=%d next=%d visible=%d acked=%d inhand=%d attempts=%v\n", name, q.floor, ix.next, ix.visible, q.acked.n, q.inHand.n, q.attempts)
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

func (w words) headers() (out []ipc.Header) {
	if w["headers"] == "" {
		return nil
	}
	for _, part := range strings.Split(w["headers"], ",") {
		k, v, _ := strings.Cut(part, ":")
		out = append(out, ipc.Header{Key: k, Value: v})
	}
	return out
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
	ack := func(v ipc.Verdict) (ipc.Type, []byte) {
		m := ipc.Ack{Head: h, Sub: sub, Index: index, Verdict: v, Ranges: w.ranges("offsets")}
		return ipc.TypeAck, m.Append(nil)
	}
	switch fields[0] {
	case "hello":
		return ipc.TypeHello, (&ipc.Hello{Head: h, Loops: uint32(w.num("loops", 1))}).Append(nil)
	case "append":
		return ipc.TypeAppend, appendRecord(&ipc.Append{Head: h, Index: index, Level: w.level(), Batch: w.batch()})
	case "publish":
		return ipc.TypePublish, publishRecord(&ipc.Publish{
			Head: h, Level: w.level(), Mandatory: w.flag("mandatory"), Batch: w.batch(),
			Exchange: w["exchange"], RoutingKey: w["key"], Headers: w.headers(),
		})
	case "ack":
		return ack(ipc.VerdictAck)
	case "requeue":
		return ack(ipc.VerdictRequeue)
	case "reject":
		return ack(ipc.VerdictReject)
	case "init-producer":
		return ipc.TypeInitProducer, (&ipc.InitProducer{Head: h, ProducerID: w.num("pid", -1), Epoch: int16(w.num("pepoch", -1))}).Append(nil)
	case "wait":
		m := ipc.Wait{Head: h, Index: index, Beyond: ipc.WaitNow}
		if w["beyond"] != "now" {
			m.Beyond = uint64(w.num("beyond", 0))
		}
		return ipc.TypeWait, m.Append(nil)
	case "unwait":
		return ipc.TypeUnwait, (&ipc.Unwait{Head: h, Target: uint64(w.num("target", 0))}).Append(nil)
	case "subscribe":
		return ipc.TypeSubscribe, (&ipc.Subscribe{Head: h, Sub: sub, Index: index, Limit: uint64(w.num("limit", 0)), AutoAck: w.flag("auto"), Exclusive: w.flag("exclusive")}).Append(nil)
	case "unsubscribe":
		return ipc.TypeUnsubscribe, (&ipc.Unsubscribe{Head: h, Sub: sub}).Append(nil)
	case "credit":
		return ipc.TypeCredit, (&ipc.Credit{Head: h, Sub: sub, Limit: uint64(w.num("limit", 0))}).Append(nil)
	case "conn-closed":
		return ipc.TypeConnClosed, (&ipc.ConnClosed{Head: h}).Append(nil)
	case "substate":
		return ipc.TypeSubState, (&ipc.SubState{
			Head: h, Term: uint64(w.num("term", 1)), Ask: uint64(w.num("ask", 1)), Sub: sub, Index: index,
			Limit: uint64(w.num("limit", 0)), Delivered: uint64(w.num("delivered", 0)),
			AutoAck: w.flag("auto"), Exclusive: w.flag("exclusive"), InHand: w.ranges("inhand"),
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
	binding := admin.CreateBinding{Exchange: w["exchange"], Queue: w["queue"], RoutingKey: w["key"], MatchAny: w.flag("any"), Headers: w.headers()}
	gone := admin.Delete{Name: w["name"], IfUnused: w.flag("if-unused"), IfEmpty: w.flag("if-empty")}
	var cmd admin.Command
	var body []byte
	switch verb {
	case "exchange":
		types := map[string]admin.ExchangeType{"fanout": admin.Fanout, "direct": admin.Direct, "topic": admin.Topic, "headers": admin.Headers}
		cmd, body = admin.CmdCreateExchange, (&admin.CreateExchange{Name: w["name"], Type: types[w["type"]], Durable: true}).Append(nil)
	case "queue":
		cmd, body = admin.CmdCreateQueue, (&admin.CreateQueue{Name: w["name"], Level: w.level(), Durable: !w.flag("transient")}).Append(nil)
	case "topic":
		cmd, body = admin.CmdCreateTopic, (&admin.CreateTopic{Name: w["name"], Partitions: uint32(w.num("partitions", 1)), Level: w.level(), RetentionMS: w.num("ms", 0), RetentionBytes: w.num("bytes", 0)}).Append(nil)
	case "add-partitions":
		cmd, body = admin.CmdAddPartitions, (&admin.AddPartitions{Name: w["name"], Total: uint32(w.num("total", 0))}).Append(nil)
	case "bind":
		cmd, body = admin.CmdCreateBinding, binding.Append(nil)
	case "unbind":
		cmd, body = admin.CmdDeleteBinding, binding.Append(nil)
	case "delete-exchange":
		cmd, body = admin.CmdDeleteExchange, gone.Append(nil)
	case "delete-queue":
		cmd, body = admin.CmdDeleteQueue, gone.Append(nil)
	case "delete-topic":
		cmd, body = admin.CmdDeleteTopic, gone.Append(nil)
	case "describe":
		kinds := map[string]admin.Kind{"topics": admin.KindTopic, "exchanges": admin.KindExchange, "queues": admin.KindQueue, "bindings": admin.KindBinding, "groups": admin.KindGroup, "membership": admin.KindMembership, "summary": admin.KindGroupSummary}
		d := admin.Describe{Kind: kinds[w["kind"]], After: strings.ReplaceAll(w["after"], "|", "\x00"), Max: uint32(w.num("max", 0))}
		if w["names"] != "" {
			d.Names = strings.Split(w["names"], ",")
		}
		cmd, body = admin.CmdDescribe, d.Append(nil)
	case "delete-group":
		cmd, body = admin.CmdDeleteGroup, gone.Append(nil)
	case "reset-offsets":
		cmd, body = admin.CmdResetOffsets, (&admin.ResetOffsets{Group: w["group"], Offsets: w.commits()}).Append(nil)
	case "delete-offsets":
		cmd, body = admin.CmdDeleteOffsets, (&admin.DeleteOffsets{Group: w["group"], Indexes: w.indexes("indexes")}).Append(nil)
	default:
		panic("unknown input " + verb)
	}
	return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(cmd), Body: body}).Append(nil)
}
