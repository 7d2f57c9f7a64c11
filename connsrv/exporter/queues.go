package exporter

import "github.com/trimq/trimq/protocol/admin"

// queue is what is told of a queue, or of a stream.
type queue struct {
	vhost, name           string
	ready, held, consumer uint64
	published             uint64 // messages that came into it
}

func queueOf(q *admin.QueueInfo) queue {
	x := queue{ready: q.Ready, held: q.Unacked + q.Leased, consumer: uint64(q.Consumers)}
	x.vhost, x.name = admin.SplitVHost(q.Name)
	for i := range q.Indexes {
		x.published += q.Indexes[i].Next
	}
	return x
}

func streamOf(t *admin.TopicInfo) queue {
	x := queue{}
	x.vhost, x.name = admin.SplitVHost(t.Name)
	for i := range t.Partitions {
		x.ready += t.Partitions[i].Visible
		x.published += t.Partitions[i].Next
	}
	return x
}

// ofQueues are the figures of queues, by family.
var ofQueues = []struct {
	families []string
	metric   *metric
	value    func(q *queue) uint64
}{
	{[]string{"queue_coarse_metrics"}, gauge("queue_messages_ready", "Messages ready to be delivered."), func(q *queue) uint64 { return q.ready }},
	{[]string{"queue_coarse_metrics"}, gauge("queue_messages_unacked", "Messages delivered and not acknowledged yet."), func(q *queue) uint64 { return q.held }},
	{[]string{"queue_coarse_metrics"}, gauge("queue_messages", "Messages ready and unacknowledged."), func(q *queue) uint64 { return q.ready + q.held }},
	{[]string{"queue_consumer_count", "queue_metrics"}, gauge("queue_consumers", "Consumers on a queue."), func(q *queue) uint64 { return q.consumer }},
	{[]string{"queue_exchange_metrics", "queue_metrics"}, counter("queue_messages_published_total", "Messages that came into queues."), func(q *queue) uint64 { return q.published }},
}

// queues tells of queues, as far as the broker can be asked now.
func (s *scrape) queues() {
	wanted := s.wants(generic)
	for i := range ofQueues {
		wanted = wanted || s.wantsAny(ofQueues[i].families)
	}
	if !wanted {
		return
	}
	list, err := s.described()
	if err != nil {
		return
	}
	if s.wants(generic) {
		s.put(queuesNow, float64(len(list)))
	}
	for i := range ofQueues {
		if s.wantsAny(ofQueues[i].families) {
			s.eachQueue(list, ofQueues[i].metric, ofQueues[i].value)
		}
	}
}

// wantsAny tells whether one of some families is wanted.
func (s *scrape) wantsAny(families []string) bool {
	for _, f := range families {
		if s.wants(f) {
			return true
		}
	}
	return false
}

func (s *scrape) eachQueue(list []queue, m *metric, value func(q *queue) uint64) {
	sum := uint64(0)
	for i := range list {
		q := &list[i]
		if s.apart {
			s.put(m, float64(value(q)), "vhost", q.vhost, "queue", q.name)
		}
		sum += value(q)
	}
	if !s.apart {
		s.put(m, float64(sum))
	}
}
