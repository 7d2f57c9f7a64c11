package drill

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
)

// fault is something that the nemesis does.
type fault struct {
	kind string // as Options.Faults names it
	name string
	odds int // how often, in comparison with others
	do   func()
}

// kindOf is a kind of fault.
type kindOf struct {
	what  string        // for the user
	usual []string      // the loads in which it is done without being asked for
	oneIn uint64        // … of so many seeds; 0: of all
	needs func() string // why it cannot be done here; nil, or empty: it can
}

// Loads.
const (
	LoadTopics = "topics"   // topics, and what queues do since there are queues
	LoadQueues = "queues"   // all else that queues do
	LoadKafka  = "kafka"    // topics, with Kafka's clients beside native ones
	LoadAMQP   = "amqp"     // queues, with AMQP's clients beside native ones
	LoadKTxn   = "ktxn"     // transactions of Kafka's clients
	LoadTables = "kcompact" // compacted topics of Kafka's clients
)

// Loads are all that there are.
var Loads = []string{LoadTopics, LoadQueues, LoadKafka, LoadAMQP, LoadKTxn, LoadTables}

// faultKinds are the kinds that there are.
var faultKinds = map[string]kindOf{
	"kill":       {what: "kill -9 of one tier, at times again while it recovers", usual: Loads},
	"logicsrv":   {what: "kill -9 of logicsrv alone"},
	"pairs":      {what: "kill -9 of two tiers, or of all three, at once", usual: Loads},
	"pause":      {what: "SIGSTOP and SIGCONT of a tier", usual: Loads},
	"beside":     {what: "kill -9 of a tier while another one is stopped", usual: Loads},
	"supervisor": {what: "kill -9 of the supervisor, and perhaps of a tier that nobody restarts then", usual: Loads},
	"cut":        {what: "a client's connections are reset", usual: Loads},
	"reboot":     {what: "all are killed and the rings removed", usual: Loads},
	"restart":    {what: "SIGTERM, and a start", usual: Loads},
	"hand-over":  {what: "a tier, or all, replace their programs (signal 12): no connection may be lost", usual: Loads},
	"late":       {what: "a tier dies while one replaces its program", usual: Loads},
	"signals":    {what: "the signals that must disturb nobody", usual: Loads},
	"full-ring":  {what: "a tier is stopped until the ring before it is full", usual: Loads},
	"sockets":    {what: "torn, slow and stalled sockets, and cuts within a frame, by proxies before a third of the clients", usual: Loads},
	"client":     {what: "kill -9 of a client's process", usual: []string{LoadTopics}},
	"full-disk":  {what: "the disk, which is a small one, is full for a while; usual for every third seed", usual: Loads, oneIn: 3, needs: noMount},
	"sync-error": {what: "fdatasync reports an error, once", needs: noStrace},
	"no-room":    {what: "writes find the disk full for a while", needs: noStrace},
	"io":         {what: "the n-th sync fails, or the n-th write finds no room, in programs that are built with failpoints"},
	"power":      {what: "the power is cut: what is not synced is gone", needs: noMount},
	"lie":        {what: "the power is cut behind a disk that only says it syncs: messages are lost", needs: func() string { return cmp.Or(noMount(), noStrace()) }},
}

// noMount tells why no file system of a run's own can be mounted.
func noMount() string {
	if os.Geteuid() != 0 {
		return "only root can mount a file system, to fill it or to cut its power"
	}
	return ""
}

// faults are all, of every kind.
func (n *nemesis) faults() []fault {
	list := []fault{
		{"kill", "twice", 2, n.twice}, {"kill", "logicsrv", 6, nil}, {"kill", "persistsrv", 6, nil}, {"kill", "connsrv", 2, nil},
		{"logicsrv", "logicsrv", 6, nil},
		{"pairs", "logicsrv+persistsrv", 3, nil}, {"pairs", "connsrv+logicsrv", 2, nil}, {"pairs", "connsrv+persistsrv", 2, nil},
		{"pairs", "connsrv+logicsrv+persistsrv", 2, nil},
		{"pause", "stopped", 4, n.freeze}, {"beside", "killed while another is stopped", 3, n.killBesideFrozen},
		{"supervisor", "supervisor", 2, n.supervisor}, {"reboot", "reboot", 2, n.reboot}, {"restart", "orderly restart", 1, n.restart},
		{"cut", "client cut", 6, n.cut}, {"signals", "signals", 1, n.signals},
		{"hand-over", "hand-over", 6, n.handOver}, {"late", "hand-over beside a death", 3, n.handOverBesideDeath},
		{"full-ring", "full ring", 2, n.fullRing}, {"sockets", "sockets", 4, n.roughSockets},
		{"client", "client killed", 3, n.killClient}, {"full-disk", "full disk", 3, n.fullDisk},
		{"sync-error", "sync fails", 20, n.syncFails}, {"no-room", "no room", 10, n.noRoom},
		{"io", "I/O error", 10, n.failIO},
		{"power", "power cut", 30, n.powerCut}, {"lie", "lying disk", 1, n.lie},
	}
	for i, f := range list {
		if f.do == nil { // it is the names of the tiers that are killed
			list[i].do = func() { n.kill(strings.Split(f.name, "+")...) }
		}
	}
	return list
}

// FaultKinds names the kinds of faults, with what they do.
func FaultKinds() (lines []string) {
	for name, k := range faultKinds {
		lines = append(lines, fmt.Sprintf("%-11s %s", name, k.what))
	}
	sort.Strings(lines)
	return lines
}

// Cannot tells why a kind of fault cannot be done here; empty: it can.
func Cannot(kind string) string {
	if needs := faultKinds[kind].needs; needs != nil {
		return needs()
	}
	return ""
}

// choose decides which kinds of faults a run has: those that were asked for, or the usual ones of its
// load. One that cannot be done here is left out, and said.
func (w *world) choose() (kinds []string, err error) {
	for name, k := range faultKinds {
		wanted := slices.Contains(w.o.Faults, name)
		if !wanted && (len(w.o.Faults) > 0 || !slices.Contains(k.usual, w.o.Load)) {
			continue
		}
		if !wanted && k.oneIn > 0 && w.o.Seed%k.oneIn != 0 {
			continue
		}
		if why := Cannot(name); why != "" {
			w.logf("SKIPPED %s: %s", name, why)
			continue
		}
		kinds = append(kinds, name)
	}
	for _, name := range w.o.Faults {
		if _, ok := faultKinds[name]; !ok {
			return nil, fmt.Errorf("there is no fault %q; there are:\n  %s", name, strings.Join(FaultKinds(), "\n  "))
		}
	}
	sort.Strings(kinds)
	return kinds, nil
}
