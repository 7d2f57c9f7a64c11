package tier

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Version and Commit are set by the build.
var (
	Version = "unversioned"
	Commit  = "unknown"
)

// Exit codes of a daemon. The supervisor starts it again after ExitFailed; once more after ExitDamage,
// for another daemon may have been at work on the same files.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // bad configuration, arguments or environment
	ExitInUse  = 3 // another process holds the lock, or the segments are another broker's
	ExitDamage = 4 // what is on the disk cannot be used, and will not mend itself
)

// ErrInUse marks an error that only the end of another process can mend.
var ErrInUse = errors.New("in use")

// ErrDamage marks an error that a human has to look at: files that cannot be used.
var ErrDamage = errors.New("what is on the disk cannot be used")

// Names of the daemons, in the order of their start.
var Daemons = []string{"persistsrv", "logicsrv", "connsrv"}

// Paths are the files of one daemon.
type Paths struct{ Lock, PID, Ready, Outcome, Log string }

// PathsOf returns the files of the daemon of that name.
func PathsOf(c *Config, name string) Paths {
	run := filepath.Join(c.RunDir, name)
	return Paths{run + ".lock", run + ".pid", run + ".ready", run + ".handover", filepath.Join(c.LogDir, name+".log")}
}

// BellPath is the FIFO that wakes connsrv.
func BellPath(c *Config) string { return filepath.Join(c.RunDir, "conn.bell") }

// Process is a running daemon.
type Process struct {
	Name   string
	Config *Config // as at the start; OnReload tells of newer ones
	Log    *slog.Logger

	paths Paths
	lock  *Lock
	logs  *logFile
	level slog.LevelVar

	program  string // what signal 12 starts
	legacy   legacy
	handing  atomic.Bool // a hand-over is under way
	stopping atomic.Bool // signal 15 or 2 has come

	mu         sync.Mutex
	dumpState  func(io.Writer)
	onReload   func(*Config)
	onHandOver func()
	loadAgain  func() (*Config, error)
}

// Main runs a daemon and returns its exit code: configuration, lock, log, signals, then
// run, whose context ends at signal 15 or 2. checks are what else would keep it from a start with
// this configuration, for a predecessor that asks.
func Main(name string, run func(context.Context, *Process) error, checks ...func(*Config) error) int {
	left, program := takeLegacy(), programPath()
	args := os.Args[1:]
	checking := len(args) > 0 && args[0] == checkWord
	if checking {
		args = args[1:]
	}
	load := func(out io.Writer) (*Config, error) {
		c, rest, err := Load("", os.Environ(), args, out)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%w: unexpected argument %q", ErrUsage, rest[0])
		}
		return c, err
	}
	if len(os.Args) == 2 && strings.TrimLeft(os.Args[1], "-") == "version" {
		fmt.Println(name, Version, Commit, runtime.Version())
		return ExitOK
	}
	c, err := load(os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return ExitOK
	}
	var p *Process
	if err == nil && checking {
		if err = check(name, c, checks); err == nil {
			return ExitOK
		}
	}
	if err == nil {
		p, err = open(name, c, left)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitCode(err)
	}
	p.program, p.loadAgain = program, func() (*Config, error) { return load(io.Discard) }
	return p.main(run)
}

// main is Main from when the lock is held.
func (p *Process) main(run func(context.Context, *Process) error) int {
	defer p.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go p.watchSignals(stop)
	p.Log.Info("starting", "version", Version, "commit", Commit, "pid", os.Getpid(), "handed_over", p.legacy.there())
	err := run(ctx, p)
	if errors.Is(err, ErrHandOver) {
		err = p.Replace(-1, nil)
	}
	if err != nil {
		p.Log.Error("stopped", "err", err)
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return exitCode(err)
	}
	p.Log.Info("stopped")
	return ExitOK
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, ErrUsage):
		return ExitUsage
	case errors.Is(err, ErrInUse):
		return ExitInUse
	case errors.Is(err, ErrDamage):
		return ExitDamage
	}
	return ExitFailed
}

// Open takes the daemon's lock and opens its log. An error wraps ErrUsage where the
// directories are of no use, ErrInUse where another process holds the lock.
func Open(name string, c *Config) (*Process, error) {
	return open(name, c, legacy{lock: -1, state: -1})
}

// Inherit is Open for a program that is no daemon of Main's and replaces itself likewise (HandOver,
// Replace). It goes on with the predecessor's lock, if there is one.
func Inherit(name string, c *Config) (*Process, error) {
	left, program := takeLegacy(), programPath()
	p, err := open(name, c, left)
	if err == nil {
		p.program = program
	}
	return p, err
}

// open is Open for a program that may have found something left in its process.
func open(name string, c *Config, left legacy) (*Process, error) {
	p := &Process{Name: name, Config: c, paths: PathsOf(c, name), legacy: left}
	for _, d := range []string{c.DataDir, c.RunDir, c.LogDir} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return nil, fmt.Errorf("%w: directory: %w", ErrUsage, err)
		}
	}
	var err error
	if left.there() {
		if left.state >= 0 {
			unix.CloseOnExec(left.state)
		}
		p.lock, err = inheritLock(p.paths.Lock, left.lock)
	} else {
		p.lock, err = TakeLock(p.paths.Lock)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := os.WriteFile(p.paths.PID, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return nil, fmt.Errorf("%w: pid file: %w", ErrUsage, err)
	}
	_ = os.Remove(p.paths.Ready) // left by a predecessor; absent otherwise
	if p.logs, err = openLog(p.paths.Log); err != nil {
		return nil, fmt.Errorf("%w: log: %w", ErrUsage, err)
	}
	p.setLevel(c.LogLevel)
	p.Log = slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: &p.level})).With("tier", name)
	return p, nil
}

