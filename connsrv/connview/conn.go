package connview

// Conn is a connection.
type Conn struct {
	ID           uint64 // as logs and records on the rings name it
	Protocol     string // "AMQP 0-9-1", "Kafka", "TriMQ"
	Peer         string // address and port
	User         string // empty: nobody has logged in
	VHost        string
	Mechanism    string         // how the user has shown who it is
	Client       map[string]any // what the client says of itself
	State        string
	ChannelMax   uint16
	FrameMax     uint32
	HeartbeatS   uint16
	ConnectedMS  int64 // Unix time
	ChannelCount int
	Channels     []Channel
}

// Channel is one of a connection's channels.
type Channel struct {
	Number         uint16
	Prefetch       uint32 // of each consumer that begins now
	SharedPrefetch uint32 // of all of them together
	Confirms       bool
	Transactional  bool
	Publishes      bool // something was published on it
	Unacked        uint64
	Unconfirmed    uint64
	Consumers      []Consumer
}

// Consumer is one of a channel's consumers.
type Consumer struct {
	Tag       string
	Queue     string // as the client names it
	AckNeeded bool
	Exclusive bool
	Prefetch  uint32
	Arguments map[string]any
}

// Room is a room that shows itself. A room that does not is shown by its address alone.
type Room interface {
	// View fills in what is known. It is called on the connection's event loop.
	View(c *Conn)
	// CloseFor closes the connection on behalf of somebody who looks after the broker, and
	// tells the client why, where its protocol can.
	CloseFor(reason string)
}
