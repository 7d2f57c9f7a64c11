package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// marker: a damaged one is written anew, where the directory is beyond doubt one of this format.
func (l *looker) marker() error {
	text, err := os.ReadFile(l.path(commitlog.MarkerName))
	if errors.Is(err, fs.ErrNotExist) {
		l.itself("make %s anew, which is missing", commitlog.MarkerName)
		return nil
	}
	if err != nil {
		return err
	}
	bad := commitlog.CheckMarker(text)
	if bad == nil {
		return nil
	}
	segs, err := commitlog.ListSegments(l.fs)
	if err != nil {
		return err
	}
	for i := range segs {
		if segs[i].HeaderErr == nil {
			l.step(write(commitlog.MarkerName, []byte(commitlog.MarkerText)), "write %s anew: the log's segments say that the directory is of this format", commitlog.MarkerName)
			return nil
		}
	}
	l.left("%v; no segment of the log proves that it is one of this format", bad)
	return nil
}

// names: a segment or checkpoint that bears the name of another gets its own.
func (l *looker) names() (err error) {
	if l.segs, err = commitlog.ListSegments(l.fs); err != nil {
		return err
	}
	renames := map[string]string{}
	for i := range l.segs {
		if name, ok := l.ownName(&l.segs[i]); ok {
			renames[l.segs[i].Name] = name
		}
	}
	lsns, err := commitlog.ListCheckpoints(l.fs)
	if err != nil {
		return err
	}
	for _, at := range lsns {
		b, err := os.ReadFile(l.path(commitlog.CheckpointName(at)))
		if err != nil {
			return err
		}
		if lsn, _, _, err := journal.DecodeCheckpoint(b); err == nil && lsn != at {
			renames[commitlog.CheckpointName(at)] = commitlog.CheckpointName(lsn)
		}
	}
	return l.rename(renames)
}

// ownName is the name that a segment's whole header wants, if it bears another.
func (l *looker) ownName(s *commitlog.SegmentFile) (string, bool) {
	if s.HeaderErr == nil || s.Size < commitlog.SegmentHeaderSize {
		return "", false
	}
	f, err := l.fs.Open(s.Name)
	if err != nil {
		return "", false
	}
	defer f.Close()
	b := make([]byte, commitlog.SegmentHeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return "", false
	}
	h, err := commitlog.DecodeSegmentHeader(b)
	return commitlog.SegmentName(h.Position), err == nil && h.Position != s.Position
}

// rename plans the renames of which the target is free, or becomes free.
func (l *looker) rename(renames map[string]string) error {
	for from, to := range renames {
		_, err := os.Stat(l.path(to))
		if _, moves := renames[to]; err == nil && !moves {
			l.left("%s says that it is %s, which is there already: move one of them away", from, to)
			delete(renames, from)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(renames) == 0 {
		return nil
	}
	l.Again = true
	text := ""
	for _, from := range sorted(renames) {
		text += fmt.Sprintf("\n    %s is %s", from, renames[from])
	}
	l.step(swap(renames), "give files back the names that their contents say, which loses nothing:%s", text)
	return nil
}

// headers: a segment's damaged header is written anew where the index checkpoint knows what stood
// in it. Where it does not, nothing in the segment can be proven to be an entry; but only once all
// others have their headers is it known what is lost with it.
func (l *looker) headers() error {
	var err error
	if l.segs, err = commitlog.ListSegments(l.fs); err != nil {
		return err
	}
	var hopeless []string
	for i := range l.segs {
		s := &l.segs[i]
		if s.HeaderErr == nil || l.unused(i) {
			continue
		}
		known := l.state(s.Position)
		if known == nil {
			hopeless = append(hopeless, s.Name)
			continue
		}
		at, err := os.Stat(l.path(s.Name))
		if err != nil {
			return err
		}
		h := commitlog.SegmentHeader{
			Shard: l.shard(), Position: s.Position, BaseLSN: known.BaseLSN, CreatedMS: at.ModTime().UnixMilli(),
			Capacity: max(uint64(s.Size), commitlog.SegmentHeaderSize), Salt: known.Salt,
		}
		l.Again = true
		l.step(patch(s.Name, h.Append(nil)), "write the header of %s anew, from what the index checkpoint knows of it, which loses nothing", s.Name)
	}
	for _, name := range hopeless {
		if !l.Again {
			l.step(aside(name), "set aside %s: its header is damaged, and the index checkpoint does not know it either, so that nothing in it can be told from what clients have sent", name)
		}
	}
	return nil
}

// unused says whether segment i is the last, and never had an entry: persistsrv removes it.
func (l *looker) unused(i int) bool {
	s := &l.segs[i]
	if i+1 < len(l.segs) || !s.Blank || l.state(s.Position) != nil {
		return false
	}
	l.itself("remove %s, which never held anything", s.Name)
	return true
}

// state is what the index checkpoint knows of a segment.
func (l *looker) state(position uint64) *commitlog.SegmentState {
	for i := range l.ckpt.Segments {
		if s := &l.ckpt.Segments[i]; s.Position == position {
			return s
		}
	}
	return nil
}

// shard is that of the log, as another segment says it.
func (l *looker) shard() uint32 {
	for i := range l.segs {
		if l.segs[i].HeaderErr == nil {
			return l.segs[i].Header.Shard
		}
	}
	return 0 // a broker that stands alone
}
