package commitlog

// damage.known: entries of the log that are lost, and known to be, in the order in which that was
// found. `trimq log repair` writes it; `trimq log verify` tells what is in it as a note, and no longer
// as an error. Nobody else reads it: what is lost is told by persistsrv at each start all the same.
// Text, a line each:
//
//	lsn FIRST LAST since TIME: WHY
//
// TIME is as in RFC 3339. Version ladder: 1.

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// KnownDamageName is the file's name in the data directory.
const KnownDamageName = "damage.known"

// maxKnownLine bounds a line in bytes, maxKnownDamage the file.
const (
	maxKnownLine   = 1 << 12
	maxKnownDamage = 1 << 24
)

// KnownDamage is entries [First, Last] that are lost.
type KnownDamage struct {
	First, Last uint64 // LSNs
	Since       time.Time
	Why         string
}

// String is the line, without its end.
func (k KnownDamage) String() string {
	why := strings.Join(strings.Fields(k.Why), " ")
	return fmt.Sprintf("lsn %d %d since %s: %s", k.First, k.Last, k.Since.UTC().Format(time.RFC3339), why[:min(len(why), maxKnownLine/2)])
}

// ParseKnownDamage reads the file's content.
func ParseKnownDamage(text []byte) ([]KnownDamage, error) {
	var list []KnownDamage
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		k, ok := parseKnown(line)
		if !ok {
			return nil, formatErrorf(KnownDamageName, "line %d says %q, want: lsn FIRST LAST since TIME: WHY", n, line[:min(len(line), 100)])
		}
		list = append(list, k)
	}
	return list, nil
}

func parseKnown(line string) (k KnownDamage, ok bool) {
	head, why, ok := strings.Cut(line, ": ")
	if !ok || len(line) > maxKnownLine {
		return k, false
	}
	var since string
	if n, err := fmt.Sscanf(head, "lsn %d %d since %s", &k.First, &k.Last, &since); n != 3 || err != nil {
		return k, false
	}
	t, err := time.Parse(time.RFC3339, since)
	k.Since, k.Why = t, why
	return k, err == nil && k.First > 0 && k.First <= k.Last && k.String() == line
}

// ReadKnownDamage reads damage.known; where there is none, nothing is known.
func ReadKnownDamage(fsys FS) ([]KnownDamage, error) {
	f, err := fsys.Open(KnownDamageName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	f.Close()
	if err != nil {
		return nil, err
	}
	if size > maxKnownDamage {
		return nil, formatErrorf(KnownDamageName, "%d bytes, more than the %d that are read", size, maxKnownDamage)
	}
	text, err := readWhole(fsys, KnownDamageName)
	if err != nil {
		return nil, err
	}
	return ParseKnownDamage(text)
}

// Covers says whether all entries [first, last] are among those that are known to be lost.
func Covers(known []KnownDamage, first, last uint64) bool {
	for at := first; at <= last; {
		next := at
		for _, k := range known {
			if k.First <= at && at <= k.Last {
				next = max(next, k.Last+1)
			}
		}
		if next == at {
			return false
		}
		at = next
	}
	return first <= last
}
