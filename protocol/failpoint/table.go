package failpoint

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// A table is a file in shared memory in which all processes of one program count their crossings,
// and which tells the one that makes a certain crossing to die. As counts outlive processes, an
// order to die is followed once: whoever is started again counts on from where it stood.
//
//	| name, filled up with zeros 48 | crossings u64 | die at u64 |   a row of 64 bytes, 256 of them
//
// Both numbers are in the machine's order and read and written atomically: the table is never
// carried to another machine. Rows are filled from the front, under the file's lock, and never
// change their names. Whoever dies anywhere leaves a table that is right.
const (
	tableRows = 256
	rowBytes  = 64
	nameBytes = 48
)

// TableVariable is the environment variable that names the directory of tables. A daemon's table
// there is called like its program.
const TableVariable = "TRIMQ_POINTS"

// row is one place, as it lies in the file.
type row struct {
	name      [nameBytes]byte
	crossings uint64
	dieAt     uint64 // the crossing at which to die; 0: none
}

// Table is an attached table. Its methods may be called by any goroutine.
type Table struct {
	file *os.File
	rows *[tableRows]row

	known sync.Map // name → *row
}

// OpenTable attaches the table of that path, which it makes if it is not there.
func OpenTable(path string) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(tableRows * rowBytes); err != nil {
		f.Close()
		return nil, fmt.Errorf("size of table: %w", err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, tableRows*rowBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("mmap %s: %w", path, err)
	}
	return &Table{file: f, rows: (*[tableRows]row)(unsafe.Pointer(unsafe.SliceData(b)))}, nil
}

// Close lets go of the table. Nobody may use it any more.
func (t *Table) Close() error {
	return syscallErrors(syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(t.rows)), tableRows*rowBytes)), t.file.Close())
}

func syscallErrors(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// cross counts a crossing, and tells whether it is the one to die at.
func (t *Table) cross(name string) (fatal bool, err error) {
	r, err := t.row(name)
	if err != nil {
		return false, err
	}
	n := atomic.AddUint64(&r.crossings, 1)
	return n == atomic.LoadUint64(&r.dieAt), nil
}

// DieAt orders whoever makes the n-th crossing of a place to die there; 0 takes an order back.
func (t *Table) DieAt(name string, n uint64) error {
	r, err := t.row(name)
	if err == nil {
		atomic.StoreUint64(&r.dieAt, n)
	}
	return err
}

// Crossings are the counts of all places that were ever crossed, or asked for.
func (t *Table) Crossings() map[string]uint64 {
	counts := map[string]uint64{}
	for i := range t.rows {
		if name := t.rows[i].text(); name != "" {
			counts[name] = atomic.LoadUint64(&t.rows[i].crossings)
		}
	}
	return counts
}

// Count is how often a place was crossed.
func (t *Table) Count(name string) uint64 { return t.Crossings()[name] }

// row finds a place's row, or takes the first free one for it.
func (t *Table) row(name string) (*row, error) {
	if r, ok := t.known.Load(name); ok {
		return r.(*row), nil
	}
	if name == "" || len(name) > nameBytes {
		return nil, fmt.Errorf("failpoint %q: a name has 1 to %d bytes", name, nameBytes)
	}
	// The lock goes with the process that dies holding it.
	if err := syscall.Flock(int(t.file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock of table: %w", err)
	}
	defer syscall.Flock(int(t.file.Fd()), syscall.LOCK_UN) //nolint:errcheck // closing ends it too
	for i := range t.rows {
		r := &t.rows[i]
		switch r.text() {
		case "":
			copy(r.name[:], name)
			fallthrough
		case name:
			t.known.Store(name, r)
			return r, nil
		}
	}
	return nil, fmt.Errorf("failpoint %q: the table's %d rows are taken", name, tableRows)
}

func (r *row) text() string {
	n := 0
	for n < nameBytes && r.name[n] != 0 {
		n++
	}
	return string(r.name[:n])
}
