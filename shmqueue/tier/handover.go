package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/protocol/failpoint"
)

// Hand-over (signal 12): a daemon replaces its program by the one that has its program's name on
// the disk now, by exec. The process stays, and with it its pid, its locks, its place under the
// supervisor, and the descriptors that it leaves open.
//
//	signal 12 ─► tryProgram ─► the daemon's own part (OnHandOver) ─► Replace ─► Main, of the new one
//	                 │ it does not start: refused, the old one goes on
//
// Nothing is given up before the new program has shown, as a child (`DAEMON check`), that it
// starts, reads this configuration, fits these segments, and takes what is passed to it. What it dies of
// behind that is as any death: the supervisor starts it again.

const (
	// handOverVariable is what a predecessor has left in this very process:
	// "LOCK STATE STOP", descriptors as numbers (-1: none), and 1 if signal 15 has come meanwhile.
	handOverVariable = "TRIMQ_HANDOVER"
	// checkWord, in front of the settings, asks a daemon whether it could take over.
	checkWord = "check"
	// HandOverVersion is that of what daemons pass on (docs/formats/handover.md). A program that
	// takes another one is refused. Version ladder: 1, the first;
	// 2, with connections of all protocols; 3, with the fetch sessions of Kafka's clients, what AMQP's
	// connections are, and the definitions; 4, with the records for which batches of
	// Kafka's clients are refused, and of a build whose rings have leader epochs of committed offsets.
	HandOverVersion = 4
	// tryFor is how long the new program may take to show that it starts.
	tryFor = 10 * time.Second
)

// heldBack are the signals that have a meaning here. They wait while one program is gone and the
// next one is not there yet: until that asks for them.
var heldBack = []syscall.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// legacy is what the predecessor has left in this process. Its zero value is not valid: see takeLegacy.
type legacy struct {
	lock, state int // descriptors; -1: none
	stop        bool
}

// takeLegacy reads what was left, and takes it out of the environment: children shall not see it.
// What cannot be read counts as nothing.
func takeLegacy() legacy {
	none := legacy{lock: -1, state: -1}
	text, ok := os.LookupEnv(handOverVariable)
	os.Unsetenv(handOverVariable)
	if !ok {
		return none
	}
	var l legacy
	var stop int
	if n, err := fmt.Sscanf(text, "%d %d %d", &l.lock, &l.state, &stop); n != 3 || err != nil || l.lock < 3 {
		return none
	}
	l.stop = stop == 1
	return l
}

func (l legacy) there() bool { return l.lock >= 0 }

// String is the variable's value.
func (l legacy) String() string {
	stop := 0
	if l.stop {
		stop = 1
	}
	return fmt.Sprint(l.lock, " ", l.state, " ", stop)
}

// inheritLock goes on with the lock of the predecessor, or takes it anew where the descriptor is
// not that of the lock file. Both locks are asked for again: old kernels lose the second one.
func inheritLock(path string, fd int) (*Lock, error) {
	unix.CloseOnExec(fd)
	var ours, named unix.Stat_t
	if unix.Fstat(fd, &ours) != nil || unix.Stat(path, &named) != nil || ours.Ino != named.Ino || ours.Dev != named.Dev {
		unix.Close(fd)
		return TakeLock(path)
	}
	f := os.NewFile(uintptr(fd), path)
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("inherited lock %s: %w", path, err)
	}
	held.Store(path, struct{}{})
	return &Lock{f}, nil
}

// ErrHandOver is what a daemon's run returns to have its program replaced.
var ErrHandOver = errors.New("hand over")

// OnHandOver sets what signal 12 does once the new program has shown that it starts: f has the
// daemon's run return ErrHandOver as soon as nothing is lost by it; or it calls Replace by itself.
// Without it, signal 12 is refused.
func (p *Process) OnHandOver(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onHandOver = f
}

// Legacy is the descriptor of what the predecessor has passed to Replace; -1: this is a start.
func (p *Process) Legacy() int { return p.legacy.state }

// HandOver is signal 12. It takes a while: a child is tried.
func (p *Process) HandOver() {
	if !p.handing.CompareAndSwap(false, true) {
		p.Log.Warn("hand-over is under way already; signal 12 is ignored")
		return
	}
	p.mu.Lock()
	f := p.onHandOver
	p.mu.Unlock()
	if f == nil {
		p.Refuse(errors.New("this daemon is not as far yet, or does not hand over"))
		return
	}
	version, err := p.tryProgram()
	if err != nil {
		p.Refuse(err)
		return
	}
	p.Log.Info("handing over", "program", p.program, "version", version)
	failpoint.Hit("handover.begin")
	f()
}

