package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// recordView is a record in a ring as JSON.
type recordView struct {
	Pos    uint64 `json:"position"`
	Size   uint64 `json:"size"` // in the ring, header and padding included
	Type   string `json:"type"`
	Flags  uint16 `json:"flags,omitempty"`
	Epoch  uint64 `json:"epoch,omitempty"`
	Conn   uint64 `json:"conn,omitempty"`
	Req    uint64 `json:"req,omitempty"`
	Fields string `json:"fields,omitempty"`
	Bad    string `json:"bad,omitempty"` // why it cannot be decoded
}

// who is the connection and its request, as event loop:connection/request.
func (v *recordView) who() string {
	if v.Epoch == 0 && v.Conn == 0 && v.Req == 0 {
		return "-"
	}
	return fmt.Sprintf("%d:%d/%d", v.Conn&0xff, v.Conn>>8, v.Req)
}

// text is the record in a line of tail.
func (v *recordView) text() string {
	s := fmt.Sprintf("%d %d %s %s", v.Pos, v.Size, v.Type, v.who())
	if v.Fields != "" {
		s += " " + v.Fields
	}
	if v.Bad != "" {
		s += " BAD: " + v.Bad
	}
	return s
}

// viewRecord decodes a record. Whatever its bytes are, it is shown.
func viewRecord(rec shmqueue.Record) recordView {
	typ := ipc.Type(rec.Type)
	d, err := ipc.Describe(typ, rec.Payload)
	v := recordView{
		Pos: rec.Pos, Size: rec.End - rec.Pos, Type: d.Name, Flags: rec.Flags,
		Epoch: d.Head.Epoch, Conn: d.Head.Conn, Req: d.Head.Req, Fields: d.Fields,
	}
	if typ == ipc.TypeEntry {
		v.Fields, err = entryFields(rec.Payload)
	}
	if err != nil {
		v.Bad = ipc.Printable(fmt.Sprintf("%v: %x", err, rec.Payload[:min(len(rec.Payload), 64)]), 512)
	}
	return v
}

// entryFields shows an entry on its way to the commit log.
func entryFields(payload []byte) (string, error) {
	e, err := journal.DecodeRing(payload)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("LSN:%d Term:%d Level:%d Input:%d Time:%d Events:%d bytes Ops:%d Items:%d Bodies:%d (%d bytes) Refs:%d",
		e.LSN, e.Term, e.Level, e.Pos, e.TimeMS, len(e.Events), len(e.Ops), len(e.Items), len(e.Bodies), e.BodyBytes(), len(e.Refs)), nil
}

// shownView is what show prints as JSON.
type shownView struct {
	segmentView
	InFlight []recordView `json:"in_flight,omitempty"`
	More     bool         `json:"more,omitempty"` // records in flight that are not shown
}

func showSegments(c *cli.Context) error {
	list, err := chosen(c, 1)
	if err != nil {
		return err
	}
	views, found := []shownView{}, error(nil)
	for _, s := range list {
		v := shownView{}
		if v.segmentView, err = viewSegment(s); errors.Is(err, shmqueue.ErrNoSegment) && len(list) > 1 {
			continue
		}
		if err != nil {
			return err
		}
		if v.Trouble != "" {
			found = errors.Join(found, fmt.Errorf("segment %s: %s", s.name, v.Trouble))
		}
		if len(list) == 1 && v.Ring != nil {
			v.InFlight, v.More, err = inFlight(s, c.Int("records"))
			found = errors.Join(found, err)
		}
		views = append(views, v)
	}
	if len(views) == 0 {
		return fmt.Errorf("there are no segments at key base %d: start the broker, or give its shm_key_base", c.Int("shm-key-base"))
	}
	if c.Bool("json") {
		return errors.Join(printJSON(c.App.Writer, views), found)
	}
	for i := range views {
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		views[i].print(c.App.Writer)
	}
	return found
}

// inFlight decodes the records from head to tail, most of them at most (0: all).
func inFlight(s segment, most int) (records []recordView, more bool, err error) {
	seg, err := shmqueue.Inspect(s.key)
	if err != nil {
		return nil, false, err
	}
	defer seg.Detach()
	err = seg.Ring().Walk(func(rec shmqueue.Record) bool {
		if more = most > 0 && len(records) == most; more {
			return false
		}
		records = append(records, viewRecord(rec))
		return true
	})
	return records, more, err
}

// print shows a segment as text.
func (v *shownView) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-11s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(w, "%s: %s, key %d (%#x), id %d\n", v.Name, v.Kind, v.Key, v.Key, v.ID)
	line("segment", "%d bytes of %s, mode %s, attached %d times, last by pid %d at %s", v.Bytes, v.Owner, v.Mode, v.Attached, v.LastPID, stamp(v.LastAttach))
	if v.Removed {
		line("removed", "it goes with its last user")
	}
	if v.Trouble != "" {
		line("TROUBLE", "%s", v.Trouble)
	}
	r := v.Ring
	if r == nil {
		return
	}
	line("ring", "capacity %d, nonce %s, made %s by pid %d", r.Capacity, r.Nonce, stamp(r.Created), r.Creator)
	line("producer", "%s", r.Producer.long())
	line("consumer", "%s", r.Consumer.long())
	read := "kept by the consumer"
	if r.Read != nil {
		read = fmt.Sprint(*r.Read)
	}
	line("cursors", "head (released) %d, read %s, tail (claimed) %d: %d bytes in use, %s", r.Head, read, r.Tail, r.Used, r.fill())
	sleeps := "is awake"
	if r.Sleeping {
		sleeps = "sleeps"
	}
	line("bell", "%s %s; it went to sleep %d times and was rung %d times", r.Sleeper, sleeps, r.Waits, r.Wakes)
	line("want space", "%v", r.WantSpace)
	line("counters", "%d records read, %d claims refused for want of room, %d cuts of %d bytes", r.Records, r.Full, r.Cuts, r.CutBytes)
	for _, name := range slices.Sorted(maps.Keys(r.Words)) {
		value := fmt.Sprint(r.Words[name])
		switch name {
		case shmqueue.WordStatus.String():
			value += " (" + statusText(r.Words[name]) + ")"
		case shmqueue.WordIdentity.String():
			value = fmt.Sprintf("%#x", r.Words[name])
		}
		line("word", "%s %s", name, value)
	}
	v.printRecords(w)
}

func (v *shownView) printRecords(w io.Writer) {
	if len(v.InFlight) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("POSITION", "SIZE", "TYPE", "LOOP:CONN/REQ", "FIELDS")
	for i := range v.InFlight {
		x := &v.InFlight[i]
		fields := x.Fields
		if x.Bad != "" {
			fields += " BAD: " + x.Bad
		}
		t.add(x.Pos, x.Size, x.Type, x.who(), fields)
	}
	t.print(w)
	if v.More {
		fmt.Fprintln(w, "there are more: --records 0 shows all")
	}
}

// long is the end in a line.
func (e endView) long() string {
	if e.Epoch == 0 {
		return e.Daemon + ": nobody yet"
	}
	state := "dead"
	if e.Alive {
		state = "alive"
	}
	return fmt.Sprintf("%s: pid %d, %s, epoch %d, since %s", e.Daemon, e.PID, state, e.Epoch, stamp(e.Since))
}

// stamp is a time in text.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
