package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/loopdisk"
)

// Options are what a run is.
type Options struct {
	Seed     uint64
	Duration time.Duration     // for which the nemesis rages; settling comes on top
	Settle   time.Duration     // how long what is under way in queues may take to arrive in the end; 0: half a minute
	Load     string            // one of Loads
	Faults   []string          // kinds; none: the usual ones of the load
	Dir      string            // exists, empty: all that the run leaves is there
	Bin      string            // directory of the programs; empty: the repository's
	Settings map[string]string // of the broker, above those that follow from the seed
	Env      []string          // of the broker's programs
	Log      func(string)      // told what happens; nil: nobody is
}

// BreakVariable is the environment variable by which programs that are built with failpoints are told
// which rule to break on purpose.
const BreakVariable = "TRIMQ_BREAK"

// failVariable is the one by which they are told of a file with orders to fail.
const failVariable = "TRIMQ_FAIL_IO"

// Result is what came out of a run, as its history has it.
type Result struct {
	Wrong []string // violations; none: all is well
	Dir   string
	h     *history
}

// Run does one drill. The error is of the run itself, which then has shown nothing. When the context
// ends the run is broken off.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	w, err := newWorld(o)
	if err != nil {
		return nil, err
	}
	err = w.act(ctx)
	if end := w.close(); end != nil {
		w.h.report("%v", end)
	}
	if w.acked.Load() == 0 {
		w.h.report("nothing was acknowledged")
	}
	if err = errors.Join(err, w.h.out.close()); err != nil {
		return nil, err
	}
	return Judge(o.Dir)
}

// Judge judges a run from its history alone.
func Judge(dir string) (*Result, error) {
	h, err := load(dir)
	if err != nil {
		return nil, err
	}
	return &Result{Wrong: h.judge(), Dir: dir, h: h}, nil
}

// load reads a run's history.
func load(dir string) (*history, error) {
	h := newHistory()
	h.mu.Lock()
	defer h.mu.Unlock()
	first := true
	err := readHistory(filepath.Join(dir, historyFile), func(l line) error {
		if o, ok := l.op.(*opBegan); ok == first {
			if first {
				h.began, first = o.Wall, false
			}
		} else {
			return errors.New("a history begins with the operation began, and has one of them")
		}
		l.op.apply(h, h.began.Add(l.at))
		return nil
	})
	return h, err
}

// close flushes what was noted and closes the file.
func (r *recorder) close() error { return errors.Join(r.flush(), r.f.Close()) }

// newWorld prepares a run: its history, its disk, its broker, which is not started. Where it fails
// nothing of it stays.
func newWorld(o Options) (*world, error) {
	if !slices.Contains(Loads, o.Load) {
		return nil, fmt.Errorf("there is no load %q; there are %s", o.Load, strings.Join(Loads, ", "))
	}
	w := &world{o: o, h: newHistory(), family: family{children: map[string]*child{}}, power: slices.Contains(o.Faults, "power") || slices.Contains(o.Faults, "lie")}
	var err error
	if w.kinds, err = w.choose(); err != nil {
		return nil, err
	}
	if w.power { // there is one disk, and its power is cut
		w.kinds = slices.DeleteFunc(w.kinds, func(k string) bool { return k == "full-disk" })
	}
	if len(w.kinds) == 0 {
		return nil, errors.New("none of these faults can be done here")
	}
	if err = w.prepare(); err != nil {
		return nil, errors.Join(err, w.discard())
	}
	return w, nil
}

// prepare makes what a run needs in its directory.
func (w *world) prepare() (err error) {
	o := w.o
	if w.h.out, err = createRecorder(o.Dir); err != nil {
		return err
	}
	settings := smallSettings(rand.New(rand.NewPCG(o.Seed, 0)))
	switch o.Load {
	case LoadQueues:
		settings["transaction_checks"] = "1000"
	case LoadKafka, LoadKTxn, LoadTables:
		if w.guests, err = broker.FreeAddress(); err != nil {
			return err
		}
		maps.Copy(settings, kafkaSettings(w.guests))
		if o.Load == LoadTables {
			maps.Copy(settings, tableSettings)
		}
	case LoadAMQP:
		if w.guests, err = broker.FreeAddress(); err != nil {
			return err
		}
		settings["amqp_listen"] = fmt.Sprintf("%q", w.guests)
	}
	disk, err := w.mount()
	if err != nil {
		return err
	}
	for _, above := range []map[string]string{disk, o.Settings} {
		maps.Copy(settings, above)
	}
	home := filepath.Join(o.Dir, brokerDir)
	if err = os.Mkdir(home, 0o700); err != nil {
		return err
	}
	if w.b, err = broker.NewAt(o.Bin, home, settings); err != nil {
		return err
	}
	w.b.Env, w.addr = append(slices.Clip(o.Env), failVariable+"="+w.orderPath()), w.b.Addr
	w.h.note(&opBegan{
		Version: formatVersion, Wall: w.h.began, Seed: o.Seed, Duration: o.Duration, Load: o.Load, Faults: w.kinds, Settings: settings,
	})
	return nil
}

