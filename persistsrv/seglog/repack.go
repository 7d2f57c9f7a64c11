package seglog

import (
	"errors"
	"fmt"
	"math"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// packing decides for each batch of a group what stays of it, and writes that into a pack.
type packing struct {
	p       *compacting
	w       packWriter
	thinner batch.Thinner
	cutter  batch.Cutter
	out     []byte                 // the batch that is being made
	alive   map[int64]bool         // of each producer: batches of its transaction under way stay
	changed bool                   // something is another than it was
	dropped *commitlog.Entry       // the last batch that went, should nothing stay
	horizon int64                  // the earliest of those in the pack; 0: there are none
	counts  map[*segment]needCount // what the entries of before need
	next    uint64                 // behind the last entry that was looked at
	tight   bool                   // … which was in a file where all offsets should be
	records struct{ before, after uint64 }
	bytes   struct{ before, after uint64 }
}

// needCount is what index entries need of a segment.
type needCount struct{ refs, live uint64 }

// groupEntries is how many index entries a group has at most, but for its first file.
const groupEntries = 1 << 18

// packAll packs group after group, up to the end of the pass.
func (p *compacting) packAll() error {
	alive := map[int64]bool{}
	for i := 0; i < len(p.files) && p.files[i].base < p.to; {
		n := p.group(i)
		g := &packing{p: p, alive: alive, counts: map[*segment]needCount{}}
		if err := g.run(i, n); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// group is how many files from number i on become one: as many as make a pack of the size of a segment.
func (p *compacting) group(i int) int {
	n, entries, bytes := 0, 0, uint64(0)
	for _, f := range p.files[i:] {
		if n > 0 && f.base >= p.to {
			break
		}
		size := uint64(0)
		if f.pack != nil {
			size = f.pack.end - f.pack.position
		} else if es, err := p.entries(&f); err == nil {
			for k := range es {
				size += uint64(es[k].Length)
			}
		}
		if n > 0 && (bytes+size > uint64(p.l.set.SegmentBytes) || entries+int(f.count) > groupEntries) {
			break
		}
		n, entries, bytes = n+1, entries+int(f.count), bytes+size
	}
	return n
}

// run packs n files from number i on.
func (g *packing) run(i, n int) (err error) {
	p := g.p
	files := p.files[i : i+n]
	end := p.survey.end
	if i+n < len(p.files) {
		end = p.files[i+n].base
	} else if p.survey.end == 0 {
		end = p.endOf(&files[n-1])
	}
	h := commitlog.PackHeader{Index: p.x.id, Base: files[0].base, End: end, Cleaned: min(max(p.to, p.done), end), CreatedMS: p.now}
	if err = g.w.begin(p.l); err != nil {
		return err
	}
	defer g.w.end()
	for k := range files {
		if err = g.file(&files[k], i+k == 0); err != nil {
			return err
		}
	}
	if len(g.w.entries) == 0 && g.dropped != nil {
		if err = g.stand(g.dropped); err != nil {
			return err
		}
	}
	again := n == 1 && files[0].pack != nil && files[0].pack.header.Cleaned >= h.Cleaned
	if len(g.w.entries) == 0 || again && !g.changed {
		return nil // trimmed meanwhile, or as it was
	}
	h.HorizonMS = g.horizon
	if err = g.w.finish(&h); err != nil {
		return err
	}
	l := p.l
	l.mu.Lock()
	made := l.addPack(&commitlog.PackFile{Position: h.Position, Size: g.w.size, Header: h})
	made.pins++ // nothing needs it yet
	l.mu.Unlock()
	err = g.install(made, files)
	l.mu.Lock()
	made.pins--
	l.ckpt.changed, l.ckpt.wanted = true, true
	l.mu.Unlock()
	return err
}

// endOf is the offset behind the last entry of a file.
func (p *compacting) endOf(f *indexFile) uint64 {
	entries, err := p.entries(f)
	if err != nil || len(entries) == 0 {
		return f.base
	}
	return entries[len(entries)-1].End()
}

// file packs what stays of a file.
func (g *packing) file(f *indexFile, front bool) error {
	entries, err := g.p.entries(f)
	if err != nil {
		return err
	}
	whole := f.pack == nil && !front // offsets that are missing are damage
	if !g.tight {
		g.next = f.base
	}
	for k := range entries {
		e := &entries[k]
		if whole && e.Offset > g.next {
			g.hole(e)
		}
		g.next, g.tight = e.End(), f.pack == nil
		whole = g.tight
		g.count(e)
		if err := g.entry(e); err != nil {
			return err
		}
	}
	return nil
}

// hole keeps in mind that what should be before an entry is lost: else it would look as if compaction
// had removed it.
func (g *packing) hole(e *commitlog.Entry) {
	lost := commitlog.Entry{Offset: g.next, Count: uint32(min(e.Offset-g.next, math.MaxUint32)), MaxTimeMS: e.MaxTimeMS, Flags: commitlog.FlagDamaged}
	g.w.list(&lost)
}

// count notes what an entry of before needs. REQUIRES: the entry is in no list of the group yet.
func (g *packing) count(e *commitlog.Entry) {
	l := g.p.l
	l.mu.Lock()
	segs, n, of := l.needs(e)
	l.mu.Unlock()
	for _, s := range segs[:n] {
		c := g.counts[s]
		c.refs++
		g.counts[s] = c
	}
	if of != nil {
		c := g.counts[of]
		c.live += uint64(e.Length)
		g.counts[of] = c
	}
	g.bytes.before += uint64(e.Length)
}

// entry packs what stays of a batch.
func (g *packing) entry(e *commitlog.Entry) error {
	p := g.p
	b, whole, err := p.batch(e)
	if err != nil {
		return err
	}
	if !whole {
		e.Flags |= commitlog.FlagDamaged
		if b == nil {
			e.Position, e.Length, e.Note, e.Skip, e.Flags = 0, 0, 0, 0, commitlog.FlagDamaged
		}
		return g.put(e, b)
	}
	h := batch.Header(b)
	if e.Offset >= p.to {
		return g.copy(e, b, uint64(h.Count()))
	}
	switch p.survey.fate(e, h) {
	case fateControl:
		return g.marker(e, b)
	case fateAborted:
		g.records.before += uint64(h.Count())
		return g.thin(e, b, func(*batch.Record) bool { return false })
	}
	g.records.before += uint64(h.Count())
	if e.Flags&commitlog.FlagPartial != 0 {
		if b, err = g.cut(e, b); err != nil {
			return err
		}
	}
	return g.thin(e, b, g.stays(b))
}

// copy packs a batch as it is.
func (g *packing) copy(e *commitlog.Entry, b []byte, records uint64) error {
	g.records.before += records
	g.records.after += records
	if h := batch.Header(b); e.Flags&commitlog.FlagPartial == 0 {
		g.noteHorizon(h)
		if h.Transactional() && !h.Control() {
			g.alive[h.ProducerID()] = true
		}
	}
	return g.put(e, b)
}

// cut makes a batch of its own of the part of one that is in the index.
func (g *packing) cut(e *commitlog.Entry, b []byte) ([]byte, error) {
	out, n, err := g.cutter.Take(nil, b, e.Position, int(e.Skip), int(e.Count), math.MaxInt)
	if err != nil || n < int(e.Count) {
		return nil, fmt.Errorf("the batch at position %d: %d of %d records: %w", e.Position, n, e.Count, err)
	}
	batch.PatchBase(out, e.Offset, batch.Header(out).LeaderEpoch())
	e.Flags &^= commitlog.FlagPartial | commitlog.FlagRebase
	e.Skip = 0
	return out, nil
}

// stays tells which records of a batch below the end of the pass stay: those of which no later one has
// the key, unless they stand for a deletion that everybody has had time to see. A record without a key
// is nobody's predecessor.
func (g *packing) stays(b []byte) func(rec *batch.Record) bool {
	horizon, set := batch.Header(b).DeleteHorizonMS()
	over := set && g.p.now >= horizon || failpoint.Broken("compact-drops-tombstones")
	return func(rec *batch.Record) bool {
		if rec.Key == nil {
			return true
		}
		last, known := g.p.keys[keyOf(rec.Key)]
		if failpoint.Broken("compact-drops-last") && known {
			return false
		}
		return (!known || rec.Offset >= last) && !(rec.Value == nil && over)
	}
}

// thin packs a batch with those of its records that stay. Where records that stand for deletions are
// among them for the first time, it is written down when they may go.
func (g *packing) thin(e *commitlog.Entry, b []byte, stays func(*batch.Record) bool) error {
	h := batch.Header(b)
	_, set := h.DeleteHorizonMS()
	deletions := false
	out, kept, err := g.thinner.Thin(g.out[:0], b, batch.NoHorizon, func(rec *batch.Record) bool {
		stay := stays(rec)
		deletions = deletions || stay && rec.Value == nil && rec.Key != nil
		return stay
	})
	if err == nil && deletions && !set {
		out, kept, err = g.thinner.Thin(g.out[:0], b, g.newHorizon(), stays)
	}
	if err != nil { // its records cannot be read: they stay, for who can
		return g.copy(e, b, 0)
	}
	g.out = out
	g.records.after += uint64(kept)
	switch {
	case kept == 0 && !g.standsFor(e, h):
		g.changed = true
		gone := *e
		g.dropped = &gone
		return nil
	case kept == int(h.Count()) && !(deletions && !set):
		out = b
	default:
		g.changed = true
	}
	if h.Transactional() {
		g.alive[h.ProducerID()] = true
	}
	if deletions {
		g.noteHorizon(batch.Header(out))
	}
	return g.put(e, out)
}

// standsFor tells whether a batch stays without records, for what it tells of its producer.
func (g *packing) standsFor(e *commitlog.Entry, h batch.Header) bool {
	last, known := g.p.survey.newest[h.ProducerID()]
	return known && last == e.Offset && g.p.now-e.MaxTimeMS < keptSequenceMS
}

// stand puts a batch into the pack without records, so that the pack has one: nothing else has stayed.
func (g *packing) stand(e *commitlog.Entry) error {
	b, whole, err := g.p.batch(e)
	if err != nil || !whole {
		return err
	}
	if batch.Header(b).Control() {
		return g.put(e, b)
	}
	if e.Flags&commitlog.FlagPartial != 0 {
		if b, err = g.cut(e, b); err != nil {
			return err
		}
	}
	out, _, err := g.thinner.Thin(nil, b, batch.NoHorizon, func(*batch.Record) bool { return false })
	if err != nil {
		return g.put(e, b)
	}
	return g.put(e, out)
}

// marker packs a control batch, as long as batches of the transaction that it ends are there. When they
// have gone it gets a time from which on it may go, too.
func (g *packing) marker(e *commitlog.Entry, b []byte) error {
	h := batch.Header(b)
	g.records.before++
	alive := g.alive[h.ProducerID()]
	delete(g.alive, h.ProducerID())
	horizon, set := h.DeleteHorizonMS()
	commit, err := batch.ParseControl(b)
	switch {
	case alive || err != nil || !commit && !failpoint.Broken("compact-drops-aborts"):
		// Who reads committed messages alone has been told of what was aborted, and goes on leaving out
		// what its producer sends until he comes to where that has ended.
	case !set:
		g.changed = true
		batch.SetDeleteHorizon(b, g.newHorizon())
		g.noteHorizon(h)
	case g.p.now < horizon:
		g.noteHorizon(h)
	default:
		g.changed = true
		gone := *e
		g.dropped = &gone
		return nil
	}
	g.records.after++
	return g.put(e, b)
}

// newHorizon is from when on what stands for a deletion may go that is found for the first time.
func (g *packing) newHorizon() int64 {
	if wait := g.p.keep.tombstoneMS; wait < math.MaxInt64-g.p.now {
		return g.p.now + wait
	}
	return math.MaxInt64
}

func (g *packing) noteHorizon(h batch.Header) {
	if ms, set := h.DeleteHorizonMS(); set && (g.horizon == 0 || ms < g.horizon) {
		g.horizon = ms
	}
}

// put writes a batch and its note, and lists its entry.
func (g *packing) put(e *commitlog.Entry, b []byte) error {
	p := g.p
	if b == nil {
		g.w.list(e)
		return nil
	}
	if e.Note != 0 {
		note, err := p.note(e.Note)
		if err != nil {
			return err
		}
		e.Note = g.w.note(e.Note, note)
	}
	h := batch.Header(b)
	if e.Flags&commitlog.FlagPartial == 0 && len(b) >= batch.HeaderSize {
		batch.PatchBase(b, e.Base(), h.LeaderEpoch()) // where it was another index's
		e.Flags &^= commitlog.FlagRebase | commitlog.FlagSparse
		if e.Flags&commitlog.FlagDamaged == 0 && h.Sparse() {
			e.Flags |= commitlog.FlagSparse
		}
	}
	e.Position, e.Length = g.w.position(), uint32(len(b))
	g.bytes.after += uint64(len(b))
	g.w.list(e)
	if err := g.w.write(b); err != nil {
		return err
	}
	return p.paced(len(b))
}

// note reads a note. One that is lost is none.
func (p *compacting) note(position uint64) ([]byte, error) {
	b, err := p.read.Bytes(position, journal.EventHeaderSize)
	if err == nil {
		var size int
		if size, err = journal.PeekNote(b); err != nil {
			return nil, nil
		}
		b, err = p.read.Bytes(position, size)
	}
	if errors.Is(err, commitlog.ErrDamaged) {
		return nil, nil
	}
	return b, err
}

// install puts the pack's index file in the place of those that it was made of, and counts anew who
// needs what. Where that is not possible any longer nobody has seen the pack: it goes when an index
// checkpoint says that nothing needs it.
func (g *packing) install(made *pack, files []indexFile) error {
	p, l := g.p, g.p.l
	tmp := commitlog.IndexName(p.x.id, made.header.Base) + commitlog.TmpSuffix
	if err := l.writeNew(tmp, packedIndex(&made.header, g.w.entries, p.start, p.now)); err != nil {
		return err
	}
	failpoint.Hit("persist.compact.index")
	l.mu.Lock()
	err := g.replace(made, files, tmp)
	l.mu.Unlock()
	if err != nil {
		_ = l.fs.Remove(tmp) // or the next start does
		return err
	}
	failpoint.Hit("persist.compact.installed")
	p.groups++
	p.before, p.after = p.before+g.records.before, p.after+g.records.after
	p.bytesBefore, p.bytesAfter = p.bytesBefore+g.bytes.before, p.bytesAfter+g.bytes.after
	if err := l.fs.SyncDir(commitlog.IndexPath(p.x.id)); err != nil && !isNotExist(err) {
		return fmt.Errorf("%w: index %#x: %w", ErrSync, p.x.id, err)
	}
	return nil
}

// replace is the moment at which readers find the pack. REQUIRES: mu is held.
func (g *packing) replace(made *pack, files []indexFile, tmp string) error {
	p, l, x := g.p, g.p.l, g.p.x
	i, ok := p.place(files)
	if !ok {
		return errAbandoned
	}
	front := 0                                                                                    // entries that are trimmed
	moved := x.start != p.start && x.frontFile >= i && !failpoint.Broken("compact-forgets-trims") // since the pass began, of which the pack's index file knows nothing
	if moved {
		if err := g.trimmed(files); err != nil {
			return err
		}
		for front < len(g.w.entries) && g.w.entries[front].End() <= x.start {
			front++
		}
	}
	name := commitlog.IndexName(x.id, made.header.Base)
	if err := l.fs.Rename(tmp, name); err != nil {
		return fmt.Errorf("name %s: %w", name, full(err))
	}
	live := uint64(0)
	for k := range g.w.entries[front:] {
		live += uint64(g.w.entries[front+k].Length)
	}
	for s, c := range g.counts {
		s.refs -= min(s.refs, c.refs)
		s.live -= min(s.live, c.live)
	}
	made.refs, made.live = made.refs+uint64(len(g.w.entries)-front), made.live+live
	x.bytes = x.bytes - min(x.bytes, g.bytes.before) + live
	l.replaceFiles(x, i, len(files), made, front)
	if !moved {
		return nil
	}
	if front == len(g.w.entries) { // of what was packed everything is trimmed
		x.frontFile, x.frontSlot = i+1, 0
		x.startBehindPack()
	}
	x.startMoved = true
	return l.storeStart(x)
}

// trimmed takes what was trimmed since the pass began out of what is known of the files of before. The
// rest of them is not touched by that. REQUIRES: mu is held.
func (g *packing) trimmed(files []indexFile) error {
	p := g.p
	for k := range files {
		_, entries, _, err := commitlog.ReadIndexFile(vfs.Reading(p.l.fs), p.x.id, files[k].base)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			if e.End() > p.x.start {
				return nil
			}
			if e.End() <= p.start {
				continue
			}
			segs, n, of := p.l.needs(e)
			for _, s := range segs[:n] {
				c := g.counts[s]
				c.refs -= min(c.refs, 1)
				g.counts[s] = c
			}
			if c, counted := g.counts[of]; counted {
				c.live -= min(c.live, uint64(e.Length))
				g.counts[of] = c
			}
			g.bytes.before -= min(g.bytes.before, uint64(e.Length))
		}
	}
	return nil
}

// place finds files in the index; false: it is another one by now, or has been trimmed behind them.
// REQUIRES: mu is held.
func (p *compacting) place(files []indexFile) (i int, ok bool) {
	x := p.x
	if p.l.indexes[x.id] != x || !x.keep.Compaction.On {
		return 0, false
	}
	for i < len(x.files) && x.files[i].base != files[0].base {
		i++
	}
	if end := i + len(files); end >= len(x.files) || x.frontFile >= end {
		return 0, false
	}
	for k := range files {
		if f := &x.files[i+k]; f.base != files[k].base || f.count != files[k].count || f.pack != files[k].pack {
			return 0, false
		}
	}
	return i, true
}

// replaceFiles puts one file into the list of an index in the place of n, the first entries of which are
// trimmed. Those behind it go with the next index checkpoint. REQUIRES: mu is held.
func (l *Log) replaceFiles(x *index, i, n int, made *pack, trimmed int) {
	switch {
	case x.frontFile >= i+n:
		x.frontFile -= n - 1
	case x.frontFile >= i:
		x.frontFile, x.frontSlot = i, trimmed
	}
	for _, f := range x.files[i+1 : i+n] {
		l.ckpt.dead = append(l.ckpt.dead, indexFileName{x.id, f.base})
	}
	if x.file != nil && x.fileBase < x.files[i+n].base {
		l.files.drop(x)
	}
	kept := append([]indexFile(nil), x.files[:i]...)
	kept = append(kept, indexFile{base: made.header.Base, count: made.header.Entries, slots: made.header.Entries, pack: made})
	x.files = append(kept, x.files[i+n:]...)
	x.settlePacks()
	x.dirty = true
	l.newDirs[x.id] = true
	l.round.refs.forget()
}

// packWriter writes a pack.
type packWriter struct {
	l       *Log
	f       vfs.File
	tmp     string
	at      uint64 // the pack's position
	size    int64  // of the file so far
	synced  int64  // of it
	buf     []byte // not written yet
	entries []commitlog.Entry
	named   bool

	noted, notedAt uint64 // the note that was written last: where it was, and where it is
}

// packChunk is how much of a pack is written at once.
const packChunk = 1 << 20

// begin makes an unfinished file.
func (w *packWriter) begin(l *Log) (err error) {
	w.l = l
	l.mu.Lock()
	w.at = l.nextPack
	l.mu.Unlock()
	w.tmp, w.size = commitlog.PackName(w.at)+commitlog.TmpSuffix, commitlog.PackHeaderSize
	if err = l.fs.Mkdir(commitlog.PackDir); err == nil {
		err = l.fs.Remove(w.tmp)
	}
	if err == nil || isNotExist(err) {
		w.f, err = l.fs.Create(w.tmp)
	}
	failpoint.Hit("persist.pack.created")
	return full(err)
}

// position is that of the next byte.
func (w *packWriter) position() uint64 {
	return w.at + uint64(w.size-commitlog.PackHeaderSize) + uint64(len(w.buf))
}

// list adds an entry, whose batch begins at position, if it has one.
func (w *packWriter) list(e *commitlog.Entry) {
	e.Origin = w.at
	w.entries = append(w.entries, *e)
}

// note writes a note, unless it is the one that was written last, and returns its position.
func (w *packWriter) note(was uint64, b []byte) uint64 {
	if b == nil {
		return 0
	}
	if was != w.noted {
		w.noted, w.notedAt = was, w.position()
		w.buf = append(w.buf, b...)
	}
	return w.notedAt
}

func (w *packWriter) write(b []byte) error {
	if w.buf = append(w.buf, b...); len(w.buf) < packChunk {
		return nil
	}
	return w.flush()
}

func (w *packWriter) flush() error {
	if _, err := w.f.WritevAt([][]byte{w.buf}, w.size); err != nil {
		return fmt.Errorf("write %s: %w", w.tmp, full(err))
	}
	w.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	if w.size-w.synced < syncStep {
		return nil
	}
	return w.sync()
}

func (w *packWriter) sync() error {
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSync, w.tmp, err)
	}
	w.synced = w.size
	return nil
}

