package exporter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trimq/trimq/shmqueue"
)

// metric is a name behind the prefix, with its meaning.
type metric struct {
	name, help string
	kind       prometheus.ValueType
}

func gauge(name, help string) *metric   { return &metric{name, help, prometheus.GaugeValue} }
func counter(name, help string) *metric { return &metric{name, help, prometheus.CounterValue} }

// counted are the names that stand for counters in connsrv's block of shared memory: for the sum of some of
// them. They are those of the whole broker, whether things are told apart or not.
var counted = []struct {
	family string
	metric *metric
	of     []shmqueue.CounterID
}{
	{"connection_churn_metrics", counter("connections_opened_total", "Connections opened."), []shmqueue.CounterID{shmqueue.ConnAccepted}},
	{"connection_churn_metrics", counter("connections_closed_total", "Connections closed."), []shmqueue.CounterID{
		shmqueue.ConnClosedPeer, shmqueue.ConnClosedDone, shmqueue.ConnClosedHandshake, shmqueue.ConnClosedIdle,
		shmqueue.ConnClosedSlow, shmqueue.ConnClosedWrite, shmqueue.ConnClosedDrain, shmqueue.ConnClosedHandOver,
	}},
	{"connection_churn_metrics", counter("channels_opened_total", "Channels opened."), []shmqueue.CounterID{shmqueue.ConnChannelsOpened}},
	{"connection_churn_metrics", counter("channels_closed_total", "Channels closed."), []shmqueue.CounterID{shmqueue.ConnChannelsClosed}},
	{"connection_churn_metrics", counter("queues_declared_total", "Queues declared."), []shmqueue.CounterID{shmqueue.ConnQueuesDeclared}},
	{"connection_churn_metrics", counter("queues_created_total", "Queues created."), []shmqueue.CounterID{shmqueue.ConnQueuesCreated}},
	{"connection_churn_metrics", counter("queues_deleted_total", "Queues deleted."), []shmqueue.CounterID{shmqueue.ConnQueuesDeleted}},
	{"connection_coarse_metrics", counter("connection_incoming_bytes_total", "Bytes received on connections."), []shmqueue.CounterID{shmqueue.ConnReceivedBytes}},
	{"connection_coarse_metrics", counter("connection_outgoing_bytes_total", "Bytes sent on connections."), []shmqueue.CounterID{shmqueue.ConnSentBytes}},
	{"channel_exchange_metrics", counter("channel_messages_published_total", "Messages published into exchanges."), []shmqueue.CounterID{shmqueue.ConnPublished}},
	{"channel_exchange_metrics", counter("channel_messages_confirmed_total", "Messages published and confirmed."), []shmqueue.CounterID{shmqueue.ConnConfirmed}},
	{"channel_exchange_metrics", counter("channel_messages_unroutable_returned_total", unroutableReturned), []shmqueue.CounterID{shmqueue.ConnReturned}},
	{"channel_exchange_metrics", counter("channel_messages_unroutable_dropped_total", unroutableDropped), []shmqueue.CounterID{shmqueue.ConnUnrouted}},
	{"channel_queue_metrics", counter("channel_messages_delivered_total", "Messages delivered that are acknowledged automatically."), []shmqueue.CounterID{shmqueue.ConnSentAutoAck}},
	{"channel_queue_metrics", counter("channel_messages_delivered_ack_total", "Messages delivered that are to be acknowledged."), []shmqueue.CounterID{shmqueue.ConnSentManualAck}},
	{"channel_queue_metrics", counter("channel_messages_redelivered_total", "Messages delivered again."), []shmqueue.CounterID{shmqueue.ConnRedelivered}},
	{"channel_queue_metrics", counter("channel_messages_acked_total", "Messages acknowledged."), []shmqueue.CounterID{shmqueue.ConnAcknowledged}},
	{"channel_queue_metrics", counter("channel_get_total", "Messages fetched that are acknowledged automatically."), []shmqueue.CounterID{shmqueue.ConnGotAutoAck}},
	{"channel_queue_metrics", counter("channel_get_ack_total", "Messages fetched that are to be acknowledged."), []shmqueue.CounterID{shmqueue.ConnGotManualAck}},
	{"channel_queue_metrics", counter("channel_get_empty_total", "Fetches that found no message."), []shmqueue.CounterID{shmqueue.ConnGotNothing}},
	{global, counter("global_messages_received_total", "Messages received from publishers."), []shmqueue.CounterID{shmqueue.ConnPublished}},
	{global, counter("global_messages_received_confirm_total", "Messages received from publishers that expect confirms."), []shmqueue.CounterID{shmqueue.ConnAwaitConfirm}},
	{global, counter("global_messages_confirmed_total", "Messages confirmed to publishers."), []shmqueue.CounterID{shmqueue.ConnConfirmed}},
	{global, counter("global_messages_routed_total", "Messages routed to queues or streams."), []shmqueue.CounterID{shmqueue.ConnRouted}},
	{global, counter("global_messages_unroutable_returned_total", unroutableReturned), []shmqueue.CounterID{shmqueue.ConnReturned}},
	{global, counter("global_messages_unroutable_dropped_total", unroutableDropped), []shmqueue.CounterID{shmqueue.ConnUnrouted}},
	{global, counter("global_messages_delivered_total", "Messages delivered to consumers."), []shmqueue.CounterID{
		shmqueue.ConnSentAutoAck, shmqueue.ConnSentManualAck, shmqueue.ConnGotAutoAck, shmqueue.ConnGotManualAck,
	}},
	{global, counter("global_messages_delivered_consume_auto_ack_total", "Messages delivered to consumers, acknowledged automatically."), []shmqueue.CounterID{shmqueue.ConnSentAutoAck}},
	{global, counter("global_messages_delivered_consume_manual_ack_total", "Messages delivered to consumers, to be acknowledged."), []shmqueue.CounterID{shmqueue.ConnSentManualAck}},
	{global, counter("global_messages_delivered_get_auto_ack_total", "Messages fetched, acknowledged automatically."), []shmqueue.CounterID{shmqueue.ConnGotAutoAck}},
	{global, counter("global_messages_delivered_get_manual_ack_total", "Messages fetched, to be acknowledged."), []shmqueue.CounterID{shmqueue.ConnGotManualAck}},
	{global, counter("global_messages_get_empty_total", "Fetches that found no message."), []shmqueue.CounterID{shmqueue.ConnGotNothing}},
	{global, counter("global_messages_redelivered_total", "Messages delivered again."), []shmqueue.CounterID{shmqueue.ConnRedelivered}},
	{global, counter("global_messages_acknowledged_total", "Messages acknowledged by consumers."), []shmqueue.CounterID{shmqueue.ConnAcknowledged}},
}

