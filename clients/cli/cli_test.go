package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/protocol/topicconf"
)

// program runs the program.
func program(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{"trimq"}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// succeed is program against the stub, which must work.
func (s *stub) succeed(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := program(t, stdin, append(args, "--addr", s.ln.Addr().String())...)
	if code != 0 {
		t.Fatalf("%v: exit code %d\n%s", args, code, errs)
	}
	return out
}

func TestArrange(t *testing.T) {
	app := newApp(nil, nil, nil)
	for in, want := range map[string]string{
		"":                              "",
		"topic list":                    "topic list",
		"topic create a":                "topic create -- a",
		"topic create a --partitions 3": "topic create --partitions 3 -- a",
		"topic --addr h:1 create a --partitions=3 --timeout 1": "--addr h:1 --timeout 1 topic create --partitions=3 -- a",
		"--addr h topic list --json":                           "--addr h topic list --json",
		"consume --topic t -n 3 --push":                        "consume --topic t -n 3 --push",
		"topic create --partitions 2 -- --odd":                 "topic create --partitions 2 -- --odd",
		"topic describe topic list":                            "topic describe -- topic list",
		"topic create a --bogus b":                             "topic create --bogus -- a b",
		"--help":                                               "--help",
		"topic create --help":                                  "topic create --help",
		"publish --topic publish":                              "publish --topic publish",
	} {
		got, err := arrange(app, append([]string{"trimq"}, strings.Fields(in)...))
		if err != nil || strings.Join(got[1:], " ") != want {
			t.Errorf("%q became %q, %v", in, strings.Join(got[1:], " "), err)
		}
	}
	if _, err := arrange(app, []string{"trimq", "topic", "list", "--addr"}); err == nil {
		t.Error("a flag without its value was taken")
	}
}

// TestUsage: mistakes are told without asking a broker, with exit code 2.
func TestUsage(t *testing.T) {
	for _, args := range []string{
		"bogus", "topic", "topic bogus", "topic create", "topic create a b", "topic create a --level high",
		"topic create a --bogus", "topic create a --config x", "topic alter t", "topic alter t --config x", "topic delete-records t", "topic delete-records t x 1", "topic delete-records t 0 x", "topic create a --partitions x", "topic describe", "topic list extra", "topic add-partitions t",
		"topic add-partitions t many", "exchange create x --type bogus", "binding create --exchange x",
		"binding create --exchange x --queue q --header =v", "binding create --exchange x --queue q --to-exchange y", "publish", "publish --topic t --exchange x",
		"publish --topic t --header k", "publish --topic t --level high", "publish x", "consume", "consume --topic t --queue q",
		"consume --topic t --from noon", "consume --topic t --partition a", "consume --queue q --ack maybe", "log dump", "shm ls x",
		"shm show bogus", "shm tail", "shm tail metrics", "shm tail log --most 0", "shm watch x", "shm watch --interval 0s", "shm verify a b", "log repair", "log repair a b",
		"state", "state dump", "state dump . 1 2", "state diff .", "state bogus", "state verify . 1",
		"consume --topic t --pull", "consume --topic t --visibility 1s", "consume --queue q --visibility 1s", "consume --queue q --pull --visibility 0s",
		"consume --queue q --pull --visibility 1s --ack auto", "consume --queue q --pull --exclusive", "queue purge", "queue seek q", "queue seek q --to noon",
		"queue seek q --to latest --index 4", "publish --topic t --priority 1", "publish --topic t --ttl 0s", "publish --exchange x --priority 256",
		"publish --exchange x --delay -1s", "publish --exchange x --ttl -1s", "txn commit", "txn commit one", "txn rollback 0", "consumer bogus",
		"consume --topic t --group g --positions h", "consume --topic t --session-timeout 1s", "consume --topic t --group g --partition 0", "group describe", "group list g", "group delete",
		"group reset-offsets g", "group reset-offsets g --to noon", "group reset-offsets g --by 0", "group reset-offsets g --by 1 --to latest",
		"group reset-offsets g --to latest --partition a", "group delete-offsets g", "group describe g --interval -1s", "queue list --interval -1s",
		"stat x", "ping x", "queue delete", "drill x", "drill --seed x", "drill --duration soon", "drill check", "drill check a b", "topic list --timeout",
	} {
		code, out, errs := program(t, "", append(strings.Fields(args), "--addr", "127.0.0.1:1")...)
		if args == "state" {
			if code != 0 || !strings.Contains(out, "verify") {
				t.Errorf("state: exit code %d, %s", code, out)
			}
			continue
		}
		if args == "topic" { // shows the help
			if code != 0 || !strings.Contains(out, "add-partitions") {
				t.Errorf("topic: exit code %d, %s", code, out)
			}
			continue
		}
		if args == "topic list --timeout" { // its value is "--addr"
			code, _, errs = program(t, "", "topic", "list", "--timeout")
		}
		if code != exitUsage || !strings.HasPrefix(errs, "trimq: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", args, code, errs)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, args := range []string{"topic list", "publish --topic t", "consume --topic t", "ping", "stat"} {
		code, _, errs := program(t, "", append(strings.Fields(args), "--addr", "127.0.0.1:1", "--timeout", "50ms")...)
		if code != exitUnreachable || !strings.Contains(errs, "127.0.0.1:1") {
			t.Errorf("%s: exit code %d, %q", args, code, errs)
		}
	}
}

func TestRefused(t *testing.T) {
	s := newStub(t)
	s.refusing = errcode.New(errcode.Inequivalent, "topic t has other partitions")
	code, _, errs := program(t, "", "topic", "create", "t", "--addr", s.ln.Addr().String())
	if code != exitFailed || errs != "trimq: inequivalent: topic t has other partitions\n" {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	s.refusing = nil
	code, _, errs = program(t, "", "topic", "describe", "none", "--addr", s.ln.Addr().String())
	if code != exitFailed || !strings.Contains(errs, "not-found") || !strings.Contains(errs, "none") {
		t.Fatalf("exit code %d, %q", code, errs)
	}
}

func TestAdministration(t *testing.T) {
	s := newStub(t)
	s.succeed(t, "", "topic", "create", "orders", "--partitions", "3", "--level", "page", "--retention", "1h", "--retention-bytes", "5")
	if m, err := admin.DecodeCreateTopic(s.asked[native.CmdCreateTopic]); err != nil ||
		!reflect.DeepEqual(m, admin.CreateTopic{Name: "orders", Partitions: 3, Level: 2, RetentionBytes: 5, RetentionMS: 3600000}) {
		t.Fatalf("asked for %+v, %v", m, err)
	}
	s.succeed(t, "", "queue", "create", "--transient", "q2")
	if m, err := admin.DecodeCreateQueue(s.asked[native.CmdCreateQueue]); err != nil || !reflect.DeepEqual(m, admin.CreateQueue{Name: "q2"}) {
		t.Fatalf("asked for %+v, %v", m, err)
	}
	s.succeed(t, "", "topic", "create", "kept", "--config", "cleanup.policy=compact")
	if m, err := admin.DecodeCreateTopic(s.asked[native.CmdCreateTopic]); err != nil || topicconf.Text(m.Configs) != "cleanup.policy=compact" {
		t.Fatalf("asked for %+v, %v", m, err)
	}
	s.succeed(t, "", "topic", "alter", "t", "--config", "retention.ms=5", "--default", "max.message.bytes")
	if m, err := admin.DecodeAlterTopic(s.asked[native.CmdAlterTopic]); err != nil || len(m.Changes) != 2 || m.Replace ||
		m.Changes[0] != trimq.SetConfig("retention.ms", "5") || m.Changes[1] != trimq.UnsetConfig("max.message.bytes") {
		t.Fatalf("asked for %+v, %v", m, err)
	}
	s.succeed(t, "", "topic", "delete-records", "t", "1", "70")
	if m, err := admin.DecodeDeleteRecords(s.asked[native.CmdDeleteRecords]); err != nil || len(m.To) != 1 || m.To[0] != (admin.SeekTo{Index: 2, Offset: 70}) {
		t.Fatalf("asked for %+v, %v", m, err)
	}
	s.succeed(t, "", "topic", "delete-records", "t", "0", "latest")
	s.succeed(t, "", "topic", "add-partitions", "t", "7")
	s.succeed(t, "", "topic", "delete", "t")
	s.succeed(t, "", "queue", "delete", "q", "--if-empty")
	s.succeed(t, "", "exchange", "delete", "x", "--if-unused")
	if d, err := admin.DecodeDelete(s.asked[native.CmdDeleteQueue]); err != nil || d != (admin.Delete{Name: "q", IfEmpty: true}) {
		t.Fatalf("asked for %+v, %v", d, err)
	}
}

func TestExchangeOptions(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]admin.CreateExchange{
		"logs --type topic":               {Name: "logs", Type: admin.Topic, Durable: true},
		"x --transient --auto-delete":     {Name: "x", Type: admin.Direct, AutoDelete: true},
		"x --internal --alternate rest":   {Name: "x", Type: admin.Direct, Durable: true, Internal: true, Alternate: "rest"},
		"x --type x-consistent-hash":      {Name: "x", Type: admin.ConsistentHash, Durable: true},
		"x --hash-header h --type fanout": {Name: "x", Type: admin.Fanout, Durable: true, HashHeader: "h"}, // the broker refuses it
	} {
		s.succeed(t, "", append([]string{"exchange", "create"}, strings.Fields(args)...)...)
		if m, err := admin.DecodeCreateExchange(s.asked[native.CmdCreateExchange]); err != nil || m != want {
			t.Errorf("%s asked for %+v, %v", args, m, err)
		}
	}
}

// TestQueueOptions: every property of a queue has its flag, and a mistake names it.
func TestQueueOptions(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]admin.CreateQueue{
		"q --max-priority 9 --auto-delete --single-active --transient": {
			QueueSettings: admin.QueueSettings{MaxPriority: 9, AutoDelete: true, SingleActive: true},
		},
		"q --max-messages 0 --max-bytes 5 --overflow reject-publish-dlx --delivery-limit 3": {
			QueueSettings: admin.QueueSettings{Durable: true, MaxMessages: admin.Some(0), MaxBytes: admin.Some(5), Overflow: admin.RejectDeadLetter, DeliveryLimit: admin.Some(3)},
		},
		"q --message-ttl 0s --expires 1h --rewind 24h --level page": {
			Level:         2,
			QueueSettings: admin.QueueSettings{Durable: true, MessageTTLMS: admin.Some(0), ExpiresMS: admin.Some(3_600_000), RewindMS: admin.Some(86_400_000)},
		},
		"q --dead-letter-exchange dead":                 {QueueSettings: admin.QueueSettings{Durable: true, DeadLetter: true, DeadLetterExchange: "dead", KeepKey: true}},
		"q --dead-letter-exchange= --dead-letter-key k": {QueueSettings: admin.QueueSettings{Durable: true, DeadLetter: true, DeadLetterKey: "k"}},
		"q --topic t":                                             {QueueSettings: admin.QueueSettings{Durable: true, Topic: "t"}},
		"q --topic t --from latest --tags a||b":                   {From: admin.FromLatest, QueueSettings: admin.QueueSettings{Durable: true, Topic: "t", FilterKind: admin.FilterTags, Filter: "a||b"}},
		"q --topic t --from 7 --filter n>3 --delivery-limit 1":    {From: admin.FromOffsets, Offsets: []uint64{7, 7}, QueueSettings: admin.QueueSettings{Durable: true, Topic: "t", FilterKind: admin.FilterSelector, Filter: "n>3", DeliveryLimit: admin.Some(1)}},
		"q --topic t --from 2006-01-02T15:04:05Z --single-active": {From: admin.FromOffsets, Offsets: []uint64{0, 0}, QueueSettings: admin.QueueSettings{Durable: true, Topic: "t", SingleActive: true}},
	} {
		want.Name = "q"
		s.succeed(t, "", append([]string{"queue", "create"}, strings.Fields(args)...)...)
		if m, err := admin.DecodeCreateQueue(s.asked[native.CmdCreateQueue]); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s asked for %+v, %v", args, m, err)
		}
	}
	for args, flag := range map[string]string{
		"--exclusive": "--exclusive", "--max-priority 256": "--max-priority", "--overflow drop": "--overflow", "--message-ttl -1s": "--message-ttl",
		"--expires 0s": "--expires", "--rewind 0s": "--rewind", "--expires 1us": "--expires", "--dead-letter-key k": "--dead-letter-key",
		"--dead-letter-exchange x --dead-letter-key=": "--dead-letter-key", "--from latest": "--from", "--filter a=1": "--filter",
		"--tags a": "--tags", "--topic t --filter a= ": "--filter", "--topic t --tags a|b": "--tags", "--topic t --tags a --filter b=1": "--filter",
		"--topic t --max-priority 1": "--max-priority", "--topic t --rewind 1h": "--rewind", "--topic t --message-ttl 1h": "--message-ttl",
		"--topic t --from noon": "--from", "--max-messages many": "max-messages",
	} {
		code, _, errs := program(t, "", append(strings.Fields("queue create q --addr 127.0.0.1:1 --timeout 50ms "), strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(errs, flag) {
			t.Errorf("%s: exit code %d, %q", args, code, errs)
		}
	}
}

// TestPurgeSeekAndTxns ask for what they say.
func TestPurgeSeekAndTxns(t *testing.T) {
	s := newStub(t)
	if got := s.succeed(t, "", "queue", "purge", "q"); got != "queue q is purged of 12 messages\n" {
		t.Errorf("purge prints %q", got)
	}
	for args, want := range map[string][]admin.SeekTo{
		"--to 7":                    {{Index: 9, Offset: 7}},
		"--to earliest":             {{Index: 9}},
		"--to 2006-01-02T15:04:05Z": {{Index: 9}},
		"--to 5 --index 44":         {{Index: 44, Offset: 5}},
	} {
		s.succeed(t, "", append([]string{"queue", "seek", "q"}, strings.Fields(args)...)...)
		if m, err := admin.DecodeSeek(s.asked[native.CmdSeek]); err != nil || m.Name != "q" || !reflect.DeepEqual(m.To, want) {
			t.Errorf("%s asked for %+v, %v", args, m, err)
		}
	}
	for verb, want := range map[string]string{
		"commit": "transaction 9 is committed: its messages are in 3 queues and partitions\n", "rollback": "transaction 9 is rolled back\n",
	} {
		if got := s.succeed(t, "", "txn", verb, "9"); got != want {
			t.Errorf("txn %s prints %q", verb, got)
		}
		if m, err := native.DecodeEndTxn(s.asked[native.CmdEndTxn]); err != nil || m.Txn != 9 || m.Commit != (verb == "commit") {
			t.Errorf("txn %s asked for %+v, %v", verb, m, err)
		}
	}
}

// TestAbortTransactional: which transactional id is meant reaches the broker.
func TestAbortTransactional(t *testing.T) {
	s := newStub(t)
	if got := s.succeed(t, "", "transactional", "abort", "pay-1"); got != "the transaction of pay-1 is aborted; its producer is fenced\n" {
		t.Errorf("it prints %q", got)
	}
	if m, err := admin.DecodeDelete(s.asked[native.CmdAbortTxnal]); err != nil || m.Name != "pay-1" {
		t.Errorf("asked for %+v, %v", m, err)
	}
}

// TestPublishOptions: when and how queues are to deliver reaches the broker.
func TestPublishOptions(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]native.Publish{
		"":                        {TTLMS: ipc.NoTTL},
		"--ttl 0s --priority 255": {Priority: 255},
		"--ttl 1m --delay 1h":     {TTLMS: 60_000, DelayMS: 3_600_000},
	} {
		s.succeed(t, "abc\n", append([]string{"publish", "--exchange", "x", "--key", "k"}, strings.Fields(args)...)...)
		want.Exchange, want.RoutingKey, want.Weight = "x", "k", 3
		if m, _, err := native.DecodePublish(s.asked[native.CmdPublish]); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s published %+v, %v", args, m, err)
		}
	}
}

