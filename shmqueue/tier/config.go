package tier

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Bytes is a size. In configuration: a number of bytes, or one with the suffix Ki, Mi or Gi.
type Bytes int64

var byteSuffixes = []struct {
	suffix string
	factor int64
}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}}

// UnmarshalText reads "1048576", "1024Ki" or "1Mi".
func (b *Bytes) UnmarshalText(text []byte) error {
	s, factor := strings.TrimSpace(string(text)), int64(1)
	for _, u := range byteSuffixes {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = rest, u.factor
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("%q is not a size: want a number of bytes, or one with Ki, Mi or Gi", text)
	}
	*b = Bytes(n * factor)
	return nil
}

// MarshalText writes the shortest exact form.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, u := range byteSuffixes {
		if b != 0 && int64(b)%u.factor == 0 {
			return fmt.Appendf(nil, "%d%s", int64(b)/u.factor, u.suffix), nil
		}
	}
	return strconv.AppendInt(nil, int64(b), 10), nil
}

// Config is the whole configuration of a broker; the three daemons read the same file.
// The tag toml is the key, help its documentation, and reload says that signal 1 applies it.
type Config struct {
	DataDir string `toml:"data_dir" help:"directory of the commit log, indexes and checkpoints"`
	RunDir  string `toml:"run_dir" help:"directory of locks, pid files and the wake-up pipe; empty: data_dir/run"`
	LogDir  string `toml:"log_dir" help:"directory of the daemons' log files; empty: data_dir/log"`

	ShmKeyBase        int   `toml:"shm_key_base" help:"0: the SysV keys 12345, 54321, 65432 and 23456; K: K, K+1, K+2 and K+3"`
	RingRequestBytes  Bytes `toml:"ring_request_bytes" help:"capacity of the ring connsrv to logicsrv, which holds message bytes until they are durable; a power of two"`
	RingResponseBytes Bytes `toml:"ring_response_bytes" help:"capacity of the ring logicsrv to connsrv; a power of two"`
	RingLogBytes      Bytes `toml:"ring_log_bytes" help:"capacity of the ring logicsrv to persistsrv; a power of two"`

	Listen                string `toml:"listen" help:"address of the native protocol"`
	AdminListen           string `toml:"admin_listen" help:"address of metrics, health, profiles and the management API (HTTP); empty: none"`
	EventLoops            int    `toml:"event_loops" help:"event loops of connsrv; 0: chosen by the number of processors"`
	MaxConnections        int    `toml:"max_connections" help:"client connections at most" reload:"yes"`
	MaxFrameBytes         Bytes  `toml:"max_frame_bytes" help:"largest frame of a client; at most an eighth of ring_request_bytes"`
	WindowRequests        int    `toml:"window_requests" help:"requests of one connection in flight at most"`
	WindowBytes           Bytes  `toml:"window_bytes" help:"bytes of requests of one connection in flight at most"`
	ConnectionMemoryBytes Bytes  `toml:"connection_memory_bytes" help:"bytes that wait to be sent to one connection before its requests are no longer read"`
	HandshakeTimeoutMS    int    `toml:"handshake_timeout_ms" help:"time within which a new connection must have said HELLO" reload:"yes"`
	IdleTimeoutMS         int    `toml:"idle_timeout_ms" help:"a connection silent for longer is closed; 0: never" reload:"yes"`
	SlowReaderTimeoutMS   int    `toml:"slow_reader_timeout_ms" help:"a connection that takes nothing for that long while bytes wait for it is closed" reload:"yes"`
	DrainTimeoutMS        int    `toml:"drain_timeout_ms" help:"time that a stop waits for requests under way" reload:"yes"`
	AuthSecretFile        string `toml:"auth_secret_file" help:"file whose first line clients must present; empty: none asked"`

	KafkaListen         string `toml:"kafka_listen" help:"address at which Kafka's clients are served, such as 127.0.0.1:9092; empty: none"`
	KafkaAdvertised     string `toml:"kafka_advertised" help:"HOST:PORT to which Kafka's clients are told to connect; empty: the address at which each has reached us"`
	KafkaAuth           string `toml:"kafka_auth" help:"mechanisms by which Kafka's clients log in, separated by spaces: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty: they do not log in, and may do everything"`
	KafkaAuthSeconds    int    `toml:"kafka_auth_seconds" help:"a Kafka client has to log in again after that time, over the connection that it has; 0: never"`
	KafkaAutoCreate     int    `toml:"kafka_auto_create" help:"1: a topic that a Kafka client asks for and that is not there is created; 0: not"`
	KafkaMaxReplication int    `toml:"kafka_max_replication" help:"replication factors up to this are accepted of Kafka's clients; there is one copy all the same"`
	KafkaPartitions     int    `toml:"kafka_partitions" help:"partitions of topics whose Kafka client leaves their number to the broker"`

	AMQPListen           string `toml:"amqp_listen" help:"address at which AMQP 0-9-1's clients are served, such as 127.0.0.1:5672; empty: none"`
	AMQPHeartbeatSeconds int    `toml:"amqp_heartbeat_seconds" help:"time between heartbeats that AMQP's clients are proposed; 0: none"`

	DefaultLevel      string `toml:"default_level" help:"durability level of topics and queues that name none: memory, page or disk"`
	CheckpointBytes   Bytes  `toml:"checkpoint_bytes" help:"logicsrv's state is checkpointed after that much log" reload:"yes"`
	CheckpointEvents  int    `toml:"checkpoint_events" help:"… or after that many events" reload:"yes"`
	CheckpointSeconds int    `toml:"checkpoint_seconds" help:"… or after that time, if there was an event" reload:"yes"`
	TurnInputs        int    `toml:"turn_inputs" help:"requests that logicsrv decides in one turn (one atomic append) at most"`

	GroupSessionTimeoutMS    int `toml:"group_session_timeout_ms" help:"a member of a consumer group that asks for no other is out when it was silent for so long"`
	GroupSessionTimeoutMaxMS int `toml:"group_session_timeout_max_ms" help:"the longest session time-out that a member can have"`
	GroupHeartbeatMS         int `toml:"group_heartbeat_ms" help:"time between the heartbeats of members that the broker assigns partitions to"`
	GroupInitialDelayMS      int `toml:"group_initial_delay_ms" help:"so long a classic consumer group that is empty waits for more members before the first generation; 0: not at all"`
	OffsetRetentionHours     int `toml:"offset_retention_hours" help:"committed offsets of a group that nobody has been a member of for so long are forgotten; 0: never"`

	MaxDelayed          int `toml:"max_delayed" help:"batches of delayed messages that wait at most; each costs about 80 bytes of logicsrv's memory"`
	MaxTransactions     int `toml:"max_transactions" help:"open transactions at most"`
	TransactionCheckMS  int `toml:"transaction_check_ms" help:"time until a producer group is asked what has become of a transaction, where the transaction asks for no other, and between two such checks"`
	TransactionChecks   int `toml:"transaction_checks" help:"after so many checks without a decision the transaction is rolled back"`
	TransactionMaxHours int `toml:"transaction_max_hours" help:"a transaction is rolled back after that time although nobody could be asked"`

	SegmentBytes     Bytes `toml:"segment_bytes" help:"a log segment is closed at that size"`
	SegmentSeconds   int   `toml:"segment_seconds" help:"… or at that age"`
	IndexEntries     int   `toml:"index_entries" help:"entries (batches) in an index file"`
	DiskReserveBytes Bytes `toml:"disk_reserve_bytes" help:"appends are refused when less is free on the disk of data_dir; at least twice ring_request_bytes" reload:"yes"`
	PageFlushMS      int   `toml:"page_flush_ms" help:"log bytes that nobody waits for are synced after that time"`
	RetentionCheckMS int   `toml:"retention_check_ms" help:"how often retention is looked at"`

	CompactMS             int   `toml:"compact_ms" help:"at the earliest after that time a compacted partition is looked at again"`
	CompactKeys           int   `toml:"compact_keys" help:"keys that one pass of compaction remembers at most; each costs about 50 bytes of persistsrv's memory while it runs"`
	CompactBytes          Bytes `toml:"compact_bytes" help:"so much that is new of a partition may be compacted although it has not reached its topic's segment.bytes or segment.ms"`
	CompactBytesPerSecond Bytes `toml:"compact_bytes_per_second" help:"compaction reads and writes no more; 0: no limit"`

	LogLevel string `toml:"log_level" help:"debug, info, warn or error" reload:"yes"`
}

