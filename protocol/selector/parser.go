package selector

import (
	"strings"
	"unicode/utf8"
)

// The grammar, loosest first; keywords in any case:
//
//	or        and { OR and }
//	and       not { AND not }
//	not       NOT not | predicate
//	predicate sum [ ( = | <> | < | <= | > | >= ) sum
//	              | [NOT] BETWEEN sum AND sum
//	              | [NOT] IN ( 'string' { , 'string' } )
//	              | [NOT] LIKE 'pattern' [ ESCAPE 'character' ]
//	              | IS [NOT] NULL ]
//	sum       product { ( + | - ) product }
//	product   sign { ( * | / ) sign }
//	sign      ( + | - ) sign | operand
//	operand   'string' | number | TRUE | FALSE | header | "header" | $name | ( or )

// parser reads a selector. Its first error ends the text for it.
type parser struct {
	text  string
	tok   token
	depth int
	nodes int
	err   *SyntaxError
}

// CompileSelector reads an expression over headers.
func CompileSelector(text string) (*Filter, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	b := newBuilder(KindSelector)
	p := parser{text: text}
	if p.next(); p.err == nil && p.tok.kind == tokEnd {
		b.f.first = accept
		return b.f, nil
	}
	root := p.condition(p.or())
	if p.tok.kind != tokEnd {
		p.fail(p.tok.at, "found %s, expected AND, OR or the end%s", p.shown(), p.quoteHint())
	}
	if p.err == nil {
		p.err = b.build(root)
	}
	if p.err != nil {
		return nil, p.err
	}
	return b.finish(), nil
}

// fail notes the first error, and makes the text end here.
func (p *parser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = syntaxError(p.text, at, format, args...)
	}
	p.tok = token{at: len(p.text)}
}

// quoteHint helps who did not double a quote inside a string, so that it ended there.
func (p *parser) quoteHint() string {
	if p.tok.kind == tokName && p.tok.at > 0 && p.text[p.tok.at-1] == '\'' {
		return "; a ' inside a string is written twice: ''"
	}
	return ""
}

// shownLength is how many characters of a token an error shows.
const shownLength = 32

// shown is the current token as an error shows it.
func (p *parser) shown() string {
	if p.tok.kind == tokEnd {
		return "the end"
	}
	return shortened(p.tok.raw)
}

// shortened cuts off what is too long to be shown.
func shortened(text string) string {
	n := 0
	for i := range text {
		if n == shownLength {
			return text[:i] + "…"
		}
		n++
	}
	return text
}

// node makes a part of the expression, unless there are too many.
func (p *parser) node(n node) *node {
	if p.nodes++; p.nodes > maxNodes {
		p.fail(n.at, "the selector has more than %d values and operators", maxNodes)
	}
	return &n
}

// wrong stands for what cannot be read.
func (p *parser) wrong() *node { return &node{kind: nodeWrong, at: p.tok.at} }

// enter goes one level deeper; false: it is one too many.
func (p *parser) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.tok.at, "parentheses, NOTs and signs stand in one another more than %d deep", maxDepth)
		return false
	}
	return true
}

func (p *parser) isSign(c byte) bool { return p.tok.kind == tokSign && p.tok.sign == c }

// take reads the token if it is of this kind.
func (p *parser) take(kind tokenKind) bool {
	if p.tok.kind != kind {
		return false
	}
	p.next()
	return true
}

func (p *parser) or() *node {
	return p.joined(nodeOr, tokOr, p.and)
}

func (p *parser) and() *node {
	return p.joined(nodeAnd, tokAnd, p.not)
}

// joined reads one or more conditions with a keyword between them.
func (p *parser) joined(kind nodeKind, keyword tokenKind, part func() *node) *node {
	first := part()
	if p.tok.kind != keyword {
		return first
	}
	n := p.node(node{kind: kind, at: first.at, kids: []*node{p.condition(first)}})
	for p.take(keyword) {
		n.kids = append(n.kids, p.condition(part()))
	}
	return n
}

