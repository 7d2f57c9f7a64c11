package management

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// getting is what POST …/get asks for.
type getting struct {
	Count    definitions.Number `json:"count"`
	AckMode  string             `json:"ackmode"`
	Requeue  *bool              `json:"requeue"` // of older tools
	Encoding string             `json:"encoding"`
	Truncate definitions.Number `json:"truncate"`
}

// maxGet is how many messages are got at once.
const maxGet = 1000

// visibleWait is for how long a get waits for a message that is there and not visible yet.
const visibleWait = 500 * time.Millisecond

// verdicts are the ack modes.
var verdicts = map[string]ipc.Verdict{
	"ack_requeue_true": ipc.VerdictRequeue, "reject_requeue_true": ipc.VerdictRequeue,
	"ack_requeue_false": ipc.VerdictAck, "reject_requeue_false": ipc.VerdictReject,
}

// get takes messages out of a queue and shows them.
func (a *API) get(r *request) (answer, error) {
	ask := getting{Count: 1, AckMode: "ack_requeue_true", Encoding: "auto"}
	if err := r.read(&ask); err != nil {
		return answer{}, err
	}
	if ask.Requeue != nil {
		ask.AckMode = fmt.Sprintf("ack_requeue_%t", *ask.Requeue)
	}
	verdict, known := verdicts[ask.AckMode]
	if !known || ask.Count < 1 {
		return answer{}, badRequest("count is from 1 on; ackmode is one of ack_requeue_true, ack_requeue_false, reject_requeue_true, reject_requeue_false")
	}
	q, t, err := a.find(r)
	if err == nil {
		err = r.may(access.Read, r.PathValue("name"))
	}
	switch {
	case err != nil:
		return answer{}, err
	case t != nil:
		return answer{}, badRequest("NOT_IMPLEMENTED - basic.get not supported by stream queues; use a consumer")
	}
	wait := time.Duration(0)
	if q.Ready > 0 {
		wait = visibleWait
	}
	got, err := a.Broker.Get(r.Context(), q.Queue, uint32(min(ask.Count, maxGet)), wait, verdict)
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for i := range got {
		list = append(list, messageObject(&got[i], &ask, int(q.Ready)-i-1))
	}
	return answer{body: list}, nil
}

// messageObject is a message as tools show it; left is how many remain behind it.
func messageObject(m *Message, ask *getting, left int) object {
	vhost, key := admin.SplitVHost(m.Key)
	_, exchange := admin.SplitVHost(m.Exchange)
	if vhost == admin.DefaultVHost {
		key = m.Key
	}
	o := object{
		"payload_bytes": len(m.Body), "redelivered": m.Redelivered, "exchange": exchange, "routing_key": key,
		"message_count": max(left, 0), "properties": propertiesOf(m),
	}
	body := m.Body
	if n := int(ask.Truncate); n > 0 && len(body) > n {
		body = body[:n]
	}
	if ask.Encoding != "base64" && utf8.Valid(body) {
		o["payload"], o["payload_encoding"] = string(body), "string"
	} else {
		o["payload"], o["payload_encoding"] = base64.StdEncoding.EncodeToString(body), "base64"
	}
	return o
}

// propertiesOf are AMQP's properties of a message; of one that came over another protocol its headers.
func propertiesOf(m *Message) object {
	o := object{}
	headers := map[string]any{}
	for _, h := range m.Headers {
		if h.Key == amqp.PropertiesHeader {
			var p amqp.Properties
			if p.Decode([]byte(h.Value)) == nil {
				return amqpProperties(&p)
			}
			continue
		}
		headers[h.Key] = h.Value
	}
	if len(headers) > 0 {
		o["headers"] = headers
	}
	return o
}

