//go:build failpoints

package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
)

// governor makes policies of all kinds and takes them back, and a vhost, in which one of the theme's queues
// lies.
type governor struct{ commander }

// estate is the vhost.
const estate = "estate"

func (g *governor) tick() {
	w, r := g.w, g.w.rng
	if g.stopped || g.asking || !w.admin.done() || r.IntN(4) > 0 || !g.ready(g) {
		return
	}
	cmd, d := admin.CmdDefine, w.drawPolicy()
	switch n := r.IntN(16); {
	case n < 7:
		cmd, d.Values = admin.CmdUndefine, nil
	case n < 9:
		d = vhostDefinition()
	case n < 10 && r.IntN(3) == 0:
		cmd, d = admin.CmdUndefine, vhostDefinition()
	}
	w.trace("%s: %s %s %v", g.name, d.Kind, d.Name, d.Values)
	g.ask(cmd, d.Append(nil), nil)
}

func vhostDefinition() admin.Definition {
	return admin.Definition{Kind: admin.DefVHost, Name: estate}
}

// drawPolicy draws one of few, with anything in it.
func (w *world) drawPolicy() admin.Definition {
	r := w.rng
	d := admin.Definition{Kind: admin.DefPolicy, VHost: []string{admin.DefaultVHost, admin.DefaultVHost, estate}[r.IntN(3)], Name: fmt.Sprintf("p%d", r.IntN(3))}
	if r.IntN(3) == 0 {
		d.Kind = admin.DefOperatorPolicy
	}
	d.Values = []admin.Value{
		admin.TextValue("apply-to", []string{"all", "queues", "exchanges"}[r.IntN(3)]),
		admin.TextValue("pattern", []string{"^q", "0$", ".*", "^grave$", "^x"}[r.IntN(5)]),
		admin.Number("priority", int64(r.IntN(3))),
	}
	for one := true; one || r.IntN(2) == 0; one = false {
		v := drawSetting(r)
		v.Key = admin.PolicyPrefix + v.Key
		if _, there := d.Value(v.Key); !there {
			d.Values = append(d.Values, v)
		}
		d.Canonical()
	}
	if _, there := d.Value(admin.PolicyPrefix + "expires"); there {
		d.Values = slices.DeleteFunc(d.Values, func(v admin.Value) bool { return v.Key == "pattern" })
		d.Values = append(d.Values, admin.TextValue("pattern", "^q")) // the hermit's queue lasts as long as its connection
		d.Canonical()
	}
	return d
}

// drawSetting draws what a policy sets.
func drawSetting(r *rand.Rand) admin.Value {
	text := func(key string, of ...string) admin.Value { return admin.TextValue(key, of[r.IntN(len(of))]) }
	number := func(key string, of ...int64) admin.Value { return admin.Number(key, of[r.IntN(len(of))]) }
	switch r.IntN(9) {
	case 0:
		return number("message-ttl", 0, 60, 400)
	case 1:
		return number("max-length", 1, 3, 6)
	case 2:
		return number("max-length-bytes", 60, 200)
	case 3:
		return number("delivery-limit", 1, 2)
	case 4:
		return number("expires", 300, 1000)
	case 5:
		return text("dead-letter-exchange", "dlx", "no-such-exchange")
	case 6:
		return text("dead-letter-routing-key", "q0", "grave")
	case 7:
		return text("alternate-exchange", "x0", "all")
	}
	return text("overflow", "drop-head", "reject-publish", "reject-publish-dlx")
}