func (p *parser) not() *node {
	if p.tok.kind != tokNot {
		return p.predicate()
	}
	n := p.node(node{kind: nodeNot, at: p.tok.at})
	if !p.enter() {
		return n
	}
	p.next()
	n.kids = []*node{p.condition(p.not())}
	p.depth--
	return n
}

func (p *parser) sum() *node { return p.chain("+-", p.product) }

func (p *parser) product() *node { return p.chain("*/", p.sign) }

// chain reads one or more values with one of two signs between them.
func (p *parser) chain(signs string, part func() *node) *node {
	first := part()
	if p.tok.kind != tokSign || strings.IndexByte(signs, p.tok.sign) < 0 {
		return first
	}
	n := p.node(node{kind: nodeChain, at: first.at, kids: []*node{p.number(first, string(p.tok.sign))}})
	for p.tok.kind == tokSign && strings.IndexByte(signs, p.tok.sign) >= 0 {
		sign := p.tok.sign
		p.next()
		n.signs = append(n.signs, sign)
		n.kids = append(n.kids, p.number(part(), string(sign)))
	}
	return n
}

func (p *parser) sign() *node {
	if !p.isSign('+') && !p.isSign('-') {
		return p.operand()
	}
	n := node{kind: nodeSign, at: p.tok.at, signs: []byte{p.tok.sign}}
	if !p.enter() {
		return &n
	}
	p.next()
	if n.signs[0] == '-' && p.tok.edge {
		p.tok.edge = false // its number has the minus already
		n.signs[0] = '+'
	}
	kid := p.number(p.sign(), "a sign before it")
	p.depth--
	if kid.kind == nodeNumber {
		if n.signs[0] == '-' {
			kid.num = kid.num.negated()
		}
		kid.at = n.at
		return kid
	}
	n.kids = []*node{kid}
	return p.node(n)
}

func (p *parser) operand() *node {
	n := node{at: p.tok.at, text: p.tok.text}
	switch p.tok.kind {
	case tokName:
		n.kind = nodeHeader
	case tokOwn:
		n.kind = p.own()
	case tokString:
		n.kind = nodeString
	case tokNumber:
		n.kind, n.num = nodeNumber, p.tok.num
		if p.tok.edge {
			p.fail(p.tok.at, "%s", tooLarge(p.tok.raw))
		}
	case tokTrue, tokFalse:
		n.kind, n.truth = nodeTruth, p.tok.kind == tokTrue
	case tokSign:
		if p.tok.sign == '(' {
			return p.parenthesised()
		}
		fallthrough
	default:
		p.missing()
		return p.wrong()
	}
	p.next()
	return p.node(n)
}

// own finds what a name that begins with $ stands for.
func (p *parser) own() nodeKind {
	switch p.tok.text {
	case "$key":
		return nodeKey
	case "$timestamp":
		return nodeTime
	}
	p.fail(p.tok.at, `found %s, which nothing is called; there are $key and $timestamp, and a header of this name is written in double quotes: "%s"`, p.shown(), p.shown())
	return nodeWrong
}

// missing tells that a value should stand here.
func (p *parser) missing() {
	switch p.tok.kind {
	case tokNull:
		p.fail(p.tok.at, "found NULL, which is no value; whether a header is there is asked with IS NULL and IS NOT NULL")
	case tokNot:
		p.fail(p.tok.at, "found NOT, expected a value; a condition that is used as a value stands in parentheses")
	case tokEnd, tokSign, tokRelation:
		p.fail(p.tok.at, "found %s, expected a header, a string, a number or (", p.shown())
	default:
		p.fail(p.tok.at, `found %s, expected a header, a string, a number or (; a header of that name is written in double quotes: "%s"`, p.shown(), p.shown())
	}
}

func (p *parser) parenthesised() *node {
	if !p.enter() {
		return p.wrong()
	}
	open := p.tok.at
	p.next()
	n := p.or()
	if !p.isSign(')') {
		p.fail(p.tok.at, "found %s, expected ) for the ( at character %d", p.shown(), utf8.RuneCountInString(p.text[:open])+1)
	}
	p.next()
	p.depth--
	return n
}
