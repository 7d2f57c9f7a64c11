package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxFileBytes leaves out generated giants, so that many files fit into the line limit.
const maxFileBytes = 1 << 20

// line is one message of the corpus.
type line struct {
	file string // path below the corpus' root, with /
	text []byte
}

// routingKey is the file's path as a routing key: its words are the parts of the path, the
// last one the extension.
func routingKey(file string) string { return strings.ReplaceAll(file, "/", ".") }

// eachLine calls f for the lines of the text files below root, in the order of their names,
// until limit lines have been given.
func eachLine(root string, limit int, f func(line) error) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := readText(path, entry)
		if err != nil || text == nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for l := range bytes.Lines(text) {
			if limit == 0 {
				return fs.SkipAll
			}
			limit--
			if err := f(line{filepath.ToSlash(name), bytes.TrimSuffix(l, []byte("\n"))}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// readText reads a file; nil where it is no text of a bearable size.
func readText(path string, entry fs.DirEntry) ([]byte, error) {
	info, err := entry.Info()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFileBytes {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, err
	}
	return text, nil
}
