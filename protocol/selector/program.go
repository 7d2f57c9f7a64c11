package selector

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
)

// accept and reject are where evaluation ends. They are no tests: their op is 0.
var accept, reject = new(test), new(test)

// testKind is what a test looks at.
type testKind uint8

const (
	testTruth   testKind = iota + 1 // the header is truth
	testString                      // the header is text, or if unequal is another
	testNumber                      // the header is in rel to num
	testCompute                     // left is in rel to right
	testHeaders                     // the header is in rel to another one
	testIn                          // the header is one of set, or if unequal none
	testLike                        // the header is like, or if unequal not
	testNull                        // the header is missing, or if unequal is not
)

// test is one step of an evaluation. It holds or does not; unknown is not.
type test struct {
	op      testKind
	slot    uint8
	other   uint8 // slot of the second header
	rel     relation
	unequal bool
	truth   bool
	yes, no *test
	num     number
	text    string
	set     *set
	like    *pattern
	left    *expr
	right   *expr
}

// exprKind is what an arithmetic expression is.
type exprKind uint8

const (
	exprNumber exprKind = iota + 1
	exprHeader
	exprTime
	exprMinus // of kids[0]
	exprChain // kids joined by signs
)

// expr is an arithmetic expression. A header's value is read as a number.
type expr struct {
	kind  exprKind
	slot  uint8
	num   number
	kids  []expr
	signs []byte
}

// builder translates a tree into tests, from its end to its beginning, so that where a test
// leads to is there before it.
type builder struct {
	f     *Filter
	steps int
	wrong string // the limit that was passed
}

func newBuilder(kind Kind) *builder { return &builder{f: &Filter{kind: kind, key: -1}} }

// build translates the tree of a selector.
func (b *builder) build(root *node) *SyntaxError {
	b.f.first = b.condition(root, false, accept, reject)
	if b.wrong != "" {
		return &SyntaxError{1, b.wrong}
	}
	var w writer
	w.put(root, false, bindsOr)
	if b.f.normal = w.String(); len(b.f.normal) > MaxText {
		return &SyntaxError{1, fmt.Sprintf("the selector has %d bytes in its normal form (blanks between the signs, NOT worked in), at most %d are taken", len(b.f.normal), MaxText)}
	}
	return nil
}

// finish makes the filter ready.
func (b *builder) finish() *Filter {
	for i, name := range b.f.names {
		if i != b.f.key {
			b.f.lengths |= batch.LengthBit(len(name))
		}
	}
	return b.f
}

// condition makes tests that lead to yes where n, or its negation, is true, and to no where
// it is false or unknown. It gives the first of them.
func (b *builder) condition(n *node, negated bool, yes, no *test) *test {
	for n.kind == nodeNot {
		n, negated = n.kids[0], !negated
	}
	if !b.step() {
		return no
	}
	switch n.kind {
	case nodeAnd, nodeOr:
		return b.joined(n.kids, negated, (n.kind == nodeAnd) != negated, yes, no)
	case nodeTruth:
		if n.truth != negated {
			return yes
		}
		return no
	case nodeCompare:
		rel := n.rel
		if negated {
			rel = rel.negated()
		}
		return b.comparison(n.kids[0], rel, n.kids[1], yes, no)
	case nodeBetween:
		return b.between(n.kids, negated, yes, no)
	}
	return b.emit(b.named(n, negated), yes, no)
}

// step counts what is translated, because conditions that are compared with one another are
// translated twice; false: it is too much.
func (b *builder) step() bool {
	if b.steps++; b.steps > maxSteps {
		b.wrong = "the selector is too large, because conditions are compared with one another in it; join them by AND and OR instead"
	}
	return b.wrong == ""
}

// named makes the test of a header that stands alone or before a word.
func (b *builder) named(n *node, negated bool) test {
	switch n.kind {
	case nodeIn:
		return test{op: testIn, slot: b.header(n.kids[0]), unequal: negated, set: n.list}
	case nodeLike:
		return test{op: testLike, slot: b.header(n.kids[0]), unequal: negated, like: n.like}
	case nodeNull:
		return test{op: testNull, slot: b.header(n.kids[0]), unequal: negated}
	}
	return test{op: testTruth, slot: b.header(n), truth: !negated}
}

// joined translates conditions of which all must be true, or any.
func (b *builder) joined(kids []*node, negated, all bool, yes, no *test) *test {
	to := no
	if all {
		to = yes
	}
	for _, kid := range slices.Backward(kids) {
		if all {
			to = b.condition(kid, negated, to, no)
		} else {
			to = b.condition(kid, negated, yes, to)
		}
	}
	return to
}

