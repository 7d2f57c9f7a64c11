package topicconf

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/ipc"
)

// Settings is what a configuration means.
type Settings struct {
	RetentionMS     int64 // 0: no limit
	RetentionBytes  int64 // 0: no limit
	MaxMessageBytes int64 // of a batch; -1: the topic does not say
	LogAppendTime   bool  // batches bear the time at which they came
	MaxPastMS       int64 // how long ago a record may have been made that comes now; math.MaxInt64: no limit
	MaxFutureMS     int64 // how far its time may lie ahead, likewise
	Delete          bool  // the retention counts
	Compact         bool  // of each key the newest record is kept

	TombstoneMS  int64 // how long a record without a value is kept after it was compacted first
	MinLagMS     int64 // how young a record is that is not compacted yet
	MaxLagMS     int64 // how old a record is that makes a compaction due
	DirtyPPM     int64 // how much of the partition must be new for one, in millionths
	ClosingMS    int64 // at that age what is new may be compacted, however little it is
	ClosingBytes int64 // … or when it is so much
}

// Read is what a configuration means.
//
// REQUIRES: Apply has made it.
func Read(list []ipc.Header) (s Settings) {
	policy := elements(Value(list, CleanupPolicy))
	s.Delete, s.Compact = slices.Contains(policy, Delete), slices.Contains(policy, Compact)
	if s.Delete {
		s.RetentionMS, s.RetentionBytes = bound(list, RetentionMS), bound(list, RetentionBytes)
	}
	s.MaxMessageBytes = -1
	if IsSet(list, MaxMessageBytes) {
		s.MaxMessageBytes = number(list, MaxMessageBytes)
	}
	s.LogAppendTime = Value(list, TimestampType) == LogAppendTime
	s.MaxPastMS, s.MaxFutureMS = number(list, TimestampBefore), number(list, TimestampAfter)
	s.TombstoneMS, s.MinLagMS, s.MaxLagMS = number(list, DeleteRetentionMS), number(list, MinCompactionLag), number(list, MaxCompactionLag)
	ratio, _ := strconv.ParseFloat(Value(list, DirtyRatio), 64)
	s.DirtyPPM = int64(ratio * 1e6)
	s.ClosingMS, s.ClosingBytes = number(list, SegmentMS), number(list, SegmentBytes)
	return s
}

// LimitsTime tells whether there are times that a record may not have.
func (s *Settings) LimitsTime() bool {
	return !s.LogAppendTime && (s.MaxPastMS < math.MaxInt64 || s.MaxFutureMS < math.MaxInt64)
}

// bound is a limit: 0 where there is none. One of 0 is as near to it as can be.
func bound(list []ipc.Header, key string) int64 {
	n := number(list, key)
	if n < 0 {
		return 0
	}
	return max(n, 1)
}

func number(list []ipc.Header, key string) int64 {
	n, _ := strconv.ParseInt(Value(list, key), 10, 64)
	return n
}

// IsSet tells whether somebody has set a key.
func IsSet(list []ipc.Header, key string) bool {
	_, ok := slices.BinarySearchFunc(list, key, func(h ipc.Header, key string) int { return strings.Compare(h.Key, key) })
	return ok
}

// Value is the value of a key: as it was set, or its default. "": there is no such key.
func Value(list []ipc.Header, key string) string {
	i, ok := slices.BinarySearchFunc(list, key, func(h ipc.Header, key string) int { return strings.Compare(h.Key, key) })
	if ok {
		return list[i].Value
	}
	if k := Find(key); k != nil {
		return k.Default
	}
	return ""
}

// Text is a configuration as people read it.
func Text(list []ipc.Header) string {
	if len(list) == 0 {
		return "as by default"
	}
	var b strings.Builder
	for i, g := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(g.Key + "=" + g.Value)
	}
	return b.String()
}

// Sound tells whether a list is a configuration: keys in order, with values that they take.
func Sound(list []ipc.Header) bool {
	for i := range list {
		k := Find(list[i].Key)
		if k == nil || k.Check(list[i].Value) != nil || i > 0 && list[i].Key <= list[i-1].Key {
			return false
		}
	}
	return true
}
