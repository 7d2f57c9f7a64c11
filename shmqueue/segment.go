package shmqueue

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Advice for segments that cannot be used.
const (
	mendForeign = "choose another shm_key_base, or remove it if you know that nothing needs it (ipcs -m, ipcrm -m ID)"
	mendLimit   = "make the ring smaller, or raise kernel.shmmax, kernel.shmall and kernel.shmmni (sysctl)"
)

// How long an attacher waits for a creator that is at work before it completes the segment
// itself. Not needed for correctness: it saves looking through the memory.
const (
	creationPolls = 50
	creationPause = 2 * time.Millisecond
)

// Segment is an attached SysV segment that holds a ring.
type Segment struct {
	mapping
	ring *Ring
}

// mapping is an attached SysV segment.
type mapping struct {
	key       int
	id        int
	mem       []byte
	created   bool
	recovered bool
}

// purpose says what a segment is to hold.
type purpose struct {
	magic    uint64
	size     int // bytes; 0: whatever it has
	setting  string
	readOnly bool
}

// Attach attaches to the ring with this key. With create, a ring of this capacity is made
// where there is none, and one whose creator died half-way is completed; otherwise both are
// errors. A capacity of 0 takes whatever is there. A segment that is not a ring of ours with
// this capacity is refused with a *SegmentError; nothing is ever initialised anew.
func Attach(key int, capacity uint64, create bool) (*Segment, error) {
	p := purpose{magic: ringMagic, setting: "the ring's size in the configuration"}
	if capacity != 0 || create {
		if capacity < MinCapacity || capacity > MaxCapacity || capacity&(capacity-1) != 0 {
			return nil, &SegmentError{Key: key, What: fmt.Sprintf("is to hold a ring of %d bytes", capacity), Mend: fmt.Sprintf("choose a power of two from %d to %d", MinCapacity, uint64(MaxCapacity))}
		}
		p.size = MemorySize(capacity)
	}
	return openSegment(key, p, create)
}

// Inspect attaches to the ring with this key for looking only: a store to it is a fault. It
// takes a ring of any capacity and, given the right to read it, of any owner.
func Inspect(key int) (*Segment, error) {
	return openSegment(key, purpose{magic: ringMagic, readOnly: true}, false)
}

func openSegment(key int, p purpose, create bool) (*Segment, error) {
	m, err := attach(key, p, create)
	if err != nil {
		return nil, err
	}
	r, err := Open(m.mem)
	if err != nil {
		_ = m.Detach()
		return nil, &SegmentError{Key: key, What: "cannot be used as a ring", Mend: mendForeign, Err: err}
	}
	return &Segment{mapping: m, ring: r}, nil
}

// Ring is the ring in the segment.
func (s *Segment) Ring() *Ring { return s.ring }

// Key is the segment's key.
func (m *mapping) Key() int { return m.key }

// ID is the segment's id.
func (m *mapping) ID() int { return m.id }

// Created says whether this attach made the segment, Recovered whether it completed one whose
// creator had died or was slow.
func (m *mapping) Created() bool   { return m.created }
func (m *mapping) Recovered() bool { return m.recovered }

// Detach unmaps the segment; it lives on. Nothing that points into it may be used any more.
func (m *mapping) Detach() error {
	if m.mem == nil {
		return nil
	}
	mem := m.mem
	m.mem = nil
	if err := unix.SysvShmDetach(mem); err != nil {
		return &SegmentError{Key: m.key, What: "cannot be detached", Err: err}
	}
	return nil
}

// Remove marks the segment for removal: its key is free at once, its memory with the last
// detach.
func (m *mapping) Remove() error {
	if _, err := unix.SysvShmCtl(m.id, ipcRmid, nil); err != nil {
		return &SegmentError{Key: m.key, What: "cannot be removed", Err: err}
	}
	return nil
}

// Check says whether the segment is still the one behind its key. A daemon that goes on with a
// removed segment would talk to nobody.
func (m *mapping) Check() error {
	info, err := statID(m.key, m.id)
	if err != nil {
		return err
	}
	if info.Removed {
		return &SegmentError{Key: m.key, What: fmt.Sprintf("was removed while it was in use (id %d)", m.id), Mend: "restart all three daemons"}
	}
	return nil
}

// attach finds or makes the segment, checks it, maps it and sees to its identity.
func attach(key int, p purpose, create bool) (mapping, error) {
	m := mapping{key: key}
	var err error
	if m.id, m.created, err = findOrMake(key, p, create); err != nil {
		return m, err
	}
	if err = m.admit(p); err != nil {
		return m, err
	}
	flags := 0
	if p.readOnly {
		flags = shmReadOnly
	}
	if m.mem, err = unix.SysvShmAttach(m.id, 0, flags); err != nil {
		return m, &SegmentError{Key: key, What: fmt.Sprintf("cannot be attached (id %d)", m.id), Mend: mendForeign, Err: err}
	}
	if err = m.identify(p, create); err != nil {
		_ = m.Detach()
	}
	return m, err
}

