package seglog

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// The file of the current segment is longer than what is in it. A file that grows with each append makes
// of each sync two: of the bytes, and of the file's new size. So its size runs ahead, by AheadBytes at a
// time, into the space that is reserved, and most appends leave it alone. What lies between the end of
// the log and that of the file reads as zero, and no entry begins with zero: the log ends there. There
// always is some of it, by which an entry that was not written whole is told from a damaged one. It is
// cut off when the segment is closed, when the process ends in good order, and by recovery.

// runAhead sees that an append up to a file offset does not change the size of the file, or that the
// next ones do not. Without AheadBytes nothing runs ahead.
func (l *Log) runAhead(s *segment, end int64) error {
	if end < s.size || l.set.AheadBytes == 0 {
		return nil
	}
	size := max(end, min(end+l.set.AheadBytes, s.capacity)) + commitlog.Alignment
	if err := s.file.Truncate(size); err != nil {
		if err = full(err); errors.Is(err, ErrFull) {
			l.space.hit()
		}
		return fmt.Errorf("lengthen segment %s to %d bytes: %w", s.name(), size, err)
	}
	s.size = size
	failpoint.Hit("persist.ahead")
	return nil
}

// EndAhead cuts off what has run ahead: the log's file ends where the log does. It is for an end in good
// order, after the last sync. REQUIRES: Add and Flush are not called any more.
func (l *Log) EndAhead() error {
	s := l.cur
	if s == nil || s.sealed || s.file == nil || s.size <= s.offset(s.end) {
		return nil
	}
	if err := s.file.Truncate(s.offset(s.end)); err != nil {
		return fmt.Errorf("shorten segment %s: %w", s.name(), err)
	}
	s.size = s.offset(s.end)
	return nil
}
