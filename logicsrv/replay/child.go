package replay

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
	"golang.org/x/sys/unix"
)

const (
	// niceness of a child: the daemons come first. A child gets what they leave, and a third of the
	// share of a thread of theirs where they leave nothing.
	niceness = 5
	// oomScore makes a child the first to be killed where memory runs out.
	oomScore = 500
)

// Child is main of a child of Process: the checkpoint goes to out, what there is to say to say.
// It returns the exit code.
func Child(args []string, out, say io.Writer) int {
	stepBack()
	if err := child(args[2:], out, say); err != nil {
		fmt.Fprintln(say, err)
		return 1
	}
	return 0
}

func child(args []string, out, say io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("%s DATA SHARD LSN: it is for logicsrv's own use", command)
	}
	shard, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return fmt.Errorf("shard %q: %w", args[1], err)
	}
	lsn, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("lsn %q: %w", args[2], err)
	}
	r, err := NewMaker(core.Config{Shard: uint32(shard)}, commitlog.DirFS(args[0]), lsn, nil).Make()
	if err != nil {
		return err
	}
	if r.Passed != nil {
		fmt.Fprintln(say, r.Passed)
	}
	for _, b := range [][]byte{journal.CheckpointHeader(lsn, 0, r.Blob), r.Blob} {
		if _, err := out.Write(b); err != nil {
			return fmt.Errorf("hand over the checkpoint: %w", err)
		}
	}
	return nil
}

// stepBack lets the daemons have processors and memory first, and says in ps who this is. What
// cannot be set is no error: it is a courtesy.
func stepBack() {
	runtime.GOMAXPROCS(1)
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks { // each thread has its own; later ones inherit it
		if id, err := strconv.Atoi(filepath.Base(task)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
		}
	}
	_ = os.WriteFile("/proc/self/comm", []byte("logicsrv-replay"), 0)
	_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0) // of the session
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0)
}