// TestPull prints what it pulls and settles it, gives it back, or lets the broker settle it.
func TestPull(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]string{
		"":                          "[{1 0} {1 0}]", // verdict and lease
		"--visibility 1m":           "[{1 77} {1 77}]",
		"--ack no":                  "[{2 0} {2 0}]",
		"--ack no --visibility 10m": "[{2 77} {2 77}]",
		"--ack auto":                "[]",
	} {
		s.verdicts = nil
		s.succeed(t, "a\n", "publish", "--exchange", "x", "-q")
		s.succeed(t, "c\n", "publish", "--exchange", "x", "-q")
		line := append(strings.Fields("consume --queue q --pull --count 2 --idle 5s --json"), strings.Fields(args)...)
		got := s.succeed(t, "", line...)
		type verdict struct {
			V     ipc.Verdict
			Lease uint64
		}
		passed := []verdict{}
		for _, m := range s.verdicts {
			passed = append(passed, verdict{m.Verdict, m.Lease})
		}
		if strings.Count(got, "\n") != 2 || fmt.Sprint(passed) != want {
			t.Errorf("%s: %s\nverdicts %v, not %s", args, got, passed, want)
		}
	}
	var l line
	s.succeed(t, "a\n", "publish", "--exchange", "x", "-q")
	got := s.succeed(t, "", "consume", "--queue", "q", "--count", "1", "--json")
	if err := json.Unmarshal([]byte(got), &l); err != nil || l.Exchange != "x" || l.RoutingKey != "r.k" || l.Priority != 4 || l.Index != 9 || len(l.Deaths) != 1 || l.Deaths[0].Reason != "expired" {
		t.Errorf("%v, %s", err, got)
	}
	if got := s.succeed(t, "", "consume", "--queue", "q", "--pull", "--idle", "20ms"); got != "" {
		t.Errorf("of an empty queue came %q", got)
	}
}

