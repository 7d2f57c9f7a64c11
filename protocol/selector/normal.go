package selector

import (
	"strconv"
	"strings"
)

// How tight the parts of an expression hold together; a part that holds less than its place
// demands stands in parentheses.
const (
	bindsOr = iota
	bindsAnd
	bindsNot
	bindsComparison
	bindsSum
	bindsProduct
	bindsSign
	bindsValue
)

// writer writes the normal form of an expression.
type writer struct{ strings.Builder }

// put writes a node, or its negation, in a place that demands at least this bond.
func (w *writer) put(n *node, negated bool, place int) {
	for n.kind == nodeNot {
		n, negated = n.kids[0], !negated
	}
	inside := w.bond(n, negated) < place
	if inside {
		w.WriteByte('(')
	}
	if n.class() == classNumber || n.class() == classString {
		w.putValue(n)
	} else {
		w.putCondition(n, negated)
	}
	if inside {
		w.WriteByte(')')
	}
}

func (w *writer) bond(n *node, negated bool) int {
	switch n.kind {
	case nodeAnd, nodeOr:
		if (n.kind == nodeAnd) != negated {
			return bindsAnd
		}
		return bindsOr
	case nodeCompare, nodeBetween, nodeIn, nodeLike, nodeNull:
		return bindsComparison
	case nodeSign:
		return bindsSign
	case nodeChain:
		if n.signs[0] == '+' || n.signs[0] == '-' {
			return bindsSum
		}
		return bindsProduct
	}
	if negated && n.isHeader() {
		return bindsNot
	}
	return bindsValue
}

func (w *writer) putValue(n *node) {
	switch n.kind {
	case nodeNumber:
		w.WriteString(n.num.text())
	case nodeString:
		w.WriteString(quoted(n.text, '\''))
	case nodeTime:
		w.WriteString(n.text)
	case nodeSign:
		w.WriteByte(n.signs[0])
		if n.kids[0].kind == nodeSign {
			w.WriteByte(' ') // -- begins a comment elsewhere
		}
		w.put(n.kids[0], false, bindsSign)
	case nodeChain:
		place := w.bond(n, false)
		w.put(n.kids[0], false, place)
		for i, sign := range n.signs {
			w.WriteString(" " + string(sign) + " ")
			w.put(n.kids[i+1], false, place+1)
		}
	}
}

func (w *writer) putCondition(n *node, negated bool) {
	switch n.kind {
	case nodeHeader, nodeKey:
		if negated {
			w.WriteString("NOT ")
		}
		w.putName(n)
	case nodeTruth:
		w.WriteString(truthText(n.truth != negated))
	case nodeAnd, nodeOr:
		w.putJoined(n, negated)
	case nodeCompare:
		rel, turned := n.rel, comparesConditions(n.kids)
		if negated != turned {
			rel = rel.negated()
		}
		w.put(n.kids[0], turned, bindsSum)
		w.WriteString(" " + rel.String() + " ")
		w.put(n.kids[1], false, bindsSum)
	default:
		w.putNamed(n, negated)
	}
}

// comparesConditions tells whether two headers that are compared as conditions, for NOTs that cancel each other
// stand before one, would be written as headers alone, which are compared by their bytes. Of one the negation
// is compared then.
func comparesConditions(kids []*node) bool {
	alone := func(n *node) bool {
		odd := false
		for n.kind == nodeNot {
			n, odd = n.kids[0], !odd
		}
		return !odd && n.isHeader()
	}
	return alone(kids[0]) && alone(kids[1]) && (kids[0].kind == nodeNot || kids[1].kind == nodeNot)
}

func (w *writer) putJoined(n *node, negated bool) {
	place, word := bindsOr, " OR "
	if (n.kind == nodeAnd) != negated {
		place, word = bindsAnd, " AND "
	}
	for i, kid := range n.kids {
		if i > 0 {
			w.WriteString(word)
		}
		w.put(kid, negated, place)
	}
}

// putNamed writes the comparisons that have a name instead of a sign.
func (w *writer) putNamed(n *node, negated bool) {
	w.put(n.kids[0], false, bindsSum)
	not := " "
	if negated {
		not = " NOT "
	}
	switch n.kind {
	case nodeNull:
		w.WriteString(" IS" + not + "NULL")
	case nodeBetween:
		w.WriteString(not + "BETWEEN ")
		w.put(n.kids[1], false, bindsSum)
		w.WriteString(" AND ")
		w.put(n.kids[2], false, bindsSum)
	case nodeLike:
		w.WriteString(not + "LIKE " + n.like.literal())
	case nodeIn:
		w.WriteString(not + "IN (")
		for i, text := range n.list.sorted {
			if i > 0 {
				w.WriteString(", ")
			}
			w.WriteString(quoted(text, '\''))
		}
		w.WriteByte(')')
	}
}

func (w *writer) putName(n *node) {
	if n.kind == nodeKey {
		w.WriteString(n.text)
		return
	}
	w.WriteString(nameText(n.text))
}

// nameText is a header's name as a selector has it.
func nameText(name string) string {
	if isName(name) && name[0] != '$' {
		return name
	}
	return quoted(name, '"')
}

// quoted puts a text between quotes, with those inside it doubled.
func quoted(text string, quote byte) string {
	q := string(rune(quote))
	return q + strings.ReplaceAll(text, q, q+q) + q
}

// floatText writes an approximate number so that it is read as one again.
func floatText(f float64) string {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(text, ".e") {
		return text
	}
	return text + ".0"
}