const (
	// global is the family of what RabbitMQ counts over all connections; it cannot be asked for by itself.
	global = "global"
	// generic is that of what there is of a node.
	generic = "node"

	unroutableReturned = "Messages that reached no queue and were returned, as mandatory."
	unroutableDropped  = "Messages that reached no queue and were dropped."
)

var (
	buildInfo    = gauge("build_info", "The version of the broker, and that of RabbitMQ whose clients it serves.")
	identityInfo = gauge("identity_info", "The node and the cluster.")

	uptime         = gauge("erlang_uptime_seconds", "Time since connsrv began.")
	residentMemory = gauge("process_resident_memory_bytes", "Memory used by the broker's daemons.")
	openFiles      = gauge("process_open_fds", "Open file descriptors.")
	maxFiles       = gauge("process_max_fds", "Limit of open file descriptors.")
	openSockets    = gauge("process_open_tcp_sockets", "Open TCP sockets.")
	maxSockets     = gauge("process_max_tcp_sockets", "Limit of open TCP sockets.")
	diskFree       = gauge("disk_space_available_bytes", "Disk space available.")
	diskReserve    = gauge("disk_space_available_limit_bytes", "Disk space below which publishers are blocked.")

	connections = gauge("connections", "Connections open now.")
	channels    = gauge("channels", "Channels open now.")
	consumers   = gauge("consumers", "Consumers connected now.")
	publishers  = gauge("global_publishers", "Publishers connected now.")
	subscribed  = gauge("global_consumers", "Consumers connected now.")
	queuesNow   = gauge("queues", "Queues available.")
	vhostStatus = gauge("vhost_status", "Whether a vhost is running.")
)
