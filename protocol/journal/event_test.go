package journal

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
)

// eventCodec is one event type with an example of it.
type eventCodec struct {
	name, layout string
	typ          EventType
	encoded      []byte
	check        func(t *testing.T)
	redo         func(b []byte) ([]byte, error)
}

type appender[T any] interface {
	*T
	Append([]byte) []byte
}

func event[T any, P appender[T]](typ EventType, name, layout string, v T, decode func(Event) (T, error)) eventCodec {
	encoded := P(&v).Append(nil)
	first := func(b []byte) (T, error) {
		r := Events(b)
		ev, ok := r.Next()
		if !ok {
			var none T
			return none, errors.Join(r.Err(), ErrEvent)
		}
		if len(ev.Raw) != len(b) {
			var none T
			return none, errors.New("more than one event")
		}
		return decode(ev)
	}
	return eventCodec{
		name: name, typ: typ, layout: "length:4 type:1 zero:3 pos:8 " + layout, encoded: encoded,
		check: func(t *testing.T) {
			got, err := first(encoded)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%v\nhave %+v\nwant %+v", err, got, v)
			}
		},
		redo: func(b []byte) ([]byte, error) {
			got, err := first(b)
			if err != nil {
				return nil, err
			}
			return P(&got).Append(nil), nil
		},
	}
}

var note = ipc.Note{
	Exchange: "orders", Key: "eu.de", Headers: []ipc.Header{{Key: "format", Value: "pdf"}}, Priority: 3,
	Deaths: []ipc.Death{{Queue: "q", Reason: ipc.ReasonRejected, Count: 2, FirstMS: 1_700_000_000_000, Exchange: "first", Keys: []string{"k"}}},
	More:   []string{"eu.at"},
}

const (
	sentLayout  = "exchange:8 count:4 baseSeq:4 producer:8 epoch:2 weight:4 ttlMS:8 "
	laterLayout = "limbo:8 offset:8 dueMS:8 "
	noteLayout  = "more:v key:s note.exchange:s note.key:s note.headers:v key:s value:s note.priority:1 " +
		"deaths:v queue:s reason:1 count:8 firstMS:8 exchange:s keys:v key:s check:4 pad:*"
	rangesLayout  = "ranges:4 first:8 count:4 first:8 count:4 "
	bindingLayout = "exchange:s queue:s toExchange:1 routingKey:s matchAny:1 withX:1 headers:v key:s value:s present:v name:s arguments:s "
)