func TestBindingOptions(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]string{
		"--queue q --key *.e":                                "{x q false *.e false false [] [] }",
		"--topic q --header a=b=c --match-any":               "{x q false  true false [{a b=c}] [] }",
		"--to-exchange y --header a= --header p --with-x":    "{x y true  false true [{a }] [p] }",
		"--queue q --header a=1 --header a=2 --header x-a=3": "{x q false  false false [{a 1} {a 2} {x-a 3}] [] }",
	} {
		for verb, cmd := range map[string]native.Command{"create": native.CmdCreateBinding, "delete": native.CmdDeleteBinding} {
			s.succeed(t, "", append([]string{"binding", verb, "--exchange", "x"}, strings.Fields(args)...)...)
			if m, err := admin.DecodeCreateBinding(s.asked[cmd]); err != nil || fmt.Sprint(m) != want {
				t.Errorf("%s %s asked for %v, %v", verb, args, m, err)
			}
		}
	}
}

func TestTables(t *testing.T) {
	s := newStub(t)
	for args, want := range map[string]string{
		"topic list":                         "TOPIC  PARTITIONS  LEVEL  RECORDS  RETENTION  CONFIGURATION\nt               2  disk         0  1m0s       cleanup.policy=compact\n",
		"topic describe t --interval 1ms":    "TOPIC  PARTITION  INDEX  NEXT  VISIBLE  IN/S\nt              0      1     0        0   0.0\nt              1      2     0        0   0.0\n",
		"queue list":                         "QUEUE  READY  UNACKED  LEASED  CONSUMERS  IN/S  DONE/S  OLDEST  LEVEL    DURABLE  SETTLED  ID  PROPERTIES\nq         12        0       2          0     -       -       -  default  true           0   9  max-priority=4,max-messages=50,overflow=reject-publish,message-ttl=1.5s,dead-letter-exchange=\n",
		"exchange list":                      "EXCHANGE  TYPE    DURABLE  BINDINGS  IN/S  OUT/S  PROPERTIES\nx         fanout  false           1     -      -  auto-delete,alternate=rest\n",
		"binding list":                       "EXCHANGE  TO          KEY  HEADERS\nx         q           a.*  k=v\nx         exchange y       any of k=1,k=2,p with x-\n",
		"binding describe x":                 "EXCHANGE  TO          KEY  HEADERS\nx         q           a.*  k=v\nx         exchange y       any of k=1,k=2,p with x-\n",
		"queue describe q q --interval 1ms":  "QUEUE  READY  UNACKED  LEASED  CONSUMERS  IN/S  DONE/S  OLDEST  LEVEL    DURABLE  SETTLED  ID  PROPERTIES\nq         12        0       2          0   0.0     0.0       -  default  true           0   9  max-priority=4,max-messages=50,overflow=reject-publish,message-ttl=1.5s,dead-letter-exchange=\n",
		"group list":                         "GROUP  TYPE    STATE        EPOCH  ASSIGNOR  MEMBERS  POSITIONS  LAG\ng      modern  reconciling      3  sticky          1          1   55\nold    simple  empty            0                  0          2    6\n",
		"consumer list":                      "QUEUE  CONN  SUB  TAG      PRIORITY  CREDIT  HELD  DELIVERED  RATE/S  PROPERTIES\nq       257    1  billing        -3     100     7         42       -  ack-timeout=10s\nq       258    1                  0       0     0          0       -  auto-ack,exclusive,waits\n",
		"consumer list q":                    "QUEUE  CONN  SUB  TAG      PRIORITY  CREDIT  HELD  DELIVERED  RATE/S  PROPERTIES\nq       257    1  billing        -3     100     7         42       -  ack-timeout=10s\nq       258    1                  0       0     0          0       -  auto-ack,exclusive,waits\n",
		"txn list":                           "TXN  GROUP   KEY      BEGUN                 BATCHES  CHECKS  NEXT CHECK\n  9  orders  order 7  2023-11-14T22:13:20Z        2       1  2023-11-14T22:14:20Z\n 10                   2023-11-14T22:13:21Z        0       0  with its connection\n",
		"transactional list":                 "ID     PRODUCER  EPOCH  STATE      BEGUN                 TIMEOUT  PARTITIONS\npay-1         7      3  open       2023-11-14T22:13:20Z  1m0s              2\npay-2         8      0  committed                        1.5s              0\n",
		"transactional list --older 1h":      "ID     PRODUCER  EPOCH  STATE  BEGUN                 TIMEOUT  PARTITIONS\npay-1         7      3  open   2023-11-14T22:13:20Z  1m0s              2\n",
		"transactional describe pay-1 pay-2": "ID     PRODUCER  EPOCH  STATE      BEGUN                 PARTITION\npay-1         7      3  open       2023-11-14T22:13:20Z  t/0\npay-1         7      3  open       2023-11-14T22:13:20Z  t/1\npay-2         8      0  committed\n",
		"exchange describe x --interval 1ms": "EXCHANGE  TYPE    DURABLE  BINDINGS  IN/S  OUT/S  PROPERTIES\nx         fanout  false           1   0.0    0.0  auto-delete,alternate=rest\n",
	} {
		if got := s.succeed(t, "", strings.Fields(args)...); got != want {
			t.Errorf("%s prints\n%s", args, got)
		}
		if strings.HasPrefix(args, "stat") {
			continue
		}
		things := strings.Count(want, "\n") - 1
		switch { // a row for each partition
		case strings.HasPrefix(args, "topic describe"):
			things = 1
		case strings.HasPrefix(args, "transactional describe"):
			things = 2
		}
		var list []map[string]any
		if err := json.Unmarshal([]byte(s.succeed(t, "", append(strings.Fields(args), "--json")...)), &list); err != nil || len(list) != things {
			t.Errorf("%s --json: %v, %d elements", args, err, len(list))
		}
	}
	got := s.succeed(t, "", "stat", "--counters")
	for _, part := range []string{"TriMQ test, up 1m1s", "1 topics", "connsrv  running   42      3", "trimq_a_total      7"} {
		if !strings.Contains(got, part) {
			t.Errorf("stat lacks %q:\n%s", part, got)
		}
	}
	if strings.Contains(got, "zero") {
		t.Errorf("stat shows a counter that is zero:\n%s", got)
	}
	if got := s.succeed(t, "", "ping", "--count", "2"); strings.Count(got, "\n") != 2 {
		t.Errorf("ping prints %q", got)
	}
}

