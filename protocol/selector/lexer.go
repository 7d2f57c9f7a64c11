package selector

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is what a piece of text is: a keyword, a sign, or one of these.
type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokName             // an identifier, or a name in double quotes
	tokOwn              // a name that begins with $ and stands for something of the message
	tokString           // in single quotes
	tokNumber
	tokSign // ( ) , + - * /
	tokRelation
	tokAnd
	tokOr
	tokNot
	tokBetween
	tokIn
	tokLike
	tokEscape
	tokIs
	tokNull
	tokTrue
	tokFalse
)

var keywords = map[string]tokenKind{
	"AND": tokAnd, "OR": tokOr, "NOT": tokNot, "BETWEEN": tokBetween, "IN": tokIn, "LIKE": tokLike,
	"ESCAPE": tokEscape, "IS": tokIs, "NULL": tokNull, "TRUE": tokTrue, "FALSE": tokFalse,
}

// longestKeyword saves the search for names that are longer.
const longestKeyword = 7

// token is one piece of the text.
type token struct {
	kind tokenKind
	at   int    // bytes before it
	raw  string // as it is written
	text string // what a name or string stands for
	sign byte
	rel  relation
	num  number
	edge bool // num is too large without the minus that it has
}

// foreign are signs of other languages, and what is written here. Longer ones come first.
var foreign = []struct{ sign, instead string }{
	{"!=", "<>"}, {"^=", "<>"}, {"==", "="}, {"=>", ">="}, {"=<", "<="}, {"&&", "AND"}, {"||", "OR"}, {"!", "NOT"}, {"&", "AND"}, {"|", "OR"},
	{"‘", "a straight '"}, {"’", "a straight '"}, {"“", `a straight ' for a string, or " for a header's name`}, {"”", `a straight ' for a string, or " for a header's name`},
	{"`", `" for a header's name`}, {";", "nothing: a selector is one expression"},
}

// next reads the token behind the current one. After an error there is only the end.
func (p *parser) next() {
	at := p.tok.at + len(p.tok.raw)
	for at < len(p.text) && isBlank(p.text[at]) {
		at++
	}
	p.tok = token{at: at}
	if p.err != nil || at == len(p.text) {
		p.tok.at = len(p.text)
		return
	}
	rest := p.text[at:]
	first, _ := utf8.DecodeRuneInString(rest)
	switch {
	case startsName(first):
		p.lexName(rest)
	case first == '"':
		p.lexQuoted(rest, '"', tokName)
	case first == '\'':
		p.lexQuoted(rest, '\'', tokString)
	case isDigit(rest[0]), first == '.' && len(rest) > 1 && isDigit(rest[1]):
		p.lexNumber(rest)
	default:
		p.lexSign(rest)
	}
}

// isBlank knows the white space of Java: space, tab, form feed, ends of lines.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' || c == '\n' || c == '\r' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// startsName and goesOnName know the identifiers of Java, without the control and format
// characters that those may hold unseen.
func startsName(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_' || r == '$'
	}
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Sc, unicode.Pc)
}

func goesOnName(r rune) bool {
	return startsName(r) || '0' <= r && r <= '9' || r >= utf8.RuneSelf && unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc)
}

// nameLength is how many bytes of the text's front are an identifier.
func nameLength(text string) int {
	for i, r := range text {
		if !goesOnName(r) {
			return i
		}
	}
	return len(text)
}

func isName(text string) bool {
	first, _ := utf8.DecodeRuneInString(text)
	return startsName(first) && nameLength(text) == len(text) && keyword(text) == tokEnd
}

// keyword is the token of a keyword, however it is written; tokEnd: it is none.
func keyword(text string) tokenKind {
	if len(text) > longestKeyword {
		return tokEnd
	}
	return keywords[strings.ToUpper(text)]
}

func (p *parser) lexName(rest string) {
	n := nameLength(rest)
	p.tok.raw, p.tok.text = rest[:n], rest[:n]
	p.tok.kind = tokName
	if kind := keyword(rest[:n]); kind != tokEnd {
		p.tok.kind = kind
		return
	}
	if rest[0] == '$' {
		p.tok.kind = tokOwn
	}
	if n < len(rest) && strings.IndexByte(".:@#", rest[n]) >= 0 {
		whole := rest[:n+1+nameLength(rest[n+1:])]
		p.fail(p.tok.at+n, `found %c behind a header's name; a name with that in it is written in double quotes: "%s"`, rest[n], shortened(whole))
	}
}

// lexQuoted reads what stands between two quotes, a doubled one inside standing for one.
func (p *parser) lexQuoted(rest string, quote byte, kind tokenKind) {
	doubled := false
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] != quote:
		case i+1 < len(rest) && rest[i+1] == quote:
			doubled = true
			i++
		default:
			p.tok.kind, p.tok.raw, p.tok.text = kind, rest[:i+1], rest[1:i]
			if doubled {
				q := string(quote)
				p.tok.text = strings.ReplaceAll(p.tok.text, q+q, q)
			}
			if kind == tokName && p.tok.text == "" {
				p.fail(p.tok.at, `found an empty name; a string, even an empty one, is written in single quotes: ''`)
			}
			return
		}
	}
	what := "string"
	if kind == tokName {
		what = "name"
	}
	p.fail(p.tok.at, "found a %s without an end, expected a closing %c; one inside it is written twice: %c%c", what, quote, quote, quote)
}

func (p *parser) lexNumber(rest string) {
	n := numberLength(rest)
	p.tok.kind, p.tok.raw = tokNumber, rest[:n]
	num, edge, wrong := readLiteral(rest[:n])
	if wrong != "" {
		p.fail(p.tok.at, "%s", wrong)
		return
	}
	p.tok.num, p.tok.edge = num, edge
}

func (p *parser) lexSign(rest string) {
	for _, f := range foreign {
		if strings.HasPrefix(rest, f.sign) {
			p.fail(p.tok.at, "found %s, expected %s", f.sign, f.instead)
			return
		}
	}
	p.tok.kind, p.tok.raw, p.tok.sign = tokSign, rest[:1], rest[0]
	switch {
	case strings.HasPrefix(rest, "<>"), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
		p.tok.kind, p.tok.raw, p.tok.rel = tokRelation, rest[:2], relations[rest[:2]]
	case strings.IndexByte("=<>", rest[0]) >= 0:
		p.tok.kind, p.tok.rel = tokRelation, relations[rest[:1]]
	case strings.IndexByte("(),+-*/", rest[0]) < 0:
		r, _ := utf8.DecodeRuneInString(rest)
		p.fail(p.tok.at, "found %s, which means nothing here; it may stand in strings ('…') and in names in double quotes", shownRune(r))
	}
}

// shownRune makes a character visible.
func shownRune(r rune) string {
	if unicode.IsGraphic(r) && r != ' ' {
		return string(r)
	}
	return fmt.Sprintf("the character U+%04X", r)
}
