package exporter

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/connsrv/management"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/shmqueue"
)

// fake is a broker with some queues and a topic.
type fake struct {
	management.Broker
	err error
}

func (f *fake) Describe(_ context.Context, kind admin.Kind, _ ...string) (*admin.Description, error) {
	d := &admin.Description{}
	switch kind {
	case admin.KindQueue:
		d.Queues = []admin.QueueInfo{
			{Name: "a", Ready: 3, Unacked: 1, Leased: 1, Consumers: 2, Indexes: []admin.QueueIndex{{Next: 7}, {Next: 2}}},
			{Name: admin.InVHost("v", "a"), Ready: 10},
		}
	case admin.KindTopic:
		d.Topics = []admin.TopicInfo{{Name: "t", Partitions: []admin.PartitionInfo{{Next: 5, Visible: 4}}}}
	}
	return d, f.err
}

// testExporter tells of the fake, of a connection with two channels, and of counters that are their ids.
func testExporter(broker *fake) *Exporter {
	m := shmqueue.HeapMetrics()
	for id := range shmqueue.Stats(shmqueue.TierConn) {
		m.Tier(shmqueue.TierConn).Add(shmqueue.CounterID(id), uint64(id))
	}
	m.Tier(shmqueue.TierLogic).Set(shmqueue.LogicConsumers, 4)
	return New(Options{
		Broker: broker, Metrics: m, Node: "rabbit@here", Cluster: "c", Version: "1",
		Connections: func() []connview.Conn {
			return []connview.Conn{{Peer: "127.0.0.1:9", ChannelCount: 2, Channels: []connview.Channel{
				{Number: 1, Unacked: 2, Unconfirmed: 3, Publishes: true, Consumers: make([]connview.Consumer, 1)}, {Number: 7, Unacked: 5, SharedPrefetch: 9},
			}}}
		},
		ClusterName: func() string { return "shop" }, Uptime: func() time.Duration { return 90 * time.Second }, VHosts: func() []string { return []string{"/", "v"} },
		Host: func() management.Host {
			return management.Host{MemoryBytes: 100, OpenFiles: 5, MaxFiles: 50, Sockets: 3, FreeBytes: 70, ReserveBytes: 7}
		},
	})
}

// answered are the lines of an answer, but for comments.
func answered(t *testing.T, h http.Handler, target string) (lines []string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if line[0] != '#' {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func whole(e *Exporter) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// Every name that dashboards look at is there.
func TestDashboards(t *testing.T) {
	names, err := os.ReadFile("testdata/dashboards.txt")
	if err != nil {
		t.Fatal(err)
	}
	e := testExporter(&fake{})
	for _, h := range []http.Handler{whole(e), http.HandlerFunc(e.PerObject)} {
		there := map[string]bool{}
		for _, line := range answered(t, h, "/metrics") {
			there[line[:strings.IndexAny(line, "{ ")]] = true
		}
		for name := range strings.Lines(string(names)) {
			if name = strings.TrimSpace(name); name[0] != '#' && !there[name] {
				t.Errorf("%s is not told", name)
			}
		}
	}
}

func TestFigures(t *testing.T) {
	e := testExporter(&fake{})
	for _, c := range []struct {
		handler http.Handler
		target  string
		want    []string // lines that are there
		not     string   // a part of no line
	}{
		{whole(e), "/metrics", []string{
			"rabbitmq_queue_messages_ready 17", "rabbitmq_queue_messages_unacked 2", "rabbitmq_queue_messages 19", "rabbitmq_queue_consumers 2",
			"rabbitmq_queue_messages_published_total 14", "rabbitmq_queues 3", "rabbitmq_connections 1", "rabbitmq_channels 2", "rabbitmq_consumers 4",
			"rabbitmq_global_publishers 1", "rabbitmq_channel_messages_unacked 7", "rabbitmq_channel_consumers 1", "rabbitmq_connection_channels 2",
			"rabbitmq_connections_closed_total 284", "rabbitmq_global_messages_delivered_total 218", "rabbitmq_global_messages_confirmed_total 49",
			"rabbitmq_disk_space_available_bytes 70", "rabbitmq_process_open_tcp_sockets 3",
			`rabbitmq_identity_info{rabbitmq_cluster="shop",rabbitmq_cluster_permanent_id="c",rabbitmq_endpoint="aggregated",rabbitmq_node="rabbit@here"} 1`,
			"rabbitmq_erlang_uptime_seconds 90",
		}, "queue="},
		{http.HandlerFunc(e.PerObject), "/metrics/per-object", []string{
			`rabbitmq_queue_messages_ready{queue="a",vhost="/"} 3`, `rabbitmq_queue_messages_ready{queue="a",vhost="v"} 10`,
			`rabbitmq_queue_messages_ready{queue="t",vhost="/"} 4`, `rabbitmq_channel_messages_unacked{channel="127.0.0.1:9 (7)"} 5`,
			`rabbitmq_channel_prefetch{channel="127.0.0.1:9 (7)"} 9`, `rabbitmq_connection_channels{connection="127.0.0.1:9"} 2`, "rabbitmq_queues 3",
			`rabbitmq_identity_info{rabbitmq_cluster="shop",rabbitmq_cluster_permanent_id="c",rabbitmq_endpoint="per-object",rabbitmq_node="rabbit@here"} 1`,
		}, "detailed"},
		{http.HandlerFunc(e.Detailed), "/metrics/detailed?family=queue_coarse_metrics&vhost=v&family=vhost_status", []string{
			`rabbitmq_detailed_queue_messages{queue="a",vhost="v"} 10`, `rabbitmq_cluster_vhost_status{vhost="/"} 1`,
			`rabbitmq_identity_info{rabbitmq_cluster="shop",rabbitmq_cluster_permanent_id="c",rabbitmq_endpoint="detailed",rabbitmq_node="rabbit@here"} 1`,
		}, `queue="t"`},
		{http.HandlerFunc(e.Detailed), "/metrics/detailed?family=connection_churn_metrics", []string{"rabbitmq_detailed_channels_opened_total 60"}, "queue_"},
	} {
		lines := answered(t, c.handler, c.target)
		for _, want := range c.want {
			if !slices.Contains(lines, want) {
				t.Errorf("%s: no line %q", c.target, want)
			}
		}
		if i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, c.not) }); i >= 0 {
			t.Errorf("%s: %q", c.target, lines[i])
		}
	}
	if lines := answered(t, http.HandlerFunc(e.Detailed), "/metrics/detailed"); len(lines) != 1 || !strings.Contains(lines[0], "identity_info") {
		t.Errorf("without a family: %q", lines)
	}
}

// While the broker cannot be asked, all is told but what it alone knows.
func TestWithoutTheBroker(t *testing.T) {
	lines := answered(t, whole(testExporter(&fake{err: errors.New("not now")})), "/metrics")
	has := func(name string) bool {
		return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, name) })
	}
	if has("rabbitmq_queue_messages") || has("rabbitmq_queues ") || !has("rabbitmq_connections ") || !has("rabbitmq_global_messages_received_total ") {
		t.Errorf("%q", lines)
	}
}
