package drill

import (
	"strings"
	"testing"
	"time"
)

// TestRelay: what two processes note becomes one history, with consumers that are told apart.
func TestRelay(t *testing.T) {
	w := &world{h: newHistory()}
	w.h.note(&opBegan{Version: formatVersion})
	w.h.note(&opSender{Name: "e"})
	w.h.send("e", sentMessage{places: []string{"q"}})
	w.h.settled("e", 0, opSettled{Fate: acked, Reached: 1})
	var all []*child
	for _, name := range []string{"a", "b"} {
		c := &child{}
		all = append(all, c)
		err := w.relay(c, strings.NewReader(strings.ReplaceAll(`party 1000 {"name":"NAME"}
sender 1000 {"name":"NAME"}
holds 1001 {"n":0,"party":"NAME"}
got 1002 {"q":"q","h":0,"r":[{"o":0,"v":"e 0"}]}
letsgo 1003 {"n":0}
got 1004 {"q":"q","h":0,"a":1,`, "NAME", name)))
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(w.h.holders) != 2 || w.h.holders[1].client != "b" || len(all[1].parties) != 1 || all[1].senders[0] != "b" {
		t.Errorf("%+v, %+v", w.h.holders, all[1])
	}
	list := w.h.queues["q"].deliveries[0]
	if len(list) != 2 || list[0].consumer != 0 || list[1].consumer != 1 || w.h.since(list[1].at) != 1002*time.Nanosecond {
		t.Errorf("%+v", list)
	}
	for _, damaged := range []string{"holds x", "letsgo 1 {\"n\":7}", "got 1 {\"h\":-1}"} {
		if err := w.relay(&child{}, strings.NewReader(damaged+"\n")); err == nil {
			t.Errorf("%q passes", damaged)
		}
	}
}
