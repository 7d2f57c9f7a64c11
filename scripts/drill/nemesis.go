package drill

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

// nemesis does to a broker what may happen to one.
type nemesis struct {
	w *world
	r *rand.Rand
}

// rage goes on for a time; it returns what it did, counted.
func (n *nemesis) rage(d time.Duration, faults []fault) string {
	counts := map[string]int{}
	asked := slices.DeleteFunc(slices.Clone(n.w.o.Faults), func(kind string) bool { return len(ofKind(faults, kind)) == 0 }) // it cannot be done here
	n.r.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	for end := time.Now().Add(d); time.Now().Before(end) && n.w.life.Err() == nil; {
		time.Sleep(time.Duration(50+n.r.IntN(900)) * time.Millisecond)
		f := n.draw(faults)
		if len(asked) > 0 { // who asks for a kind of fault gets it, however short the drill is
			f, asked = n.draw(ofKind(faults, asked[0])), asked[1:]
		}
		n.w.logf("%7.3f  %s", time.Since(n.w.h.began).Seconds(), f.name)
		counts[f.name]++
		n.inflict(f)
	}
	var list []string
	for name, c := range counts {
		list = append(list, fmt.Sprintf("%s %d", name, c))
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}

// inflict does one thing, and notes when it began and was over.
func (n *nemesis) inflict(f fault) {
	n.w.h.note(&opFault{Name: f.name})
	f.do()
	n.w.h.note(&opFault{Name: f.name, Over: true})
}

// draw takes one of the faults by their odds.
func (n *nemesis) draw(faults []fault) fault {
	sum := 0
	for _, f := range faults {
		sum += f.odds
	}
	at := n.r.IntN(sum)
	for _, f := range faults {
		if at -= f.odds; at < 0 {
			return f
		}
	}
	return faults[len(faults)-1]
}

// ofKind are the faults of a kind.
func ofKind(faults []fault, kind string) []fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.kind != kind })
}

// kill kills tiers at once, and waits until all serve again.
func (n *nemesis) kill(tiers ...string) {
	began := time.Now()
	var all sync.WaitGroup
	for _, name := range tiers {
		all.Add(1)
		go func() {
			defer all.Done()
			_ = n.w.b.Kill(name) // it may be dead already
		}()
	}
	all.Wait()
	n.heal()
	n.w.h.wereDown(began, tiers...)
}

// twice kills a tier again while it recovers.
func (n *nemesis) twice() {
	name := tier.Daemons[n.r.IntN(3)]
	began := time.Now()
	for range 2 + n.r.IntN(2) {
		_ = n.w.b.Kill(name)
		time.Sleep(time.Duration(n.r.IntN(60)) * time.Millisecond)
	}
	n.heal()
	n.w.h.wereDown(began, name)
}

func (n *nemesis) freeze() {
	name := tier.Daemons[n.r.IntN(3)]
	n.signal("STOP", name)
	time.Sleep(time.Duration(n.r.IntN(1500)) * time.Millisecond)
	n.signal("CONT", name)
}

func (n *nemesis) signal(signal string, name string) {
	if err := n.w.b.Signal(signal, name); err != nil {
		n.w.h.report("signal %s: %v", signal, err)
	}
}

// killBesideFrozen kills one tier while another one makes no step.
func (n *nemesis) killBesideFrozen() {
	order := n.r.Perm(3)
	frozen, victim := tier.Daemons[order[0]], tier.Daemons[order[1]]
	began := time.Now()
	n.signal("STOP", frozen)
	time.Sleep(time.Duration(n.r.IntN(300)) * time.Millisecond)
	_ = n.w.b.Kill(victim)
	time.Sleep(time.Duration(n.r.IntN(500)) * time.Millisecond)
	if n.r.IntN(3) == 0 { // and then that one too, as it stands
		_ = n.w.b.Kill(frozen)
	} else {
		n.signal("CONT", frozen)
	}
	n.heal()
	n.w.h.wereDown(began, frozen, victim)
}