// findOrMake returns the id behind the key. Creation is exclusive, so of several processes
// one creates, and the others find it; one that vanishes in between is looked for again.
func findOrMake(key int, p purpose, create bool) (id int, created bool, err error) {
	for range 100 {
		id, err = find(key)
		if err == nil || !create || !errors.Is(err, ErrNoSegment) {
			return id, false, err
		}
		id, err = unix.SysvShmGet(key, p.size, ipcCreat|ipcExcl|segmentMode)
		if err == nil {
			return id, true, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return 0, false, &SegmentError{Key: key, What: fmt.Sprintf("cannot be created with %d bytes", p.size), Mend: mendLimit, Err: err}
		}
	}
	return 0, false, &SegmentError{Key: key, What: "is created and removed by someone over and over", Mend: mendForeign}
}

// admit checks owner, mode and size before a byte of it is touched.
func (m *mapping) admit(p purpose) error {
	info, err := statID(m.key, m.id)
	if err != nil {
		return err
	}
	whose := fmt.Sprintf("id %d, made by pid %d", m.id, info.CreatorPID)
	switch {
	case info.Removed:
		return &SegmentError{Key: m.key, What: "is being removed (" + whose + ")", Mend: "try again once its last user has ended"}
	case p.size != 0 && info.Size != uint64(p.size):
		what := fmt.Sprintf("has %d bytes, wanted %d (%s)", info.Size, p.size, whose)
		return &SegmentError{Key: m.key, What: what, Mend: "if it is TriMQ's, set " + p.setting + " back, or " + mendRing + "; if not, " + mendForeign}
	case p.readOnly:
		return nil
	case info.UID != os.Geteuid():
		return &SegmentError{Key: m.key, What: fmt.Sprintf("belongs to uid %d, we are uid %d (%s)", info.UID, os.Geteuid(), whose), Mend: "start the broker as that user, or " + mendForeign}
	case info.Mode != segmentMode:
		return &SegmentError{Key: m.key, What: fmt.Sprintf("has mode %#o, wanted %#o (%s)", info.Mode, segmentMode, whose), Mend: mendForeign}
	}
	return nil
}

// identify checks the first line, and completes it in a segment that is new or that was
// left unfinished.
func (m *mapping) identify(p purpose, create bool) error {
	if len(m.mem) < HeaderSize {
		return &SegmentError{Key: m.key, What: fmt.Sprintf("has only %d bytes (id %d)", len(m.mem), m.id), Mend: mendForeign}
	}
	id := (*identity)(unsafe.Pointer(&m.mem[0]))
	capacity := uint64(len(m.mem) - HeaderSize)
	if !m.created && !awaitMagic(id) {
		if err := m.unfinished(id, capacity, create); err != nil {
			return err
		}
		// The creator may have finished just now; then there is nothing to recover.
		m.recovered = id.magic.Load() == 0
	}
	if m.created || m.recovered {
		complete(id, p.magic, capacity, randomNonce())
	}
	if err := id.check(p.magic); err != nil {
		return &SegmentError{Key: m.key, What: fmt.Sprintf("is not what is looked for (id %d)", m.id), Mend: mendForeign, Err: err}
	}
	return nil
}

// awaitMagic gives a creator that is at work a moment.
func awaitMagic(id *identity) bool {
	for range creationPolls {
		if id.magic.Load() != 0 {
			return true
		}
		time.Sleep(creationPause)
	}
	return false
}

// unfinished says whether a segment without a magic may be completed: only if it holds what a
// creator that died leaves behind, and nothing else. Any other is someone else's.
func (m *mapping) unfinished(id *identity, capacity uint64, create bool) error {
	if id.begun(capacity) && (!create || isZero(m.mem[unsafe.Sizeof(*id):])) {
		if create {
			return nil
		}
		return &SegmentError{
			Key:  m.key,
			What: fmt.Sprintf("was not finished: its creator, pid %d, died or is still at it (id %d)", id.creator.Load(), m.id),
			Mend: "starting the broker completes it",
		}
	}
	if id.magic.Load() != 0 { // finished, and used, while we looked
		return nil
	}
	return &SegmentError{Key: m.key, What: fmt.Sprintf("holds something that is not TriMQ's (id %d)", m.id), Mend: mendForeign}
}

// isZero says whether all bytes are 0.
func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// randomNonce makes a nonce.
func randomNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.NativeEndian.Uint64(b[:]) | nonceBit
}
