package selector_test

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/selector"
)

// The reference: an evaluator that walks an expression as the specification tells it, with
// three values, knowing nothing of how a filter is compiled. Its expressions are drawn
// together with their text.

// headers is a message: the value of each header, nil if it has none.
type headers map[string][]byte

// outcome is one of three: 1 true, 0 false, -1 unknown.
type outcome int

// result is the value of an expression: nil is unknown; *big.Rat with whole set is a whole
// number, float64 an approximate one, string, outcome, or raw, a header's bytes.
type (
	result any
	raw    []byte
)

type expression interface {
	eval(m headers) result
	text(d *drawer) string
}

// literal is a value with its text.
type literal struct {
	value result
	shown string
}

type header string

type binary struct {
	op          string
	left, right expression
}

type unary struct {
	op   string
	kid  expression
	tail string // behind the operand, as IS NULL
}

type ranged struct {
	value, low, high expression
	not              bool
}

type listed struct {
	name header
	not  bool
	list []string
}

type patterned struct {
	name    header
	not     bool
	pattern []string // a character each; "%" and "_" are wild, `\%` and `\_` are not
}

func (l literal) eval(headers) result { return l.value }

func (h header) eval(m headers) result {
	if v, ok := m[string(h)]; ok && v != nil {
		return raw(v)
	}
	return nil
}

