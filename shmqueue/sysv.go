package shmqueue

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System V shared memory as the kernel offers it. A segment has a key that is known
// beforehand, an id that is never used twice in a row, an owner, a mode and a size.
const (
	ipcCreat = 0o1000
	ipcExcl  = 0o2000
	ipcRmid  = 0
	ipcStat  = 2

	shmReadOnly = 0o10000
	shmRemoved  = 0o1000 // in the mode: gone with its last detach

	segmentMode = 0o600
)

// Info is what the kernel knows of a segment, and of what kind its first word says it is.
type Info struct {
	Key        int
	ID         int
	Size       uint64
	UID        int
	Mode       uint32 // the permission bits
	Removed    bool   // marked for removal: no new attacher finds it
	Attached   int    // attachments now
	CreatorPID int
	LastPID    int // of the last attach or detach
	Attach     time.Time
	Detach     time.Time
	Change     time.Time
	Kind       string // "ring", "metrics", "unfinished" or "foreign"; "" where it may not be read
}

// Stat looks at the segment with this key. ErrNoSegment says that there is none.
func Stat(key int) (Info, error) {
	id, err := find(key)
	if err != nil {
		return Info{}, err
	}
	info, err := statID(key, id)
	if err != nil {
		return Info{}, err
	}
	info.Kind = kindOf(id)
	return info, nil
}

// Remove removes the segment with this key. It refuses one that is attached, and one that is
// not a segment of TriMQ.
func Remove(key int) error {
	info, err := Stat(key)
	if err != nil {
		return err
	}
	switch {
	case info.Kind == "foreign" || info.Kind == "":
		return &SegmentError{Key: key, What: fmt.Sprintf("is not TriMQ's (id %d, owner uid %d)", info.ID, info.UID), Mend: "it is left alone"}
	case info.Attached > 0:
		return &SegmentError{
			Key:  key,
			What: fmt.Sprintf("is in use: %d attachments, the last by pid %d", info.Attached, info.LastPID),
			Mend: "stop the broker first (scripts/mq_server.stop.sh 15)",
		}
	}
	if _, err := unix.SysvShmCtl(info.ID, ipcRmid, nil); err != nil {
		return &SegmentError{Key: key, What: "cannot be removed", Err: err}
	}
	return nil
}

// checkKey refuses keys that the kernel treats as something else.
func checkKey(key int) error {
	if key <= 0 || key > 1<<31-1 {
		return &SegmentError{Key: key, What: "is no usable key", Mend: "choose shm_key_base from 1 to 2147483644, or 0 for the default keys"}
	}
	return nil
}

// find returns the id behind a key.
func find(key int) (int, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	id, err := unix.SysvShmGet(key, 0, 0)
	if errors.Is(err, unix.ENOENT) {
		return 0, &SegmentError{Key: key, What: "does not exist", Mend: "start the broker", Err: ErrNoSegment}
	}
	if err != nil {
		return 0, &SegmentError{Key: key, What: "cannot be looked up", Err: err}
	}
	return id, nil
}

// statID asks the kernel about a segment.
func statID(key, id int) (Info, error) {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, ipcStat, &d); err != nil {
		if errors.Is(err, unix.EACCES) {
			return Info{}, &SegmentError{Key: key, What: fmt.Sprintf("belongs to another user (id %d)", id), Mend: mendForeign, Err: err}
		}
		return Info{}, &SegmentError{Key: key, What: fmt.Sprintf("cannot be examined (id %d)", id), Err: err}
	}
	return Info{
		Key:        key,
		ID:         id,
		Size:       d.Segsz,
		UID:        int(d.Perm.Uid),
		Mode:       d.Perm.Mode & 0o777,
		Removed:    d.Perm.Mode&shmRemoved != 0,
		Attached:   int(d.Nattch),
		CreatorPID: int(d.Cpid),
		LastPID:    int(d.Lpid),
		Attach:     time.Unix(d.Atime, 0),
		Detach:     time.Unix(d.Dtime, 0),
		Change:     time.Unix(d.Ctime, 0),
	}, nil
}

// kindOf attaches for a moment and reads the first word.
func kindOf(id int) string {
	mem, err := unix.SysvShmAttach(id, 0, shmReadOnly)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.SysvShmDetach(mem) }()
	if len(mem) < HeaderSize {
		return "foreign"
	}
	line := (*identity)(unsafe.Pointer(&mem[0]))
	switch line.magic.Load() {
	case ringMagic:
		return "ring"
	case metricsMagic:
		return "metrics"
	case 0:
		if line.begun(uint64(len(mem) - HeaderSize)) {
			return "unfinished"
		}
	}
	return "foreign"
}
