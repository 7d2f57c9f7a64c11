package core

import (
	"fmt"
	"strconv"

	"github.com/trimq/trimq/protocol/admin"
)

// difference names a property in which two queues are not equal, and its values; empty: there
// is none.
func difference(is, not *admin.QueueSettings) (what, has, wanted string) {
	if *is == *not {
		return "", "", ""
	}
	opt := func(o admin.Opt) string {
		if !o.Given {
			return "none"
		}
		return strconv.FormatUint(o.N, 10)
	}
	for _, p := range []struct{ name, is, not string }{
		{"durable", fmt.Sprint(is.Durable), fmt.Sprint(not.Durable)},
		{"exclusive", fmt.Sprint(is.Exclusive), fmt.Sprint(not.Exclusive)},
		{"auto-delete", fmt.Sprint(is.AutoDelete), fmt.Sprint(not.AutoDelete)},
		{"single-active-consumer", fmt.Sprint(is.SingleActive), fmt.Sprint(not.SingleActive)},
		{"max-priority", fmt.Sprint(is.MaxPriority), fmt.Sprint(not.MaxPriority)},
		{"overflow", fmt.Sprint(is.Overflow), fmt.Sprint(not.Overflow)},
		{"max-messages", opt(is.MaxMessages), opt(not.MaxMessages)},
		{"max-bytes", opt(is.MaxBytes), opt(not.MaxBytes)},
		{"message-ttl", opt(is.MessageTTLMS), opt(not.MessageTTLMS)},
		{"expires", opt(is.ExpiresMS), opt(not.ExpiresMS)},
		{"delivery-limit", opt(is.DeliveryLimit), opt(not.DeliveryLimit)},
		{"rewind", opt(is.RewindMS), opt(not.RewindMS)},
		{"dead-letter exchange", deadLetters(is), deadLetters(not)},
		{"dead-letter key", fmt.Sprintf("%q", is.DeadLetterKey), fmt.Sprintf("%q", not.DeadLetterKey)},
		{"topic", fmt.Sprintf("%q", is.Topic), fmt.Sprintf("%q", not.Topic)},
		{"filter", fmt.Sprintf("%q", is.Filter), fmt.Sprintf("%q", not.Filter)},
	} {
		if p.is != p.not {
			return p.name, p.is, p.not
		}
	}
	return "filter kind", fmt.Sprint(is.FilterKind), fmt.Sprint(not.FilterKind)
}

func deadLetters(s *admin.QueueSettings) string {
	if !s.DeadLetter {
		return "none"
	}
	return fmt.Sprintf("%q", s.DeadLetterExchange)
}