func eventCodecs() []eventCodec {
	ranges := []ipc.Range{{First: 10, Count: 5}, {First: 20, Count: 1}}
	binding := admin.CreateBinding{
		Exchange: "orders", Queue: "eu", RoutingKey: "eu.#",
		MatchAny: true, Headers: []ipc.Header{{Key: "format", Value: "pdf"}}, Present: []string{"pages"},
	}
	exchange := admin.CreateExchange{Name: "orders", Type: admin.ConsistentHash, Durable: true, Internal: true, Alternate: "rest", HashHeader: "h"}
	return append(append(groupEventCodecs(), txnalEventCodecs()...), []eventCodec{
		event(EvAppended, "appended", "index:8 base:8 count:4 baseSeq:4 producer:8 epoch:2 zero:6",
			Appended{4096, 9, 1000, 3, 900, 42, 5}, DecodeAppended),
		event(EvRouted, "routed", sentLayout+"full:4 dying:4 targets:v index:8 base:8 index:8 base:8 "+noteLayout,
			Routed{4096, Sent{2, 3, -1, NoProducer, -1, 300, 60_000}, 1, 1, []Target{{9, 1000}, {10, 7}}, note}, DecodeRouted),
		event(EvAcked, "acked", "queue:8 index:8 conn:8 sub:8 reason:1 zero:3 "+rangesLayout,
			Acked{4096, 9, 10, ipc.ReasonRejected, 256, 1, ranges}, DecodeAcked),
		event(EvReturned, "returned", "queue:8 index:8 reason:1 zero:3 "+rangesLayout,
			Returned{4096, 9, 10, ipc.ReasonTimeout, ranges}, DecodeReturned),
		event(EvProducerCreated, "producer_created", "producer:8 epoch:2 pad:6", ProducerCreated{4096, 42, 5}, DecodeProducerCreated),
		event(EvOffsetsCommitted, "offsets_committed", "group:s offsets:v index:8 offset:8 metadata:s leader:4 pad:*",
			OffsetsCommitted{4096, "gr", []ipc.OffsetCommit{{Index: 9, Offset: 7, Metadata: "m", Leader: 4}}}, DecodeOffsetsCommitted),
		event(EvRejected, "rejected", "code:2 text:s pad:5", Rejected{4096, errcode.NotFound, "no x"[:0]}, DecodeRejected),
		event(EvDuplicate, "duplicate", "index:8 base:8 queues:4 full:4", Duplicate{4096, 9, 1000, 2, 1}, DecodeDuplicate),
		event(EvUnchanged, "unchanged", "index:8", Unchanged{4096, 9}, DecodeUnchanged),
		event(EvTopicCreated, "topic_created", "id:8 uuid:16 level:1 name:s indexes:v index:8 index:8 configs:v key:s value:s pad:*",
			TopicCreated{4096, 3, [16]byte{1, 15: 16}, "logs", ipc.LevelDisk, []ipc.Header{{Key: "retention.ms", Value: "5"}}, []uint64{9, 10}}, DecodeTopicCreated),
		event(EvTopicConfigured, "topic_configured", "id:8 configs:v key:s value:s pad:*",
			TopicConfigured{4096, 3, []ipc.Header{{Key: "retention.ms", Value: "5"}}}, DecodeTopicConfigured),
		event(EvRecordsDeleted, "records_deleted", "to:v index:8 offset:8 pad:*", RecordsDeleted{4096, []IndexOffset{{9, 70}}}, DecodeRecordsDeleted),
		event(EvTopicDeleted, "topic_deleted", "id:8", TopicDeleted{4096, 3}, DecodeTopicDeleted),
		event(EvPartitionsAdded, "partitions_added", "id:8 indexes:v index:8 pad:7", PartitionsAdded{4096, 3, []uint64{11}}, DecodePartitionsAdded),
		event(EvExchangeCreated, "exchange_created", "id:8 name:s type:1 durable:1 autoDelete:1 internal:1 alternate:s hashHeader:s delayed:1 arguments:s pad:*",
			ExchangeCreated{4096, 2, exchange}, DecodeExchangeCreated),
		event(EvExchangeDeleted, "exchange_deleted", "id:8", ExchangeDeleted{4096, 2}, DecodeExchangeDeleted),
		event(EvQueueCreated, "queue_created", "queue:8 level:1 name:s durable:1 exclusive:1 autoDelete:1 singleActive:1 maxPriority:1 overflow:1 "+
			"maxMessages:1 n:8 maxBytes:1 n:8 messageTTL:1 n:8 expires:1 n:8 deliveryLimit:1 n:8 rewind:1 n:8 "+
			"deadLetter:1 exchange:s keepKey:1 key:s topic:s filterKind:1 filter:s type:1 arguments:s owner.nonce:8 owner.epoch:8 owner.conn:8 "+
			"starts:v index:8 offset:8 pad:*",
			QueueCreated{
				4096, 9, "eu", ipc.LevelPage, admin.QueueSettings{Exclusive: true, MaxBytes: admin.Some(100), Topic: "t"}, Owner{7, 1, 256},
				[]admin.SeekTo{{Index: 3, Offset: 50}},
			}, DecodeQueueCreated),
		event(EvQueueDeleted, "queue_deleted", "queue:8 messages:8", QueueDeleted{4096, 9, 12}, DecodeQueueDeleted),
		event(EvBindingCreated, "binding_created", bindingLayout+"pad:*", BindingCreated{4096, binding}, DecodeBindingCreated),
		event(EvBindingDeleted, "binding_deleted", bindingLayout+"pad:*", BindingDeleted{4096, binding}, DecodeBindingDeleted),
		event(EvProducersExpired, "producers_expired", "producers:v producer:8 producer:8 pad:*",
			ProducersExpired{4096, []int64{42, 43}}, DecodeProducersExpired),
		event(EvLaneAdded, "lane_added", "queue:8 index:8 priority:1 pad:7", LaneAdded{4096, 9, 10, 5}, DecodeLaneAdded),
		event(EvDied, "died", "queue:8 index:8 conn:8 sub:8 reason:1 zero:3 "+rangesLayout,
			Died{4096, 9, 10, ipc.ReasonExpired, 256, 1, ranges}, DecodeDied),
		event(EvDeadLettered, "dead_lettered", "queue:8 index:8 offset:8 count:4 weight:4 full:4 targets:v index:8 base:8 "+noteLayout,
			DeadLettered{4096, 9, 10, 118, 5, 300, 1, []Target{{11, 7}}, note}, DecodeDeadLettered),
		event(EvLeased, "leased", "epoch:8 req:8 queue:8 lease:8 untilMS:8 runs:v index:8 first:8 count:4 pad:*",
			Leased{4096, 1, 55, 9, 77, 1_700_000_000_000, []Run{{10, ranges[0]}}}, DecodeLeased),
		event(EvLeaseMoved, "lease_moved", "queue:8 index:8 offset:8 lease:8 untilMS:8",
			LeaseMoved{4096, 9, 10, 118, 77, 1_700_000_000_000}, DecodeLeaseMoved),
		event(EvPurged, "purged", "queue:8 messages:8 indexes:v index:8 next:8 kept:v first:8 count:4 pad:*",
			Purged{4096, 9, 12, []PurgedIndex{{10, 100, ranges[:1]}}}, DecodePurged),
		event(EvSought, "sought", "queue:8 to:v index:8 offset:8 pad:*", Sought{4096, 9, []admin.SeekTo{{Index: 10, Offset: 50}}}, DecodeSought),
		event(EvDelayed, "delayed", sentLayout+laterLayout+"dests:v dest:8 "+noteLayout,
			Delayed{4096, Sent{2, 3, 0, 42, 5, 300, -1}, Later{20, 7, 1_700_000_000_000}, []uint64{9}, note}, DecodeDelayed),
		event(EvReleased, "released", "limbo:8 offset:8 count:4 weight:4 ttlMS:8 full:4 targets:v index:8 base:8 pad:*",
			Released{4096, 20, 7, 3, 300, -1, 1, []Target{{9, 1000}}}, DecodeReleased),
		event(EvLimboAdded, "limbo_added", "index:8 class:1 pad:*", LimboAdded{4096, 20, 3}, DecodeLimboAdded),
		event(EvTxnBegun, "txn_begun", "txn:8 group:s key:s checkMS:8 owner.nonce:8 owner.epoch:8 owner.conn:8 pad:*",
			TxnBegun{4096, 6, "payers", "order-7", 60_000, Owner{7, 1, 256}}, DecodeTxnBegun),
		event(EvTxnHeld, "txn_held", "txn:8 partition:8 mandatory:1 "+sentLayout+laterLayout+noteLayout,
			TxnHeld{4096, 6, 3, true, Sent{2, 3, 0, 42, 5, 300, -1}, Later{20, 7, 0}, note}, DecodeTxnHeld),
		event(EvTxnEnded, "txn_ended", "txn:8 committed:1 queues:4 pad:*", TxnEnded{4096, 6, true, 3}, DecodeTxnEnded),
		event(EvTxnChecked, "txn_checked", "txn:8 nextMS:8", TxnChecked{4096, 6, 1_700_000_000_000}, DecodeTxnChecked),
		event(EvJoined, "joined", "queue:8 conn:8 sub:8 tag:s pad:*", Joined{4096, 9, 256, 1, "worker-1"}, DecodeJoined),
		event(EvOwnerGone, "owner_gone", "owner.nonce:8 owner.epoch:8 owner.conn:8", OwnerGone{4096, Owner{7, 1, 256}}, DecodeOwnerGone),
		event(EvDefined, "defined", "base:8 kind:1 vhost:s name:s item:s values:v key:s text:s number:8 isNumber:1 pad:*",
			Defined{4096, 77, admin.Definition{Kind: admin.DefPolicy, VHost: "/", Name: "p", Values: []admin.Value{admin.Number("priority", 1)}}}, DecodeDefined),
		event(EvUndefined, "undefined", "kind:1 vhost:s name:s item:s values:v pad:*",
			Undefined{4096, admin.Definition{Kind: admin.DefUser, Name: "u"}}, DecodeUndefined),
		event(EvTransientsGone, "transients_gone", "nonce:8", TransientsGone{4096, 7}, DecodeTransientsGone),
		event(EvHanding, "handing", "nonce:8 epoch:8", Handing{4096, 7, 2}, DecodeHanding),
	}...)
}

