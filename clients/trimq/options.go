package trimq

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/trimq/trimq/protocol/batch"
)

// Limits and defaults, with their units.
const (
	defaultDialTimeout    = 5 * time.Second
	defaultAnswerTimeout  = 30 * time.Second
	defaultBackoffMin     = 20 * time.Millisecond
	defaultBackoffMax     = 2 * time.Second
	defaultWindowRequests = 256
	defaultWindowBytes    = 16 << 20

	defaultBatchBytes  = 512 << 10
	defaultBufferBytes = 16 << 20
	defaultRetryFor    = 30 * time.Second
	minBatchBytes      = 1 << 10
	maxBatchBytes      = 4 << 20
	maxLinger          = time.Minute

	defaultFetchBytes = 1<<20 - fetchMargin // with it a frame is 1 MiB
	minFetchBytes     = 1 << 10
	maxFetchBytes     = 64 << 20
	defaultFetchWait  = 500 * time.Millisecond
	defaultPrefetch   = 1000 // messages of a queue
	defaultAckTimeout = 10 * time.Second

	refreshEvery = 30 * time.Second // topics are described again, to learn of added partitions
)

// options of a Client.
type options struct {
	name          string
	secret        string
	dial          func(ctx context.Context, addr string) (net.Conn, error)
	dialTimeout   time.Duration
	answerTimeout time.Duration
	backoffMin    time.Duration
	backoffMax    time.Duration
	log           *slog.Logger
}

// Option configures a Client.
type Option func(*options)

// WithName sets the client name that the broker shows for its connections.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithSecret sets the shared secret for a broker that asks for one.
func WithSecret(secret string) Option { return func(o *options) { o.secret = secret } }

