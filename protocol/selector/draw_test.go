package selector_test

import (
	"math/big"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
)

// drawer draws expressions and writes them down, with blanks and parentheses at random.
type drawer struct{ t *rapid.T }

func (d *drawer) one(of ...string) string { return rapid.SampledFrom(of).Draw(d.t, "one") }
func (d *drawer) below(n int) int         { return rapid.IntRange(0, n-1).Draw(d.t, "below") }

var names = []string{"a", "b", "c", "d e", "and"}

func (h header) text(d *drawer) string {
	if len(h) == 1 && d.below(4) > 0 {
		return string(h)
	}
	return `"` + string(h) + `"`
}

func (l literal) text(*drawer) string { return l.shown }

// word writes a keyword in capitals, or not.
func (d *drawer) word(word string) string {
	if d.below(2) == 0 {
		return strings.ToLower(word)
	}
	return word
}

func (d *drawer) blank() string { return d.one(" ", " ", "  ", "\t", "\n") }

// inside writes an operand: in parentheses, unless it binds tighter than what is around it.
func (d *drawer) inside(e expression, around int) string {
	if bond(e) <= around || d.below(6) == 0 {
		return "(" + e.text(d) + ")"
	}
	return e.text(d)
}

// bond is how tight an expression holds together.
func bond(e expression) int {
	switch e := e.(type) {
	case binary:
		return map[string]int{"OR": 1, "AND": 2, "+": 5, "-": 5, "*": 6, "/": 6, "=": 4, "<>": 4, "<": 4, "<=": 4, ">": 4, ">=": 4}[e.op]
	case unary:
		if e.tail != "" {
			return 4
		}
		return map[string]int{"NOT": 3, "+": 7, "-": 7}[e.op]
	case ranged, listed, patterned:
		return 4
	}
	return 8
}

func (b binary) text(d *drawer) string {
	own := bond(b)
	left := own - 1 // from left to right: what binds alike needs no parentheses there
	if own == 4 {
		left = own
	}
	return d.inside(b.left, left) + d.blank() + d.word(b.op) + d.blank() + d.inside(b.right, own)
}

func (u unary) text(d *drawer) string {
	if u.tail != "" {
		return u.kid.text(d) + d.blank() + d.word(u.tail)
	}
	return d.word(u.op) + d.blank() + d.inside(u.kid, bond(u)-1)
}

func (d *drawer) not(not bool) string {
	if not {
		return d.blank() + d.word("NOT") + d.blank()
	}
	return d.blank()
}

func (r ranged) text(d *drawer) string {
	return d.inside(r.value, 4) + d.not(r.not) + d.word("BETWEEN") + d.blank() + d.inside(r.low, 4) + d.blank() +
		d.word("AND") + d.blank() + d.inside(r.high, 4)
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (l listed) text(d *drawer) string {
	quoted := make([]string, len(l.list))
	for i, text := range l.list {
		quoted[i] = quote(text)
	}
	return l.name.text(d) + d.not(l.not) + d.word("IN") + d.blank() + "(" + strings.Join(quoted, ","+d.blank()) + ")"
}

func (p patterned) text(d *drawer) string {
	text := d.blank() + quote(strings.Join(p.pattern, ""))
	if strings.Contains(text, `\`) {
		text += d.blank() + d.word("ESCAPE") + ` '\'`
	}
	return p.name.text(d) + d.not(p.not) + d.word("LIKE") + text
}

var (
	numbers = []string{"0", "1", "-1", "2", "7", "100", "0x1F", "017", "9223372036854775807", "-9223372036854775808", "0.5", "-2.5", "1e3", "3.", "1e300", "0.1"}
	strs    = []string{"", "x", "true", "5", "it's", "Ä", "100", "abc", "0.5"}
	values  = []string{
		"", "x", "true", "FALSE", "False", "5", "100", "1", "-1", "2", "7", "31", "1.0", "0.5", "-2.5", "1e3", "1000", "+7", "007", "9223372036854775807", "-9223372036854775808",
		"9223372036854775808", "123456789012345678901234567890", "1.7976931348623157e308", "1e309", "1e-400", "0.1", ".5", "5.", ".", "-", "1e", "1e+", "0x1F", "inf", "NaN", "1_0", " 1",
		"it's", "Ä", "abc", "aabbab", "a\xffb", "123456789012345678901234567890123", "0.30000000000000004", "99999999999999999999.5e-20",
	}
)

func (d *drawer) header() header { return header(rapid.SampledFrom(names).Draw(d.t, "header")) }

func (d *drawer) number() literal {
	shown := d.one(numbers...)
	text := shown
	if text == "017" {
		text = "15"
	}
	if i, ok := new(big.Int).SetString(text, 0); ok {
		return literal{i, shown}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return literal{f, shown}
}

// arithmetic draws an expression that gives a number, or a header.
func (d *drawer) arithmetic(depth int) expression {
	switch n := d.below(6); {
	case depth == 0 || n < 2:
		if d.below(2) == 0 {
			return d.header()
		}
		return d.number()
	case n == 2:
		return unary{op: d.one("+", "-"), kid: d.arithmetic(depth - 1)}
	}
	return binary{d.one("+", "-", "*", "/"), d.arithmetic(depth - 1), d.arithmetic(depth - 1)}
}

// condition draws a condition.
func (d *drawer) condition(depth int) expression {
	if depth > 0 {
		switch d.below(6) {
		case 0, 1:
			return binary{d.one("AND", "OR"), d.condition(depth - 1), d.condition(depth - 1)}
		case 2:
			return unary{op: "NOT", kid: d.condition(depth - 1)}
		case 3:
			return binary{d.one("=", "<>"), d.condition(depth - 1), d.condition(depth - 1)}
		}
	}
	return d.comparison()
}

func (d *drawer) comparison() expression {
	negated := d.below(2) == 0
	switch d.below(9) {
	case 0:
		return d.header()
	case 1:
		return literal{outcome(1), d.word("TRUE")}
	case 2:
		return unary{kid: d.header(), tail: d.one("IS NULL", "IS NOT NULL")}
	case 3:
		text := d.one(strs...)
		return binary{d.one("=", "<>"), d.header(), literal{text, quote(text)}}
	case 4:
		return ranged{d.arithmetic(1), d.arithmetic(1), d.arithmetic(1), negated}
	case 5:
		return listed{d.header(), negated, rapid.SliceOfN(rapid.SampledFrom(strs), 1, 12).Draw(d.t, "list")}
	case 6:
		chars := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "%", "_", "Ä", `\%`, `\_`, "'"}), 0, 6)
		return patterned{d.header(), negated, chars.Draw(d.t, "pattern")}
	case 7:
		return binary{d.one("=", "<>", "<", "<=", ">", ">="), d.header(), d.header()}
	}
	return binary{d.one("=", "<>", "<", "<=", ">", ">="), d.arithmetic(2), d.arithmetic(2)}
}

// message draws headers; some are missing, some without a value.
func (d *drawer) message() (m headers, list []batch.RecordHeader) {
	m = headers{}
	for _, name := range names {
		if d.below(5) == 0 {
			continue
		}
		h := batch.RecordHeader{Key: name}
		if d.below(8) > 0 {
			h.Value = []byte(d.one(values...))
		}
		m[name] = h.Value
		list = append(list, batch.RecordHeader{Key: strings.Repeat("z", d.below(70)), Value: []byte("other")}, h)
	}
	return m, list
}