func TestEventsRoundTrip(t *testing.T) {
	seen := map[EventType]bool{}
	for _, c := range eventCodecs() {
		t.Run(c.name, c.check)
		if c.encoded[4] != byte(c.typ) || seen[c.typ] {
			t.Errorf("%s has type %d", c.name, c.encoded[4])
		}
		seen[c.typ] = true
		if len(c.encoded)%8 != 0 {
			t.Errorf("%s takes %d bytes", c.name, len(c.encoded))
		}
	}
	if len((&Appended{}).Append(nil)) != AppendedSize {
		t.Error("AppendedSize is wrong")
	}
}

func TestEventsGolden(t *testing.T) {
	for _, c := range eventCodecs() {
		golden.Check(t, "event_v5_"+c.name, c.layout, c.encoded)
		if again, err := c.redo(golden.Read(t, "event_v5_"+c.name)); err != nil || !bytes.Equal(again, c.encoded) {
			t.Errorf("%s: the golden file reads as %x, %v", c.name, again, err)
		}
	}
	golden.Constants(t, "journal_v5_constants")
	golden.Documented(t, "../../docs/formats/journal.md", "Ev")
}

// Every event refuses a body that is cut, one that goes on, and one of another type.
func TestEventsRefuseBadBodies(t *testing.T) {
	body := func(ev Event, b []byte) []byte {
		return endEvent(append(beginEvent(nil, ev.Type, ev.Pos), b...), 0)
	}
	for _, c := range eventCodecs() {
		r := Events(c.encoded)
		ev, _ := r.Next()
		for n := range ev.Body {
			if _, err := c.redo(body(ev, ev.Body[:n])); !errors.Is(err, ErrEvent) {
				t.Errorf("%s with %d of %d bytes: %v", c.name, n, len(ev.Body), err)
			}
		}
		if _, err := c.redo(body(ev, append(bytes.Clone(ev.Body), 0))); !errors.Is(err, ErrEvent) {
			t.Errorf("%s with a byte behind it: %v", c.name, err)
		}
		ev.Type = 200
		if _, err := c.redo(body(ev, ev.Body)); !errors.Is(err, ErrEvent) {
			t.Errorf("%s as another type: %v", c.name, err)
		}
	}
}

