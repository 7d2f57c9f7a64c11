package access

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/admin"
)

// limitedTable has a limit of everything that attendance looks at; below 0: none.
func limitedTable(vhost, connections, channels int64) *Table {
	limits := func(kind admin.DefinitionKind, name string, values ...admin.Value) admin.Definition {
		return admin.Definition{Kind: kind, Name: name, Values: values}
	}
	all := []admin.Definition{{Kind: admin.DefUser, Name: "ann"}, {Kind: admin.DefUser, Name: "bob"}}
	if vhost >= 0 {
		all = append(all, limits(admin.DefVHostLimit, "v", admin.Number("max-connections", vhost)))
	}
	var of []admin.Value
	if channels >= 0 {
		of = append(of, admin.Number("max-channels", channels))
	}
	if connections >= 0 {
		of = append(of, admin.Number("max-connections", connections))
	}
	return NewTable(append(all, limits(admin.DefUserLimit, "ann", of...)))
}

func TestAttendance(t *testing.T) {
	a, table := NewAttendance(), limitedTable(3, 2, 1)
	for i, c := range []struct {
		user string
		want *Full
	}{{"ann", nil}, {"ann", nil}, {"ann", &Full{true, 2}}, {"bob", nil}, {"bob", &Full{false, 3}}, {"ann", &Full{false, 3}}} {
		if got := a.Enter(table, c.user, "v"); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%d: %s gets %+v, want %+v", i, c.user, got, c.want)
		}
	}
	if full := a.Enter(table, "bob", "elsewhere"); full != nil {
		t.Errorf("a vhost without limits: %+v", full)
	}
	if a.OpenChannel(table, "ann") != nil || a.OpenChannel(table, "bob") != nil || a.OpenChannel(table, "bob") != nil {
		t.Error("a channel below all limits was refused")
	}
	if full := a.OpenChannel(table, "ann"); full == nil || *full != (Full{true, 1}) {
		t.Errorf("a second channel of ann: %+v", full)
	}
	a.CloseChannel("ann")
	if full := a.OpenChannel(limitedTable(-1, -1, -1), "ann"); full != nil {
		t.Errorf("without limits: %+v", full)
	}
	a.Leave("ann", "v", 1)
	if full := a.Enter(table, "ann", "v"); full != nil {
		t.Errorf("after somebody has left: %+v", full)
	}
	if full := a.OpenChannel(limitedTable(0, 0, 0), "ann"); full == nil || full.Limit != 0 {
		t.Errorf("a limit of 0 lets in: %+v", full)
	}
}

// visit is a connection in the model, with the channels that it has.
type visit struct {
	user, vhost string
	channels    int
}

// guests are all connections that there are.
type guests []visit

// has is what a user has.
func (g guests) has(user string) (p present) {
	for _, v := range g {
		if v.user == user {
			p.connections++
			p.channels += int64(v.channels)
		}
	}
	return p
}

// in is how many are in a vhost.
func (g guests) in(vhost string) (n int64) {
	for _, v := range g {
		if v.vhost == vhost {
			n++
		}
	}
	return n
}

// Whatever comes and goes, the counts are those of a list of all that is there, and nothing is
// remembered of who has gone.
func TestAttendanceModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(-1, 4)
		table := limitedTable(limit.Draw(t, "vhost"), limit.Draw(t, "connections"), limit.Draw(t, "channels"))
		a := NewAttendance()
		var list guests
		below := func(limit, n int64) bool { return limit < 0 || n < limit }
		some := func(t *rapid.T) int {
			if len(list) == 0 {
				t.Skip("nobody is there")
			}
			return rapid.IntRange(0, len(list)-1).Draw(t, "which")
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				v := visit{rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "user"), rapid.SampledFrom([]string{"v", "w"}).Draw(t, "vhost"), 0}
				want := below(table.VHostLimit(v.vhost, maxConnections), list.in(v.vhost)) &&
					below(table.userLimit(v.user, maxConnections), list.has(v.user).connections)
				if got := a.Enter(table, v.user, v.vhost) == nil; got != want {
					t.Fatalf("%+v with %+v: let in %v", v, list, got)
				}
				if want {
					list = append(list, v)
				}
			},
			"leave": func(t *rapid.T) {
				i := some(t)
				a.Leave(list[i].user, list[i].vhost, list[i].channels)
				list = append(list[:i:i], list[i+1:]...)
			},
			"open": func(t *rapid.T) {
				v := &list[some(t)]
				want := below(table.userLimit(v.user, maxChannels), list.has(v.user).channels)
				if got := a.OpenChannel(table, v.user) == nil; got != want {
					t.Fatalf("a channel of %+v with %+v: %v", *v, list, got)
				}
				if want {
					v.channels++
				}
			},
			"close": func(t *rapid.T) {
				if v := &list[some(t)]; v.channels > 0 {
					a.CloseChannel(v.user)
					v.channels--
				}
			},
			"": func(t *rapid.T) {
				if len(list) == 0 && len(a.users)+len(a.vhosts) > 0 {
					t.Fatalf("nobody is there, and %v %v are remembered", a.users, a.vhosts)
				}
			},
		})
	})
}
