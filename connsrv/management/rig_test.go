package management

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// fake is a Broker that keeps what it is told in lists, and refuses what is not there.
type fake struct {
	admin.Description
	published []*native.Publish
	sealed    [][]byte
	taken     []ipc.Verdict
	err       error // every request fails with it
}

func (f *fake) Describe(_ context.Context, kind admin.Kind, names ...string) (*admin.Description, error) {
	if f.err != nil {
		return nil, f.err
	}
	d := f.Description
	wanted := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	d.Queues = slices.DeleteFunc(slices.Clone(d.Queues), func(q admin.QueueInfo) bool { return kind != admin.KindQueue || !wanted(q.Name) })
	d.Topics = slices.DeleteFunc(slices.Clone(d.Topics), func(q admin.TopicInfo) bool { return kind != admin.KindTopic || !wanted(q.Name) })
	d.Exchanges = slices.DeleteFunc(slices.Clone(d.Exchanges), func(x admin.ExchangeInfo) bool { return kind != admin.KindExchange || !wanted(x.Name) })
	d.Bindings = slices.Clone(d.Bindings)
	return &d, nil
}

func (f *fake) Do(_ context.Context, cmd definitions.Command) (made admin.Created, err error) {
	if f.err != nil {
		return made, f.err
	}
	switch m := cmd.Body.(type) {
	case *admin.CreateQueue:
		made.Existed = slices.ContainsFunc(f.Queues, func(q admin.QueueInfo) bool { return q.Name == m.Name })
		if !made.Existed {
			f.Queues = append(f.Queues, admin.QueueInfo{Name: m.Name, Queue: uint64(len(f.Queues) + 1), Settings: m.QueueSettings, Effective: m.QueueSettings})
		}
	case *admin.CreateExchange:
		f.Exchanges = append(f.Exchanges, admin.ExchangeInfo{CreateExchange: *m})
	case *admin.CreateTopic:
		f.Topics = append(f.Topics, admin.TopicInfo{Name: m.Name, Partitions: make([]admin.PartitionInfo, 1)})
	case *admin.CreateBinding:
		f.Bindings = append(f.Bindings, admin.BindingInfo(*m))
	case *admin.DeleteBinding:
		f.Bindings = nil
	case *admin.Delete:
		n := len(f.Queues)
		f.Queues = slices.DeleteFunc(f.Queues, func(q admin.QueueInfo) bool { return q.Name == m.Name })
		if cmd.Command == admin.CmdDeleteQueue && len(f.Queues) == n {
			return made, errcode.New(errcode.NotFound, "there is no queue %q", m.Name)
		}
	case *admin.Definition:
		same := func(d admin.Definition) bool { return d.Identity() == m.Identity() }
		made.Existed = slices.ContainsFunc(f.Definitions, same)
		f.Definitions = slices.DeleteFunc(f.Definitions, same)
		if cmd.Command == admin.CmdDefine {
			f.Definitions = append(f.Definitions, *m)
		} else if !made.Existed {
			return made, errcode.New(errcode.NotFound, "there is no %s %q", m.Kind, m.Name)
		}
	}
	return made, nil
}

func (f *fake) Publish(_ context.Context, head *native.Publish, sealed []byte) (uint32, error) {
	if head.RoutingKey == "nowhere" {
		return 0, errcode.New(errcode.Unroutable, "no queue")
	}
	f.published, f.sealed = append(f.published, head), append(f.sealed, slices.Clone(sealed))
	return 1, f.err
}

// Get gives back what was published, as a delivery brings it.
func (f *fake) Get(_ context.Context, _ uint64, most uint32, _ time.Duration, verdict ipc.Verdict) (got []Message, err error) {
	f.taken = append(f.taken, verdict)
	for i, b := range f.sealed {
		if len(got) == int(most) {
			break
		}
		note := ipc.Note{Exchange: f.published[i].Exchange, Key: f.published[i].RoutingKey}
		messages, err := messagesOf(&native.Deliver{Count: 1, NoteBytes: 1}, note.Append(nil), b)
		if err != nil {
			return nil, err
		}
		got = append(got, messages...)
	}
	return got, f.err
}

