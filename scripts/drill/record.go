package drill

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The history file of a run: one line an operation, in the order in which they were noted.
//
//	KIND NANOSECONDS {JSON of the operation}
//
// The first line is of kind "began" and has the version of the format.

// historyFile is its name in the directory of a run.
const historyFile = "history"

// formatVersion is raised with each change of what an operation means.
const formatVersion = 1

// maxLine bounds a line when a file is read: the longest are parcels of messages.
const maxLine = 16 << 20

// operation is one line of the history.
type operation interface {
	kind() string
	// apply changes what the history knows. REQUIRES: h.mu held.
	apply(h *history, at time.Time)
}

// kinds makes an empty operation of each kind.
var kinds = map[string]func() operation{}

// register makes operations readable; called once for each type, when the program starts.
func register(each ...func() operation) {
	for _, f := range each {
		kinds[f().kind()] = f
	}
}

// recorder appends operations to a file. Its methods are called by one goroutine at a time.
type recorder struct {
	f   io.WriteCloser
	w   *bufio.Writer
	buf bytes.Buffer
	enc *json.Encoder
	// atOnce has each operation handed over before the next step is done: somebody reads at the other end.
	atOnce bool
	err    error // the first; what comes behind it is not written
}

func createRecorder(dir string) (*recorder, error) {
	f, err := os.Create(filepath.Join(dir, historyFile))
	if err != nil {
		return nil, err
	}
	return newRecorder(f), nil
}

func newRecorder(f io.WriteCloser) *recorder {
	r := &recorder{f: f, w: bufio.NewWriterSize(f, 1<<20)}
	r.enc = json.NewEncoder(&r.buf)
	return r
}

// write appends one operation; at is the time since the run began.
func (r *recorder) write(op operation, at time.Duration) {
	if r.err != nil {
		return
	}
	r.buf.Reset()
	r.buf.WriteString(op.kind())
	r.buf.WriteByte(' ')
	r.buf.Write(strconv.AppendInt(r.buf.AvailableBuffer(), int64(at), 10))
	r.buf.WriteByte(' ')
	if r.err = r.enc.Encode(op); r.err == nil {
		_, r.err = r.w.Write(r.buf.Bytes())
	}
	if r.atOnce {
		_ = r.flush() // keeps its error
	}
}

// flush hands what is buffered to the operating system.
func (r *recorder) flush() error {
	if r.err == nil {
		r.err = r.w.Flush()
	}
	return r.err
}

// line is one operation that was read, and when it was noted.
type line struct {
	at time.Duration
	op operation
}

// parseLine reads one line, without its end.
func parseLine(text []byte) (line, error) {
	name, rest, ok := bytes.Cut(text, []byte{' '})
	stamp, body, ok2 := bytes.Cut(rest, []byte{' '})
	at, err := strconv.ParseInt(string(stamp), 10, 64)
	if !ok || !ok2 || err != nil || at < 0 {
		return line{}, fmt.Errorf("%.60q is no operation: want KIND NANOSECONDS JSON", text)
	}
	empty := kinds[string(name)]
	if empty == nil {
		return line{}, fmt.Errorf("there is no operation %.30q: the file was written by another version", name)
	}
	op := empty()
	if err := json.Unmarshal(body, op); err != nil {
		return line{}, fmt.Errorf("operation %s: %w", name, err)
	}
	return line{time.Duration(at), op}, nil
}

// readHistory calls each for every operation of a file. What a run that was killed has written last may
// be torn; only a whole line counts.
func readHistory(path string, each func(line) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 1<<20), maxLine)
	in.Split(wholeLines)
	n := 0
	for in.Scan() {
		n++
		l, err := parseLine(in.Bytes())
		if err == nil {
			err = each(l)
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, n, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%s behind line %d: %w", path, n, err)
	}
	if n == 0 {
		return fmt.Errorf("%s is empty", path)
	}
	return nil
}

// wholeLines is a bufio.SplitFunc that drops a last line without an end.
func wholeLines(b []byte, _ bool) (int, []byte, error) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1, b[:i], nil
	}
	return 0, nil, nil
}