func TestPublishAndConsume(t *testing.T) {
	s := newStub(t)
	s.succeed(t, "one\ntwo\n\nfour", "publish", "--topic", "t", "--partition", "0", "--key", "k", "--header", "h=v", "--zstd")
	if got := s.succeed(t, "", "consume", "--topic", "t", "--count", "3"); got != "one\ntwo\n\n" {
		t.Fatalf("consumed %q", got)
	}
	got := s.succeed(t, "", "consume", "--topic", "t", "--from", "3", "--idle", "300ms", "--json", "--group", "g")
	var l line
	if err := json.Unmarshal([]byte(got), &l); err != nil || *l.Value != "four" || *l.Key != "k" || l.Headers["h"] != "v" || l.Offset != 3 || *l.Partition != 0 {
		t.Fatalf("consumed %s, %v", got, err)
	}
	// First where it begins, so that nobody begins elsewhere.
	if fmt.Sprint(s.commits) != "[{1 3  0} {2 3  0} {1 4  0}]" || s.heard[0] != ipc.EpochJoin || s.heard[len(s.heard)-1] != ipc.EpochLeave {
		t.Fatalf("committed %v, heard %v", s.commits, s.heard)
	}
	s.commits, s.heard = nil, nil
	s.succeed(t, "", "consume", "--topic", "t", "--count", "2", "--positions", "h", "--partition", "0")
	if fmt.Sprint(s.commits) != "[{1 2  0}]" || s.heard != nil {
		t.Fatalf("committed %v, heard %v", s.commits, s.heard)
	}
	s.commits = nil
	// Keys from the lines; where they go is the key's business, so the partition is named.
	s.succeed(t, "a:1\nb:2:3\n", "publish", "--topic", "t", "--partition", "0", "--key-separator", ":")
	if got := s.succeed(t, "", "consume", "--topic", "t", "--from", "4", "--count", "2", "--with-key"); got != "a\t1\nb\t2:3\n" {
		t.Fatalf("consumed %q", got)
	}
	code, _, errs := program(t, "none\n", "publish", "--topic", "t", "--key-separator", ":", "--addr", s.ln.Addr().String())
	if code != exitFailed || !strings.Contains(errs, "none") {
		t.Fatalf("a line without a key: exit code %d, %q", code, errs)
	}
}

