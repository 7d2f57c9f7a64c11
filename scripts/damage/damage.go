package damage

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Class is a kind of file in a data directory.
type Class string

// Classes are where the files lie, below the data directory.
var Classes = map[Class]string{
	"log":              "commitlog/*",
	"index":            "index/*/*",
	"pack":             "packs/*",
	"checkpoint":       "checkpoint/*",
	"index-checkpoint": "index.ckpt",
	"marker":           "TRIMQ",
	"identity":         "broker.id",
	"config":           "trimq.toml",
}

// Kind is a way to harm a file.
type Kind string

// The kinds. Block is the size of what they wipe and swap.
const (
	Flip       Kind = "flip"        // one bit
	Wipe       Kind = "wipe"        // a block reads as zeros, as after a write that was lost
	Truncate   Kind = "truncate"    // the file ends earlier
	Remove     Kind = "remove"      // the file is gone
	SwapBlocks Kind = "swap-blocks" // two blocks of a file have changed places
	SwapFiles  Kind = "swap-files"  // two files have changed names

	Block = 512
)

// Kinds are all of them.
var Kinds = []Kind{Flip, Wipe, Truncate, Remove, SwapBlocks, SwapFiles}

// ErrNothing says that there is nothing which could be harmed in this way.
var ErrNothing = errors.New("there is nothing that could be harmed so")

// Harm is one harm.
type Harm struct {
	Kind   Kind
	File   string // below the directory
	Other  string // of SwapFiles
	At, To int64  // bytes: where; SwapBlocks: the other block
	Bit    uint8
}

// String says what is done.
func (h Harm) String() string {
	switch h.Kind {
	case Flip:
		return fmt.Sprintf("flip bit %d of byte %d of %s", h.Bit, h.At, h.File)
	case Wipe:
		return fmt.Sprintf("wipe %d bytes of %s from byte %d on", Block, h.File, h.At)
	case Truncate:
		return fmt.Sprintf("truncate %s to %d bytes", h.File, h.At)
	case SwapBlocks:
		return fmt.Sprintf("swap the blocks of %d bytes at %d and %d of %s", Block, h.At, h.To, h.File)
	case SwapFiles:
		return fmt.Sprintf("swap %s and %s", h.File, h.Other)
	}
	return fmt.Sprintf("%s %s", h.Kind, h.File)
}

// Plan chooses a file of a class, and a place in it.
func Plan(dir string, class Class, kind Kind, r *rand.Rand) (Harm, error) {
	paths, err := filepath.Glob(filepath.Join(dir, Classes[class]))
	if err != nil {
		return Harm{}, err
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { s, err := os.Stat(p); return err != nil || !s.Mode().IsRegular() || s.Size() == 0 })
	if len(paths) == 0 || kind == SwapFiles && len(paths) == 1 {
		return Harm{}, fmt.Errorf("%s %s: %w", kind, class, ErrNothing)
	}
	r.Shuffle(len(paths), func(i, k int) { paths[i], paths[k] = paths[k], paths[i] })
	h := Harm{Kind: kind}
	if h.File, err = filepath.Rel(dir, paths[0]); err == nil && kind == SwapFiles {
		h.Other, err = filepath.Rel(dir, paths[1])
	}
	if err != nil {
		return h, err
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		return h, err
	}
	return h, h.place(used(b), r)
}

// used is how many bytes of a file there are before the zeros at its end: files are made longer
// than what is in them.
func used(b []byte) int64 {
	n := len(b)
	for n > 1 && b[n-1] == 0 {
		n--
	}
	return int64(n)
}

// place chooses where in the file, of which size bytes are in use.
func (h *Harm) place(size int64, r *rand.Rand) error {
	blocks := size / Block
	switch h.Kind {
	case Flip:
		h.At, h.Bit = r.Int64N(size), uint8(r.IntN(8))
	case Truncate:
		h.At = r.Int64N(size)
	case Wipe:
		h.At = r.Int64N(max(blocks, 1)) * Block
	case SwapBlocks:
		if blocks < 2 {
			return fmt.Errorf("%s: %s has %d whole blocks: %w", h.Kind, h.File, blocks, ErrNothing)
		}
		h.At = r.Int64N(blocks)
		h.To = (h.At + 1 + r.Int64N(blocks-1)) % blocks * Block
		h.At *= Block
	}
	return nil
}

// Do does it.
func (h Harm) Do(dir string) error {
	path := filepath.Join(dir, h.File)
	switch h.Kind {
	case Truncate:
		return os.Truncate(path, h.At)
	case Remove:
		return os.Remove(path)
	case SwapFiles:
		other := filepath.Join(dir, h.Other)
		aside := path + ".swap"
		return errors.Join(os.Rename(path, aside), os.Rename(other, path), os.Rename(aside, other))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(h.change(f), f.Close())
}

// change changes bytes in place.
func (h Harm) change(f *os.File) error {
	read := func(at int64, n int) ([]byte, error) {
		b := make([]byte, n)
		n, err := f.ReadAt(b, at)
		if err == io.EOF {
			err = nil
		}
		return b[:n], err
	}
	switch h.Kind {
	case Flip:
		b, err := read(h.At, 1)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{b[0] ^ 1<<h.Bit}, h.At)
		return err
	case Wipe:
		b, err := read(h.At, Block)
		if err != nil {
			return err
		}
		clear(b)
		_, err = f.WriteAt(b, h.At)
		return err
	case SwapBlocks:
		a, err := read(h.At, Block)
		b, err2 := read(h.To, Block)
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		_, err = f.WriteAt(b, h.At)
		_, err2 = f.WriteAt(a, h.To)
		return errors.Join(err, err2)
	}
	return fmt.Errorf("no way to harm is called %q", h.Kind)
}