// supervisor kills the supervisor, and perhaps a tier that nobody restarts then.
func (n *nemesis) supervisor() {
	began := time.Now()
	lock := tier.PathsOf(n.w.b.Config, supervisor).Lock
	pid, err := tier.LockHolder(lock)
	if err != nil || pid == 0 {
		n.w.h.report("supervisor: %d, %v", pid, err)
		return
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		n.w.h.report("supervisor: %v", err)
	}
	// It may take a moment to die, and would seem to be healthy.
	for end := began.Add(patience); err == nil && pid != 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		pid, err = tier.LockHolder(lock)
	}
	time.Sleep(time.Duration(n.r.IntN(100)) * time.Millisecond)
	victim := tier.Daemons[n.r.IntN(3)]
	if n.r.IntN(2) == 0 {
		_ = n.w.b.Kill(victim)
		time.Sleep(time.Duration(n.r.IntN(500)) * time.Millisecond)
	}
	n.heal()
	n.w.h.wereDown(began, victim)
}

// reboot kills all and removes the segments. The page cache lives on, so that everything
// acknowledged at level page does too.
func (n *nemesis) reboot() {
	began := time.Now()
	if err := n.w.b.Signal("9"); err != nil {
		n.w.h.report("kill all: %v", err)
	}
	for k := n.w.b.KeyBase; k < n.w.b.KeyBase+4; k++ {
		if err := shmqueue.Remove(k); err != nil && !errors.Is(err, shmqueue.ErrNoSegment) {
			n.w.h.report("remove segment: %v", err)
		}
	}
	n.heal()
	n.w.h.wereDown(began, tier.Daemons...)
}

func (n *nemesis) restart() {
	began := time.Now()
	if err := n.w.b.Signal("15"); err != nil {
		n.w.h.report("stop: %v", err)
	}
	n.heal()
	n.w.h.wereDown(began, "connsrv")
}

// cut takes a client's connections away.
func (n *nemesis) cut() {
	n.w.mu.Lock()
	l := n.w.links[n.r.IntN(len(n.w.links))]
	n.w.mu.Unlock()
	l.cut()
}

// handOver upgrades a tier, or the supervisor, or all: no connection may be lost by it.
func (n *nemesis) handOver() {
	names, began := append(slices.Clone(tier.Daemons), supervisor), time.Now()
	if at := n.r.IntN(len(names) + 1); at < len(names) {
		names = names[at : at+1]
	}
	for _, name := range names {
		if err := n.w.b.Signal("12", name); err != nil {
			n.w.h.report("hand-over of %s: %v", name, err)
		}
	}
	n.heal()
	n.w.h.wereDown(began, slices.DeleteFunc(slices.Clone(names), keeps)...)
}

// keeps tells whether nobody notices when a tier is upgraded: connsrv passes its connections on, and
// the supervisor has none.
func keeps(tier string) bool { return tier == "connsrv" || tier == supervisor }

const supervisor = "supervisor"

// handOverBesideDeath kills a tier while one, perhaps itself, is upgraded.
func (n *nemesis) handOverBesideDeath() {
	began, order := time.Now(), n.r.Perm(3)
	leaver, victim, pause := tier.Daemons[order[0]], tier.Daemons[order[1]], time.Duration(n.r.IntN(80))*time.Millisecond
	if n.r.IntN(3) == 0 {
		victim = leaver
	}
	var handed sync.WaitGroup
	handed.Go(func() { _ = n.w.b.Signal("12", leaver) }) // it may die, or be refused for that nobody serves yet
	time.Sleep(pause)
	_ = n.w.b.Kill(victim)
	handed.Wait()
	n.heal()
	down := []string{victim}
	if !keeps(leaver) {
		down = append(down, leaver)
	}
	n.w.h.wereDown(began, down...)
}

// signals that must disturb nobody.
func (n *nemesis) signals() {
	for _, s := range []string{"HUP", "QUIT", "USR1"} {
		if err := n.w.b.Signal(s); err != nil {
			n.w.h.report("signal %s: %v", s, err)
		}
	}
}

// heal waits until all serve; what was given up, or has no supervisor, is started.
func (n *nemesis) heal() {
	deadline := time.Now().Add(patience)
	var last any
	for time.Now().Before(deadline) {
		states, err := n.w.b.States()
		supervisor, err2 := tier.LockHolder(tier.PathsOf(n.w.b.Config, "supervisor").Lock)
		ready := 0
		for _, s := range states {
			if s.State == "ready" {
				ready++
			}
			if s.State == "failed" {
				supervisor = 0
			}
		}
		if last = errors.Join(err, err2); last == nil {
			last = states
		}
		switch {
		case supervisor == 0:
			if err := n.w.b.Start(); err != nil {
				n.w.giveUp(fmt.Errorf("start: %w", err))
				return
			}
		case ready == len(tier.Daemons):
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	n.w.giveUp(fmt.Errorf("not healed: %v", last))
}
