package main

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/trimq/trimq/shmqueue"
)

// segmentView is a segment as JSON.
type segmentView struct {
	Name       string    `json:"name"`
	Key        int       `json:"key"`
	ID         int       `json:"id"`
	Kind       string    `json:"kind"`
	Bytes      uint64    `json:"bytes"`
	Owner      string    `json:"owner"`
	Mode       string    `json:"mode"`
	Attached   int       `json:"attached"`
	LastPID    int       `json:"last_pid"`
	LastAttach time.Time `json:"last_attach"`
	Removed    bool      `json:"removed,omitempty"`
	Trouble    string    `json:"trouble,omitempty"` // why it cannot be looked into
	Ring       *ringHead `json:"ring,omitempty"`
}

// ringHead is all that a ring's header says.
type ringHead struct {
	Capacity  uint64            `json:"capacity"`
	Nonce     string            `json:"nonce"`
	Created   time.Time         `json:"created"`
	Creator   int               `json:"creator_pid"`
	Producer  endView           `json:"producer"`
	Consumer  endView           `json:"consumer"`
	Head      uint64            `json:"head"`
	Read      *uint64           `json:"read,omitempty"` // of the log alone: other consumers keep it to themselves
	Tail      uint64            `json:"tail"`
	Used      uint64            `json:"used_bytes"`
	Sleeper   string            `json:"bell_of"`
	Sleeping  bool              `json:"sleeping"`
	Waits     uint64            `json:"waits"`
	Wakes     uint64            `json:"wakes"`
	WantSpace bool              `json:"want_space"`
	Records   uint64            `json:"records"`
	Full      uint64            `json:"full"`
	Cuts      uint64            `json:"cuts"`
	CutBytes  uint64            `json:"cut_bytes"`
	Words     map[string]uint64 `json:"words"`
}

// endView is who holds an end of a ring.
type endView struct {
	Daemon string    `json:"daemon"`
	PID    int       `json:"pid"`
	Alive  bool      `json:"alive"`
	Epoch  uint64    `json:"epoch"`
	Since  time.Time `json:"since"`
}

// short is the end in a table's cell.
func (e endView) short() string {
	switch {
	case e.Epoch == 0:
		return "nobody"
	case e.Alive:
		return fmt.Sprintf("%d alive", e.PID)
	}
	return fmt.Sprintf("%d dead", e.PID)
}

// fill is how full the ring is.
func (r *ringHead) fill() string {
	return fmt.Sprintf("%.1f%%", 100*float64(r.Used)/float64(max(r.Capacity, 1)))
}

// viewSegment looks at a segment. What is no ring of ours, or a damaged one, is told in Trouble.
func viewSegment(s segment) (segmentView, error) {
	in, err := shmqueue.Stat(s.key)
	if err != nil {
		return segmentView{}, err
	}
	v := segmentView{
		Name: s.name, Key: s.key, ID: in.ID, Kind: in.Kind, Bytes: in.Size, Owner: userName(in.UID), Removed: in.Removed,
		Mode: fmt.Sprintf("%04o", in.Mode), Attached: in.Attached, LastPID: in.LastPID, LastAttach: in.Attach.UTC(),
	}
	if !s.ring() {
		if m, err := shmqueue.InspectMetrics(s.key); err != nil {
			v.Trouble = err.Error()
		} else if err := m.Detach(); err != nil {
			return v, err
		}
		return v, nil
	}
	seg, err := shmqueue.Inspect(s.key)
	if err != nil {
		v.Trouble = err.Error()
		return v, nil
	}
	h := viewRing(s, seg.Ring().Snapshot())
	v.Ring = &h
	return v, seg.Detach()
}

// viewRing shows a header.
func viewRing(s segment, snap shmqueue.Snapshot) ringHead {
	h := ringHead{
		Capacity: snap.Capacity, Nonce: fmt.Sprintf("%#x", snap.Nonce), Created: snap.Created.UTC(), Creator: snap.Creator,
		Producer: viewEnd(s.producer, snap.Producer), Consumer: viewEnd(s.consumer, snap.Consumer),
		Head: snap.Head, Tail: snap.Tail, Used: snap.Used(),
		Sleeper: s.consumer, Sleeping: snap.Sleeping, Waits: snap.Waits, Wakes: snap.Wakes, WantSpace: snap.WantSpace,
		Records: snap.Records, Full: snap.Full, Cuts: snap.Cuts, CutBytes: snap.CutBytes, Words: map[string]uint64{},
	}
	for _, w := range ownWords[s.name] {
		h.Words[w.String()] = snap.Words[w]
	}
	for i, v := range snap.Words { // what has no meaning here, and is set all the same
		if _, own := h.Words[shmqueue.Word(i).String()]; !own && v != 0 {
			h.Words[fmt.Sprintf("word_%d", i)] = v
		}
	}
	if s.name == "log" {
		h.Read = &snap.Words[shmqueue.WordRead]
	}
	return h
}

// ownWords are the words that have a meaning in each ring, as docs/formats/ring.md lists them.
var ownWords = map[string][]shmqueue.Word{
	"requests":  {shmqueue.WordTerm, shmqueue.WordIdentity, shmqueue.WordPoisonPos, shmqueue.WordPoisonCount, shmqueue.WordAwaitWritten, shmqueue.WordAwaitSynced},
	"responses": {shmqueue.WordStatus, shmqueue.WordIdentity},
	"log": {
		shmqueue.WordWritten, shmqueue.WordSynced, shmqueue.WordStatus, shmqueue.WordFirstLSN, shmqueue.WordRead, shmqueue.WordIdentity,
	},
}

// statusBits are the bits of the word status, from the lowest.
var statusBits = []string{"disk full", "sync failed", "syncing", "damaged", "recovered"}

// statusText names the bits that are set.
func statusText(v uint64) string {
	var set []string
	for i, name := range statusBits {
		if v&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if unknown := v >> len(statusBits); unknown != 0 {
		set = append(set, fmt.Sprintf("unknown bits %#x", unknown<<len(statusBits)))
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, ", ")
}

func viewEnd(daemon string, o shmqueue.Owner) endView {
	return endView{Daemon: daemon, PID: o.PID, Alive: o.Epoch > 0 && alive(o.PID, o.Since), Epoch: o.Epoch, Since: o.Since.UTC()}
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}