// Default returns the documented defaults.
func Default() *Config {
	return &Config{
		DataDir:               "trimq-data",
		RingRequestBytes:      64 << 20,
		RingResponseBytes:     8 << 20,
		RingLogBytes:          8 << 20,
		Listen:                "127.0.0.1:7420",
		AdminListen:           "127.0.0.1:7421",
		MaxConnections:        10000,
		MaxFrameBytes:         8 << 20,
		WindowRequests:        256,
		WindowBytes:           16 << 20,
		ConnectionMemoryBytes: 4 << 20,
		HandshakeTimeoutMS:    10_000,
		IdleTimeoutMS:         0,
		SlowReaderTimeoutMS:   30_000,
		DrainTimeoutMS:        5_000,
		KafkaAutoCreate:       1,
		KafkaMaxReplication:   1,
		KafkaPartitions:       1,
		AMQPHeartbeatSeconds:  60,
		DefaultLevel:          "disk",
		CheckpointBytes:       64 << 20,
		CheckpointEvents:      1_000_000,
		CheckpointSeconds:     30,
		TurnInputs:            1024,

		GroupSessionTimeoutMS:    45_000,
		GroupSessionTimeoutMaxMS: 1_800_000,
		GroupHeartbeatMS:         5_000,
		GroupInitialDelayMS:      3_000,
		OffsetRetentionHours:     7 * 24,

		MaxDelayed:          5_000_000,
		MaxTransactions:     10_000,
		TransactionCheckMS:  60_000,
		TransactionChecks:   15,
		TransactionMaxHours: 72,

		SegmentBytes:     256 << 20,
		SegmentSeconds:   3600,
		IndexEntries:     65536,
		DiskReserveBytes: 512 << 20,
		PageFlushMS:      1000,
		RetentionCheckMS: 5000,

		CompactMS:             15_000,
		CompactKeys:           2_000_000,
		CompactBytes:          64 << 20,
		CompactBytesPerSecond: 64 << 20,

		LogLevel: "info",
	}
}

