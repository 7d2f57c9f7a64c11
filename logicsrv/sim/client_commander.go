//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// commander is a client that gives one command at a time. What is not answered is not repeated, and
// to be refused is no matter of its: the model knows when that is right.
type commander struct {
	party
	asking  bool
	stopped bool
}

func (k *commander) settled() bool { return !k.asking }
func (k *commander) dropped()      { k.conn, k.asking = nil, false }

func (k *commander) ask(cmd admin.Command, body []byte, reply func(b []byte)) *outgoing {
	k.asking = true
	k.w.trace("%s: %s", k.name, admin.Text(cmd))
	return k.w.conn.ask(k.conn, ipc.TypeAdmin, func(h ipc.Head) []byte {
		m := ipc.Admin{Head: h, Command: uint16(cmd), Body: body}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		k.asking = false
		if typ == ipc.TypeError {
			code, text := k.refusal(b)
			k.w.trace("%s: %s is refused: %v %s", k.name, admin.Text(cmd), code, text)
			if code == errcode.Internal || code == errcode.InvalidArgument || code == errcode.Malformed {
				k.w.fail("%s: %s is refused: %v %s", k.name, admin.Text(cmd), code, text)
			}
			return
		}
		m, err := ipc.DecodeAdminReply(b)
		k.w.must(err, "decode an answer")
		if reply != nil {
			reply(m.Body)
		}
	})
}
