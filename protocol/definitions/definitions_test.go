package definitions

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

func salt() []byte { return bytes.Repeat([]byte{7}, SaltBytes) }

func readFile(t *testing.T, name string) *File {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// whole carries the commands of a plan out, on lists in memory.
func whole(t *testing.T, steps []Step) *Whole {
	t.Helper()
	w := &Whole{}
	for i := range steps {
		s := &steps[i]
		if s.Problem != nil {
			t.Fatal(s.Problem)
		}
		switch m := s.Body.(type) {
		case *admin.Definition:
			w.Definitions = append(w.Definitions, *m)
		case *admin.CreateQueue:
			w.Queues = append(w.Queues, admin.QueueInfo{Name: m.Name, Settings: m.QueueSettings})
		case *admin.CreateTopic:
			w.Topics = append(w.Topics, admin.TopicInfo{Name: m.Name, RetentionBytes: m.RetentionBytes, RetentionMS: m.RetentionMS, Partitions: make([]admin.PartitionInfo, 1)})
		case *admin.CreateExchange:
			w.Exchanges = append(w.Exchanges, admin.ExchangeInfo{CreateExchange: *m})
		case *admin.CreateBinding:
			w.Bindings = append(w.Bindings, admin.BindingInfo(*m))
		default:
			t.Fatalf("%T", m)
		}
	}
	return w
}

// What a file makes, exported, makes the same again: of RabbitMQ's own export and of one that has a bit of everything.
func TestFilesComeBack(t *testing.T) {
	for _, name := range []string{"exported.json", "generated.json"} {
		f := readFile(t, name)
		w := whole(t, f.Plan(salt))
		text, err := json.Marshal(w.Export(""))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for i := range w.Definitions { // a password cannot come back
			w.Definitions[i].Values = without(w.Definitions[i].Values)
		}
		for _, s := range again.Plan(salt) {
			if s.Problem != nil {
				t.Fatalf("%s: %v", name, s.Problem)
			}
		}
		back := whole(t, again.Plan(salt))
		if !reflect.DeepEqual(w.Queues, back.Queues) || !reflect.DeepEqual(w.Exchanges, back.Exchanges) || !reflect.DeepEqual(w.Bindings, back.Bindings) {
			t.Errorf("%s\nhave %+v\nwant %+v", name, back, w)
		}
		if len(w.Definitions) != len(back.Definitions) || len(f.Queues) != len(again.Queues) || len(f.Exchanges) != len(again.Exchanges) {
			t.Errorf("%s: %d definitions became %d", name, len(w.Definitions), len(back.Definitions))
		}
	}
}

// without leaves SCRAM's parts out, which only a password makes.
func without(values []admin.Value) (out []admin.Value) {
	for _, v := range values {
		if !strings.HasPrefix(v.Key, "scram") {
			out = append(out, v)
		}
	}
	return out
}

func TestQueuesOfAFile(t *testing.T) {
	w := whole(t, readFile(t, "generated.json").Plan(salt))
	orders, prio := w.Queues[0].Settings, w.Queues[1].Settings
	if w.Queues[0].Name != "shop\x1forders" || orders.Type != admin.QuorumQueue || orders.DeliveryLimit != admin.Some(5) ||
		orders.DeadLetterExchange != "shop\x1fdlx" || orders.DeadLetterKey != "dead" || orders.KeepKey {
		t.Errorf("%+v", orders)
	}
	if prio.MaxPriority != 9 || prio.MaxMessages != admin.Some(100) || prio.Overflow != admin.RejectPublish {
		t.Errorf("%+v", prio)
	}
	if log := w.Topics[0]; log.RetentionMS != 7*86_400_000 || log.RetentionBytes != 1_000_000 {
		t.Errorf("%+v", log)
	}
	if x := w.Exchanges[1]; !x.Delayed || x.Type != admin.Direct {
		t.Errorf("%+v", x)
	}
	if b := w.Bindings[1]; !b.MatchAny || !b.ToExchange || !reflect.DeepEqual(b.Headers, []ipc.Header{{Key: "format", Value: "pdf"}, {Key: "pages", Value: "3"}}) {
		t.Errorf("%+v", b)
	}
}

// Who logs in by SCRAM can do so where a file of definitions is imported: the secrets are in it.
func TestSecretsOfScramGoAlong(t *testing.T) {
	values, err := Credentials("secret", bytes.Repeat([]byte{7}, SaltBytes))
	if err != nil {
		t.Fatal(err)
	}
	whole := Whole{Definitions: []admin.Definition{{Kind: admin.DefUser, Name: "ann", Values: append(values, admin.TextValue("tags", "management"))}}}
	whole.Definitions[0].Canonical()
	text, err := json.Marshal(whole.Export(""))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	steps := f.Plan(salt)
	if len(steps) != 1 || steps[0].Problem != nil {
		t.Fatalf("%v", steps)
	}
	made := steps[0].Body.(*admin.Definition)
	if made.Canonical(); !reflect.DeepEqual(*made, whole.Definitions[0]) {
		t.Errorf("%+v, want %+v", *made, whole.Definitions[0])
	}
}

func TestProblemsNameTheThing(t *testing.T) {
	for text, want := range map[string]string{
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-max-length":"many"}}]}`:                   `queue "q" in vhost "/": argument "x-max-length"`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-queue-type":"odd"}}]}`:                    `"odd" is not classic, quorum or stream`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-queue-type":"stream","x-max-age":"7"}}]}`: `x-max-age "7"`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-dead-letter-routing-key":"k"}}]}`:         `without x-dead-letter-exchange`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-overflow":"odd"}}]}`:                      `"odd" is not drop-head`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-single-active-consumer":1}}]}`:            `true or false is wanted`,
		`{"queues":[{"name":"q","vhost":"/","arguments":{"x-dead-letter-exchange":1}}]}`:              `a text is wanted`,
		`{"exchanges":[{"name":"x","vhost":"/","type":"odd"}]}`:                                       `there is no exchange type "odd"`,
		`{"users":[{"name":"u","hashing_algorithm":"odd"}]}`:                                          `user "u": the hashing algorithm "odd"`,
		`{"users":[{"name":"u","scram_sha_256":"1,YQ==,YQ==,YQ=="}]}`:                                 `user "u": scram_sha_256 is no secret of SCRAM`,
		`{"users":[{"name":"u","scram_sha_512":"odd"}]}`:                                              `user "u": scram_sha_512 is no secret of SCRAM`,
		`{"parameters":[{"name":"p","vhost":"/","component":"c"}]}`:                                   `parameter "p": it has no value`,
		`{"parameters":[{"name":"p","vhost":"/","component":"vhost-limits","value":{}}]}`:             `limits of vhost "/"`,
		`{"parameters":[{"name":"p","vhost":"/","component":"operator_policy","value":1}]}`:           `operator policy "p"`,
	} {
		f, err := Read(strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		steps := f.Plan(salt)
		if len(steps) != 1 || steps[0].Problem == nil || !strings.Contains(steps[0].String(), want) {
			t.Errorf("%s: %v", text, steps)
		}
	}
	for _, text := range []string{``, `{"queues":1}`, `{"queues":[{"durable":"perhaps"}]}`, `{"users":[{"tags":1}]}`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func TestPasswords(t *testing.T) {
	password := "secret"
	cmd, err := (&User{Name: "u", Password: &password}).Command(salt())
	if err != nil {
		t.Fatal(err)
	}
	d := cmd.Body.(*admin.Definition)
	if !Verify(d, "secret") || Verify(d, "Secret") || Verify(d, "") || Verify(&admin.Definition{}, "") {
		t.Error("passwords are not told apart")
	}
	if s, ok := ScramOf(d, "scram_sha_256"); !ok || s.Rounds != MinScramRounds || len(s.Salt) != scramSalt || len(s.Key) != 32 {
		t.Errorf("%+v", s)
	}
	for _, text := range []string{"", "1,2,3", "x,,,", "0,,,", "1,?,,"} {
		if _, ok := ScramOf(&admin.Definition{Values: []admin.Value{admin.TextValue("k", text)}}, "k"); ok {
			t.Errorf("%q is read", text)
		}
	}
	// What RabbitMQ 3.10 has made of guest's password.
	guest := &admin.Definition{Values: []admin.Value{admin.TextValue("password_hash", "MuzBqNNTu885vGEGfBAP3XDyR2fdhFjNqq4DFhkuKwEYKVvy")}}
	if !Verify(guest, "guest") {
		t.Error("a hash of RabbitMQ's does not fit its password")
	}
}

// FuzzRead: whatever a file holds, it becomes steps or an error, and what was understood can be shown.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"exported.json", "generated.json"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"queues":[{"arguments":{"x":[[[[[1]]]]]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, s := range file.Plan(salt) {
			if s.Problem != nil {
				continue
			}
			s.Body.Append(nil)
			if q, ok := s.Body.(*admin.CreateQueue); ok {
				if _, err := json.Marshal(QueueOf(&admin.QueueInfo{Name: q.Name, Settings: q.QueueSettings})); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
