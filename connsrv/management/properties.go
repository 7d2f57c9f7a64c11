package management

import (
	"fmt"
	"math"
	"strconv"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/definitions"
)

// readProperties makes AMQP's properties of JSON.
func readProperties(in map[string]any) (*amqp.Properties, error) {
	p := &amqp.Properties{}
	for name, x := range in {
		if err := setProperty(p, name, x); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return p, nil
}

// texts are the properties that are texts.
func texts(p *amqp.Properties, name string) (to *[]byte, flag uint16) {
	switch name {
	case "content_type":
		return &p.ContentType, amqp.HasContentType
	case "content_encoding":
		return &p.ContentEncoding, amqp.HasContentEncoding
	case "correlation_id":
		return &p.CorrelationID, amqp.HasCorrelationID
	case "reply_to":
		return &p.ReplyTo, amqp.HasReplyTo
	case "expiration":
		return &p.Expiration, amqp.HasExpiration
	case "message_id":
		return &p.MessageID, amqp.HasMessageID
	case "type":
		return &p.Type, amqp.HasType
	case "user_id":
		return &p.UserID, amqp.HasUserID
	case "app_id":
		return &p.AppID, amqp.HasAppID
	}
	return nil, 0
}

func setProperty(p *amqp.Properties, name string, x any) error {
	if to, flag := texts(p, name); to != nil {
		text := fmt.Sprint(x)
		if len(text) > math.MaxUint8 {
			return fmt.Errorf("it has %d bytes; at most 255 are allowed", len(text))
		}
		*to = []byte(text)
		p.Flags |= flag
		return nil
	}
	if name == "headers" {
		args, ok := x.(map[string]any)
		if !ok {
			return fmt.Errorf("an object is wanted, not %v", x)
		}
		t, err := definitions.Table(args)
		p.Headers, p.Flags = t, p.Flags|amqp.HasHeaders
		return err
	}
	n, err := strconv.ParseUint(fmt.Sprint(x), 10, 64)
	if err != nil {
		return err
	}
	switch name {
	case "delivery_mode":
		p.DeliveryMode, p.Flags = uint8(min(n, 2)), p.Flags|amqp.HasDeliveryMode
	case "priority":
		p.Priority, p.Flags = uint8(min(n, math.MaxUint8)), p.Flags|amqp.HasPriority
	case "timestamp":
		p.Timestamp, p.Flags = n, p.Flags|amqp.HasTimestamp
	default:
		return fmt.Errorf("there is no such property")
	}
	return nil
}

// expiration is a message's own time to live.
func expiration(p *amqp.Properties) (ms int64, ok bool) {
	if p.Flags&amqp.HasExpiration == 0 {
		return 0, false
	}
	ms, err := strconv.ParseInt(string(p.Expiration), 10, 63)
	return ms, err == nil && ms >= 0
}
