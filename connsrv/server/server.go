package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/amqpconn"
	"github.com/trimq/trimq/connsrv/kafkaconn"
	"github.com/trimq/trimq/connsrv/nativeconn"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Options say what a server works with. The caller holds connsrv's lock.
type Options struct {
	Config    *tier.Config
	Requests  *shmqueue.Ring // 12345
	Responses *shmqueue.Ring // 54321
	Metrics   *shmqueue.Metrics
	Log       *slog.Logger
	Cluster   string // the broker's id

	Legacy     int                              // descriptor of what a predecessor has passed on; 0 or less: none
	CloseStray func() (closed int)              // closes what it has left open and nobody has taken over
	Replace    func(state int, fds []int) error // replaces the program; it returns where it cannot
	Refuse     func(error)                      // ends a hand-over that cannot be
}

// Server is a connsrv.
type Server struct {
	options   Options
	config    atomic.Pointer[tier.Config]
	log       *slog.Logger
	counters  *shmqueue.Counters
	metrics   *shmqueue.Metrics
	rings     *session.Rings
	responses *shmqueue.Consumer // the first loop's
	bell      *shmqueue.Bell     // ours
	bellFd    int
	group     *reactor.Group
	desks     []*desk
	settings  atomic.Pointer[nativeconn.Settings]
	secret    []byte
	cluster   string
	started   time.Time
	continues bool // the epoch of a predecessor that has passed its connections on
	markers   atomic.Uint64
	access    access.Current
	reading   sync.Mutex    // the definitions are being read
	stale     chan struct{} // definitions may have changed
	failure   atomic.Pointer[error]
	stop      context.CancelFunc
}

