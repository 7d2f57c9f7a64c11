package core

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
)

// Names come from outside and go everywhere: into events, checkpoints, replies, logs and the
// protocols of other worlds. They are checked once, where a thing is created; whatever refers
// to a thing by a name that cannot exist is simply not found.

// checkName validates the name of a queue, exchange or group: text that any protocol can
// carry and any terminal can show.
func checkName(what, name string) (errcode.Code, string) {
	if name == "" || len(name) > maxNameBytes {
		return errcode.InvalidArgument, fmt.Sprintf("a name of 1 to %d bytes is wanted for the %s, not one of %d", maxNameBytes, what, len(name))
	}
	if !utf8.ValidString(name) {
		return errcode.InvalidArgument, fmt.Sprintf("the name of the %s is not UTF-8", what)
	}
	if i := strings.IndexFunc(name, isControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return errcode.InvalidArgument, fmt.Sprintf("the name of the %s holds the control character %U", what, r)
	}
	return errcode.OK, ""
}

func isControl(r rune) bool { return unicode.IsControl(r) }

// checkWholeName validates the name of a queue or exchange, which may lie in a vhost.
func (c *Core) checkWholeName(what, whole string) refused {
	vhost, name := admin.SplitVHost(whole)
	if no := c.checkVHost(vhost); no != nil {
		return no
	}
	return checked(checkName(what, name))
}

// checkVHost wants a vhost to be there.
func (c *Core) checkVHost(vhost string) refused {
	if c.vhosts[vhost] == nil {
		return errcode.New(errcode.NotFound, "there is no vhost %s", quoted(vhost))
	}
	return nil
}

// reserved tells whether a name is one that the broker alone gives.
func reserved(whole string) bool {
	_, name := admin.SplitVHost(whole)
	return strings.HasPrefix(name, reservedPrefix)
}

// checkTopicName is stricter: topics bear the names that Kafka allows.
func checkTopicName(name string) (errcode.Code, string) {
	if name == "" || len(name) > maxTopicName {
		return errcode.InvalidArgument, fmt.Sprintf("the name of a topic has 1 to %d characters, not %d", maxTopicName, len(name))
	}
	if name == "." || name == ".." {
		return errcode.InvalidArgument, fmt.Sprintf("a topic cannot be called %q", name)
	}
	for _, r := range []byte(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return errcode.InvalidArgument, fmt.Sprintf("the name of a topic holds letters, digits, '.', '_' and '-', not %q", string(rune(r)))
		}
	}
	return errcode.OK, ""
}

// checkWholeTopic validates the name of a topic, which may lie in a vhost. Only AMQP's clients, whose
// streams topics are, reach those of other vhosts than the standing one.
func (c *Core) checkWholeTopic(whole string) refused {
	vhost, name := admin.SplitVHost(whole)
	if no := c.checkVHost(vhost); no != nil {
		return no
	}
	return checked(checkTopicName(name))
}

// checkBindingParts validates what a binding gives besides names of what is bound.
func checkBindingParts(m *admin.CreateBinding) (errcode.Code, string) {
	if len(m.RoutingKey) > maxNameBytes {
		return errcode.InvalidArgument, fmt.Sprintf("a routing key has at most %d bytes, not %d", maxNameBytes, len(m.RoutingKey))
	}
	if strings.IndexByte(m.RoutingKey, 0) >= 0 {
		return errcode.InvalidArgument, "the routing key of a binding cannot hold a NUL"
	}
	if n := len(m.Headers) + len(m.Present); n > maxHeaders {
		return errcode.InvalidArgument, fmt.Sprintf("a binding has at most %d headers, not %d", maxHeaders, n)
	}
	longest := 0
	for i := range m.Headers {
		longest = max(longest, len(m.Headers[i].Key)+len(m.Headers[i].Value))
	}
	for _, key := range m.Present {
		longest = max(longest, len(key))
	}
	if longest > maxHeaderBytes {
		return errcode.InvalidArgument, fmt.Sprintf("a header of a binding has at most %d bytes, not %d", maxHeaderBytes, longest)
	}
	return errcode.OK, ""
}

// quoted shows a name of any length and content within a text of limited length.
func quoted(name string) string {
	const most = 80
	if len(name) > most {
		return fmt.Sprintf("%q… (%d bytes)", name[:most], len(name))
	}
	return fmt.Sprintf("%q", name)
}
