package selector

import "math"

// number is what an arithmetic expression gives. Its zero value is none at all: unknown.
type number struct {
	i    int64   // exact
	f    float64 // approximate; finite
	kind numberKind
}

type numberKind uint8

const (
	unknown numberKind = iota
	exact
	approximate
)

// approx makes a number of a result, which may have left the range.
func approx(f float64) number {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return number{}
	}
	return number{kind: approximate, f: f}
}

// float is the number as an approximate one.
func (n number) float() float64 {
	if n.kind == exact {
		return float64(n.i)
	}
	return n.f
}

func (n number) negated() number {
	switch {
	case n.kind == exact && n.i != math.MinInt64:
		n.i = -n.i
	case n.kind != unknown:
		n = number{kind: approximate, f: -n.float()}
	}
	return n
}

// apply computes n op m. Whole numbers give a whole one (a quotient is cut off towards 0)
// or, where that does not fit 64 bits, an approximate one. Unknown: one of them is, the
// divisor is 0, or the result is beyond the range of a float64.
func (n number) apply(op byte, m number) number {
	if n.kind == unknown || m.kind == unknown {
		return number{}
	}
	if n.kind == exact && m.kind == exact {
		if r, ok := applyExact(op, n.i, m.i); ok {
			return number{kind: exact, i: r}
		}
	}
	a, b := n.float(), m.float()
	switch op {
	case '+':
		return approx(a + b)
	case '-':
		return approx(a - b)
	case '*':
		return approx(a * b)
	}
	return approx(a / b)
}

// applyExact is false where the result is no int64.
func applyExact(op byte, a, b int64) (r int64, ok bool) {
	switch op {
	case '+':
		r = a + b
		return r, (r > a) == (b > 0)
	case '-':
		r = a - b
		return r, (r < a) == (b > 0)
	case '*':
		if a == 0 || b == 0 {
			return 0, true
		}
		r = a * b
		return r, r/b == a && !(b == -1 && a == math.MinInt64)
	}
	if b == 0 || a == math.MinInt64 && b == -1 {
		return 0, false
	}
	return a / b, true
}

// relation is a set of outcomes of a comparison: less, equal, greater.
type relation uint8

const (
	less    relation = 1
	equal   relation = 2
	greater relation = 4
)

var relations = map[string]relation{"=": equal, "<>": less | greater, "<": less, "<=": less | equal, ">": greater, ">=": greater | equal}

var relationTexts = [...]string{equal: "=", less | greater: "<>", less: "<", less | equal: "<=", greater: ">", greater | equal: ">="}

func (r relation) String() string { return relationTexts[r] }

// negated holds exactly where r does not.
func (r relation) negated() relation { return r ^ (less | equal | greater) }

// turned is r with its sides exchanged.
func (r relation) turned() relation { return r&equal | r&less<<2 | r&greater>>2 }

// holds tells whether two numbers are in relation r; never where one is unknown.
func (r relation) holds(n, m number) bool {
	switch {
	case n.kind == exact && m.kind == exact:
		return r.holdsExact(n.i, m.i)
	case n.kind == unknown || m.kind == unknown:
		return false
	}
	a, b := n.float(), m.float()
	switch {
	case a < b:
		return r&less != 0
	case a > b:
		return r&greater != 0
	}
	return r&equal != 0
}

func (r relation) holdsExact(a, b int64) bool {
	switch {
	case a < b:
		return r&less != 0
	case a > b:
		return r&greater != 0
	}
	return r&equal != 0
}
