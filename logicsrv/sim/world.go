//go:build failpoints

package sim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"

	"github.com/trimq/trimq/logicsrv/core"
	lshell "github.com/trimq/trimq/logicsrv/shell"
	"github.com/trimq/trimq/logicsrv/sim/model"
	pshell "github.com/trimq/trimq/persistsrv/shell"
	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// tier says whose code runs.
type tier int

const (
	tierConn tier = iota
	tierLogic
	tierPersist
	tiers
	observer // the simulator itself: nothing dies and nothing fails
)

func (t tier) String() string {
	return [...]string{"connsrv", "logicsrv", "persistsrv", "", "observer"}[t]
}

// world is one history.
type world struct {
	ledger
	rng     *rand.Rand
	salts   *rand.PCG // of segments; a stream of its own, so that a new segment moves no other draw
	plan    plan
	bank    *bank     // nil: there are no transactional producers
	theme   *theme    // nil: the history is not about features of queues
	laundry *laundry  // nil: nothing is compacted
	out     io.Writer // of the trace; nil: none

	now     int64 // virtual Unix time in ms
	step    int
	running tier
	calm    bool  // faults have stopped
	calmMS  int64 // when

	mem                 *memory
	ringA, ringB, ringC *shmqueue.Ring
	disk                *disk

	conn    *connsrv
	logic   *lshell.Shell
	persist persister
	down    [tiers]int      // steps until a dead tier is started again
	stalled [tiers]int      // steps in which a live tier does not run
	fuse    [tiers]int      // crossings of failpoints until it dies; 0: not set
	fuseAt  [tiers]string   // only crossings of this one count; empty: all do
	crossed [tiers][]string // failpoints crossed so far, each once
	cutIn   int             // steps until the power fails; 0: not set

	replaying bool // it is a checkpoint that logicsrv works on

	clients    []client
	admin      *administrator
	names      map[string][]uint64 // indexes of a topic's partitions or of a queue
	topicLevel map[uint64]ipc.Level
	queueLevel map[uint64]ipc.Level
	log        shadowLog
	digests    map[uint64]uint64 // of the state, by LSN
	noted      uint64            // term whose recovery has been looked at

	model       *model.Model
	hermitage   string     // the last exclusive queue
	hermitQueue uint64     // its id
	notesFailed error      // of the last attempt to read notes
	shown       model.Turn // to the model; used again

	nextMessage uint64
	builder     batch.Builder
	value       []byte
	bodyBuf     []byte
	printBuf    []byte
	stats       Stats
}

// persister is persistsrv without its process.
type persister interface {
	Step() (progress bool, err error)
	SyncLog() error
	MaintainDue() bool
	Maintain() error
	CompactDue() bool
	Compact() error
}

// newPersist is persistsrv's real shell.
var newPersist = func(o pshell.Options) (persister, error) { return pshell.New(o) }

// death is the panic that ends a tier at a failpoint.
type death struct{ at string }

// violation is the panic that ends a history.
type violation struct{ text string }

// fail ends the history: a promise was broken.
func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

// must is for errors that nothing in the history explains.
func (w *world) must(err error, doing string) {
	if err != nil {
		w.fail("%s: %v", doing, err)
	}
}

func (w *world) trace(format string, args ...any) {
	if w.out != nil {
		fmt.Fprintf(w.out, "%6d ", w.step)
		fmt.Fprintf(w.out, format, args...)
		fmt.Fprintln(w.out)
	}
}

// crossing is called at every failpoint.
func (w *world) crossing(name string) {
	t := w.running
	if t >= tiers {
		return
	}
	if !slices.Contains(w.crossed[t], name) {
		w.crossed[t] = append(w.crossed[t], name)
	}
	if w.fuse[t] == 0 || w.fuseAt[t] != "" && w.fuseAt[t] != name {
		return
	}
	if w.fuse[t]--; w.fuse[t] == 0 {
		panic(death{name})
	}
}

