package kafkaconn

import (
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// keyedAt makes a batch of records with these times; those that are odd in number have no key.
func keyedAt(codec batch.Codec, timesMS ...int64) []byte {
	var b batch.Builder
	for i, ms := range timesMS {
		key := []byte("k")
		if i%2 == 1 {
			key = nil
		}
		b.Add(ms, key, []byte("v"), nil)
	}
	return append([]byte(nil), b.Seal(codec, batch.NoProducer, 0, 0)...)
}

// TestBadRecords: who sends records that cannot be in a topic is told which, from version 8 on.
func TestBadRecords(t *testing.T) {
	const now = 1_700_000_000_000
	hour := []ipc.Header{{Key: topicconf.TimestampAfter, Value: "60000"}, {Key: topicconf.TimestampBefore, Value: "3600000"}}
	compact := []ipc.Header{{Key: topicconf.CleanupPolicy, Value: topicconf.Compact}}
	for _, row := range []struct {
		name    string
		configs []ipc.Header
		times   []int64
		code    int16
		bad     []int32
	}{
		{"no limits", nil, []int64{0, math.MaxInt64 / 2}, codeNone, nil},
		{"keys", compact, []int64{now, now, now, now}, codeInvalidRecord, []int32{1, 3}},
		{"all with keys", compact, []int64{-5}, codeNone, nil},
		{"at the limits", hour, []int64{now - 3600000, now + 60000, -1}, codeNone, nil},
		{"beyond them", hour, []int64{now - 3600001, now + 60001, now}, codeInvalidTimestamp, []int32{0, 1}},
		{"both", append(append([]ipc.Header{}, compact...), hour...), []int64{now, now, now + 70000}, codeInvalidTimestamp, []int32{1, 2}},
		{"the broker's times", append(append([]ipc.Header{}, hour...), ipc.Header{Key: topicconf.TimestampType, Value: topicconf.LogAppendTime}), []int64{5}, codeNone, nil},
	} {
		s := newStub(t)
		s.conn.settings.Clock = func() int64 { return now }
		s.topic("a", 1).Configs = row.configs
		for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
			for version := int16(7); version <= 9; version++ {
				p := call1(s, version, asksToStore(-1, "a", keyedAt(codec, row.times...)), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]
				if p.ErrorCode != row.code || version < 8 && len(p.ErrorRecords) > 0 || version >= 8 && (len(p.ErrorRecords) != len(row.bad) || row.bad != nil && p.ErrorMessage == nil) {
					t.Fatalf("%s, version %d: %+v", row.name, version, p)
				}
				for i := range p.ErrorRecords {
					if r := &p.ErrorRecords[i]; r.RelativeOffset != row.bad[i] || r.ErrorMessage == nil || !strings.Contains(*r.ErrorMessage, "record") {
						t.Errorf("%s: %+v", row.name, r)
					}
				}
			}
		}
	}
}

// A client is told of many refused records, not of millions; and of records that cannot be read at all, as one error.
func TestBadRecordsAreBounded(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1).Configs = []ipc.Header{{Key: topicconf.CleanupPolicy, Value: topicconf.Compact}}
	p := call1(s, 9, asksToStore(-1, "a", testBatch(5000, 1)), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]
	if p.ErrorCode != codeInvalidRecord || len(p.ErrorRecords) != maxBadRecords {
		t.Errorf("code %d, %d records", p.ErrorCode, len(p.ErrorRecords))
	}
	b := keyedAt(batch.None, 1, 1)
	b[batch.HeaderSize] = 0x7e // the length of the first record
	sum := batch.Checksum(b)
	b[batch.OffCRC], b[batch.OffCRC+1], b[batch.OffCRC+2], b[batch.OffCRC+3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	if p := call1(s, 9, asksToStore(-1, "a", b), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]; p.ErrorCode != codeInvalidRecord || len(p.ErrorRecords) != 0 {
		t.Errorf("%+v", p)
	}
}