// Refuse ends a hand-over: this program goes on, and says why.
func (p *Process) Refuse(err error) {
	p.Log.Error("hand-over refused, this program goes on", "program", p.program, "err", err)
	if err := os.WriteFile(p.paths.Outcome, fmt.Appendln(nil, "refused:", err), 0o644); err != nil {
		p.Log.Error("the refusal could not be noted", "err", err)
	}
	p.handing.Store(false)
}

// tryProgram lets the program on the disk show that it could take over.
func (p *Process) tryProgram() (version string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), tryFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, append([]string{checkWord}, os.Args[1:]...)...)
	cmd.WaitDelay = time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("the program on the disk does not answer within %v", tryFor)
	}
	if err != nil {
		return "", fmt.Errorf("the program on the disk does not start: %w: %s", err, strings.TrimSpace(said.String()))
	}
	words := strings.Fields(string(out))
	if len(words) != 4 || words[0] != p.Name || words[3] != strconv.Itoa(HandOverVersion) {
		return "", fmt.Errorf("the program on the disk is another one: it says %q, want %q, a version, and %d", out, p.Name, HandOverVersion)
	}
	return words[1] + " " + words[2], nil
}

// check is what a program answers that is asked whether it could take over: the
// configuration is right, and the segments are as it wants them.
func check(name string, c *Config, checks []func(*Config) error) error {
	for _, try := range append([]func(*Config) error{tryAttach}, checks...) {
		if err := try(c); err != nil {
			return err
		}
	}
	Answer(name, os.Stdout)
	return nil
}

// Answer says, to a predecessor that asks, that this program could take over.
func Answer(name string, out io.Writer) {
	fmt.Fprintln(out, name, Version, Commit, HandOverVersion)
}

// Replace makes the program on the disk that of this process. The lock goes over to it, and state
// (-1: none), which is for Legacy, and fds stay open under their numbers. If it returns, all is as
// before, but nobody has called Refuse yet.
func (p *Process) Replace(state int, fds []int) error {
	// Nobody makes a child meanwhile: it would have what stays open.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	l := legacy{lock: int(p.lock.f.Fd()), state: state}
	fds = append([]int{l.lock}, fds...)
	if state >= 0 {
		fds = append(fds, state)
	}
	defer func() {
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
	}()
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d open: %w", fd, err)
		}
	}
	failpoint.Hit("handover.kept")
	// Exec gives up what the runtime has raised the limit of open files to; we may go on.
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	// The new program gets the signal mask of the thread that makes the call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	mask := maskOf(heldBack)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &mask, &before); err != nil {
		return fmt.Errorf("hold signals back: %w", err)
	}
	l.stop = p.stopping.Load()
	failpoint.Hit("handover.exec")
	err := syscall.Exec(p.program, os.Args, append(os.Environ(), handOverVariable+"="+l.String()))
	return errors.Join(fmt.Errorf("exec %s: %w", p.program, err),
		unix.Setrlimit(unix.RLIMIT_NOFILE, &files), unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
}

func maskOf(signals []syscall.Signal) (set unix.Sigset_t) {
	for _, s := range signals {
		n := uint(s - 1)
		set.Val[n/64] |= 1 << (n % 64)
	}
	return set
}

// CloseStray closes the sockets that came with the program before this one and that nobody has
// taken over: they are the only ones that would stay open in a child. Their peers would wait for
// ever.
func (p *Process) CloseStray() (closed int) {
	if !p.legacy.there() {
		return 0
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		p.Log.Warn("what the predecessor left open is not known", "err", err)
		return 0
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name.Name())
		if err != nil || fd <= 2 {
			continue
		}
		var st unix.Stat_t
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			unix.Close(fd)
			closed++
		}
	}
	return closed
}

// noteHandedOver says, once the new program serves, that it does.
func (p *Process) noteHandedOver() error {
	if !p.legacy.there() {
		return nil
	}
	return os.WriteFile(p.paths.Outcome, fmt.Appendln(nil, "done:", Version, Commit), 0o644)
}

// programPath is the name by which this program was started, in full: another one may have it by
// now. A link is not followed, as its change is how some install another version.
func programPath() string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		return path
	}
	if path, err = os.Executable(); err != nil {
		return os.Args[0]
	}
	return path
}
