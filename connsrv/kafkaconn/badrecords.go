package kafkaconn

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/topicconf"
)

// A batch is refused as a whole, and its producer told for which of its records: most clients tell
// whoever has sent those, and may send the others again.

// badRecord is a record that cannot be in its topic.
type badRecord struct {
	place  int32 // in its batch, from 0 on
	reason badReason
	timeMS int64
}

// badReason is what is wrong with a record.
type badReason uint8

const (
	badNoKey   badReason = iota + 1 // of a compacted topic each record has a key: it would stay for ever
	badTooOld                       // it is older than its topic allows
	badTooSoon                      // its time lies farther ahead
)

// maxBadRecords bounds how many records of a batch its producer is told of, and what we keep until then.
const maxBadRecords = 1000

// noTimeMS is the time of a record that has none.
const noTimeMS = -1

// checkRecords looks for records that cannot be in their topic, and refuses the batch if there are any.
//
// REQUIRES: batch.Validate has passed it.
func (l *Loop) checkRecords(b []byte, set *topicconf.Settings, nowMS int64, part *producedPart) {
	l.records.SkipCRC = true // it was right just now
	err := l.records.Reset(b)
	var rec batch.Record
	for place := int32(0); err == nil && len(part.bad) < maxBadRecords && l.records.Next(&rec); place++ {
		if reason := reasonAgainst(&rec, set, nowMS); reason != 0 {
			part.bad = append(part.bad, badRecord{place, reason, rec.TimeMS})
		}
	}
	if err == nil {
		err = l.records.Err()
	}
	switch {
	case err != nil:
		part.code, part.text, part.bad = codeInvalidRecord, err.Error(), nil
	case len(part.bad) > 0:
		part.code, part.text = codeAgainst(part.bad), fmt.Sprintf("%d records of the batch are refused, and it with them; the first: %s", len(part.bad), part.bad[0].text())
	}
}

// reasonAgainst is why a record cannot be in a topic; 0: it can.
func reasonAgainst(rec *batch.Record, set *topicconf.Settings, nowMS int64) badReason {
	switch {
	case set.Compact && rec.Key == nil:
		return badNoKey
	case set.LogAppendTime || rec.TimeMS == noTimeMS:
	case rec.TimeMS < nowMS && beyond(uint64(nowMS-rec.TimeMS), set.MaxPastMS):
		return badTooOld
	case rec.TimeMS > nowMS && beyond(uint64(rec.TimeMS-nowMS), set.MaxFutureMS):
		return badTooSoon
	}
	return 0
}

// beyond tells whether a distance of times is above a limit. It may be as far as from one end of all times to the other.
func beyond(ms uint64, limitMS int64) bool { return limitMS < math.MaxInt64 && ms > uint64(limitMS) }

// codeAgainst is the error of a batch with such records: a wrong time comes first, as with Kafka.
func codeAgainst(bad []badRecord) int16 {
	for i := range bad {
		if bad[i].reason != badNoKey {
			return codeInvalidTimestamp
		}
	}
	return codeInvalidRecord
}

// text says what is wrong with the record.
func (r *badRecord) text() string {
	switch r.reason {
	case badNoKey:
		return "a record without a key: its topic is compacted, and of each key the last record stays"
	case badTooOld:
		return fmt.Sprintf("the record's time, %d, is longer ago than the topic's %s", r.timeMS, topicconf.TimestampBefore)
	}
	return fmt.Sprintf("the record's time, %d, lies farther ahead than the topic's %s", r.timeMS, topicconf.TimestampAfter)
}

// appendBadRecords appends them to the response: list of place i32 | text | tags.
func appendBadRecords(b []byte, flex bool, bad []badRecord) []byte {
	b = appendCount(b, flex, len(bad))
	for i := range bad {
		b = binary.BigEndian.AppendUint32(b, uint32(bad[i].place))
		b = appendTags(appendText(b, flex, bad[i].text()), flex)
	}
	return b
}