// finish writes entries and header, and gives the pack its name.
func (w *packWriter) finish(h *commitlog.PackHeader) error {
	for i := range w.entries {
		w.buf = w.entries[i].Append(w.buf)
	}
	if err := w.flush(); err != nil {
		return err
	}
	h.Entries, h.Position = uint32(len(w.entries)), w.at
	if _, err := w.f.WritevAt([][]byte{h.Append(nil)}, 0); err != nil {
		return fmt.Errorf("write %s: %w", w.tmp, full(err))
	}
	failpoint.Hit("persist.pack.written")
	if err := w.sync(); err != nil {
		return err
	}
	failpoint.Hit("persist.pack.synced")
	if err := w.l.fs.Rename(w.tmp, commitlog.PackName(w.at)); err != nil {
		return fmt.Errorf("name %s: %w", w.tmp, full(err))
	}
	w.named = true
	failpoint.Hit("persist.pack.named")
	if err := w.l.syncDir(commitlog.PackDir); err != nil {
		return err
	}
	return w.l.syncDir("")
}

// end closes the file, and removes it where it was not finished.
func (w *packWriter) end() {
	if w.f == nil {
		return
	}
	_ = w.f.Close() // what counts was synced
	if !w.named {
		_ = w.l.fs.Remove(w.tmp) // or the next start does
	}
}

// writeNew writes a file and syncs it; its name is not synced.
func (l *Log) writeNew(name string, content []byte) error {
	if err := l.fs.Remove(name); err != nil && !isNotExist(err) {
		return err
	}
	f, err := l.fs.Create(name)
	if err != nil {
		return full(err)
	}
	if err = writeSynced(f, [][]byte{content}); err != nil {
		f.Close()
		_ = l.fs.Remove(name) // or the next start does
		return err
	}
	return f.Close()
}
