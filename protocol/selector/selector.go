package selector

import (
	"fmt"
	"unicode/utf8"
)

// Kind is the language of a filter's text. Its numbers stand in formats.
type Kind uint8

// Kinds of filters.
const (
	KindSelector Kind = 1 // an expression over headers
	KindTags     Kind = 2 // values of the header TagHeader
)

// TagHeader is the header that filters of KindTags look at.
const TagHeader = "tag"

// Limits of a filter.
const (
	MaxText  = 4096 // bytes of its text
	maxDepth = 64   // parentheses, NOTs and signs in one another
	maxNodes = 1400 // values and operators of an expression; with blanks between them, MaxText has not so many
	maxNames = 32   // different headers that it looks at
	maxSteps = 4000 // nodes that are translated, some of them several times
)

// Filter is a compiled filter. It is immutable.
type Filter struct {
	kind    Kind
	normal  string
	first   *test
	names   []string // of the headers that it looks at; a test knows them by their place here
	key     int      // the place that stands for the record's key, -1: none
	lengths uint64   // the LengthBits of names
}

// Compile reads the text of a filter. Errors are *SyntaxError. A text of blanks matches
// every message.
func Compile(kind Kind, text string) (*Filter, error) {
	switch kind {
	case KindSelector:
		return CompileSelector(text)
	case KindTags:
		return CompileTags(text)
	}
	return nil, &SyntaxError{1, fmt.Sprintf("a filter's kind is %d, expected %d (selector) or %d (tags)", kind, KindSelector, KindTags)}
}

// Kind is the language of its text.
func (f *Filter) Kind() Kind { return f.kind }

// String is the normal form of the filter's text: without what means nothing, NOT worked
// into the conditions, lists sorted. Filters with equal normal forms match the same messages.
func (f *Filter) String() string { return f.normal }

// All tells that every message matches, so that none need be looked at.
func (f *Filter) All() bool { return f.first == accept }

// SyntaxError says what is wrong with the text of a filter, and what to write instead.
type SyntaxError struct {
	Pos  int // the character at which it was noticed, counted from 1; at the end, one behind the last
	Text string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.Pos, e.Text) }

// syntaxError makes the error for byte at of the text.
func syntaxError(text string, at int, format string, args ...any) *SyntaxError {
	return &SyntaxError{utf8.RuneCountInString(text[:at]) + 1, fmt.Sprintf(format, args...)}
}

// checkText looks at what all kinds demand of a text.
func checkText(text string) *SyntaxError {
	if len(text) > MaxText {
		return &SyntaxError{1, fmt.Sprintf("the filter has %d bytes, at most %d are taken", len(text), MaxText)}
	}
	for at, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[at:]); size == 1 {
				return syntaxError(text, at, "found byte 0x%02x, expected text in UTF-8", text[at])
			}
		}
	}
	return nil
}