// run lets a tier's code run. It returns false when the tier has died of it; an error is a
// death by its own choice, and comes back.
func (w *world) run(t tier, f func() error) (alive bool, err error) {
	was := w.running
	w.running = t
	defer func() {
		w.running = was
		switch r := recover().(type) {
		case nil:
			return
		case death:
			w.trace("%v dies at %s", t, r.at)
		case violation:
			panic(r)
		case error:
			if !errors.Is(r, vfs.ErrKilled) {
				panic(violation{fmt.Sprintf("%v panics: %v\n%s", t, r, debug.Stack())})
			}
			w.trace("%v dies in a write", t)
		default:
			panic(violation{fmt.Sprintf("%v panics: %v\n%s", t, r, debug.Stack())})
		}
		w.stats.Kills++
		w.drop(t)
		alive, err = false, nil
	}()
	if err = f(); err != nil {
		w.drop(t)
		return false, err
	}
	return true, nil
}

// drop is the death of a process: what it had in memory is gone, rings and files stay.
func (w *world) drop(t tier) {
	w.fuse[t] = 0
	w.down[t] = w.rng.IntN(w.plan.downtime)
	switch t {
	case tierConn:
		w.conn = nil
		w.dropClients()
	case tierLogic:
		w.logic = nil
	case tierPersist:
		w.persist = nil
		w.disk.mem.Kill()
	}
}

func (w *world) dropClients() {
	clear(w.hand)
	for _, c := range w.clients {
		c.dropped()
	}
}

// alive says whether a tier runs.
func (w *world) alive(t tier) bool {
	switch t {
	case tierConn:
		return w.conn != nil
	case tierLogic:
		return w.logic != nil
	default:
		return w.persist != nil
	}
}

// start starts a dead tier as its supervisor does.
func (w *world) start(t tier) {
	w.stats.Restarts[t]++
	ok, err := w.run(t, func() (err error) {
		switch t {
		case tierConn:
			w.conn, err = startConnsrv(w)
		case tierLogic:
			w.logic, err = lshell.New(w.logicOptions())
		case tierPersist:
			w.persist, err = newPersist(w.persistOptions())
		}
		return err
	})
	w.tolerate(t, err)
	if !ok {
		return
	}
	w.trace("%v starts", t)
	if t == tierPersist && !w.log.pending && w.rng.IntN(4) == 0 {
		w.compareLog()
		w.checkWashed()
	}
}

// tolerate ends the history unless the faults explain that a tier has given up.
func (w *world) tolerate(t tier, err error) {
	if err == nil {
		return
	}
	w.trace("%v gives up: %v", t, err)
	if t == tierPersist && w.disk.excuses(err) {
		return
	}
	w.fail("%v gives up: %v", t, err)
}

func (w *world) logicOptions() lshell.Options {
	return lshell.Options{
		Core: core.Config{
			DefaultLevel: ipc.LevelDisk, TxnCheckMS: 200, TxnChecks: maxChecks, TxnMaxMS: maxTxnMS,
			GroupSessionMinMS: 100, GroupHeartbeatMS: 60, GroupInitialDelayMS: w.plan.initialDelayMS,
		},
		RingA: w.ringA, RingB: w.ringB, RingC: w.ringC,
		LogFS:  w.disk.read(),
		Now:    func() int64 { return w.now },
		Limits: w.plan.limits,
		Log:    w.logger(),
		Turned: w.turned,
	}
}

// logger writes what the shells log between the lines of the trace.
func (w *world) logger() *slog.Logger {
	if w.out == nil {
		return nil
	}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(w.out, &slog.HandlerOptions{ReplaceAttr: noTime}))
}

func (w *world) persistOptions() pshell.Options {
	set := w.plan.settings
	if l := w.laundry; l != nil {
		set.CompactMS, set.CompactKeys, set.CompactBytes = l.compactMS, l.keys, 1
	}
	return pshell.Options{
		FS: w.disk, RingA: w.ringA, RingC: w.ringC,
		Settings: set,
		Now:      func() int64 { return w.now },
		Salt:     w.salts.Uint64,
		Inline:   w.plan.inline,
		Pace:     w.meanwhile,
		Log:      w.logger(),
	}
}