func amqpProperties(p *amqp.Properties) object {
	o := object{}
	for _, f := range []struct {
		flag uint16
		name string
		text []byte
	}{
		{amqp.HasContentType, "content_type", p.ContentType}, {amqp.HasContentEncoding, "content_encoding", p.ContentEncoding},
		{amqp.HasCorrelationID, "correlation_id", p.CorrelationID}, {amqp.HasReplyTo, "reply_to", p.ReplyTo},
		{amqp.HasExpiration, "expiration", p.Expiration}, {amqp.HasMessageID, "message_id", p.MessageID},
		{amqp.HasType, "type", p.Type}, {amqp.HasUserID, "user_id", p.UserID}, {amqp.HasAppID, "app_id", p.AppID},
	} {
		if p.Flags&f.flag != 0 {
			o[f.name] = string(f.text)
		}
	}
	if p.Flags&amqp.HasDeliveryMode != 0 {
		o["delivery_mode"] = p.DeliveryMode
	}
	if p.Flags&amqp.HasPriority != 0 {
		o["priority"] = p.Priority
	}
	if p.Flags&amqp.HasTimestamp != 0 {
		o["timestamp"] = p.Timestamp
	}
	if p.Flags&amqp.HasHeaders != 0 {
		o["headers"] = definitions.Arguments(p.Headers)
	}
	return o
}

// publishRequest is what POST …/publish asks for.
type publishRequest struct {
	RoutingKey      string         `json:"routing_key"`
	Payload         *string        `json:"payload"`
	PayloadEncoding string         `json:"payload_encoding"`
	Properties      map[string]any `json:"properties"`
}

// publish publishes one message.
func (a *API) publish(r *request) (answer, error) {
	in := publishRequest{}
	if err := r.read(&in); err != nil {
		return answer{}, err
	}
	if in.Payload == nil {
		return answer{}, badRequest("payload is missing")
	}
	body := []byte(*in.Payload)
	if in.PayloadEncoding == "base64" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(*in.Payload); err != nil {
			return answer{}, badRequest("payload: " + err.Error())
		}
	}
	name := plainExchange(r.PathValue("name"))
	if err := r.may(access.Write, cmp.Or(name, defaultExchange)); err != nil {
		return answer{}, err
	}
	props, err := readProperties(in.Properties)
	if err != nil {
		return answer{}, badRequest("properties: " + err.Error())
	}
	head, sealed := a.message(r.vhost(), name, in.RoutingKey, body, props)
	queues, err := a.Broker.Publish(r.Context(), head, sealed)
	if refused, ok := err.(*errcode.Error); ok && refused.Code == errcode.Unroutable { //nolint:errorlint // ours, as it is
		return answer{body: object{"routed": false}}, nil
	}
	return answer{body: object{"routed": queues > 0}}, err
}

// message is a message as AMQP's front end makes one.
func (a *API) message(vhost, exchange, key string, body []byte, p *amqp.Properties) (*native.Publish, []byte) {
	head := &native.Publish{Mandatory: true, Exchange: exchangeName(vhost, exchange), RoutingKey: key, TTLMS: ipc.NoTTL, Weight: uint32(len(body)), Priority: p.Priority}
	recordKey := []byte(key)
	if exchange == "" {
		head.Exchange, head.RoutingKey, recordKey = "", admin.InVHost(vhost, key), nil
	}
	var headers []batch.RecordHeader
	if p.Flags != 0 {
		headers = append(headers, batch.RecordHeader{Key: amqp.PropertiesHeader, Value: p.Append(nil)})
	}
	for name, x := range definitions.Arguments(p.Headers) {
		text := fmt.Sprint(x)
		headers = append(headers, batch.RecordHeader{Key: name, Value: []byte(text)})
		head.Headers = append(head.Headers, ipc.Header{Key: name, Value: text})
	}
	if ms, ok := expiration(p); ok {
		head.TTLMS = ms
	}
	var b batch.Builder
	b.Add(a.Now().UnixMilli(), recordKey, body, headers)
	return head, b.Seal(batch.None, -1, -1, -1)
}
