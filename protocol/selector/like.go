package selector

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// pattern is what stands behind LIKE: sections between the % of its text. A value matches
// if it begins with the first section, ends with the last one, and has the others in
// between, in order; each found as early as can be.
type pattern struct{ sections []section }

const noEscape rune = -1

// section is a part of a pattern without %: pieces, one after the other.
type section struct {
	pieces []piece
	chars  int // in all
}

// piece is so many characters of any kind, and then a text.
type piece struct {
	skip int
	text []byte
}

// maxSection bounds the characters of a section with _ that is looked for at every place of
// a value; the time for it is their number times the value's length.
const maxSection = 64

// newPattern reads a pattern; wrong says what is wrong with it.
func newPattern(text string, escape rune) (like *pattern, wrong string) {
	like = &pattern{sections: []section{{}}}
	escaped := false
	for _, r := range text {
		last := &like.sections[len(like.sections)-1]
		switch {
		case escaped && r != '_' && r != '%' && r != escape:
			return nil, fmt.Sprintf("found %c behind the escape character %c of this pattern, expected _, %% or %c", r, escape, escape)
		case escaped:
			escaped = false
			last.add(r)
		case r == escape:
			escaped = true
		case r == '%':
			if len(like.sections) == 1 || last.chars > 0 {
				like.sections = append(like.sections, section{})
			}
		case r == '_':
			last.skip()
		default:
			last.add(r)
		}
	}
	if escaped {
		return nil, fmt.Sprintf("this pattern ends with its escape character %c, expected _, %% or %c behind it", escape, escape)
	}
	for i := 1; i < len(like.sections)-1; i++ {
		if s := &like.sections[i]; s.chars > maxSection && !s.plain() {
			return nil, fmt.Sprintf("this pattern has a part of %d characters with a _ between two %%, at most %d are taken", s.chars, maxSection)
		}
	}
	return like, ""
}

// add puts a character at the section's end.
func (s *section) add(r rune) {
	if len(s.pieces) == 0 {
		s.pieces = append(s.pieces, piece{})
	}
	p := &s.pieces[len(s.pieces)-1]
	p.text = utf8.AppendRune(p.text, r)
	s.chars++
}

// skip puts a _ at the section's end.
func (s *section) skip() {
	if n := len(s.pieces); n == 0 || len(s.pieces[n-1].text) > 0 {
		s.pieces = append(s.pieces, piece{})
	}
	s.pieces[len(s.pieces)-1].skip++
	s.chars++
}

// plain tells that it has text, and no _.
func (s *section) plain() bool { return len(s.pieces) == 1 && s.pieces[0].skip == 0 }

// end gives where the section ends if it begins at value[at:]; -1: it does not.
func (s *section) end(value []byte, at int) int {
	for i := range s.pieces {
		p := &s.pieces[i]
		for range p.skip {
			if at == len(value) {
				return -1
			}
			at += charSize(value[at:])
		}
		if !bytes.HasPrefix(value[at:], p.text) {
			return -1
		}
		at += len(p.text)
	}
	return at
}

// charSize is the length of a value's first character. A byte that is no UTF-8 is one.
func charSize(value []byte) int {
	if value[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRune(value)
	return size
}

// find gives the end of the section's first place in value[at:]; -1: there is none.
func (s *section) find(value []byte, at int) int {
	if s.plain() {
		text := s.pieces[0].text
		i := bytes.Index(value[at:], text)
		if i < 0 {
			return -1
		}
		return at + i + len(text)
	}
	for {
		if end := s.end(value, at); end >= 0 || at == len(value) {
			return end
		}
		at += charSize(value[at:])
	}
}

// startOfLast gives where the section begins that ends with the value; -1: nowhere.
func (s *section) startOfLast(value []byte) int {
	at := len(value)
	for range s.chars {
		if at == 0 {
			return -1
		}
		_, size := utf8.DecodeLastRune(value[:at])
		at -= size
	}
	if s.end(value, at) != len(value) {
		return -1
	}
	return at
}

func (p *pattern) matches(value []byte) bool {
	first, last := &p.sections[0], &p.sections[len(p.sections)-1]
	at := first.end(value, 0)
	if len(p.sections) == 1 {
		return at == len(value)
	}
	stop := last.startOfLast(value)
	for i := 1; i < len(p.sections)-1 && at >= 0 && at <= stop; i++ {
		at = p.sections[i].find(value[:stop], at)
	}
	return at >= 0 && at <= stop
}

// literal is the pattern in its normal form: what has to be escaped is, by a \.
func (p *pattern) literal() string {
	var text strings.Builder
	escaped := p.holdsWildcards()
	for i, s := range p.sections {
		if i > 0 {
			text.WriteByte('%')
		}
		for _, piece := range s.pieces {
			text.WriteString(strings.Repeat("_", piece.skip))
			part := string(piece.text)
			if escaped {
				part = escaper.Replace(part)
			}
			text.WriteString(part)
		}
	}
	if escaped {
		return quoted(text.String(), '\'') + ` ESCAPE '\'`
	}
	return quoted(text.String(), '\'')
}

var escaper = strings.NewReplacer("%", `\%`, "_", `\_`, `\`, `\\`)

// holdsWildcards tells whether a % or _ stands for itself in the pattern.
func (p *pattern) holdsWildcards() bool {
	for _, s := range p.sections {
		for _, piece := range s.pieces {
			if bytes.ContainsAny(piece.text, "%_") {
				return true
			}
		}
	}
	return false
}