// brokerDir is the broker's directory in that of a run.
const brokerDir = "broker"

// discard removes what prepare has made.
func (w *world) discard() error {
	err := w.unmount()
	if w.h.out != nil {
		err = errors.Join(err, w.h.out.close())
	}
	for _, name := range []string{historyFile, brokerDir, loopdisk.ImageFile, loopdisk.MountDir} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(w.o.Dir, name)))
	}
	return err
}

// mount makes the file system that a run's faults need, and gives the settings that put the data there.
func (w *world) mount() (settings map[string]string, err error) {
	switch {
	case w.power:
		if w.loop, err = loopdisk.Make(w.o.Dir, "ext4"); err == nil {
			return loopSettings(w.loop), nil
		}
	case slices.Contains(w.kinds, "full-disk"):
		if w.small, err = makeSmall(w.o.Dir); err == nil {
			return w.small.settings(), nil
		}
	}
	return nil, err
}

func (w *world) unmount() error {
	switch {
	case w.loop != nil:
		return w.loop.Unmount()
	case w.small != nil:
		return w.small.unmount()
	}
	return nil
}

// rescue copies the data of a run that has failed from a file system that is about to be gone.
func (w *world) rescue() error {
	if w.small == nil || len(w.h.wrong) == 0 {
		return nil
	}
	return os.CopyFS(filepath.Join(w.o.Dir, "data"), os.DirFS(filepath.Join(w.small.dir, "data")))
}

// close ends the broker and looks at what it has left behind.
func (w *world) close() error {
	err := w.b.Cleanup()
	if left := w.b.Left(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind: %v", left))
	}
	for _, l := range w.links {
		if l.proxy != nil {
			l.proxy.close()
		}
	}
	return errors.Join(err, w.rescue(), w.unmount())
}

// script is what there is in a run, who is at work, and what is looked at when they are gone.
type script interface {
	lay(c *trimq.Client) error
	employ(seed uint64) *sync.WaitGroup
	settle(first *party, n *nemesis) error
}

// script is what the run's load does.
func (w *world) script() script {
	switch w.o.Load {
	case LoadQueues:
		return &drill{world: w, l: w.h.ledger}
	case LoadKafka:
		return kafkaLoad{w}
	case LoadAMQP:
		return amqpLoad{&drill{world: w, l: w.h.ledger}}
	case LoadKTxn:
		return ktxnLoad{w}
	case LoadTables:
		return tableLoad{ktxnLoad{w}}
	}
	return w
}

// act is the run: the broker starts, clients work, the nemesis rages, and all is looked at.
func (w *world) act(ctx context.Context) error {
	if err := w.b.Start(); err != nil {
		return err
	}
	what, o := w.script(), w.o
	n := &nemesis{w: w, r: rand.New(rand.NewPCG(o.Seed, 1))}
	var stop context.CancelFunc
	w.life, w.end = context.WithTimeout(ctx, o.Duration+2*patience)
	defer w.end()
	w.ctx, stop = context.WithCancel(w.life)
	defer stop()
	first, err := w.newParty("first")
	if err == nil {
		err = what.lay(first.client)
	}
	if err != nil {
		return err
	}
	clients := what.employ(o.Seed)
	done := n.rage(o.Duration, slices.DeleteFunc(n.faults(), func(f fault) bool { return !slices.Contains(w.kinds, f.kind) }))
	stop()
	stopped := time.Now()
	clients.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.life.Err() != nil {
		w.h.report("the run was given up")
		return nil
	}
	w.logf("the last client ended %v after the stop", time.Since(stopped).Round(time.Millisecond))
	if err := what.settle(first, n); err != nil {
		w.h.report("%v", err)
		if w.life.Err() != nil { // what is there was not looked at: nothing can be said of losses
			return nil
		}
	}
	w.logf("all was read %v after the stop", time.Since(stopped).Round(time.Millisecond))
	w.logf("%d messages acknowledged, %d clients; faults: %s", w.acked.Load(), len(w.links), done)
	w.h.note(&opEnded{})
	return nil
}
