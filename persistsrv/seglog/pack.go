package seglog

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// pack is a file of what compaction has kept of some offsets of one index. As a segment it has a
// position, an end, and counts of who needs it; its LSNs mean nothing.
type pack struct {
	segment
	header commitlog.PackHeader
}

func (p *pack) name() string { return commitlog.PackName(p.position) }

// afterLostCheckpoint is how far behind the known packs the next one's position is where nobody knows
// any longer which positions there have been.
const afterLostCheckpoint = 1 << 40

// packAt returns the pack that holds a position; nil if none does.
func (l *Log) packAt(position uint64) *pack {
	i := sort.Search(len(l.packs), func(i int) bool { return l.packs[i].position > position }) - 1
	if i < 0 || position >= l.packs[i].end {
		return nil
	}
	return l.packs[i]
}

// addPack enters a pack that is whole and has its name. REQUIRES: mu is held, and it is the newest.
func (l *Log) addPack(f *commitlog.PackFile) *pack {
	p := &pack{segment: segment{position: f.Position, end: f.EndPosition(), sealed: true}, header: f.Header}
	p.synced = p.end
	l.packs = append(l.packs, p)
	l.nextPack = max(l.nextPack, (p.end+commitlog.Alignment-1)&^(commitlog.Alignment-1))
	return p
}

// loadPacks lists the packs, and takes over what the index checkpoint knows of them.
func (r *recovery) loadPacks() error {
	files, err := commitlog.ListPacks(vfs.Reading(r.l.fs))
	if err != nil {
		return err
	}
	r.l.nextPack = max(commitlog.PackPosition, r.ckpt.NextPack)
	for i := range files {
		f := &files[i]
		p := r.l.addPack(f)
		if f.HeaderErr != nil {
			p.broken = true
			r.damage(commitlog.Damage{Segment: f.Name, Position: f.Position, End: f.Position, Why: f.HeaderErr.Error()})
		}
	}
	if r.whole && len(r.files) > 0 {
		r.l.nextPack += afterLostCheckpoint
	}
	if err := r.settleNames(); err != nil {
		return err
	}
	for _, st := range r.ckpt.Packs {
		p := r.l.packAt(st.Position)
		if p == nil || p.position != st.Position {
			if st.Refs > 0 {
				r.damage(commitlog.Damage{
					Segment: commitlog.PackName(st.Position), Position: st.Position, End: st.End, Why: "the pack is missing",
				})
			}
			continue
		}
		p.refs, p.live = st.Refs, st.Live
	}
	return nil
}

// settleNames makes the names of packs durable that the index checkpoint does not know: who has made one
// may have died just before he did, and from here on they are relied on.
func (r *recovery) settleNames() error {
	known := map[uint64]bool{}
	for _, st := range r.ckpt.Packs {
		known[st.Position] = true
	}
	if !slices.ContainsFunc(r.l.packs, func(p *pack) bool { return !known[p.position] }) {
		return nil
	}
	if err := r.l.syncDir(commitlog.PackDir); err != nil {
		return err
	}
	return r.l.syncDir("")
}

// mendPack writes the header of a pack anew that fails its check, where an index file proves what it was: the entries at the
// pack's end are those of that file, which is the one that the index checkpoint knows. Up to where it was compacted, and
// until when tombstones stay, is found out anew.
func (r *recovery) mendPack(p *pack, f vfs.File, file *commitlog.IndexHeader, end uint64) error {
	l := r.l
	entries := make([]byte, int(file.Slots)*commitlog.IndexEntrySize)
	if n, err := f.ReadAt(entries, slotOffset(0)); n < len(entries) {
		return notEOF(err)
	}
	pf, err := l.fs.Open(p.name())
	if err != nil {
		return err
	}
	defer pf.Close()
	own := make([]byte, len(entries))
	at := commitlog.PackHeaderSize + int64(p.end-p.position) - int64(len(own))
	if at < commitlog.PackHeaderSize {
		return nil
	}
	if n, err := pf.ReadAt(own, at); n < len(own) {
		return notEOF(err)
	}
	for b := entries; len(b) > 0; b = b[commitlog.IndexEntrySize:] {
		if e, ok := commitlog.DecodeEntry(b); !ok || e.Origin != p.position {
			return nil
		}
	}
	if !bytes.Equal(own, entries) {
		return nil
	}
	h := commitlog.PackHeader{Index: file.Index, Base: file.Base, End: end, Cleaned: file.Base, CreatedMS: l.now(), Entries: file.Slots, Position: p.position}
	if err := writeSynced(pf, [][]byte{h.Append(nil)}); err != nil {
		return fmt.Errorf("write the header of %s anew: %w", p.name(), err)
	}
	p.header, p.broken = h, false
	l.log.Warn("the header of a pack was damaged, and is written anew from its index", "pack", p.name(), "index", h.Index, "from", h.Base, "to", h.End)
	return nil
}

