package shmqueue

// Counters of connsrv. A new row goes to the end, with the next number.
const (
	ConnAccepted         CounterID = 0
	ConnOpen             CounterID = 1
	ConnReceivedBytes    CounterID = 2
	ConnSentBytes        CounterID = 3
	ConnRequests         CounterID = 4
	ConnRequestErrors    CounterID = 5
	ConnProtocolErrors   CounterID = 6
	ConnProducedMessages CounterID = 7
	ConnFetchedBytes     CounterID = 8
	ConnRingFull         CounterID = 9
	ConnStarts           CounterID = 10
	ConnRefused          CounterID = 11
	ConnProducedBytes    CounterID = 12
	ConnPublished        CounterID = 13
	ConnDirectBatches    CounterID = 14
	ConnCopiedBatches    CounterID = 15
	ConnCorruptBatches   CounterID = 16
	ConnColdBytes        CounterID = 17
	ConnDeliveries       CounterID = 18
	ConnPushedBytes      CounterID = 19
	ConnAcked            CounterID = 20
	ConnReplies          CounterID = 21
	ConnStaleReplies     CounterID = 22
	ConnMarkers          CounterID = 23
	ConnDiskFull         CounterID = 24
	ConnWaits            CounterID = 25
	ConnEpoch            CounterID = 26
	ConnPulls            CounterID = 27
	ConnPulled           CounterID = 28
	ConnRecalled         CounterID = 29
	ConnSkipped          CounterID = 30
	ConnNotesLost        CounterID = 31
	ConnClosedPeer       CounterID = 32 // and the other reasons behind it, in reactor's order
	ConnClosedDone       CounterID = 33
	ConnClosedHandshake  CounterID = 34
	ConnClosedIdle       CounterID = 35
	ConnClosedSlow       CounterID = 36
	ConnClosedWrite      CounterID = 37
	ConnClosedDrain      CounterID = 38
	ConnClosedHandOver   CounterID = 39
	ConnHandOvers        CounterID = 40

	// Of AMQP's clients alone, as RabbitMQ counts.
	ConnAwaitConfirm   CounterID = 48
	ConnConfirmed      CounterID = 49
	ConnRouted         CounterID = 50
	ConnUnrouted       CounterID = 51
	ConnReturned       CounterID = 52
	ConnSentAutoAck    CounterID = 53
	ConnSentManualAck  CounterID = 54
	ConnGotAutoAck     CounterID = 55
	ConnGotManualAck   CounterID = 56
	ConnGotNothing     CounterID = 57
	ConnRedelivered    CounterID = 58
	ConnAcknowledged   CounterID = 59
	ConnChannelsOpened CounterID = 60
	ConnChannelsClosed CounterID = 61
	ConnQueuesDeclared CounterID = 62
	ConnQueuesCreated  CounterID = 63
	ConnQueuesDeleted  CounterID = 64
)