func TestQueueLines(t *testing.T) {
	s := newStub(t)
	s.succeed(t, "a\nb\nc\n", "publish", "--exchange", "x", "--key", "r.k", "--mandatory")
	m, _, err := native.DecodePublish(s.asked[native.CmdPublish])
	if err != nil || m.Exchange != "x" || m.RoutingKey != "r.k" || !m.Mandatory {
		t.Fatalf("published %+v, %v", m, err)
	}
	if got := s.succeed(t, "", "consume", "--queue", "q", "--count", "2"); got != "a\nb\n" {
		t.Fatalf("consumed %q", got)
	}
	settled := uint64(0)
	for _, r := range s.acked {
		settled = max(settled, r.First+uint64(r.Count))
	}
	if settled != 2 {
		t.Fatalf("settled %v after two of three messages", s.acked)
	}
	s.acked = nil
	s.succeed(t, "d\n", "publish", "--exchange", "x", "-q")
	if got := s.succeed(t, "", "consume", "--queue", "q", "--count", "1", "--ack", "no"); got != "d\n" || s.acked != nil {
		t.Fatalf("consumed %q, settled %v", got, s.acked)
	}
}

func TestLogAndSharedMemory(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := program(t, "", "log", "verify", dir); code != exitFailed || !strings.Contains(errs, "data directory") {
		t.Fatalf("an empty directory: exit code %d, %q", code, errs)
	}
	if code, _, errs := program(t, "", "log", "dump", dir+"/none"); code != exitFailed || !strings.Contains(errs, "none") {
		t.Fatalf("no directory: exit code %d, %q", code, errs)
	}
	// Keys that nobody has.
	if code, out, errs := program(t, "", "shm", "ls", "--shm-key-base", "2000000001"); code != 0 || strings.Count(out, "\n") != 1 {
		t.Fatalf("shm ls: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := program(t, "", "shm", "rm", "--shm-key-base", "2000000001"); code != 0 || out != "" {
		t.Fatalf("shm rm: exit code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := program(t, "", "stat", "--shm", "--shm-key-base", "2000000001", "--addr", "127.0.0.1:1", "--timeout", "50ms"); code != exitFailed {
		t.Fatalf("stat of nothing: exit code %d, %q", code, errs)
	}
	if code, out, _ := program(t, "", "version"); code != 0 || !strings.HasPrefix(out, "trimq ") {
		t.Fatalf("version: exit code %d, %q", code, out)
	}
}
