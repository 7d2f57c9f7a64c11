package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// pageSize is what Mem allocates and keeps track of; sectorSize what a power cut keeps or
// loses as a whole.
const (
	pageSize   = 4096
	sectorSize = 512
)

// Errors of a Mem.
var (
	// ErrStale is the answer to a file that was open when the process died.
	ErrStale = errors.New("file was opened by a process that is dead")
	// ErrKilled, returned by a fault function, makes Mem panic with it: the process dies there.
	ErrKilled = errors.New("process killed")
)

// Mem is a file system in memory that can be killed, crashed, filled and made to fail.
//
// It holds each thing twice, as the running system sees it and as it is on the disk. Sync and
// SyncDir copy from the one to the other; Crash lets chance decide about the rest.
type Mem struct {
	mu       sync.Mutex
	seen     map[string]*node   // by path; "" is the root
	disk     map[string]*node   // names that survive a power cut
	pending  map[string][]dirOp // by directory, oldest first: since its last SyncDir
	locks    map[string]uint64  // by path: life that holds it
	life     uint64             // counts the deaths of the process
	calls    int
	fault    func(Call) error
	capacity int64
	lies     bool // Sync and SyncDir do nothing: the negative control of crash tests
}

// Call is one use of the file system, told to the fault function before it happens.
type Call struct {
	N    int    // from 1, over the life of the Mem
	Op   string // create open remove rename list mkdir syncdir space lock read write sync reserve truncate size close
	Name string
}

// Changes says whether the call is one that changes something, or reads only.
func (c Call) Changes() bool {
	switch c.Op {
	case "open", "list", "space", "read", "size", "close":
		return false
	}
	return true
}

// Partial is an error of the fault function: N bytes of the write happen, then Err.
type Partial struct {
	N   int
	Err error
}

func (p *Partial) Error() string { return "partial write: " + p.Err.Error() }
func (p *Partial) Unwrap() error { return p.Err }

type node struct {
	dir      bool
	pages    map[int64]*[pageSize]byte // as seen; missing pages are zero
	onDisk   map[int64]*[pageSize]byte
	dirty    map[int64]bool
	size     int64
	diskSize int64
	reserved int64
}

func newFileNode() *node {
	return &node{pages: map[int64]*[pageSize]byte{}, onDisk: map[int64]*[pageSize]byte{}, dirty: map[int64]bool{}}
}

// dirOp changes one name: to node, or away where node is nil.
type dirOp struct {
	name string
	node *node
	from string // rename: the name that goes at the same instant
}

// NewMem makes an empty file system whose root is durable.
func NewMem() *Mem {
	root := &node{dir: true}
	return &Mem{
		seen:    map[string]*node{"": root},
		disk:    map[string]*node{"": root},
		pending: map[string][]dirOp{},
		locks:   map[string]uint64{},
	}
}