var connStats = [...]Row{
	ConnAccepted:         {Name: "trimq_conn_accepted_total", Help: "Connections accepted.", Kind: KindCounter},
	ConnOpen:             {Name: "trimq_conn_open", Help: "Connections open now.", Kind: KindGauge},
	ConnReceivedBytes:    {Name: "trimq_conn_received_bytes_total", Help: "Bytes read from client sockets.", Kind: KindCounter},
	ConnSentBytes:        {Name: "trimq_conn_sent_bytes_total", Help: "Bytes written to client sockets.", Kind: KindCounter},
	ConnRequests:         {Name: "trimq_conn_requests_total", Help: "Requests received.", Kind: KindCounter},
	ConnRequestErrors:    {Name: "trimq_conn_request_errors_total", Help: "Requests answered with an error.", Kind: KindCounter},
	ConnProtocolErrors:   {Name: "trimq_conn_protocol_errors_total", Help: "Connections closed for bytes that are no valid frame.", Kind: KindCounter},
	ConnProducedMessages: {Name: "trimq_conn_produced_messages_total", Help: "Messages put into the request ring, produced and published.", Kind: KindCounter},
	ConnFetchedBytes:     {Name: "trimq_conn_fetched_bytes_total", Help: "Bytes of batches sent in answers to fetches.", Kind: KindCounter},
	ConnRingFull:         {Name: "trimq_conn_ring_full_total", Help: "Times that a socket had to wait for room in the request ring.", Kind: KindCounter},
	ConnStarts:           {Name: "trimq_conn_starts_total", Help: "Starts of connsrv.", Kind: KindCounter},
	ConnRefused:          {Name: "trimq_conn_refused_total", Help: "Connections refused for a limit.", Kind: KindCounter},
	ConnProducedBytes:    {Name: "trimq_conn_produced_bytes_total", Help: "Bytes of batches put into the request ring.", Kind: KindCounter},
	ConnPublished:        {Name: "trimq_conn_published_messages_total", Help: "Messages among them that were published to exchanges.", Kind: KindCounter},
	ConnDirectBatches:    {Name: "trimq_conn_batches_total", Help: "Batches put into the request ring, by the way they took.", Kind: KindCounter, Label: "way", Value: "direct"},
	ConnCopiedBatches:    {Name: "trimq_conn_batches_total", Help: "Batches put into the request ring, by the way they took.", Kind: KindCounter, Label: "way", Value: "copied"},
	ConnCorruptBatches:   {Name: "trimq_conn_invalid_batches_total", Help: "Batches refused: wrong checksum or format.", Kind: KindCounter},
	ConnColdBytes:        {Name: "trimq_conn_cold_bytes_total", Help: "Bytes sent that were not in the page cache (sendfile).", Kind: KindCounter},
	ConnDeliveries:       {Name: "trimq_conn_delivered_messages_total", Help: "Messages pushed to consumers of queues.", Kind: KindCounter},
	ConnPushedBytes:      {Name: "trimq_conn_pushed_bytes_total", Help: "Bytes of batches pushed to consumers of queues and partitions.", Kind: KindCounter},
	ConnAcked:            {Name: "trimq_conn_verdicts_total", Help: "Messages on which consumers passed a verdict.", Kind: KindCounter},
	ConnReplies:          {Name: "trimq_conn_replies_total", Help: "Records taken from the response ring.", Kind: KindCounter},
	ConnStaleReplies:     {Name: "trimq_conn_stale_replies_total", Help: "Records among them that nobody waits for: repeated after a restart, or for a connection that is gone.", Kind: KindCounter},
	ConnMarkers:          {Name: "trimq_conn_markers_total", Help: "Markers of logicsrv answered with the soft state.", Kind: KindCounter},
	ConnDiskFull:         {Name: "trimq_conn_disk_full_refusals_total", Help: "Batches refused because the disk is nearly full.", Kind: KindCounter},
	ConnWaits:            {Name: "trimq_conn_waits_total", Help: "Waits for more to become visible that were put into the request ring.", Kind: KindCounter},
	ConnEpoch:            {Name: "trimq_conn_epoch", Help: "Epoch of connsrv.", Kind: KindGauge},
	ConnPulls:            {Name: "trimq_conn_pulls_total", Help: "Requests to pull messages from queues.", Kind: KindCounter},
	ConnPulled:           {Name: "trimq_conn_pulled_messages_total", Help: "Messages given to pulls.", Kind: KindCounter},
	ConnRecalled:         {Name: "trimq_conn_recalled_messages_total", Help: "Messages taken back from consumers that held them for too long.", Kind: KindCounter},
	ConnSkipped:          {Name: "trimq_conn_skipped_messages_total", Help: "Messages that a queue's filter kept from its consumers, or that were no longer there.", Kind: KindCounter},
	ConnNotesLost:        {Name: "trimq_conn_lost_notes_total", Help: "Deliveries without the note of their messages: it is damaged, or too long for a frame.", Kind: KindCounter},
	ConnClosedPeer:       {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "peer"},
	ConnClosedDone:       {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "done"},
	ConnClosedHandshake:  {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "handshake_timeout"},
	ConnClosedIdle:       {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "idle_timeout"},
	ConnClosedSlow:       {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "slow"},
	ConnClosedWrite:      {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "write_error"},
	ConnClosedDrain:      {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "drain_timeout"},
	ConnClosedHandOver:   {Name: "trimq_conn_closed_total", Help: closedHelp, Kind: KindCounter, Label: "reason", Value: "hand_over"},
	ConnHandOvers:        {Name: "trimq_conn_hand_overs_total", Help: "Times that connsrv took its connections over from the program before it.", Kind: KindCounter},

	ConnAwaitConfirm:   {Name: "trimq_conn_amqp_publishes_total", Help: publishesHelp, Kind: KindCounter, Label: "what", Value: "await_confirm"},
	ConnConfirmed:      {Name: "trimq_conn_amqp_publishes_total", Help: publishesHelp, Kind: KindCounter, Label: "what", Value: "confirmed"},
	ConnRouted:         {Name: "trimq_conn_amqp_publishes_total", Help: publishesHelp, Kind: KindCounter, Label: "what", Value: "routed"},
	ConnUnrouted:       {Name: "trimq_conn_amqp_publishes_total", Help: publishesHelp, Kind: KindCounter, Label: "what", Value: "dropped"},
	ConnReturned:       {Name: "trimq_conn_amqp_publishes_total", Help: publishesHelp, Kind: KindCounter, Label: "what", Value: "returned"},
	ConnSentAutoAck:    {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "consume_auto_ack"},
	ConnSentManualAck:  {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "consume_manual_ack"},
	ConnGotAutoAck:     {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "get_auto_ack"},
	ConnGotManualAck:   {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "get_manual_ack"},
	ConnGotNothing:     {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "get_empty"},
	ConnRedelivered:    {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "redelivered"},
	ConnAcknowledged:   {Name: "trimq_conn_amqp_deliveries_total", Help: deliveriesHelp, Kind: KindCounter, Label: "what", Value: "acknowledged"},
	ConnChannelsOpened: {Name: "trimq_conn_amqp_channels_total", Help: "Channels of AMQP's clients that were opened and closed.", Kind: KindCounter, Label: "what", Value: "opened"},
	ConnChannelsClosed: {Name: "trimq_conn_amqp_channels_total", Help: "Channels of AMQP's clients that were opened and closed.", Kind: KindCounter, Label: "what", Value: "closed"},
	ConnQueuesDeclared: {Name: "trimq_conn_amqp_queues_total", Help: "Queues that AMQP's clients have declared, those among them that were not there, and those that they have deleted.", Kind: KindCounter, Label: "what", Value: "declared"},
	ConnQueuesCreated:  {Name: "trimq_conn_amqp_queues_total", Help: "Queues that AMQP's clients have declared, those among them that were not there, and those that they have deleted.", Kind: KindCounter, Label: "what", Value: "created"},
	ConnQueuesDeleted:  {Name: "trimq_conn_amqp_queues_total", Help: "Queues that AMQP's clients have declared, those among them that were not there, and those that they have deleted.", Kind: KindCounter, Label: "what", Value: "deleted"},
}

const (
	publishesHelp  = "Messages that AMQP's clients published, by what became of them; await_confirm: on channels with confirms."
	deliveriesHelp = "Messages that AMQP's clients were given, by the way; get_empty: gets that found none; acknowledged: what they acknowledged."
)

const closedHelp = "Connections closed, by reason."