func TestEventReader(t *testing.T) {
	var all []byte
	codecs := eventCodecs()
	for _, c := range codecs {
		all = append(all, c.encoded...)
	}
	r := Events(all)
	for _, c := range codecs {
		ev, ok := r.Next()
		if !ok || ev.Type != c.typ || ev.Pos != 4096 || !bytes.Equal(ev.Raw, c.encoded) {
			t.Fatalf("%s: %v %+v", c.name, ok, ev)
		}
	}
	if _, ok := r.Next(); ok || r.Err() != nil {
		t.Errorf("behind the last: %v, %v", ok, r.Err())
	}

	for name, mutate := range map[string]func(b []byte) []byte{
		"header cut":          func(b []byte) []byte { return b[:15] },
		"body cut":            func(b []byte) []byte { return b[:len(b)-8] },
		"huge length":         func(b []byte) []byte { le.PutUint32(b, 0xffffffff); return b },
		"header padding":      func(b []byte) []byte { b[7] = 1; return b },
		"body padding":        func(b []byte) []byte { b[len(b)-1] = 1; return b },
		"garbage behind it":   func(b []byte) []byte { return append(b, 1) },
		"padding that is cut": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		r := Events(mutate((&ProducerCreated{1, 2, 3}).Append(nil)))
		for {
			if _, ok := r.Next(); !ok {
				break
			}
		}
		if !errors.Is(r.Err(), ErrEvent) {
			t.Errorf("%s: %v", name, r.Err())
		}
		if _, ok := r.Next(); ok {
			t.Errorf("%s: goes on after the error", name)
		}
	}
}

// Decode keeps the memory of the slice that it fills.
func TestDecodeReusesMemory(t *testing.T) {
	routed := (&Routed{Pos: 1, Targets: []Target{{1, 2}, {3, 4}}}).Append(nil)
	acked := (&Acked{Pos: 1, Reason: ipc.ReasonAcked, Ranges: []ipc.Range{{First: 1, Count: 2}}}).Append(nil)
	appended := (&Appended{Pos: 1}).Append(nil)
	var intoRouted Routed
	var intoAcked Acked
	buf := make([]byte, 0, 512)
	run := func() {
		var err error
		for _, b := range [][]byte{routed, acked, appended} {
			r := Events(b)
			ev, _ := r.Next()
			switch ev.Type {
			case EvRouted:
				err = intoRouted.Decode(ev)
				buf = intoRouted.Append(buf[:0])
			case EvAcked:
				err = intoAcked.Decode(ev)
				buf = intoAcked.Append(buf[:0])
			default:
				var a Appended
				a, err = DecodeAppended(ev)
				buf = a.Append(buf[:0])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocs", n)
	}
}
