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
)

var connStats = [...]Row{
	ConnAccepted:         {Name: "trimq_conn_accepted_total", Help: "Connections accepted.", Kind: KindCounter},
	ConnOpen:             {Name: "trimq_conn_open", Help: "Connections open now.", Kind: KindGauge},
	ConnReceivedBytes:    {Name: "trimq_conn_received_bytes_total", Help: "Bytes read from client sockets.", Kind: KindCounter},
	ConnSentBytes:        {Name: "trimq_conn_sent_bytes_total", Help: "Bytes written to client sockets.", Kind: KindCounter},
	ConnRequests:         {Name: "trimq_conn_requests_total", Help: "Requests received.", Kind: KindCounter},
	ConnRequestErrors:    {Name: "trimq_conn_request_errors_total", Help: "Requests answered with an error.", Kind: KindCounter},
	ConnProtocolErrors:   {Name: "trimq_conn_protocol_errors_total", Help: "Connections closed for bytes that are no valid frame.", Kind: KindCounter},
	ConnProducedMessages: {Name: "trimq_conn_produced_messages_total", Help: "Messages put into the request ring.", Kind: KindCounter},
	ConnFetchedBytes:     {Name: "trimq_conn_fetched_bytes_total", Help: "Bytes of batches sent to consumers.", Kind: KindCounter},
	ConnRingFull:         {Name: "trimq_conn_ring_full_total", Help: "Times that a socket had to wait for room in the request ring.", Kind: KindCounter},
	ConnStarts:           {Name: "trimq_conn_starts_total", Help: "Starts of connsrv.", Kind: KindCounter},
	ConnRefused:          {Name: "trimq_conn_refused_total", Help: "Connections refused for a limit.", Kind: KindCounter},
}
