package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
)

const crowdPartitions = 12 // of each topic

var crowdTopics = []string{"orders", "bills", "mails"}

// groupSettings are a broker's with which members fall silent within the time of a test.
var groupSettings = map[string]string{"group_heartbeat_ms": "500", "group_session_timeout_ms": fmt.Sprint(crowdSession.Milliseconds())}

// TestGroups: members share three topics under load, while every tier is killed, members leave, join,
// are stopped and die. Nobody has a partition that another one has, each is read in order and without
// gaps from what is committed on, no position goes back, and in the end everything was worked on.
// Who is silent is out when its session is over, and not before; nobody else is ever.
func TestGroups(t *testing.T) {
	b := started(t, groupSettings)
	w := newCrowd(t, b)
	for _, name := range crowdTopics {
		if _, err := w.admin.CreateTopic(w.ctx, trimq.TopicSpec{Name: name, Partitions: crowdPartitions}); err != nil {
			t.Fatal(err)
		}
	}
	calm := w.load()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	other := begin(t, b, root, "bin/trimq consume --topic orders --json --group "+crowdGroup+" --session-timeout "+crowdSession.String())
	t.Cleanup(func() {
		if t.Failed() {
			w.printed(other) // and what it has to say
		}
	})
	var members []*crowdMember
	for i := range 4 {
		members = append(members, w.join(fmt.Sprintf("member%d", i), i%2 == 1, crowdTopics...))
	}
	w.settled(5, 36)
	w.killTiers(func() {
		members = append(members, w.join("member4", false, crowdTopics...), w.join("member5", true, crowdTopics...))
	})
	members[0].leave()
	members = append(members[1:], w.join("member6", false, crowdTopics...))
	w.settled(7, 36)
	w.silences(members[0], members[1], other)
	members = append(members[1:], w.join("member7", true, crowdTopics...), w.join("member8", false, crowdTopics...))
	w.settled(8, 36)
	calm()
	w.until("everything is committed", w.caughtUp)
	for _, m := range members {
		m.leave()
	}
	if err := other.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-other.done
	t.Logf("trimq consume has printed %d records", w.printed(other))
	w.verdict(members)
}

// load has records sent to all partitions, until it is called off.
func (w *crowd) load() (calm func()) {
	p, err := dial(w.t, w.b).NewProducer()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() {
		report := func(_ trimq.Result, err error) {
			if err != nil {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.fault("produce: %v", err)
			}
		}
		var err error
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			m := trimq.Message{Topic: crowdTopics[i%3], Partition: trimq.ToPartition(uint32(i / 3 % crowdPartitions)), Value: value(i)}
			err = p.Produce(w.ctx, &m, report)
			time.Sleep(time.Millisecond)
		}
		ended <- errors.Join(err, p.Close(w.ctx))
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Fatal(err)
		}
	}
}

// killTiers kills each tier; something else is done behind the first one's back.
func (w *crowd) killTiers(meanwhile func()) {
	w.t.Helper()
	for i, tier := range []string{"logicsrv", "persistsrv", "connsrv"} {
		eventually(w.t, tier+" is there to be killed", func() bool { return w.b.Kill(tier) == nil })
		if i == 0 {
			meanwhile()
		}
		time.Sleep(500 * time.Millisecond)
		w.look()
	}
}

// silences has one member die, one lose its line and one process stop, and the last two come back.
func (w *crowd) silences(dies, freezes *crowdMember, other *running) {
	w.t.Helper()
	if err := other.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	dies.silence(true)
	freezes.silence(false)
	eventually(w.t, "persistsrv is there to be killed", func() bool { return w.b.Kill("persistsrv") == nil })
	dies.outInTime()
	freezes.outInTime()
	w.until("the stopped process is out", func(g *trimq.Membership) bool { return !isMember(g, "trimq-cli") })
	freezes.wire.thaw()
	if err := other.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		w.t.Fatal(err)
	}
	w.until("both are back", func(g *trimq.Membership) bool { return isMember(g, freezes.name) && isMember(g, "trimq-cli") })
	w.mu.Lock()
	defer w.mu.Unlock()
	if !freezes.lost {
		w.t.Errorf("%s was not told that it has lost its partitions", freezes.name)
	}
}

// caughtUp tells whether the group has committed all that is there.
func (w *crowd) caughtUp(g *trimq.Membership) bool {
	for i := range g.Offsets {
		if g.Offsets[i].Lag() > 0 {
			return false
		}
	}
	return len(g.Offsets) == len(crowdTopics)*crowdPartitions
}

// verdict judges the run, when all is over.
func (w *crowd) verdict(members []*crowdMember) {
	w.t.Helper()
	if g := w.look(); len(g.Members) > 0 || !w.caughtUp(g) {
		w.t.Errorf("%d members are left, %+v", len(g.Members), g)
	}
	topics, err := w.admin.Topics(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.faults {
		w.t.Error(text)
	}
	records := uint64(0)
	for _, topic := range topics {
		for n, p := range topic.Partitions {
			records += p.Visible
			for offset := range p.Visible {
				if s := (spot{topic.Name, uint32(n)}); !w.worked[s][offset] {
					w.t.Fatalf("%v: nobody was given %d of %d", s, offset, p.Visible)
				}
			}
		}
	}
	longest := time.Duration(0)
	for _, m := range members {
		longest = max(longest, m.pause)
	}
	w.t.Logf("%d records; the longest pause of a partition, kills and silences included: %v", records, longest.Round(time.Millisecond))
}

// TestGroupCommands governs groups and looks at them with the command-line tool.
func TestGroupCommands(t *testing.T) {
	b := started(t, groupSettings)
	c := dial(t, b)
	ctx := testContext(t)
	topicOf(t, c, "t", trimq.LevelPage)
	send(t, c, "t", 0, 100)
	k, err := c.NewConsumer(ctx, []string{"t"}, trimq.WithGroup("g"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 60; {
		f, err := k.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(f.Records)
		f.Release()
	}
	if err := k.CommitPositions(ctx, trimq.Position{Topic: "t", Offset: 60}); err != nil {
		t.Fatal(err)
	}
	run := func(args string, want ...string) {
		t.Helper()
		out, err := b.Run(strings.Fields(args)...)
		if err != nil {
			out = err.Error()
		}
		for _, part := range want {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), part) {
				t.Errorf("trimq %s lacks %q:\n%s", args, part, out)
			}
		}
	}
	run("group list", "g modern stable", "1 1 40")
	run("group describe g --interval 100ms", "t 0 60 100 40 0.0 0.0", "t/0")
	run("group delete g", "in-use", "stop them first")
	run("group reset-offsets g --to earliest", "in-use", "stop them first")
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	run("group reset-offsets g --by -10 --dry-run", "t 0 50")
	run("group reset-offsets g --by -10", "t 0 50")
	run("consume --topic t --group g --count 1", "message 50")
	run("group describe g --interval 0", "g simple empty", "t 0 51 100 49")
	run("group delete-offsets g --topic t", "t 0 51")
	run("group reset-offsets new --to 7 --topic t", "t 0 7")
	run("group delete new", "group new is deleted")
	run("group describe new", "not-found")
	run("queue create q", "queue q")
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ProduceSync(ctx, &trimq.Message{RoutingKey: "q", Value: value(0)}); err != nil {
		t.Fatal(err)
	}
	run("queue list --json --oldest", `"ready": 1`, `"oldest_seconds": 0`)
	run("queue describe q --json --interval 50ms", `"in_per_second": 0`, `"done_per_second": 0`, `"oldest_seconds": 0`)
}
