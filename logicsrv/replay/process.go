package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/trimq/trimq/protocol/journal"
)

// Process makes checkpoints in processes of their own, children in which Child does the work.
type Process struct {
	Path  string // of the program; its main calls Child where Asked says so
	Data  string // the data directory
	Shard uint32
}

// command is the first argument of a child.
const command = "replay"

// Asked tells whether this process is a child that is to make a checkpoint.
func Asked(args []string) bool { return len(args) > 1 && args[1] == command }

// Self is this program, for Process.Path: the file that it was started from, even if another one
// has its name by now.
const Self = "/proc/self/exe"

// Make has the checkpoint of the state at lsn made by a child, which is killed when ctx ends or
// this process does. spare is memory for the blob, or nil.
func (p Process) Make(ctx context.Context, lsn uint64, spare []byte) (Result, error) {
	// The child dies with the thread that has started it, so that has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, p.Path, command, p.Data, strconv.FormatUint(uint64(p.Shard), 10), strconv.FormatUint(lsn, 10))
	cmd.Args[0] = os.Args[0] // what ps shows
	// A session of its own: what the child uses is then not taken from logicsrv's share where the
	// kernel divides processors among sessions, and what a terminal interrupts is not the child.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	said := &firstBytes{limit: 4096}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Result{}, fmt.Errorf("pipe to the process that replays: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("start the process that replays: %w", err)
	}
	blob, readErr := receive(out, lsn, spare)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, out) // so that the child comes to its end, and says why
	}
	if err := errors.Join(cmd.Wait(), readErr); err != nil {
		return Result{}, fmt.Errorf("the process that replays: %w: %s", err, said)
	}
	result := Result{Blob: blob, Processor: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if len(said.b) > 0 {
		result.Passed = errors.New(said.String())
	}
	return result, nil
}

const (
	// maxBlob bounds what is read of a child, in bytes.
	maxBlob = 4 << 30
	// onTrust is how much memory is taken on a child's word; beyond it must have sent as much.
	onTrust = 64 << 20
)

// receive reads what a child sends, a checkpoint file, if it can into memory that is taken once:
// to grow it is to copy it, and whoever has to stop the threads of this process waits for that.
func receive(r io.Reader, lsn uint64, spare []byte) (blob []byte, err error) {
	const head = journal.CheckpointHeaderSize
	file, err := readMore(r, slices.Grow(spare[:0], head), head)
	if err != nil {
		return nil, err
	}
	left := binary.LittleEndian.Uint64(file[head-8:])
	if left > maxBlob {
		return nil, fmt.Errorf("a state of %d bytes; at most %d are taken", left, int64(maxBlob))
	}
	for left > 0 {
		n := int(min(left, uint64(max(onTrust, len(file), cap(file)-len(file)))))
		if cap(file)-len(file) < n {
			file = append(make([]byte, 0, len(file)+n+n/8), file...)
		}
		if file, err = readMore(r, file, n); err != nil {
			return nil, err
		}
		left -= uint64(n)
	}
	at, _, blob, err := journal.DecodeCheckpoint(file)
	if err == nil && at != lsn {
		err = fmt.Errorf("the state at lsn=%d", at)
	}
	if err != nil {
		return nil, err
	}
	return blob, nil
}

// readMore reads n bytes behind b, which has room for them.
func readMore(r io.Reader, b []byte, n int) ([]byte, error) {
	m, err := io.ReadFull(r, b[len(b):len(b)+n])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b[:len(b)+m], err
}

// firstBytes keeps the first bytes that are written to it.
type firstBytes struct {
	b     []byte
	limit int
}

// Write implements io.Writer.
func (f *firstBytes) Write(p []byte) (int, error) {
	f.b = append(f.b, p[:min(len(p), f.limit-len(f.b))]...)
	return len(p), nil
}

func (f *firstBytes) String() string { return strings.TrimSpace(string(f.b)) }
