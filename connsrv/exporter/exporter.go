package exporter

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/connsrv/management"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/shmqueue"
)

// Options say where the figures come from.
type Options struct {
	Broker      management.Broker
	Connections func() []connview.Conn // of the process, now
	VHosts      func() []string
	Metrics     *shmqueue.Metrics
	Host        func() management.Host
	Node        string // what the broker calls itself
	Cluster     string // its id
	ClusterName func() string
	Uptime      func() time.Duration // of the process
	Version     string
}

// Exporter tells the figures.
type Exporter struct{ Options }

// New makes one.
func New(o Options) *Exporter { return &Exporter{o} }

// askTimeout is how long the broker may take to tell of its queues.
const askTimeout = 10 * time.Second

// scrape is one answer: what was asked for, and what there is.
type scrape struct {
	*Exporter
	out      chan<- prometheus.Metric
	prefix   string   // of all names
	families []string // that are wanted; nil: all
	vhosts   []string // likewise
	apart    bool     // each thing by itself, not their sum
}

// wants tells whether a family is wanted.
func (s *scrape) wants(family string) bool {
	return s.families == nil || slices.Contains(s.families, family)
}

// put tells one figure. labels are names and values in turn.
func (s *scrape) put(m *metric, v float64, labels ...string) {
	names, values := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	s.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(s.prefix+m.name, m.help, names, nil), m.kind, v, values...)
}

// Describe tells nothing: which names there are is checked when they are collected.
func (e *Exporter) Describe(chan<- *prometheus.Desc) {}

// Collect tells the figures of the whole broker.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	(&scrape{Exporter: e, out: out, prefix: "rabbitmq_"}).all()
}

// all tells everything that is wanted.
func (s *scrape) all() {
	s.info()
	s.counters()
	s.clients()
	s.queues()
}

// described are all queues, and topics as streams.
func (s *scrape) described() (list []queue, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	d, err := s.Broker.Describe(ctx, admin.KindQueue)
	if err != nil {
		return nil, err
	}
	t, err := s.Broker.Describe(ctx, admin.KindTopic)
	if err != nil {
		return nil, err
	}
	for i := range d.Queues {
		list = append(list, queueOf(&d.Queues[i]))
	}
	for i := range t.Topics {
		list = append(list, streamOf(&t.Topics[i]))
	}
	return slices.DeleteFunc(list, func(q queue) bool { return s.vhosts != nil && !slices.Contains(s.vhosts, q.vhost) }), nil
}

// part collects what one request asks for.
type part struct{ scrape }

// Describe tells nothing, as Exporter's.
func (p part) Describe(chan<- *prometheus.Desc) {}

// Collect tells the part.
func (p part) Collect(out chan<- prometheus.Metric) {
	s := p.scrape
	s.out = out
	s.all()
}

// serve answers a request with a part.
func serve(w http.ResponseWriter, r *http.Request, s scrape) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(part{s})
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// PerObject serves the figures of each thing.
func (e *Exporter) PerObject(w http.ResponseWriter, r *http.Request) {
	serve(w, r, scrape{Exporter: e, prefix: "rabbitmq_", apart: true})
}

// Detailed serves those families that the request names, of the vhosts that it names or all: as RabbitMQ,
// who it is alone where it names no family.
func (e *Exporter) Detailed(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s := scrape{Exporter: e, prefix: "rabbitmq_detailed_", apart: true, families: append([]string{}, q["family"]...), vhosts: q["vhost"]}
	serve(w, r, s)
}