func (b *builder) between(kids []*node, negated bool, yes, no *test) *test {
	if negated {
		no = b.comparison(kids[0], greater, kids[2], yes, no)
		return b.comparison(kids[0], less, kids[1], yes, no)
	}
	yes = b.comparison(kids[0], less|equal, kids[2], yes, no)
	return b.comparison(kids[0], greater|equal, kids[1], yes, no)
}

func (b *builder) comparison(left *node, rel relation, right *node, yes, no *test) *test {
	if left.class() == classAny && right.class() != classAny {
		left, rel, right = right, rel.turned(), left
	}
	switch left.class() {
	case classNumber:
		return b.numbers(left, rel, right, yes, no)
	case classCondition:
		return b.conditions(left, rel == equal, right, yes, no)
	case classString:
		return b.strings(left, rel == equal, right, yes, no)
	}
	return b.emit(test{op: testHeaders, slot: b.header(left), rel: rel, other: b.header(right)}, yes, no)
}

func (b *builder) numbers(left *node, rel relation, right *node, yes, no *test) *test {
	l, r := b.expr(left), b.expr(right)
	if l.kind == exprNumber && r.kind == exprHeader {
		l, rel, r = r, rel.turned(), l
	}
	if l.kind == exprHeader && r.kind == exprNumber {
		return b.emit(test{op: testNumber, slot: l.slot, rel: rel, num: r.num}, yes, no)
	}
	return b.emit(test{op: testCompute, left: &l, rel: rel, right: &r}, yes, no)
}

func (b *builder) strings(left *node, same bool, right *node, yes, no *test) *test {
	if right.kind == nodeString {
		if (left.text == right.text) == same {
			return yes
		}
		return no
	}
	return b.emit(test{op: testString, slot: b.header(right), unequal: !same, text: left.text}, yes, no)
}

// conditions translates a comparison of conditions: both true or both false, or else one
// true and the other false.
func (b *builder) conditions(left *node, same bool, right *node, yes, no *test) *test {
	ifFalse := b.condition(right, same, yes, no)
	ifNotTrue := b.condition(left, true, ifFalse, no)
	ifTrue := b.condition(right, !same, yes, ifNotTrue)
	return b.condition(left, false, ifTrue, ifNotTrue)
}

// emit puts a test before those to which it leads.
func (b *builder) emit(t test, yes, no *test) *test {
	t.yes, t.no = yes, no
	return &t
}

// expr translates arithmetic, and computes what is known already.
func (b *builder) expr(n *node) expr {
	if !b.step() {
		return expr{}
	}
	switch n.kind {
	case nodeNumber:
		return expr{kind: exprNumber, num: n.num}
	case nodeTime:
		return expr{kind: exprTime}
	case nodeSign:
		kid := b.expr(n.kids[0])
		if n.signs[0] == '+' {
			return kid
		}
		return expr{kind: exprMinus, kids: []expr{kid}}
	case nodeChain:
		return b.chain(n)
	}
	return expr{kind: exprHeader, slot: b.header(n)}
}

func (b *builder) chain(n *node) expr {
	e := expr{kind: exprChain, signs: n.signs, kids: make([]expr, len(n.kids))}
	known := true
	for i, kid := range n.kids {
		e.kids[i] = b.expr(kid)
		known = known && e.kids[i].kind == exprNumber
	}
	if !known {
		return e
	}
	sum := e.kids[0].num
	for i, sign := range n.signs {
		sum = sum.apply(sign, e.kids[i+1].num)
	}
	return expr{kind: exprNumber, num: sum}
}

// header gives the place of what the node stands for among the names.
func (b *builder) header(n *node) uint8 {
	if n.kind != nodeKey {
		return b.slot(n.text)
	}
	if b.f.key < 0 {
		b.f.key = int(b.add(""))
	}
	return uint8(b.f.key)
}

// slot gives the place of a header's name.
func (b *builder) slot(name string) uint8 {
	for i, known := range b.f.names {
		if known == name && i != b.f.key {
			return uint8(i)
		}
	}
	return b.add(name)
}

func (b *builder) add(name string) uint8 {
	if len(b.f.names) == maxNames {
		b.wrong = fmt.Sprintf("the selector looks at more than %d different headers", maxNames)
		return 0
	}
	b.f.names = append(b.f.names, name)
	return uint8(len(b.f.names) - 1)
}
