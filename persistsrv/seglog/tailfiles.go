package seglog

import (
	"errors"

	"github.com/trimq/trimq/persistsrv/vfs"
)

// tailFiles keeps the last file of some indexes open, the ones used most recently.
type tailFiles struct {
	limit  int
	n      int
	newest *index
	oldest *index
}

// put makes f the open file of x and closes the one used longest ago.
func (t *tailFiles) put(x *index, f vfs.File, base uint64) {
	t.drop(x)
	x.file, x.fileBase = f, base
	t.link(x)
	for t.n > max(1, t.limit) {
		t.drop(t.oldest)
	}
}

// use notes that x's file was used.
func (t *tailFiles) use(x *index) {
	if t.newest != x {
		t.unlink(x)
		t.link(x)
	}
}

// drop closes x's file. An error of Close is none of ours: nothing is buffered in a file here,
// and a sync tells what the kernel could not write.
func (t *tailFiles) drop(x *index) {
	if x.file == nil {
		return
	}
	_ = x.file.Close()
	x.file = nil
	t.unlink(x)
}

func (t *tailFiles) link(x *index) {
	x.older, x.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = x
	} else {
		t.oldest = x
	}
	t.newest = x
	t.n++
}

func (t *tailFiles) unlink(x *index) {
	if x.newer != nil {
		x.newer.older = x.older
	} else {
		t.newest = x.older
	}
	if x.older != nil {
		x.older.newer = x.newer
	} else {
		t.oldest = x.newer
	}
	x.older, x.newer = nil, nil
	t.n--
}

func (t *tailFiles) closeAll() error {
	var errs []error
	for t.oldest != nil {
		x := t.oldest
		errs = append(errs, x.file.Close())
		x.file = nil
		t.unlink(x)
	}
	return errors.Join(errs...)
}
