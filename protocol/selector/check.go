package selector

import (
	"fmt"
	"strconv"
)

// described is a node as an error names it.
func (n *node) described() string {
	switch n.kind {
	case nodeHeader:
		return "the header " + shortened(nameText(n.text))
	case nodeKey, nodeTime:
		return n.text
	case nodeNumber:
		return "the number " + n.num.text()
	case nodeString:
		return "the string " + shortened(quoted(n.text, '\''))
	case nodeTruth:
		return truthText(n.truth)
	case nodeSign, nodeChain:
		return "a computed number"
	}
	return "a condition"
}

// condition tells that n stands where a condition is needed.
func (p *parser) condition(n *node) *node {
	if c := n.class(); c == classNumber || c == classString {
		p.fail(n.at, "found %s, expected a condition, such as price > 5 or area = 'hz'", n.described())
	}
	return n
}

// number tells that n stands where a number is needed, for what.
func (p *parser) number(n *node, what string) *node {
	if c := n.class(); c == classString || c == classCondition {
		p.fail(n.at, "found %s, expected a number or a header for %s", n.described(), what)
	}
	return n
}

// header tells that n stands where a header is needed, before what.
func (p *parser) header(n *node, what string) {
	if n.kind != nodeWrong && !n.isHeader() {
		p.fail(n.at, "found %s, expected a header before %s", n.described(), what)
	}
}

// comparable checks that two values can be compared; at is the place of the sign.
func (p *parser) comparable(at int, left *node, rel relation, right *node) {
	a, b := left.class(), right.class()
	if a == classAny {
		a = b
	}
	switch {
	case b != classAny && a != b:
		p.fail(at, "%s and %s cannot be compared: they are of different types%s", left.described(), right.described(), minusHint(left, right))
	case rel == equal || rel == equal.negated():
	case a == classString:
		p.fail(at, "strings are compared with = and <> only, found %s; a number is written without quotes", rel)
	case a == classCondition:
		p.fail(at, "conditions and booleans are compared with = and <> only, found %s", rel)
	}
}

// minusHint helps who meant a header with a - in its name.
func minusHint(left, right *node) string {
	for _, n := range []*node{left, right} {
		if n.kind != nodeChain || n.signs[0] != '-' || n.kids[0].kind != nodeHeader || n.kids[1].kind != nodeHeader {
			continue
		}
		name := shortened(n.kids[0].text + "-" + n.kids[1].text)
		return fmt.Sprintf(`; if %s is a header's name, write "%s"`, name, name)
	}
	return ""
}

func truthText(truth bool) string {
	if truth {
		return "TRUE"
	}
	return "FALSE"
}

// text is the number as a selector has it.
func (n number) text() string {
	if n.kind == exact {
		return strconv.FormatInt(n.i, 10)
	}
	return floatText(n.f)
}
