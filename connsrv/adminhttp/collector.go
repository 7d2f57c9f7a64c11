package adminhttp

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trimq/trimq/shmqueue"
)

// collector shows the counters of all three tiers, as they stand in shared memory: they
// survive the restart of any tier, connsrv included.
type collector struct{ metrics *shmqueue.Metrics }

var tiers = []shmqueue.Tier{shmqueue.TierConn, shmqueue.TierLogic, shmqueue.TierPersist}

// Describe tells nothing: which rows there are is checked when they are collected.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads every row that has a name.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, t := range tiers {
		counters := c.metrics.Tier(t)
		for id, row := range shmqueue.Stats(t) {
			if row.Name != "" {
				out <- metric(row, counters.Load(shmqueue.CounterID(id)))
			}
		}
	}
}

func metric(row shmqueue.Row, v uint64) prometheus.Metric {
	var names, values []string
	if row.Label != "" {
		names, values = []string{row.Label}, []string{row.Value}
	}
	kind := prometheus.GaugeValue
	if row.Kind == shmqueue.KindCounter {
		kind = prometheus.CounterValue
	}
	value := float64(v)
	if row.Scale > 1 {
		value /= float64(row.Scale)
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc(row.Name, row.Help, names, nil), kind, value, values...)
}