// Keys returns the SysV keys of the four segments for a key base.
func Keys(base int) (request, response, log, metrics int) {
	if base == 0 {
		return 12345, 54321, 65432, 23456
	}
	return base, base + 1, base + 2, base + 3
}

// finish fills in what derives from other settings, and makes directories absolute.
func (c *Config) finish() error {
	if c.DataDir == "" {
		return errors.New("data_dir is empty: name the directory that shall hold the messages")
	}
	for _, d := range []struct {
		dir *string
		sub string
	}{{&c.DataDir, ""}, {&c.RunDir, "run"}, {&c.LogDir, "log"}} {
		if *d.dir == "" {
			*d.dir = filepath.Join(c.DataDir, d.sub)
		}
		abs, err := filepath.Abs(*d.dir)
		if err != nil {
			return fmt.Errorf("directory %q: %w", *d.dir, err)
		}
		*d.dir = abs
	}
	return c.check()
}

// bound is one limit: min <= value <= max.
type bound struct {
	key             string
	value, min, max int64
}

// check refuses values outside their limits, and values that do not go together.
func (c *Config) check() error {
	const maxMS = 24 * 3600 * 1000
	var errs []error
	for _, b := range []bound{
		{"shm_key_base", int64(c.ShmKeyBase), 0, math.MaxInt32 - 3},
		{"ring_request_bytes", int64(c.RingRequestBytes), 1 << 16, 1 << 36},
		{"ring_response_bytes", int64(c.RingResponseBytes), 1 << 16, 1 << 32},
		{"ring_log_bytes", int64(c.RingLogBytes), 1 << 16, 1 << 32},
		{"event_loops", int64(c.EventLoops), 0, 255},
		{"max_connections", int64(c.MaxConnections), 1, 1 << 20},
		{"max_frame_bytes", int64(c.MaxFrameBytes), 1 << 10, int64(c.RingRequestBytes) / 8},
		{"window_requests", int64(c.WindowRequests), 1, 1 << 20},
		{"window_bytes", int64(c.WindowBytes), 1 << 10, 1 << 32},
		{"connection_memory_bytes", int64(c.ConnectionMemoryBytes), 1 << 10, 1 << 32},
		{"handshake_timeout_ms", int64(c.HandshakeTimeoutMS), 10, maxMS},
		{"idle_timeout_ms", int64(c.IdleTimeoutMS), 0, maxMS},
		{"slow_reader_timeout_ms", int64(c.SlowReaderTimeoutMS), 10, maxMS},
		{"drain_timeout_ms", int64(c.DrainTimeoutMS), 0, maxMS},
		{"kafka_auth_seconds", int64(c.KafkaAuthSeconds), 0, 1 << 20},
		{"kafka_auto_create", int64(c.KafkaAutoCreate), 0, 1},
		{"kafka_max_replication", int64(c.KafkaMaxReplication), 1, 100},
		{"kafka_partitions", int64(c.KafkaPartitions), 1, 10_000},
		{"checkpoint_bytes", int64(c.CheckpointBytes), 1 << 16, 1 << 40},
		{"checkpoint_events", int64(c.CheckpointEvents), 1, 1 << 32},
		{"checkpoint_seconds", int64(c.CheckpointSeconds), 1, 1 << 20},
		{"turn_inputs", int64(c.TurnInputs), 1, 1 << 16},
		{"group_session_timeout_ms", int64(c.GroupSessionTimeoutMS), int64(c.GroupHeartbeatMS), int64(c.GroupSessionTimeoutMaxMS)},
		{"group_session_timeout_max_ms", int64(c.GroupSessionTimeoutMaxMS), 1000, maxMS},
		{"group_heartbeat_ms", int64(c.GroupHeartbeatMS), 10, maxMS},
		{"group_initial_delay_ms", int64(c.GroupInitialDelayMS), 0, maxMS},
		{"offset_retention_hours", int64(c.OffsetRetentionHours), 0, 1 << 20},
		{"amqp_heartbeat_seconds", int64(c.AMQPHeartbeatSeconds), 0, math.MaxUint16},
		{"max_delayed", int64(c.MaxDelayed), 1, 1 << 30},
		{"max_transactions", int64(c.MaxTransactions), 1, 1 << 24},
		{"transaction_check_ms", int64(c.TransactionCheckMS), 10, maxMS},
		{"transaction_checks", int64(c.TransactionChecks), 1, 1 << 16},
		{"transaction_max_hours", int64(c.TransactionMaxHours), 1, 1 << 16},
		{"segment_bytes", int64(c.SegmentBytes), 1 << 16, 1 << 36},
		{"segment_seconds", int64(c.SegmentSeconds), 1, math.MaxInt32},
		{"index_entries", int64(c.IndexEntries), 16, 1 << 24},
		{"disk_reserve_bytes", int64(c.DiskReserveBytes), 2 * int64(c.RingRequestBytes), 1 << 44},
		{"page_flush_ms", int64(c.PageFlushMS), 1, maxMS},
		{"retention_check_ms", int64(c.RetentionCheckMS), 10, maxMS},
		{"compact_ms", int64(c.CompactMS), 10, maxMS},
		{"compact_keys", int64(c.CompactKeys), 1000, 1 << 30},
		{"compact_bytes", int64(c.CompactBytes), 1, 1 << 40},
		{"compact_bytes_per_second", int64(c.CompactBytesPerSecond), 0, 1 << 40},
	} {
		if b.value < b.min || b.value > b.max {
			errs = append(errs, fmt.Errorf("%s = %d is out of its limits %d … %d", b.key, b.value, b.min, b.max))
		}
	}
	for _, r := range []bound{
		{key: "ring_request_bytes", value: int64(c.RingRequestBytes)},
		{key: "ring_response_bytes", value: int64(c.RingResponseBytes)},
		{key: "ring_log_bytes", value: int64(c.RingLogBytes)},
	} {
		if bits.OnesCount64(uint64(r.value)) != 1 {
			errs = append(errs, fmt.Errorf("%s = %d is not a power of two", r.key, r.value))
		}
	}
	errs = append(errs,
		oneOf("default_level", c.DefaultLevel, "memory", "page", "disk"),
		oneOf("log_level", c.LogLevel, "debug", "info", "warn", "error"),
		checkAddress("listen", c.Listen, false), checkAddress("admin_listen", c.AdminListen, true),
		checkAddress("kafka_listen", c.KafkaListen, true), checkAddress("kafka_advertised", c.KafkaAdvertised, true),
		checkAddress("amqp_listen", c.AMQPListen, true))
	return errors.Join(errs...)
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s = %q: want one of %s", key, value, strings.Join(allowed, ", "))
}

func checkAddress(key, address string, mayBeEmpty bool) error {
	if address == "" && mayBeEmpty {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s = %q: want HOST:PORT (%v)", key, address, err)
	}
	return nil
}
