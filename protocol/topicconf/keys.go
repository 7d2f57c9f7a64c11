package topicconf

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a key's values.
type Kind uint8

// Kinds.
const (
	Bool Kind = iota + 1
	String
	Int
	Long
	Double
	List
)

// Keys that mean something here.
const (
	CleanupPolicy     = "cleanup.policy"
	CompressionType   = "compression.type"
	DeleteRetentionMS = "delete.retention.ms"
	MaxCompactionLag  = "max.compaction.lag.ms"
	MaxMessageBytes   = "max.message.bytes"
	TimestampAfter    = "message.timestamp.after.max.ms"
	TimestampBefore   = "message.timestamp.before.max.ms"
	TimestampType     = "message.timestamp.type"
	DirtyRatio        = "min.cleanable.dirty.ratio"
	MinCompactionLag  = "min.compaction.lag.ms"
	MinInSync         = "min.insync.replicas"
	RetentionBytes    = "retention.bytes"
	RetentionMS       = "retention.ms"
	SegmentBytes      = "segment.bytes"
	SegmentMS         = "segment.ms"
)

// Values of a cleanup policy, a compression type and a timestamp type.
const (
	Compact       = "compact"
	Delete        = "delete"
	Producer      = "producer"
	CreateTime    = "CreateTime"
	LogAppendTime = "LogAppendTime"
)

// Key is one key.
type Key struct {
	Name    string
	Kind    Kind
	Default string
	check   func(value string) error
}

// DefaultMaxMessageBytes is how large a batch of a Kafka client may be where its topic says nothing.
const DefaultMaxMessageBytes = 1048588

const forever = "9223372036854775807"

// maxValue bounds a value, in bytes.
const maxValue = 1024

// keys are all keys, in order of name. Four kinds of them:
//
//   - what is done: cleanup, retention, compaction, sizes, times. When what is new of a partition may be
//     compacted is said by the size and the age of Kafka's segments, for nothing else they are there for;
//   - how the files of a partition of Kafka are cut, kept and synced, and which replica leads it. Here
//     partitions have no files of their own, all that is acknowledged is synced as its level says, and
//     one broker leads: any value that Kafka takes is taken and shown, and says nothing;
//   - with which codec Kafka keeps what has come with another. Here batches are kept as they came,
//     and consumers, who know all codecs, read the same records: those values are taken and shown, too.
//     Not "uncompressed", which somebody may ask for whose consumers know none;
//   - what is not done here: no value but the default is taken.
var keys = []Key{
	{CleanupPolicy, List, Delete, policies},
	{"compression.gzip.level", Int, "-1", within(-1, 9)},
	{"compression.lz4.level", Int, "9", within(1, 17)},
	{CompressionType, String, Producer, oneOf(Producer, "gzip", "snappy", "lz4", "zstd")},
	{"compression.zstd.level", Int, "3", within(-131072, 22)},
	{DeleteRetentionMS, Long, "86400000", within(0, math.MaxInt64)},
	{"file.delete.delay.ms", Long, "60000", within(0, math.MaxInt64)},
	{"flush.messages", Long, forever, within(1, math.MaxInt64)},
	{"flush.ms", Long, forever, within(0, math.MaxInt64)},
	{"follower.replication.throttled.replicas", List, "", free},
	{"index.interval.bytes", Int, "4096", within(0, math.MaxInt32)},
	{"leader.replication.throttled.replicas", List, "", free},
	{"local.retention.bytes", Long, "-2", only("-2")},
	{"local.retention.ms", Long, "-2", only("-2")},
	{MaxCompactionLag, Long, forever, within(1, math.MaxInt64)},
	{MaxMessageBytes, Int, strconv.Itoa(DefaultMaxMessageBytes), within(0, math.MaxInt32)},
	{TimestampAfter, Long, forever, within(0, math.MaxInt64)},
	{TimestampBefore, Long, forever, within(0, math.MaxInt64)},
	{TimestampType, String, CreateTime, oneOf(CreateTime, LogAppendTime)},
	{DirtyRatio, Double, "0.5", ratio},
	{MinCompactionLag, Long, "0", within(0, math.MaxInt64)},
	{MinInSync, Int, "1", within(1, math.MaxInt32)},
	{"preallocate", Bool, "false", truth},
	{"remote.log.copy.disable", Bool, "false", only("false")},
	{"remote.log.delete.on.disable", Bool, "false", only("false")},
	{"remote.storage.enable", Bool, "false", only("false")},
	{RetentionBytes, Long, "-1", limit},
	{RetentionMS, Long, "-1", limit},
	{SegmentBytes, Int, "1073741824", within(14, math.MaxInt32)},
	{"segment.index.bytes", Int, "10485760", within(4, math.MaxInt32)},
	{"segment.jitter.ms", Long, "0", within(0, math.MaxInt64)},
	{SegmentMS, Long, "604800000", within(1, math.MaxInt64)},
	{"unclean.leader.election.enable", Bool, "false", truth},
}

// Keys lists all keys, in order of name.
func Keys() []Key { return slices.Clone(keys) }

// Find finds a key; nil: there is none of that name.
func Find(name string) *Key {
	i, ok := slices.BinarySearchFunc(keys, name, func(k Key, name string) int { return strings.Compare(k.Name, name) })
	if !ok {
		return nil
	}
	return &keys[i]
}

// Check says what is wrong with a value.
func (k *Key) Check(value string) error {
	if len(value) > maxValue {
		return fmt.Errorf("%s: a value of %d bytes, at most %d", k.Name, len(value), maxValue)
	}
	if err := k.check(value); err != nil {
		return fmt.Errorf("%s = %q: %w", k.Name, value, err)
	}
	return nil
}

func free(string) error { return nil }

// only takes one value.
func only(value string) func(string) error {
	return func(v string) error {
		if v != value {
			return fmt.Errorf("here it is %s, and cannot be another", value)
		}
		return nil
	}
}

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("want one of %s", strings.Join(values, ", "))
		}
		return nil
	}
}

func within(low, high int64) func(string) error {
	return func(v string) error {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < low || n > high {
			return fmt.Errorf("want a number from %d to %d", low, high)
		}
		return nil
	}
}

// limit takes a number above 0, and -1 for no limit.
func limit(v string) error {
	if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < -1 {
		return fmt.Errorf("want a number, or -1 for no limit")
	}
	return nil
}

func truth(v string) error { return oneOf("true", "false")(strings.ToLower(v)) }

func ratio(v string) error {
	if f, err := strconv.ParseFloat(v, 64); err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("want a number from 0 to 1")
	}
	return nil
}

// policies takes compact and delete, or both.
// policies checks a cleanup policy. An empty one is one, too: all is kept, and no limit counts.
func policies(v string) error {
	if v == "" {
		return nil
	}
	for _, p := range elements(v) {
		if p != Compact && p != Delete {
			return fmt.Errorf("want compact, delete, or both with a comma between them")
		}
	}
	if len(elements(v)) == 0 {
		return fmt.Errorf("want compact, delete, or both with a comma between them")
	}
	return nil
}

// elements are those of a list.
func elements(v string) (list []string) {
	for _, e := range strings.Split(v, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}
