package repair

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
)

// Options say what a repair may do.
type Options struct {
	// GiveUp lets it end the log before a damaged place which logicsrv would have to replay:
	// all entries behind it are given up, whole ones too.
	GiveUp bool
	Now    time.Time // goes into damage.known
}

// Step is one thing that a repair does.
type Step struct {
	What string
	do   func(w *work) error
}

// Plan is what is wrong, what a repair does about it, and what it cannot mend.
type Plan struct {
	Findings []commitlog.Finding
	Steps    []Step
	Itself   []string // persistsrv does this at its next start
	Left     []string // what nobody mends: what to do about it
	// Again says that files bear wrong names, or segments have no header: until the steps are done the
	// rest cannot be judged, so Look once more then.
	Again bool
	dir   string
}

// looker gathers a plan.
type looker struct {
	Plan
	o    Options
	fs   commitlog.FS
	ckpt *commitlog.IndexCheckpoint // empty where it cannot be read
	segs []commitlog.SegmentFile
	last uint64 // newest checkpoint that is whole; 0: none
	// holes are damaged places of the log, the torn end not among them.
	holes []*commitlog.Damage
	lost  []commitlog.KnownDamage
}

// Look finds out what is damaged and what can be done. It changes nothing.
func Look(dir string, o Options) (*Plan, error) {
	l := &looker{Plan: Plan{dir: dir}, o: o, fs: commitlog.DirFS(dir), ckpt: &commitlog.IndexCheckpoint{}}
	for _, part := range []func() error{l.marker, l.names} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	if l.Again {
		return &l.Plan, nil
	}
	if _, err := commitlog.Verify(l.fs, func(f commitlog.Finding) { l.Findings = append(l.Findings, f) }); err != nil {
		return nil, err
	}
	for _, part := range []func() error{l.indexCheckpoint, l.headers, l.checkpoints, l.indexes, l.known, l.losses, l.replay} {
		if err := part(); err != nil || l.Again {
			return &l.Plan, err
		}
	}
	return &l.Plan, nil
}

func (l *looker) step(do func(*work) error, format string, args ...any) {
	l.Steps = append(l.Steps, Step{fmt.Sprintf(format, args...), do})
}

func (l *looker) itself(format string, args ...any) {
	l.Itself = append(l.Itself, fmt.Sprintf(format, args...))
}

func (l *looker) left(format string, args ...any) {
	l.Left = append(l.Left, fmt.Sprintf(format, args...))
}

// errors are the findings of a file that are errors.
func (l *looker) errors(match func(file string) bool) (found []commitlog.Finding) {
	for _, f := range l.Findings {
		if f.Severity == commitlog.Error && match(f.File) {
			found = append(found, f)
		}
	}
	return found
}

// indexCheckpoint: a damaged one is set aside. What it knew persistsrv finds in the log.
func (l *looker) indexCheckpoint() error {
	c, err := commitlog.ReadIndexCheckpoint(l.fs)
	if err == nil {
		l.ckpt = c
		return nil
	}
	if len(l.errors(func(f string) bool { return f == commitlog.IndexCheckpointName })) > 0 {
		l.step(aside(commitlog.IndexCheckpointName), "set aside %s, which is damaged; persistsrv reads the whole log at its next start and makes all indexes anew", commitlog.IndexCheckpointName)
	}
	return nil
}

// checkpoints: damaged ones are set aside, and logicsrv begins with an older one.
func (l *looker) checkpoints() error {
	lsns, err := commitlog.ListCheckpoints(l.fs)
	if err != nil {
		return err
	}
	whole, bad := []uint64{}, []string{}
	for _, lsn := range lsns {
		name := commitlog.CheckpointName(lsn)
		if f := l.errors(func(f string) bool { return f == name }); len(f) == 0 {
			whole = append(whole, lsn)
			l.last = lsn
		} else {
			bad = append(bad, name)
		}
	}
	from := "an older one"
	if len(whole) == 0 {
		from = "the log's first entry"
	}
	for _, name := range bad {
		l.step(aside(name), "set aside %s, which is damaged; logicsrv begins with %s", name, from)
	}
	if len(whole) == 0 && len(l.segs) > 0 && (l.segs[0].HeaderErr != nil || l.segs[0].Header.BaseLSN > 1) {
		l.left("no checkpoint of logicsrv is whole, and the log no longer holds its first entries: the state can only come from a copy of the directory")
	}
	return nil
}

// indexes: the files of a damaged one are set aside, and persistsrv makes it anew.
func (l *looker) indexes() error {
	ids, err := commitlog.ListIndexes(l.fs)
	if err != nil {
		return err
	}
	for _, id := range ids {
		path := commitlog.IndexPath(id)
		found := l.errors(func(f string) bool { return f == path || strings.HasPrefix(f, path+"/") })
		if len(found) == 0 {
			continue
		}
		l.step(asideAll(path), "set aside the files of %s, which %s; persistsrv makes them anew at its next start", path, found[0].What)
	}
	for _, f := range l.errors(func(f string) bool { return strings.HasPrefix(f, commitlog.IndexDir+"/") }) {
		if strings.HasPrefix(f.What, "is missing") {
			l.itself("%s %s", f.File, f.What)
		}
	}
	return nil
}

// known: damage.known itself.
func (l *looker) known() error {
	if len(l.errors(func(f string) bool { return f == commitlog.KnownDamageName })) > 0 {
		l.step(aside(commitlog.KnownDamageName), "set aside %s, which is damaged: what was known to be lost is found again", commitlog.KnownDamageName)
	}
	return nil
}