// SetFault makes f see every call before it happens; an error from it is the call's result.
func (m *Mem) SetFault(f func(Call) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// SetCapacity bounds the bytes that files may take; 0: no bound.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// LieAboutSync makes Sync and SyncDir do nothing and say that they did.
func (m *Mem) LieAboutSync(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lies = on
}

// Calls is how many calls there have been.
func (m *Mem) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// enter counts a call and asks the fault function. REQUIRES: m.mu is held.
func (m *Mem) enter(op, name string) error {
	m.calls++
	if m.fault == nil {
		return nil
	}
	err := m.fault(Call{N: m.calls, Op: op, Name: name})
	if err == nil {
		return nil
	}
	if p, ok := err.(*Partial); ok {
		return p
	}
	return m.give(op, name, err)
}

// give turns an error of the fault function into the call's.
func (m *Mem) give(op, name string, err error) error {
	if errors.Is(err, ErrKilled) {
		panic(ErrKilled)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func clean(name string) string {
	name = path.Clean("/" + name)
	return strings.TrimPrefix(name, "/")
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// change makes a name stand for n (nil: for nothing) and remembers that this is not durable.
func (m *Mem) change(name string, n *node, from string) {
	if from != "" {
		delete(m.seen, from)
	}
	if n == nil {
		delete(m.seen, name)
	} else {
		m.seen[name] = n
	}
	dir := parent(name)
	m.pending[dir] = append(m.pending[dir], dirOp{name: name, node: n, from: from})
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if err := m.enter("create", name); err != nil {
		return nil, err
	}
	if m.seen[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if d := m.seen[parent(name)]; d == nil || !d.dir {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	n := newFileNode()
	m.change(name, n, "")
	return &memFile{m: m, n: n, name: name, life: m.life}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if err := m.enter("open", name); err != nil {
		return nil, err
	}
	n := m.seen[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if n.dir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	return &memFile{m: m, n: n, name: name, life: m.life}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if err := m.enter("remove", name); err != nil {
		return err
	}
	n := m.seen[name]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if n.dir && len(m.children(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: unix.ENOTEMPTY}
	}
	m.change(name, nil, "")
	return nil
}

// Rename implements FS for two files of one directory.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = clean(from), clean(to)
	if err := m.enter("rename", to); err != nil {
		return err
	}
	n := m.seen[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if parent(from) != parent(to) || n.dir {
		return &fs.PathError{Op: "rename", Path: from, Err: unix.EXDEV}
	}
	m.change(to, n, from)
	return nil
}

// children returns the names in a directory.
func (m *Mem) children(dir string) []string {
	var names []string
	for name := range m.seen {
		if name != "" && parent(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if err := m.enter("list", dir); err != nil {
		return nil, err
	}
	if n := m.seen[dir]; n == nil || !n.dir {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	return m.children(dir), nil
}

// Mkdir implements FS.
func (m *Mem) Mkdir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if err := m.enter("mkdir", dir); err != nil {
		return err
	}
	at := ""
	for _, part := range strings.Split(dir, "/") {
		at = path.Join(at, part)
		n := m.seen[at]
		if n == nil {
			m.change(at, &node{dir: true}, "")
		} else if !n.dir {
			return &fs.PathError{Op: "mkdir", Path: at, Err: unix.ENOTDIR}
		}
	}
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if err := m.enter("syncdir", dir); err != nil {
		return err
	}
	if n := m.seen[dir]; n == nil || !n.dir {
		return &fs.PathError{Op: "syncdir", Path: dir, Err: fs.ErrNotExist}
	}
	if !m.lies {
		m.persistNames(dir, len(m.pending[dir]))
	}
	return nil
}

// persistNames makes the first n pending changes of a directory durable.
func (m *Mem) persistNames(dir string, n int) {
	for _, op := range m.pending[dir][:n] {
		if op.from != "" {
			delete(m.disk, op.from)
		}
		if op.node == nil {
			delete(m.disk, op.name)
		} else {
			m.disk[op.name] = op.node
		}
	}
	m.pending[dir] = m.pending[dir][n:]
}

// Space implements FS.
func (m *Mem) Space() (free, total uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("space", ""); err != nil {
		return 0, 0, err
	}
	if m.capacity == 0 {
		return 1 << 50, 1 << 50, nil
	}
	return uint64(max(0, m.capacity-m.used())), uint64(m.capacity), nil
}

func (m *Mem) used() int64 {
	var sum int64
	for _, n := range m.seen {
		sum += n.taken()
	}
	return sum
}

// taken is the space of one file: its pages, or what was reserved for more of them.
func (n *node) taken() int64 {
	return max(int64(len(n.pages))*pageSize, (n.reserved+pageSize-1)/pageSize*pageSize)
}

type memLock struct {
	m    *Mem
	name string
	life uint64
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = clean(name)
	if err := m.enter("lock", name); err != nil {
		return nil, err
	}
	if life, held := m.locks[name]; held && life == m.life {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrLocked}
	}
	if m.seen[name] == nil {
		m.change(name, newFileNode(), "")
	}
	m.locks[name] = m.life
	return &memLock{m, name, m.life}, nil
}

// Close gives the lock back.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.name] == l.life {
		delete(l.m.locks, l.name)
	}
	return nil
}