// rig is an API over a fake, with some users.
type rig struct {
	*fake
	t      *testing.T
	api    *API
	closed map[uint64]string
	now    time.Time
	user   string      // and password
	header http.Header // of the last answer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{fake: &fake{}, t: t, closed: map[uint64]string{}, now: time.UnixMilli(1_700_000_000_000), user: "guest"}
	for _, u := range []struct{ name, tags string }{{"guest", "administrator"}, {"ann", "management"}, {"mon", "monitoring"}, {"nobody", ""}} {
		password := u.name
		cmd, err := (&definitions.User{Name: u.name, Password: &password, Tags: definitions.ParseTags(u.tags)}).Command(make([]byte, definitions.SaltBytes))
		if err != nil {
			t.Fatal(err)
		}
		r.Definitions = append(r.Definitions, *cmd.Body.(*admin.Definition))
	}
	all := []admin.Value{admin.TextValue("configure", ".*"), admin.TextValue("read", ".*"), admin.TextValue("write", ".*")}
	r.Definitions = append(
		r.Definitions, admin.Definition{Kind: admin.DefVHost, Name: "/"}, admin.Definition{Kind: admin.DefVHost, Name: "v"},
		admin.Definition{Kind: admin.DefPermission, VHost: "/", Name: "guest", Values: all},
		admin.Definition{Kind: admin.DefPermission, VHost: "v", Name: "ann", Values: []admin.Value{
			admin.TextValue("configure", "^mine"), admin.TextValue("read", ".*"), admin.TextValue("write", ""),
		}},
	)
	r.Exchanges = []admin.ExchangeInfo{{CreateExchange: admin.CreateExchange{Type: admin.Direct, Durable: true}}}
	table := &access.Current{}
	table.Store(access.NewTable(r.Definitions))
	r.api = New(Options{
		Broker: r.fake, Access: table, Node: "rabbit@test", Cluster: "c", Version: "0", Started: r.now,
		Connections: func() []connview.Conn { return testConnections() },
		Close:       func(id uint64, why string) bool { r.closed[id] = why; return id == 256 },
		Ready:       func() (bool, string) { return r.err == nil, "logicsrv is not ready" },
		Host: func() Host {
			return Host{MemoryBytes: 1 << 20, FreeBytes: 1 << 30, ReserveBytes: 1 << 29, MaxFiles: 1024}
		},
		Learn: func(ctx context.Context, read func(context.Context) ([]admin.Definition, error)) error {
			all, err := read(ctx)
			if err == nil {
				table.Store(access.NewTable(all))
			}
			return err
		},
		Listeners: func() []Listener { return []Listener{{"amqp", "127.0.0.1", 5672}} },
		Salt:      func() []byte { return make([]byte, definitions.SaltBytes) },
		Now:       func() time.Time { return r.now },
	})
	return r
}

func testConnections() []connview.Conn {
	return []connview.Conn{
		{ID: 512, Protocol: "Kafka", Peer: "127.0.0.1:2"},
		{
			ID: 256, Protocol: "AMQP 0-9-1", Peer: "127.0.0.1:1", User: "guest", VHost: "/", ChannelCount: 1, Client: map[string]any{"connection_name": "first"},
			Channels: []connview.Channel{{Number: 1, Prefetch: 10, Confirms: true, Consumers: []connview.Consumer{{Tag: "t", Queue: "q", AckNeeded: true, Prefetch: 10}}}},
		},
	}
}

// ask sends a request, and returns status and body.
func (r *rig) ask(method, path, body string) (int, string) {
	r.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, in)
	req.RemoteAddr = "127.0.0.1:999"
	if r.user != "" {
		req.SetBasicAuth(r.user, r.user)
	}
	w := httptest.NewRecorder()
	r.api.ServeHTTP(w, req)
	r.header = w.Header()
	return w.Code, strings.TrimSpace(w.Body.String())
}

// want sends a request that must be answered so.
func (r *rig) want(status int, method, path, body string) string {
	r.t.Helper()
	code, text := r.ask(method, path, body)
	if code != status {
		r.t.Errorf("%s %s %s: %d %s, want %d", method, path, body, code, text, status)
	}
	return text
}

// get reads what a GET answers.
func get[T any](r *rig, path string) (v T) {
	r.t.Helper()
	text := r.want(http.StatusOK, http.MethodGet, path, "")
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		r.t.Errorf("%s: %v: %s", path, err, text)
	}
	return v
}