// notEOF is an error but for that of a file that is too short.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// sortPacks finds out which packs stand for which offsets of which index: a newer one for all that an
// older one has. It is needed only where indexes are made anew.
func (r *recovery) sortPacks() {
	r.packsOf = map[uint64][]*pack{}
	for _, p := range slices.Backward(r.l.packs) {
		of := r.packsOf[p.header.Index]
		newer := slices.ContainsFunc(of, func(q *pack) bool { return p.header.Base < q.header.End && q.header.Base < p.header.End })
		if !newer && !p.broken {
			r.packsOf[p.header.Index] = append(of, p)
		}
	}
	for _, of := range r.packsOf {
		slices.SortFunc(of, func(a, b *pack) int { return cmp.Compare(a.header.Base, b.header.Base) })
	}
}

// restorePacks makes the files anew that an index had of packs which begin at or below an offset.
func (r *recovery) restorePacks(x *index, offset uint64) error {
	l := r.l
	for of := r.packsOf[x.id]; len(of) > 0 && of[0].header.Base <= offset; of = r.packsOf[x.id] {
		p := of[0]
		r.packsOf[x.id] = of[1:]
		if p.header.End <= x.next || p.header.End <= x.start {
			continue
		}
		if err := l.writePending(x); err != nil {
			return err
		}
		f := commitlog.PackFile{Name: p.name(), Position: p.position, Size: commitlog.PackHeaderSize + int64(p.end-p.position), Header: p.header}
		entries, err := commitlog.ReadPackEntries(vfs.Reading(l.fs), &f)
		if err != nil {
			r.damage(commitlog.Damage{Segment: p.name(), Position: p.position, End: p.end, Why: err.Error()})
			continue
		}
		name := commitlog.IndexName(x.id, p.header.Base)
		if err := l.replaceFile(commitlog.IndexPath(x.id), name, packedIndex(&p.header, entries, x.start, l.now())); err != nil {
			return err
		}
		l.newDirs[x.id] = true
		last := &entries[len(entries)-1]
		x.files = append(x.files, indexFile{base: p.header.Base, count: p.header.Entries, slots: p.header.Entries, pack: p})
		x.next, x.maxTime = p.header.End, max(x.maxTime, last.MaxTimeMS)
		x.covered, x.dirty = p.header.End, true
	}
	return nil
}

// packedIndex is the content of the index file that goes with a pack.
func packedIndex(h *commitlog.PackHeader, entries []commitlog.Entry, start uint64, nowMS int64) []byte {
	head := commitlog.IndexHeader{Slots: uint32(len(entries)), Index: h.Index, Base: h.Base, CreatedMS: nowMS, Start: start, Compacted: true}
	b := head.Append(make([]byte, 0, slotOffset(uint32(len(entries)))))
	for i := range entries {
		b = entries[i].Append(b)
	}
	return b
}

// removeDeadPacks removes packs that nothing needs, as the durable index checkpoint says.
func (l *Log) removeDeadPacks(c *commitlog.IndexCheckpoint) error {
	l.mu.Lock()
	var dead []*pack
	for _, st := range c.Packs {
		p := l.packAt(st.Position)
		if p != nil && p.position == st.Position && st.Refs == 0 && p.refs == 0 && p.pins == 0 {
			dead = append(dead, p)
		}
	}
	l.packs = slices.DeleteFunc(l.packs, func(p *pack) bool { return slices.Contains(dead, p) })
	l.mu.Unlock()
	for _, p := range dead {
		if err := l.fs.Remove(p.name()); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove dead pack %s: %w", p.name(), err)
		}
		failpoint.Hit("persist.remove")
		l.log.Debug("removed dead pack", "pack", p.name(), "index", p.header.Index)
	}
	return nil
}

// settlePacks finds out, after an index was loaded, how far it is compacted.
func (x *index) settlePacks() {
	x.cleaned, x.horizon, x.covered = 0, 0, 0
	for i := range x.files {
		p := x.files[i].pack
		if p == nil {
			continue
		}
		x.cleaned, x.covered = p.header.Cleaned, p.header.End
		if h := p.header.HorizonMS; h > 0 && (x.horizon == 0 || h < x.horizon) {
			x.horizon = h
		}
	}
}

// packed is how many bytes of the index lie in packs.
func (x *index) packed() (bytes uint64) {
	for i := range x.files {
		if p := x.files[i].pack; p != nil {
			bytes += p.live
		}
	}
	return min(bytes, x.bytes)
}
