package selector

import "unicode/utf8"

// predicate reads a value, and what it is compared with, if anything.
func (p *parser) predicate() *node {
	left := p.sum()
	n := left
	switch p.tok.kind {
	case tokRelation:
		n = p.comparison(left)
	case tokIs:
		n = p.null(left)
	case tokNot, tokBetween, tokIn, tokLike:
		n = p.negatable(left)
	}
	switch p.tok.kind {
	case tokRelation, tokIs, tokBetween, tokIn, tokLike:
		if n != left {
			p.fail(p.tok.at, "found %s behind a comparison, expected AND, OR or the end; two comparisons are joined by AND, as in a < b AND b < c", p.shown())
		}
	}
	return n
}

// comparison reads what follows a value that is compared.
func (p *parser) comparison(left *node) *node {
	at, rel := p.tok.at, p.tok.rel
	p.next()
	right := p.sum()
	p.comparable(at, left, rel, right)
	return p.node(node{kind: nodeCompare, at: left.at, rel: rel, kids: []*node{left, right}})
}

func (p *parser) null(left *node) *node {
	p.header(left, "IS NULL")
	p.next()
	negated := p.take(tokNot)
	n := p.node(node{kind: nodeNull, at: left.at, kids: []*node{left}})
	if !p.take(tokNull) {
		p.fail(p.tok.at, "found %s, expected NULL or NOT NULL behind IS", p.shown())
	}
	return p.negated(n, negated)
}

// negatable reads the comparisons that may have a NOT before their name.
func (p *parser) negatable(left *node) *node {
	negated := p.take(tokNot)
	n := left
	switch p.tok.kind {
	case tokBetween:
		n = p.between(left)
	case tokIn:
		n = p.in(left)
	case tokLike:
		n = p.like(left)
	default:
		p.fail(p.tok.at, "found %s, expected BETWEEN, IN or LIKE behind this NOT; a condition is negated by a NOT before it", p.shown())
	}
	return p.negated(n, negated)
}

func (p *parser) negated(n *node, negated bool) *node {
	if negated {
		return p.node(node{kind: nodeNot, at: n.at, kids: []*node{n}})
	}
	return n
}

func (p *parser) between(left *node) *node {
	p.number(left, "BETWEEN")
	p.next()
	low := p.number(p.sum(), "BETWEEN")
	if !p.take(tokAnd) {
		p.fail(p.tok.at, "found %s, expected AND between the two ends of BETWEEN", p.shown())
	}
	high := p.number(p.sum(), "BETWEEN")
	return p.node(node{kind: nodeBetween, at: left.at, kids: []*node{left, low, high}})
}

func (p *parser) in(left *node) *node {
	p.header(left, "IN")
	p.next()
	if !p.isSign('(') {
		p.fail(p.tok.at, "found %s, expected ( behind IN", p.shown())
	}
	var texts []string
	for p.err == nil {
		p.next()
		if p.tok.kind != tokString {
			p.fail(p.tok.at, "found %s, expected a string in single quotes: IN ('a', 'b'); a number in the list is quoted too", p.shown())
			break
		}
		texts = append(texts, p.tok.text)
		p.node(node{at: p.tok.at})
		p.next()
		if p.isSign(')') {
			p.next()
			break
		}
		if !p.isSign(',') {
			p.fail(p.tok.at, "found %s, expected , or ) behind a string of IN", p.shown())
		}
	}
	return p.node(node{kind: nodeIn, at: left.at, kids: []*node{left}, list: newSet(texts)})
}

func (p *parser) like(left *node) *node {
	p.header(left, "LIKE")
	p.next()
	n := p.node(node{kind: nodeLike, at: left.at, kids: []*node{left}})
	if p.tok.kind != tokString {
		p.fail(p.tok.at, "found %s, expected a pattern in single quotes behind LIKE", p.shown())
		return n
	}
	at, text := p.tok.at, p.tok.text
	escape := noEscape
	if p.next(); p.take(tokEscape) {
		escape = p.escape()
	}
	like, wrong := newPattern(text, escape)
	if wrong != "" {
		p.fail(at, "%s", wrong)
	}
	n.like = like
	return n
}

// escape reads the character behind ESCAPE.
func (p *parser) escape() rune {
	if p.tok.kind != tokString || utf8.RuneCountInString(p.tok.text) != 1 {
		p.fail(p.tok.at, "found %s, expected one character in single quotes behind ESCAPE", p.shown())
		return noEscape
	}
	r, _ := utf8.DecodeRuneInString(p.tok.text)
	p.next()
	return r
}