// TakeLock creates and locks a lock file. The lock ends with the process, however it ends.
// The error wraps ErrInUse while another process holds it, and names that process.
//
// Two locks are taken: flock, which excludes, and then a POSIX record lock, of which the
// kernel tells the holder's pid; what is written in the file could be a dead process'.
//
// An flock without the other lock is nobody's for long: its process is about to take the other one, or
// is dead, and a child that it was just making has the file until it runs its own program. That is
// waited for.
func TakeLock(path string) (*Lock, error) {
	if _, ours := held.Load(path); ours {
		return nil, fmt.Errorf("%w: lock %s is held by this process itself", ErrInUse, path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w: lock: %w", ErrUsage, err)
	}
	holder, err := flock(f)
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: lock %s is held by process %d: it is running already; stop it first", ErrInUse, path, holder)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held.Store(path, struct{}{})
	return &Lock{f}, nil
}

const (
	nobodysLock = 2 * time.Second // how long a lock that nobody seems to hold is waited for
	lockPause   = 2 * time.Millisecond
)

// flock takes the first lock, or tells whose it is; 0: that is not known.
func flock(f *os.File) (holder int, err error) {
	for end := time.Now().Add(nobodysLock); ; time.Sleep(lockPause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return 0, err
		}
		if holder := lockPID(f); holder != 0 || time.Now().After(end) {
			return holder, err
		}
	}
}

// lockPID asks the kernel who holds the POSIX lock; 0: nobody.
func lockPID(f *os.File) int {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l) != nil || l.Type == unix.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}

// held are the lock files of this process, by path.
var held sync.Map

// LockHolder returns the pid of the process that holds a lock, 0 if nobody does. It takes
// no lock itself, so that it never stands in the way of a daemon that starts.
func LockHolder(path string) (int, error) {
	if _, ours := held.Load(path); ours {
		// The file must not even be opened: closing any descriptor of it would end our
		// POSIX lock, and with it the answer that others get.
		return os.Getpid(), nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return lockPID(f), nil
}

// Lock is a lock file that this process holds.
type Lock struct{ f *os.File }

// Close ends the lock. The file stays: another process may be about to take it.
func (l *Lock) Close() error {
	held.Delete(l.f.Name())
	return l.f.Close()
}

func (p *Process) setLevel(name string) {
	// The name was checked with the configuration; UnmarshalText knows the same words.
	var l slog.Level
	if l.UnmarshalText([]byte(name)) == nil {
		p.level.Set(l)
	}
}

// Ready says that the daemon serves: its pid, and what it is.
func (p *Process) Ready() error {
	tmp := p.paths.Ready + ".tmp"
	err := os.WriteFile(tmp, fmt.Appendln(nil, os.Getpid(), Version, Commit), 0o644)
	if err == nil {
		err = os.Rename(tmp, p.paths.Ready)
	}
	if err == nil {
		err = p.noteHandedOver()
	}
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

// ReadReady reads the ready file of the daemon of that name: whose it is, and which version and
// commit that says it is. 0: there is none.
func ReadReady(c *Config, name string) (pid int, version string) {
	b, err := os.ReadFile(PathsOf(c, name).Ready)
	if err != nil {
		return 0, ""
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err = strconv.Atoi(first)
	if err != nil {
		return 0, ""
	}
	return pid, rest
}

// Close leaves nothing but the empty lock file and the log.
func (p *Process) Close() {
	os.Remove(p.paths.Ready)
	os.Remove(p.paths.PID)
	p.logs.close()
	p.lock.Close()
}

// OnState sets what signal 3 writes besides the goroutines' stacks. It is called from
// another goroutine than the daemon's loop.
func (p *Process) OnState(dump func(io.Writer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dumpState = dump
}

// OnReload sets who is told of a newer configuration (signal 1), from another goroutine.
func (p *Process) OnReload(f func(*Config)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onReload = f
}

// watchSignals: 15 and 2 stop, 1 reloads, 3 writes state and stacks, 10 reopens the log, 12 hands
// over.
func (p *Process) watchSignals(stop context.CancelFunc) {
	ch := make(chan os.Signal, 16)
	if p.legacy.stop { // it came to our predecessor
		ch <- syscall.SIGTERM
	}
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	signal.Ignore(syscall.SIGPIPE)
	for s := range ch {
		switch s {
		case syscall.SIGTERM, syscall.SIGINT:
			p.stopping.Store(true)
			p.Log.Info("stopping", "signal", s.String())
			os.Remove(p.paths.Ready)
			stop()
		case syscall.SIGHUP:
			p.reload()
		case syscall.SIGQUIT:
			p.writeState()
		case syscall.SIGUSR1:
			if err := p.logs.reopen(); err != nil {
				p.Log.Error("reopening the log failed", "err", err)
			}
			p.Log.Info("log reopened")
		case syscall.SIGUSR2:
			go p.HandOver()
		}
	}
}

func (p *Process) reload() {
	next, err := p.loadAgain()
	if err != nil {
		p.Log.Error("reload refused, the old configuration stays", "err", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	changed, restart := p.Config.Differences(next)
	p.setLevel(next.LogLevel)
	if p.onReload != nil {
		p.onReload(next)
	}
	p.Log.Info("configuration reloaded", "changed", changed, "need_restart", restart)
}

func (p *Process) writeState() {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	p.mu.Lock()
	dump := p.dumpState
	p.mu.Unlock()
	var b strings.Builder
	if dump != nil {
		dump(&b)
	}
	p.Log.Info("state", "state", b.String(), "goroutines", runtime.NumGoroutine())
	fmt.Fprintf(p.logs, "%s\n", stacks)
}