// New takes over connsrv's ends of the rings and listens. Nobody is served before Run.
func New(o Options) (*Server, error) {
	c := o.Config
	s := &Server{options: o, log: o.Log, metrics: o.Metrics, counters: o.Metrics.Tier(shmqueue.TierConn), cluster: o.Cluster, started: time.Now(), bellFd: -1, stale: make(chan struct{}, 1)}
	s.config.Store(c)
	err := Check(c)
	if err != nil {
		return nil, err
	}
	if s.secret, err = readSecret(c.AuthSecretFile); err != nil {
		return nil, err
	}
	legacy := s.readState(o)
	if legacy, err = s.attach(o, legacy); err != nil {
		return nil, err
	}
	s.setConfig(c)
	if s.bellFd, err = openBell(tier.BellPath(c)); err == nil {
		err = s.makeLoops(c, legacy)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// Check tells what in a configuration keeps a server from a start.
func Check(c *tier.Config) error {
	if most := int(c.RingRequestBytes/4) - shmqueue.RecordHeader; int(c.MaxFrameBytes)+ipc.AppendSize > most {
		return fmt.Errorf("%w: max_frame_bytes = %d, and a record of ring_request_bytes holds %d", tier.ErrUsage, c.MaxFrameBytes, most)
	}
	if err := errors.Join(checkKafka(c), checkAMQP(c)); err != nil {
		return err
	}
	_, err := readSecret(c.AuthSecretFile)
	return err
}

// produce takes over the writing end of ring 12345, in the predecessor's epoch where its
// connections are there.
func (s *Server) produce(o Options, legacy *passed) (*shmqueue.Producer, *passed, error) {
	if legacy != nil {
		p, err := o.Requests.ContinueProducer(legacy.epoch)
		if err == nil {
			s.continues = true
			return p, legacy, nil
		}
		s.giveUp(o, err)
	}
	p, err := o.Requests.Producer()
	return p, nil, err
}

// attach takes over our ends of the rings. It returns what of the predecessor is to be adopted.
func (s *Server) attach(o Options, legacy *passed) (*passed, error) {
	requests, legacy, err := s.produce(o, legacy)
	if err != nil {
		return nil, fmt.Errorf("take over the end of ring 12345: %w", err)
	}
	if s.responses, err = o.Responses.Consumer(); err != nil {
		return nil, fmt.Errorf("take over the end of ring 54321: %w", err)
	}
	view, err := commitlog.OpenView(o.Config.DataDir)
	if err != nil {
		return nil, err
	}
	s.bell = o.Responses.Bell()
	s.rings = &session.Rings{
		Requests: requests, Capacity: o.Requests.Capacity(), MaxRecord: o.Requests.MaxRecord(),
		MaxBatch: nativeconn.MaxBatch(int(o.Config.MaxFrameBytes)),
		Bell:     o.Requests.Bell(), Status: o.Responses.Word(shmqueue.WordStatus), View: view,
		Counters: s.counters, Loops: uint32(loopsFor(o.Config)),
	}
	if legacy != nil { // the ids of its connections name its loops
		s.rings.Loops = uint32(len(legacy.lanes))
	}
	s.counters.Add(shmqueue.ConnStarts, 1)
	s.counters.Set(shmqueue.ConnEpoch, requests.Epoch())
	s.counters.Set(shmqueue.ConnOpen, 0)
	return legacy, nil
}

// loopsFor is how many event loops to run. One loop moves more than logicsrv and persistsrv
// take; a second one pays where processors are left over (see docs/decisions).
func loopsFor(c *tier.Config) int {
	if c.EventLoops > 0 {
		return c.EventLoops
	}
	return max(1, min(runtime.GOMAXPROCS(0)/3, 8))
}

func (s *Server) makeLoops(c *tier.Config, legacy *passed) error {
	if legacy != nil {
		legacy.loops.ContinueClock()
	}
	group, err := reactor.New(reactor.Options{
		Loops: int(s.rings.Loops), Limits: limitsOf(c), Counters: counting{s.counters}, Log: s.log,
		Doors: s.doors(c), Frozen: s.frozen, Source: openSource,
	})
	if err != nil {
		return err
	}
	s.group = group
	for i, l := range group.Loops() {
		lane := session.NewLane(s.rings, uint32(i))
		d := &desk{server: s, loop: l, lane: lane, kafka: kafkaconn.NewLoop(lane), amqp: amqpconn.NewLoop(lane)}
		l.Service = d
		s.desks = append(s.desks, d)
	}
	if err := group.Loops()[0].Watch(s.bellFd, func() { emptyBell(s.bellFd) }); err != nil {
		return err
	}
	if legacy != nil {
		s.adopt(legacy)
		return nil
	}
	return group.Listen()
}

// The names of the protocols, under which connections are passed on.
const (
	nativeProtocol = "native"
	kafkaProtocol  = "kafka"
	amqpProtocol   = "amqp"
)

// doors are the protocols that are served, each at an address of its own.
func (s *Server) doors(c *tier.Config) []*reactor.Door {
	list := []*reactor.Door{{
		Protocol: nativeProtocol, Address: c.Listen,
		Room: func(l *reactor.Loop, link session.Link, _ netip.AddrPort) session.Protocol {
			return nativeconn.New(s.settings.Load(), s.desks[l.Number].lane, link)
		},
		Refusal: func() []byte {
			return nativeconn.Refusal(errcode.New(errcode.TooManyConnections, "the server has its maximum of %d connections", s.config.Load().MaxConnections))
		},
	}}
	if door := s.kafkaDoor(c); door != nil {
		list = append(list, door)
	}
	if door := s.amqpDoor(c); door != nil {
		list = append(list, door)
	}
	return list
}

// Port is where clients of the native protocol are served.
func (s *Server) Port() uint16 { return s.group.Port(nativeProtocol) }

// helloPause is how often a full ring is tried at the start.
const helloPause = 2 * time.Millisecond

// sayHello puts the first record of our epoch.
func (s *Server) sayHello(ctx context.Context) error {
	m := ipc.Hello{Head: ipc.Head{Epoch: s.rings.Requests.Epoch()}, Loops: s.rings.Loops}
	for {
		_, err := s.rings.Requests.Put(uint16(ipc.TypeHello), 0, m.Append(nil))
		if err == nil {
			s.rings.Bell.Ring()
			return nil
		}
		if !errors.Is(err, shmqueue.ErrFull) {
			return fmt.Errorf("hello: %w", err)
		}
		s.dropResponses()
		s.rings.Bell.Ring()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(helloPause):
		}
	}
}

// Run serves until ctx ends and connections are drained. ready is called once Hello stands
// in the ring.
func (s *Server) Run(ctx context.Context, ready func() error) error {
	defer s.close()
	if s.continues {
		s.rings.Bell.Ring()
	} else if err := s.sayHello(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	err := s.group.Run(ctx, func() time.Duration {
		return time.Duration(s.config.Load().DrainTimeoutMS) * time.Millisecond
	})
	if f := s.failure.Load(); f != nil {
		err = errors.Join(*f, err)
	}
	return err
}

// fail stops the server for an error that cannot be mended.
func (s *Server) fail(err error) {
	err = fmt.Errorf("ring 54321: %w", err)
	if s.failure.CompareAndSwap(nil, &err) {
		s.log.Error("stopping", "err", err)
		s.stop()
	}
}

func (s *Server) close() {
	if s.bellFd >= 0 {
		unix.Close(s.bellFd)
		s.bellFd = -1
	}
	if err := s.rings.View.Close(); err != nil {
		s.log.Warn("closing the log's view", "err", err)
	}
}

// Reload applies what may change while the server runs.
func (s *Server) Reload(c *tier.Config) {
	next := *s.config.Load()
	next.MaxConnections, next.HandshakeTimeoutMS, next.IdleTimeoutMS = c.MaxConnections, c.HandshakeTimeoutMS, c.IdleTimeoutMS
	next.SlowReaderTimeoutMS, next.DrainTimeoutMS = c.SlowReaderTimeoutMS, c.DrainTimeoutMS
	s.setConfig(&next)
	s.group.SetLimits(limitsOf(&next))
}

func (s *Server) setConfig(c *tier.Config) {
	s.config.Store(c)
	node, err := os.Hostname()
	if err != nil {
		node = "unknown"
	}
	s.settings.Store(&nativeconn.Settings{
		WindowRequests: c.WindowRequests, WindowBytes: int(c.WindowBytes), MaxFrame: int(c.MaxFrameBytes),
		IdleTimeoutMS: c.IdleTimeoutMS, DrainMS: c.DrainTimeoutMS, Secret: s.secret,
		Server: "TriMQ " + tier.Version + " (" + tier.Commit + ")", Cluster: s.cluster, Node: node,
		Info: s.info, UnixMS: func() int64 { return time.Now().UnixMilli() }, Log: s.log,
	})
}

func limitsOf(c *tier.Config) reactor.Limits {
	return reactor.Limits{
		MaxConnections: c.MaxConnections, MemoryBytes: int(c.ConnectionMemoryBytes),
		HandshakeMS: int64(c.HandshakeTimeoutMS), IdleMS: int64(c.IdleTimeoutMS), SlowMS: int64(c.SlowReaderTimeoutMS),
	}
}

// WriteState writes where everything stands, for signal 3.
func (s *Server) WriteState(w io.Writer) {
	fmt.Fprintf(w, "connections=%d epoch=%d markers=%d loops=%d ring_room=%d disk_full=%v",
		s.group.Connections(), s.rings.Requests.Epoch(), s.markers.Load(), len(s.desks), s.rings.Requests.Room(), s.rings.DiskFull())
	for _, d := range s.desks {
		fmt.Fprintf(w, " loop%d_wants=%d", d.loop.Number, d.lane.Wants())
	}
}