// losses finds entries that are lost, and not yet known to be.
func (l *looker) losses() error {
	known, err := commitlog.ReadKnownDamage(l.fs)
	var format *commitlog.FormatError
	if err != nil && !errors.As(err, &format) {
		return err
	}
	r, err := commitlog.NewReader(l.fs, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	r.VerifyBodies(true)
	last := uint64(0)
	for {
		e, _, err := r.Next()
		var d *commitlog.Damage
		switch {
		case errors.As(err, &d):
			if !d.Removed && (d.Proven || d.LSN <= l.ckpt.LSN) || d.Removed && l.neededBelow(d.NextLSN) {
				l.holes = append(l.holes, d)
				l.lose(known, d.LSN, d.NextLSN-1, d.Segment+": "+d.Why)
			}
			last = max(last, d.NextLSN-1)
			continue
		case err == io.EOF:
			l.torn(r, last)
			if end := max(l.ckpt.LSN, l.last); last < end {
				l.lose(known, last+1, end, "the log ends before them")
			}
			return nil
		case err != nil:
			return err
		}
		last = e.LSN
	}
}

// neededBelow says whether a missing segment that ends before an LSN was one that something needs.
func (l *looker) neededBelow(next uint64) bool {
	for i := range l.ckpt.Segments {
		s := &l.ckpt.Segments[i]
		if s.Refs > 0 && s.LastLSN < next && len(l.errors(func(f string) bool { return f == commitlog.SegmentName(s.Position) })) > 0 {
			return true
		}
	}
	return false
}

func (l *looker) lose(known []commitlog.KnownDamage, first, last uint64, why string) {
	if commitlog.Covers(known, first, last) {
		return
	}
	l.lost = append(l.lost, commitlog.KnownDamage{First: first, Last: last, Since: l.o.Now, Why: why})
}

// enter plans to enter what is lost into damage.known; from an LSN on (0: none) the log is given up,
// and other entries will bear these numbers.
func (l *looker) enter(givenUp uint64) {
	for _, k := range l.lost {
		if givenUp > 0 && k.First >= givenUp {
			continue
		}
		if givenUp > 0 {
			k.Last = min(k.Last, givenUp-1)
		}
		l.step(know(k), "enter lsn %d to %d into %s as lost (%s): whoever reads them is told, and verify tells them as a note", k.First, k.Last, commitlog.KnownDamageName, k.Why)
	}
}

// torn says what becomes of a torn end.
func (l *looker) torn(r *commitlog.Reader, last uint64) {
	if t := r.Torn(); t != nil && last >= l.ckpt.LSN {
		l.itself("cut the torn end of the log off: %s from position %d on; nobody was told that it is stored", t.Segment, t.Position)
	}
}

// replay reads what logicsrv will have to replay, as it does. A place that it cannot pass keeps the
// broker from starting; only to end the log there helps.
func (l *looker) replay() error {
	at, err := l.blocked()
	if err != nil {
		return err
	}
	if at == nil {
		l.enter(0)
		return nil
	}
	lost := fmt.Sprintf("lsn %d and all that follow: what was stored, acknowledged or settled since", at.lsn)
	if !l.o.GiveUp {
		l.left("logicsrv has to replay the log from lsn %d on and cannot pass %s, position %d: %s. With a copy of that segment, put it back; without one, `trimq log repair --give-up` ends the log there, and gives up %s",
			l.last+1, at.segment, at.position, at.why, lost)
		return nil
	}
	l.enter(at.lsn)
	l.step(l.endBefore(at), "end the log before %s, position %d, and set aside all that follows: %s. GIVEN UP: %s. If the broker was killed, its rings speak of that too: remove them with `trimq shm rm`",
		at.segment, at.position, at.why, lost)
	l.itself("make all indexes anew")
	return nil
}

// stop is where replay ends too early.
type stop struct {
	segment  string
	position uint64
	lsn      uint64
	why      string
}

// blocked is where logicsrv's replay stops; nil: nowhere.
func (l *looker) blocked() (*stop, error) {
	r, err := commitlog.NewReader(l.fs, l.last+1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.HeadsOnly(true)
	r.StopAtDamage(true)
	next := l.last + 1
	for {
		e, p, err := r.Next()
		var bad *commitlog.BadEntry
		var d *commitlog.Damage
		switch {
		case errors.As(err, &bad) && next > l.ckpt.LSN && !l.isHole(next):
			return nil, nil // the torn end
		case errors.As(err, &bad):
			return &stop{bad.Segment, bad.Position, next, bad.Why.Error()}, nil
		case errors.As(err, &d) && d.NextLSN > next:
			return &stop{d.Segment, d.Position, d.LSN, d.Why}, nil
		case errors.As(err, &d):
			continue
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, err
		case e.LSN < next:
			continue
		case e.LSN > next:
			return &stop{p.Segment, p.Position, next, fmt.Sprintf("lsn %d where %d should follow", e.LSN, next)}, nil
		}
		next++
	}
}

// isHole says whether the entry with an LSN lies in a damaged place, not in a torn end.
func (l *looker) isHole(lsn uint64) bool {
	for _, d := range l.holes {
		if d.LSN <= lsn && lsn < d.NextLSN {
			return true
		}
	}
	return false
}

func (l *looker) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }
