package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

func verifySegments(c *cli.Context) error {
	list, err := chosen(c, 1)
	if err != nil {
		return err
	}
	wrong, seen := 0, 0
	identities := map[uint64]string{}
	for _, s := range list {
		r, err := verifySegment(s)
		if errors.Is(err, shmqueue.ErrNoSegment) && len(list) > 1 {
			continue
		}
		if err != nil {
			return err
		}
		seen++
		if r.identity != 0 && len(identities) > 0 && identities[r.identity] == "" {
			r.fault("identity: this is another broker's than the others; see which brokers share shm_key_base")
		}
		identities[r.identity] = s.name
		for _, text := range r.notes {
			fmt.Fprintf(c.App.Writer, "note   %s: %s\n", s.name, text)
		}
		for _, text := range r.faults {
			fmt.Fprintf(c.App.Writer, "ERROR  %s: %s\n", s.name, text)
		}
		if len(r.faults) == 0 {
			fmt.Fprintf(c.App.Writer, "%s: sound; %d bytes in use, %d records of them decoded\n", s.name, r.used, r.records)
		}
		wrong += len(r.faults)
	}
	if seen == 0 {
		return fmt.Errorf("there are no segments at key base %d: start the broker, or give its shm_key_base", c.Int("shm-key-base"))
	}
	if wrong > 0 {
		return fmt.Errorf("%d errors", wrong)
	}
	return nil
}

// verdict is what verify says of one segment.
type verdict struct {
	faults, notes []string
	identity      uint64
	used          uint64
	records       int
}

func (r *verdict) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}
func (r *verdict) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// verifySegment checks what the kernel says, the ring's own invariants, what its words mean, and
// all records in flight.
func verifySegment(s segment) (*verdict, error) {
	r := &verdict{}
	in, err := shmqueue.Stat(s.key)
	if err != nil {
		return nil, err
	}
	if in.UID != os.Geteuid() {
		r.note("it belongs to %s", userName(in.UID))
	}
	if in.Mode != 0o600 {
		r.fault("mode %04o, not 0600: the broker refuses it", in.Mode)
	}
	if in.Removed {
		r.fault("it is removed and goes with its last user: restart the daemons")
	}
	if !s.ring() {
		m, err := shmqueue.InspectMetrics(s.key)
		if err != nil {
			r.fault("%v", err)
			return r, nil
		}
		return r, m.Detach()
	}
	seg, err := shmqueue.Inspect(s.key)
	if err != nil {
		r.fault("%v", err)
		return r, nil
	}
	defer seg.Detach()
	r.ring(s, seg.Ring())
	return r, nil
}

// ring checks a ring whose header could be opened.
func (r *verdict) ring(s segment, ring *shmqueue.Ring) {
	snap := ring.Snapshot()
	r.identity, r.used = snap.Words[shmqueue.WordIdentity], snap.Used()
	for _, f := range ring.Verify() {
		switch end := viewEnd(s.producer, ring.Snapshot().Producer); {
		case !f.Claimed:
			r.fault("%v", f)
		case end.Alive:
			r.note("%s: %s; the producer, pid %d, lives and may yet publish it", f.Where, f.What, end.PID)
		default:
			r.note("%s: %s; the producer, pid %d, is dead: its successor cuts it off, nobody has seen it", f.Where, f.What, end.PID)
		}
	}
	for i, v := range snap.Words {
		if _, own := viewRing(s, snap).Words[shmqueue.Word(i).String()]; v != 0 && !own {
			r.fault("word %d is %d, and has no meaning in this ring", i, v)
		}
	}
	// The cursors move on while they are read: what looks wrong is looked at again.
	for _, check := range []func(segment, *shmqueue.Ring) string{checkLevels, checkStatus, checkRead} {
		text := check(s, ring)
		for range 3 {
			if text == "" {
				break
			}
			time.Sleep(10 * time.Millisecond)
			text = check(s, ring)
		}
		if text != "" {
			r.fault("%s", text)
		}
	}
	r.inFlight(s, ring)
}

// checkLevels: what is synced is written, and the log begins no later than behind what is written.
func checkLevels(s segment, ring *shmqueue.Ring) string {
	first := ring.Word(shmqueue.WordFirstLSN).Load()
	synced := ring.Word(shmqueue.WordSynced).Load() // before written, which it never passes
	written := ring.Word(shmqueue.WordWritten).Load()
	switch {
	case s.name != "log":
		return ""
	case synced > written:
		return fmt.Sprintf("word synced is %d, above written, which is %d", synced, written)
	case first > written+1 && written > 0:
		return fmt.Sprintf("word first_lsn is %d, behind written, which is %d", first, written)
	}
	return ""
}

// checkStatus: no bit is set that has no meaning.
func checkStatus(_ segment, ring *shmqueue.Ring) string {
	if v := ring.Word(shmqueue.WordStatus).Load(); v>>len(statusBits) != 0 {
		return "word status has " + statusText(v)
	}
	return ""
}

// checkRead: persistsrv has appended nothing below head less, and nothing beyond the tail.
func checkRead(s segment, ring *shmqueue.Ring) string {
	read := ring.Word(shmqueue.WordRead).Load()
	if tail := ring.Tail(); s.name == "log" && read > tail {
		return fmt.Sprintf("word read is %d, beyond the tail, which is %d", read, tail)
	}
	return ""
}

// inFlight decodes all records from head to tail.
func (r *verdict) inFlight(s segment, ring *shmqueue.Ring) {
	_ = ring.Walk(func(rec shmqueue.Record) bool { // a damaged record is among the ring's own faults
		r.records++
		typ := ipc.Type(rec.Type)
		v := viewRecord(rec)
		travels := map[string]bool{"requests": typ.FromConn(), "responses": typ.FromLogic(), "log": typ.ToPersist()}[s.name]
		switch {
		case v.Bad != "":
			r.fault("record at %d, %s: %s", rec.Pos, v.Type, v.Bad)
		case !travels:
			r.fault("record at %d is a %s, which has no business in this ring", rec.Pos, v.Type)
		case rec.Flags != 0:
			r.fault("record at %d, %s: flags %#x, which have no meaning", rec.Pos, v.Type, rec.Flags)
		}
		return len(r.faults) < 100
	})
}
