package kafkaconn

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
)

// Settings are what all Kafka connections of a process share.
type Settings struct {
	WindowRequests int // Produce requests of one connection under way at most
	WindowBytes    int // … and bytes of the ring that they hold
	Advertised     Endpoint
	Cluster        string                                  // the broker's id
	AutoCreate     bool                                    // topics that a client asks for are created
	Partitions     uint32                                  // of topics whose creator leaves their number to us
	DataDir        string                                  // where the log is
	Disk           func() (total, usable int64, err error) // of it, in bytes
	MaxReplication int                                     // replication factors that are accepted, though there is one copy
	Mechanisms     []string                                // by which clients log in; none: they do not
	LoginMS        int64                                   // for so long a log-in lasts; 0: as long as its connection
	Access         *access.Current
	Nonce          func() string // of a log-in: nobody can know it before
	Clock          func() int64  // Unix time in milliseconds
	Log            *slog.Logger
}

// Endpoint is where clients are told to connect. An empty host: where they have.
type Endpoint struct {
	Host string
	Port uint16
}

// ParseEndpoint reads HOST:PORT; nothing is an empty Endpoint.
func ParseEndpoint(text string) (Endpoint, error) {
	if text == "" {
		return Endpoint{}, nil
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q: want HOST:PORT (%w)", text, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" {
		return Endpoint{}, fmt.Errorf("%q: want HOST:PORT, as clients reach us", text)
	}
	return Endpoint{host, uint16(port)}, nil
}

// nodeID is this broker's number among those of a cluster, as Kafka's clients see it: that of a broker
// of Kafka which stands alone and was not told another.
const nodeID = 1

// Loop is what the Kafka connections of one event loop share.
type Loop struct {
	Lane     *session.Lane
	topics   catalogue
	readings []session.Reading // of the fetch that is being answered
	records  batch.Reader      // of batches whose topics do not take all records
	starts   map[uint64]uint64 // of partitions' logs, as transactions have told them last
}

// NewLoop makes it for a lane.
func NewLoop(lane *session.Lane) *Loop {
	l := &Loop{Lane: lane, starts: map[uint64]uint64{}}
	l.topics.clear()
	return l
}

// IndexGone forgets the topic of an index that was deleted.
func (l *Loop) IndexGone(index uint64) {
	l.topics.forgetIndex(index)
	delete(l.starts, index)
}

// TopicChanged forgets a topic whose configuration is another now.
func (l *Loop) TopicChanged(name string) { l.topics.forgetName(name) }

// Marked forgets all topics: what a logicsrv that has died did to some of them, nobody has told.
func (l *Loop) Marked() { l.topics.clear() }
