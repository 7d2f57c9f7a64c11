package amqpconn

import (
	"strconv"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// What becomes of a message's properties. In the log a message is a record of a batch, as Kafka's
// and our own clients have it:
//
//	body         the record's value
//	routing key  its key, unless it came through the default exchange
//	properties   one private header, as they came on the wire: back they come byte by byte
//	headers      a header each, with values as texts, for consumers of other protocols and for filters
//
// A record without the private header was published over another protocol: its headers become
// those of the message, its time the timestamp, and its priority, unless that is 0, the priority.

// privateHeader is the name of the header with flags and properties. It is a record's first.
const privateHeader = "trimq-amqp"

// recordHeaders appends what a record bears of properties.
func recordHeaders(dst []batch.RecordHeader, raw []byte, p *amqp.Properties) []batch.RecordHeader {
	if p.Flags == 0 {
		return dst
	}
	dst = append(dst, batch.RecordHeader{Key: privateHeader, Value: raw})
	for name, v := range p.Headers.Each {
		if text, ok := valueText(v); ok {
			dst = append(dst, batch.RecordHeader{Key: string(name), Value: text})
		}
	}
	return dst
}

// valueText is a value as a text; false: it has parts, or none. It may alias the value.
func valueText(v amqp.Value) (text []byte, ok bool) {
	if s, is := v.Text(); is {
		return s, true
	}
	if n, is := v.Int(); is {
		return strconv.AppendInt(nil, n, 10), true
	}
	if f, is := v.Float(); is {
		return strconv.AppendFloat(nil, f, 'g', -1, 64), true
	}
	if s, is := v.Seconds(); is {
		return strconv.AppendInt(nil, s, 10), true
	}
	if b, is := v.Bool(); is {
		return strconv.AppendBool(nil, b), true
	}
	return nil, false
}

// headerOf is a header for routing: what has no text is there without a value.
func headerOf(name []byte, v amqp.Value) ipc.Header {
	text, _ := valueText(v)
	return ipc.Header{Key: string(name), Value: string(text)}
}

// routedBy are the headers of a message that exchanges look at.
func routedBy(t amqp.Table) (headers []ipc.Header) {
	for name, v := range t.Each {
		if len(headers) == ipc.MaxHeaders {
			return headers
		}
		headers = append(headers, headerOf(name, v))
	}
	return headers
}

// noProperties is what a content without any has.
var noProperties = []byte{0, 0}

// storedProperties are a record's as they were published; noProperties: it has none.
func storedProperties(rec *batch.Record) []byte {
	h := rec.Headers()
	if key, value, ok := h.Next(); ok && string(key) == privateHeader && len(value) >= len(noProperties) {
		return value
	}
	return noProperties
}

// propertiesOf are those with which a record is delivered, in the loop's memory or the record's;
// extra are headers besides.
func (l *Loop) propertiesOf(rec *batch.Record, note *parsedNote, extra amqp.Table) []byte {
	h := rec.Headers()
	key, value, ok := h.Next()
	own := ok && string(key) == privateHeader && len(value) >= len(noProperties)
	if own && len(note.Deaths) == 0 && len(extra) == 0 {
		return value
	}
	var p amqp.Properties
	if !own || p.Decode(value) != nil {
		p = foreignProperties(rec, note.Priority)
	}
	if len(note.Deaths) > 0 {
		p.Headers = withDeaths(p.Headers, note, &p)
		p.Flags = p.Flags&^amqp.HasExpiration | amqp.HasHeaders
	}
	if len(extra) > 0 {
		p.Headers = append(append(amqp.Table(nil), p.Headers...), extra...)
		p.Flags |= amqp.HasHeaders
	}
	l.props = p.Append(l.props[:0])
	return l.props
}

// foreignProperties are those of a record that came over another protocol.
func foreignProperties(rec *batch.Record, priority uint8) amqp.Properties {
	p := amqp.Properties{Flags: amqp.HasDeliveryMode, DeliveryMode: persistent}
	if rec.TimeMS > 0 {
		p.Flags |= amqp.HasTimestamp
		p.Timestamp = uint64(rec.TimeMS / 1000)
	}
	if priority > 0 {
		p.Flags |= amqp.HasPriority
		p.Priority = priority
	}
	for h := rec.Headers(); ; {
		key, value, ok := h.Next()
		if !ok {
			break
		}
		if len(key) <= amqp.MaxShortstr {
			p.Headers = p.Headers.Add(string(key), amqp.Text(value))
		}
	}
	if len(p.Headers) > 0 {
		p.Flags |= amqp.HasHeaders
	}
	return p
}