// stepTier gives a tier one step.
func (w *world) stepTier(t tier) (progress bool) {
	if !w.alive(t) {
		if w.down[t]--; w.down[t] < 0 {
			w.start(t)
		}
		return true
	}
	if w.stalled[t] > 0 {
		w.stalled[t]--
		return true
	}
	if w.log.pending && w.ringC.Word(shmqueue.WordStatus).Load()&shmqueue.StatusRecovered != 0 {
		w.compareLog() // before anybody acts on what the power cut has left
	}
	var err error
	switch t {
	case tierConn:
		_, err = w.run(t, func() error { progress = w.conn.step(); return nil })
	case tierLogic:
		_, err = w.run(t, func() (err error) { progress, err = w.logic.Step(); return err })
		w.noteDigest()
	case tierPersist:
		_, err = w.run(t, func() (err error) { progress, err = w.persist.Step(); return err })
	}
	w.tolerate(t, err)
	return progress
}

// stepSync is persistsrv's other goroutines: one syncs, one maintains.
func (w *world) stepSync() {
	if w.persist == nil || w.stalled[tierPersist] > 0 || w.plan.inline {
		return
	}
	both := w.calm || w.plan.focus != onPages && w.rng.IntN(3) == 0
	_, err := w.run(tierPersist, func() error {
		if both || w.rng.IntN(w.plan.syncShare) == 0 {
			if err := w.persist.SyncLog(); err != nil {
				return err
			}
		}
		if both || w.rng.IntN(2) == 0 {
			if w.persist.MaintainDue() {
				return w.persist.Maintain()
			}
		}
		return nil
	})
	w.tolerate(tierPersist, err)
}

// stepNotes is logicsrv's other goroutine: it reads notes of dead messages. What cannot be read
// now is tried again.
func (w *world) stepNotes() {
	if w.logic == nil || w.stalled[tierLogic] > 0 {
		return
	}
	select {
	case <-w.logic.NotesWanted():
	default:
		if w.notesFailed == nil {
			return
		}
	}
	_, _ = w.run(tierLogic, func() error {
		w.notesFailed = w.logic.ReadNotes()
		return nil
	})
}

// stepReplay is logicsrv's other goroutine, which makes checkpoints.
func (w *world) stepReplay() (progress bool) {
	if w.logic == nil || w.stalled[tierLogic] > 0 {
		return false
	}
	w.replaying = true
	_, err := w.run(tierLogic, func() error { progress = w.logic.StepReplay(); return nil })
	w.replaying = false
	w.tolerate(tierLogic, err)
	return progress
}

// noteDigest compares the state at an LSN with every other state that was seen at the same
// LSN: before a restart, after it, and while it is live.
func (w *world) noteDigest() {
	if w.logic == nil {
		return
	}
	r, ok := w.logic.Recovered()
	if !ok {
		return
	}
	if r.Term != w.noted {
		w.noted = r.Term
		w.stats.known += r.Known
		w.trace("logicsrv is running: %+v", r)
		w.compareDigest(r.LastLSN, r.Digest, "replayed")
	}
	if lsn, digest, handed := w.logic.Digest(); handed {
		w.compareDigest(lsn, digest, "live")
	}
}

func (w *world) compareDigest(lsn, digest uint64, which string) {
	if was, ok := w.digests[lsn]; ok && was != digest {
		w.fail("the %s state at lsn=%d has digest %x, it was %x before", which, lsn, digest, was)
	}
	w.digests[lsn] = digest
}

// noteCheckpoint compares a checkpoint that persistsrv has just stored with the state that was live
// at its LSN.
func (w *world) noteCheckpoint(name string) {
	was := w.running
	w.running = observer
	defer func() { w.running = was }()
	blob, lsn, _, err := commitlog.LatestCheckpoint(w.disk.read())
	w.must(err, "read "+name)
	c, err := core.Load(w.logicOptions().Core, blob)
	w.must(err, "load "+name)
	w.compareDigest(lsn, c.Digest(), "stored")
	w.stats.stored++
}

// syncedNow is persistsrv's synced cursor.
func (w *world) syncedNow() uint64 { return w.ringC.Word(shmqueue.WordSynced).Load() }

// indexOf returns the index of a topic's partition or of a queue; 0: not known yet.
func (w *world) indexOf(name string, partition int) uint64 {
	if ids := w.names[name]; partition < len(ids) {
		return ids[partition]
	}
	return 0
}

// install makes this world's rules those of the process.
func (w *world) install(mutant string) {
	failpoint.Handler = w.crossing
	failpoint.Rule = mutant
	w.running = observer
}

func uninstall() { failpoint.Handler, failpoint.Rule = nil, "" }