// WithDialer replaces how connections are made: for TLS, proxies, tests.
func WithDialer(dial func(ctx context.Context, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithDialTimeout bounds connect and handshake of one attempt (default 5 s).
func WithDialTimeout(d time.Duration) Option { return func(o *options) { o.dialTimeout = d } }

// WithAnswerTimeout sets after what silence, with requests unanswered, a connection counts as
// dead and is replaced (default 30 s). A broker that restarts a tier answers well within it.
func WithAnswerTimeout(d time.Duration) Option { return func(o *options) { o.answerTimeout = d } }

// WithBackoff bounds the pause between attempts to connect (default 20 ms to 2 s, doubling,
// spread at random).
func WithBackoff(shortest, longest time.Duration) Option {
	return func(o *options) { o.backoffMin, o.backoffMax = shortest, longest }
}

// WithLogger makes the client report connections lost and made again (default: silence).
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

func newOptions(opts []Option) options {
	o := options{
		name:          "trimq-go",
		dialTimeout:   defaultDialTimeout,
		answerTimeout: defaultAnswerTimeout,
		backoffMin:    defaultBackoffMin,
		backoffMax:    defaultBackoffMax,
		log:           slog.New(slog.DiscardHandler),
	}
	for _, set := range opts {
		set(&o)
	}
	if o.dial == nil {
		o.dial = dialTCP
	}
	return o
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// producerOptions of a Producer.
type producerOptions struct {
	level       Level
	codec       batch.Codec
	linger      time.Duration
	batchBytes  int
	bufferBytes int64
	idempotent  bool
	retryFor    time.Duration
	byKey       bool // exchanges: order only within a routing key
}

// ProducerOption configures a Producer.
type ProducerOption func(*producerOptions)

// WithLevel sets what acknowledgements wait for (default: the topic's own level).
func WithLevel(l Level) ProducerOption { return func(o *producerOptions) { o.level = l } }

// WithZstd compresses batches.
func WithZstd() ProducerOption { return func(o *producerOptions) { o.codec = batch.Zstd } }

// WithLinger makes a batch wait so long for more messages unless it is full. By default (0)
// it leaves as soon as nothing of its partition is unanswered: alone when there is little to
// do, in company when there is much.
func WithLinger(d time.Duration) ProducerOption { return func(o *producerOptions) { o.linger = d } }

// WithBatchBytes sets the size at which a batch is full (default 512 KiB, less
// where the broker takes smaller frames only).
func WithBatchBytes(n int) ProducerOption { return func(o *producerOptions) { o.batchBytes = n } }

// WithBufferBytes bounds the memory of messages that are taken and not reported yet
// (default 16 MiB). When it is full, Produce waits.
func WithBufferBytes(n int64) ProducerOption { return func(o *producerOptions) { o.bufferBytes = n } }

// WithoutIdempotence sends without sequence numbers: what is sent again after a lost
// connection may then be stored twice, or out of order. Refusals are reported at once.
func WithoutIdempotence() ProducerOption { return func(o *producerOptions) { o.idempotent = false } }

// WithRetryFor sets how long a batch that the broker refuses for now (a full disk, a tier that
// is down) is sent again before it is reported as failed (default 30 s; without idempotence
// 0, as what is sent again is overtaken). What cannot reach a broker at all waits until Close.
func WithRetryFor(d time.Duration) ProducerOption { return func(o *producerOptions) { o.retryFor = d } }

// WithOrderByRoutingKey lets messages for an exchange overtake each other unless they share their
// routing key, and all else by which they share a batch (priority, delay, time to live, mandatory,
// headers where they matter). Without it an exchange gets all messages of this producer in order,
// which makes batches small where these alternate.
func WithOrderByRoutingKey() ProducerOption { return func(o *producerOptions) { o.byKey = true } }

func newProducerOptions(opts []ProducerOption) producerOptions {
	o := producerOptions{batchBytes: defaultBatchBytes, bufferBytes: defaultBufferBytes, idempotent: true, retryFor: -1}
	for _, set := range opts {
		set(&o)
	}
	o.batchBytes = min(max(o.batchBytes, minBatchBytes), maxBatchBytes)
	o.bufferBytes = max(o.bufferBytes, 2*int64(o.batchBytes))
	o.linger = min(max(o.linger, 0), maxLinger)
	if o.retryFor < 0 {
		o.retryFor = 0
		if o.idempotent {
			o.retryFor = defaultRetryFor
		}
	}
	return o
}

// From says where a consumer of a topic begins.
type From struct {
	kind   fromKind
	offset uint64
	timeMS int64
}

type fromKind uint8

const (
	fromEarliest fromKind = iota + 1
	fromLatest
	fromOffset
	fromTime
)

// Earliest begins at the oldest record that is kept.
func Earliest() From { return From{kind: fromEarliest} }

// Latest begins behind the newest record.
func Latest() From { return From{kind: fromLatest} }

// AtOffset begins at an offset, the same for each partition.
func AtOffset(offset uint64) From { return From{kind: fromOffset, offset: offset} }

// AtTime begins at the first record that is not older.
func AtTime(t time.Time) From { return From{kind: fromTime, timeMS: t.UnixMilli()} }

// consumerOptions of a Consumer.
type consumerOptions struct {
	from       From
	reset      From   // kind 0: an offset out of range is an error
	group      string // under which positions are stored; empty: under none
	positions  bool   // … without being its member
	member     memberOptions
	autoCommit time.Duration // 0: only the user commits
	partitions []uint32
	fetchBytes int
	buffer     int
	wait       time.Duration
	push       bool
}

// ConsumerOption configures a Consumer.
type ConsumerOption func(*consumerOptions)

// WithFrom sets where to begin (default Earliest). With a group it holds for partitions in
// which the group has committed nothing.
func WithFrom(f From) ConsumerOption { return func(o *consumerOptions) { o.from = f } }

// WithReset sets where to go on when the consumer's offset is no longer, or not yet, there.
// Without it, Poll reports ErrOffsetOutOfRange and the partition waits for a Seek.
func WithReset(f From) ConsumerOption { return func(o *consumerOptions) { o.reset = f } }

// WithPartitions limits the consumer to these partitions (default: all, later ones included).
func WithPartitions(p ...uint32) ConsumerOption {
	return func(o *consumerOptions) { o.partitions = p }
}

// WithFetchBytes sets how much one fetch asks for (default 1 MiB).
func WithFetchBytes(n int) ConsumerOption { return func(o *consumerOptions) { o.fetchBytes = n } }

// WithBuffer sets how many bytes of each partition are fetched ahead of Poll (default:
// twice WithFetchBytes).
func WithBuffer(n int) ConsumerOption { return func(o *consumerOptions) { o.buffer = n } }

// WithFetchWait sets how long the broker holds a fetch that finds nothing (default 500 ms).
func WithFetchWait(d time.Duration) ConsumerOption { return func(o *consumerOptions) { o.wait = d } }

// WithPush makes the broker send records as they become visible, within WithBuffer bytes of
// credit, instead of answering fetches.
func WithPush() ConsumerOption { return func(o *consumerOptions) { o.push = true } }

func newConsumerOptions(opts []ConsumerOption) consumerOptions {
	o := consumerOptions{from: Earliest(), fetchBytes: defaultFetchBytes, wait: defaultFetchWait}
	o.member.maxPoll = defaultMaxPoll
	for _, set := range opts {
		set(&o)
	}
	o.fetchBytes = min(max(o.fetchBytes, minFetchBytes), maxFetchBytes)
	if o.buffer <= 0 {
		o.buffer = 2 * o.fetchBytes
	}
	o.wait = min(max(o.wait, 0), time.Minute)
	return o
}

// queueOptions of a QueueConsumer.
type queueOptions struct {
	prefetch   uint64
	autoAck    bool
	exclusive  bool
	priority   int32
	ackTimeout time.Duration
	tag        string
}

// QueueOption configures a QueueConsumer.
type QueueOption func(*queueOptions)

// WithPrefetch bounds the messages that are delivered and not settled (default 1000).
func WithPrefetch(n int) QueueOption {
	return func(o *queueOptions) { o.prefetch = uint64(max(n, 1)) }
}

// WithAutoAck makes the broker count a message as acknowledged when it has delivered it: a
// message that is on its way when a connection breaks is lost to this consumer.
func WithAutoAck() QueueOption { return func(o *queueOptions) { o.autoAck = true } }

// WithExclusive makes this the queue's only consumer, or fails.
func WithExclusive() QueueOption { return func(o *queueOptions) { o.exclusive = true } }

// WithPriority serves this consumer before those of lower priority (default 0) as long as it has
// credit. Lower than 0 is allowed.
func WithPriority(n int32) QueueOption { return func(o *queueOptions) { o.priority = n } }

// WithAckTimeout sets for how long a message may wait for its verdict (default 10 s; 0: for ever).
// Then the broker takes it back and gives it to whoever has credit: what was not received yet is
// dropped here, and a verdict on the rest is ErrRecalled.
func WithAckTimeout(d time.Duration) QueueOption {
	return func(o *queueOptions) { o.ackTimeout = d }
}

// WithTag names the consumer, for people: in descriptions and in the broker's log.
func WithTag(tag string) QueueOption { return func(o *queueOptions) { o.tag = tag } }

func newQueueOptions(opts []QueueOption) queueOptions {
	o := queueOptions{prefetch: defaultPrefetch, ackTimeout: defaultAckTimeout}
	for _, set := range opts {
		set(&o)
	}
	return o
}
