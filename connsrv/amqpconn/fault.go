package amqpconn

import (
	"fmt"
	"strings"

	"github.com/trimq/trimq/protocol/amqp"
)

// fault is an error as clients see it. Its code says whether it ends the channel or the connection.
type fault struct {
	code uint16
	text string
}

// replyNames are the words in front of the texts, by code.
var replyNames = map[uint16]string{
	amqp.ContentTooLarge: "CONTENT_TOO_LARGE", amqp.NoRoute: "NO_ROUTE", amqp.NoConsumers: "NO_CONSUMERS",
	amqp.ConnectionForced: "CONNECTION_FORCED", amqp.InvalidPath: "INVALID_PATH", amqp.AccessRefused: "ACCESS_REFUSED",
	amqp.NotFound: "NOT_FOUND", amqp.ResourceLocked: "RESOURCE_LOCKED", amqp.PreconditionFailed: "PRECONDITION_FAILED",
	amqp.FrameError: "FRAME_ERROR", amqp.SyntaxError: "SYNTAX_ERROR", amqp.CommandInvalid: "COMMAND_INVALID",
	amqp.ChannelError: "CHANNEL_ERROR", amqp.UnexpectedFrame: "UNEXPECTED_FRAME", amqp.ResourceError: "RESOURCE_ERROR",
	amqp.NotAllowed: "NOT_ALLOWED", amqp.NotImplemented: "NOT_IMPLEMENTED", amqp.InternalError: "INTERNAL_ERROR",
}

// wrong makes a fault.
func wrong(code uint16, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

// soft tells whether the fault ends its channel alone.
func (f *fault) soft() bool {
	switch f.code {
	case amqp.ContentTooLarge, amqp.NoRoute, amqp.NoConsumers, amqp.AccessRefused, amqp.NotFound, amqp.ResourceLocked, amqp.PreconditionFailed:
		return true
	}
	return false
}

// reply is the text that is sent.
func (f *fault) reply() []byte {
	text := replyNames[f.code]
	if f.text != "" {
		text += " - " + f.text
	}
	return []byte(strings.ToValidUTF8(text[:min(len(text), amqp.MaxShortstr)], ""))
}