var looksLikeNumber = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// asNumber reads a value as arithmetic does.
func asNumber(r result) result {
	switch r := r.(type) {
	case *big.Int, float64:
		return r
	case raw:
		text := string(r)
		if len(text) > 32 || !looksLikeNumber.MatchString(text) {
			return nil
		}
		if i, ok := new(big.Int).SetString(text, 10); ok && i.IsInt64() {
			return i
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return nil
}

func asOutcome(r result) outcome {
	switch r := r.(type) {
	case outcome:
		return r
	case raw:
		switch strings.ToLower(string(r)) {
		case "true":
			return 1
		case "false":
			return 0
		}
	}
	return -1
}

func asFloat(r result) float64 {
	if i, ok := r.(*big.Int); ok {
		f, _ := new(big.Float).SetInt(i).Float64()
		return f
	}
	return r.(float64)
}

func from(b bool) outcome {
	if b {
		return 1
	}
	return 0
}

func (b binary) eval(m headers) result {
	left, right := b.left.eval(m), b.right.eval(m)
	switch b.op {
	case "AND":
		l, r := asOutcome(left), asOutcome(right)
		if l == 0 || r == 0 {
			return outcome(0)
		}
		return min(l, r)
	case "OR":
		l, r := asOutcome(left), asOutcome(right)
		if l == 1 || r == 1 {
			return outcome(1)
		}
		return min(l, r)
	case "+", "-", "*", "/":
		return compute(b.op, asNumber(left), asNumber(right))
	}
	return compare(b.op, left, right)
}

func compute(op string, left, right result) result {
	if left == nil || right == nil {
		return nil
	}
	l, whole := left.(*big.Int)
	r, alsoWhole := right.(*big.Int)
	if whole && alsoWhole {
		i := new(big.Int)
		switch {
		case op == "+":
			i.Add(l, r)
		case op == "-":
			i.Sub(l, r)
		case op == "*":
			i.Mul(l, r)
		case r.Sign() == 0:
			return nil
		default:
			i.Quo(l, r)
		}
		if i.IsInt64() {
			return i
		}
	}
	a, b := asFloat(left), asFloat(right)
	f := map[string]float64{"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op]
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	return f
}

func compare(op string, left, right result) outcome {
	if left == nil || right == nil {
		return -1
	}
	if o, ok := left.(outcome); ok {
		return compareOutcomes(op, o, asOutcome(right))
	}
	if o, ok := right.(outcome); ok {
		return compareOutcomes(op, asOutcome(left), o)
	}
	ordered := func(c int) outcome {
		return from(map[string]bool{"=": c == 0, "<>": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op])
	}
	text := func(r result) (string, bool) {
		if s, ok := r.(string); ok {
			return s, true
		}
		v, ok := r.(raw)
		return string(v), ok
	}
	_, leftString := left.(string)
	_, rightString := right.(string)
	l, r := asNumber(left), asNumber(right)
	if l != nil && r != nil && !leftString && !rightString {
		if a, ok := l.(*big.Int); ok {
			if b, ok := r.(*big.Int); ok {
				return ordered(a.Cmp(b))
			}
		}
		a, b := asFloat(l), asFloat(r)
		switch {
		case a < b:
			return ordered(-1)
		case a > b:
			return ordered(1)
		}
		return ordered(0)
	}
	a, aText := text(left)
	b, bText := text(right)
	if aText && bText && (op == "=" || op == "<>") {
		return from((a == b) == (op == "="))
	}
	return -1
}

func compareOutcomes(op string, left, right outcome) outcome {
	if left < 0 || right < 0 {
		return -1
	}
	return from((left == right) == (op == "="))
}

func not(o outcome) outcome {
	if o < 0 {
		return o
	}
	return 1 - o
}

func negatedIf(negated bool, o outcome) outcome {
	if negated {
		return not(o)
	}
	return o
}

func (u unary) eval(m headers) result {
	kid := u.kid.eval(m)
	switch {
	case u.tail == "IS NULL":
		return from(kid == nil)
	case u.tail == "IS NOT NULL":
		return from(kid != nil)
	case u.op == "NOT":
		return not(asOutcome(kid))
	case u.op == "-":
		switch n := asNumber(kid).(type) {
		case *big.Int:
			if i := new(big.Int).Neg(n); i.IsInt64() {
				return i
			}
			return -asFloat(n)
		case float64:
			return -n
		}
		return nil
	}
	return asNumber(kid)
}

func (r ranged) eval(m headers) result {
	v, low, high := asNumber(r.value.eval(m)), asNumber(r.low.eval(m)), asNumber(r.high.eval(m))
	above, below := compare(">=", v, low), compare("<=", v, high)
	both := outcome(1)
	if above == 0 || below == 0 {
		both = 0
	} else {
		both = min(above, below)
	}
	return negatedIf(r.not, both)
}

func (l listed) eval(m headers) result {
	v := l.name.eval(m)
	if v == nil {
		return outcome(-1)
	}
	found := outcome(0)
	for _, text := range l.list {
		found = max(found, from(text == string(v.(raw))))
	}
	return negatedIf(l.not, found)
}

func (p patterned) eval(m headers) result {
	v := p.name.eval(m)
	if v == nil {
		return outcome(-1)
	}
	return negatedIf(p.not, from(like(characters(v.(raw)), p.pattern)))
}

// characters cuts a value up; a byte that is no UTF-8 is one.
func characters(value []byte) (all []string) {
	for len(value) > 0 {
		_, size := utf8.DecodeRune(value)
		all = append(all, string(value[:size]))
		value = value[size:]
	}
	return all
}

// like tries everything.
func like(value, pattern []string) bool {
	if len(pattern) == 0 {
		return len(value) == 0
	}
	if pattern[0] == "%" {
		return like(value, pattern[1:]) || len(value) > 0 && like(value[1:], pattern)
	}
	if len(value) == 0 {
		return false
	}
	return (pattern[0] == "_" || strings.TrimPrefix(pattern[0], `\`) == value[0]) && like(value[1:], pattern[1:])
}

// TestAgainstReference: a filter matches exactly the messages of which the reference says
// that its expression is true; and so does its normal form, which is its own.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &drawer{t}
		e := d.condition(rapid.IntRange(0, 4).Draw(t, "depth"))
		text := e.text(d)
		if len(text) > selector.MaxText/2 {
			t.Skip("long")
		}
		f, err := selector.CompileSelector(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := selector.CompileSelector(f.String())
		if err != nil || again.String() != f.String() {
			t.Fatalf("%s\n became %s\n became %v, %v", text, f, again, err)
		}
		for range 4 {
			m, list := d.message()
			rec := record(t, list...)
			want := asOutcome(e.eval(m)) == 1
			if f.Match(rec) != want || again.Match(rec) != want {
				t.Fatalf("%s\nis %s\n%v: want %v, got %v and %v", text, f, m.shown(), want, f.Match(rec), again.Match(rec))
			}
		}
	})
}

func (m headers) shown() string {
	var out bytes.Buffer
	for _, name := range names {
		if v, ok := m[name]; ok {
			fmt.Fprintf(&out, "%s=%q ", name, v)
		}
	}
	return out.String()
}
