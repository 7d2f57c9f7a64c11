package selector

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// wholes are where 64 bits end, and what is near.
var wholes = []int64{
	math.MinInt64, math.MinInt64 + 1, math.MinInt64 / 2, -3037000500, -1 << 31, -7, -2, -1,
	0, 1, 2, 7, 1 << 31, 3037000499, 3037000500, math.MaxInt64 / 2, math.MaxInt64/2 + 1, math.MaxInt64 - 1, math.MaxInt64,
}

// TestApplyExact compares arithmetic of whole numbers with that of numbers of any size.
func TestApplyExact(t *testing.T) {
	for _, a := range wholes {
		for _, b := range wholes {
			for op, compute := range map[byte]func(z, x, y *big.Int) *big.Int{
				'+': (*big.Int).Add, '-': (*big.Int).Sub, '*': (*big.Int).Mul, '/': (*big.Int).Quo,
			} {
				got := number{kind: exact, i: a}.apply(op, number{kind: exact, i: b})
				if op == '/' && b == 0 {
					if got.kind != unknown {
						t.Errorf("%d / 0 is %+v", a, got)
					}
					continue
				}
				want := compute(new(big.Int), big.NewInt(a), big.NewInt(b))
				switch {
				case want.IsInt64() && got != (number{kind: exact, i: want.Int64()}):
					t.Errorf("%d %c %d is %+v, want %v", a, op, b, got, want)
				case !want.IsInt64() && (got.kind != approximate || math.Abs(got.f/toFloat(want)-1) > 1e-15):
					t.Errorf("%d %c %d is %+v, want about %v", a, op, b, got, want)
				}
			}
		}
	}
}

func toFloat(i *big.Int) float64 {
	f, _ := new(big.Float).SetInt(i).Float64()
	return f
}

// TestApplyApproximate: what leaves the range is unknown, not infinite.
func TestApplyApproximate(t *testing.T) {
	huge, zero, one := number{kind: approximate, f: 1.7e308}, number{kind: approximate}, number{kind: exact, i: 1}
	for _, n := range []number{huge.apply('+', huge), huge.apply('*', huge), huge.negated().apply('-', huge), one.apply('/', zero), zero.apply('/', zero), number{}.apply('+', one), one.apply('*', number{})} {
		if n.kind != unknown {
			t.Errorf("%+v is known", n)
		}
	}
	if n := one.apply('/', number{kind: approximate, f: 4}); n.f != 0.25 || n.kind != approximate {
		t.Errorf("1 / 4.0 is %+v", n)
	}
}

var decimalShape = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// read is readNumber by the library.
func read(text string) number {
	if len(text) > maxDigits || !decimalShape.MatchString(text) {
		return number{}
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return number{kind: exact, i: i}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return number{}
	}
	return number{kind: approximate, f: f}
}

func same(a, b number) bool {
	return a.kind == b.kind && a.i == b.i && math.Float64bits(a.f) == math.Float64bits(b.f)
}

// shapes are values that look like numbers, or nearly.
var shapes = []string{
	"", "+", "-", ".", "-.", "e", "1e", "1e+", "1e-", ".e1", "1.", ".1", "1..", "1.1.", "--1", "1-", "+1", "-0", "-0.0", "0x1", "1_0", "Inf", "NaN", "1e5", "1E5", "1e05", "1e+5x",
	"000000000000000000000000000000012", "0000000000000000000000000000001", "00000000000000000000000000000.1",
	"999999999999999999", "1000000000000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616",
	"9007199254740993.0", "900719925474099.3", "0.30000000000000004", "123456789012345.6", "1234567890123456.7", "12345678901234567.8", "0.1234567890123456789", "1.0000000000000000000000",
	"1.7976931348623157e308", "1.7976931348623158e308", "1.797693134862315807e308", "1.797693134862315808e308", "1.7976931348623159e308", "17976931348623157e292", "0.00017976931348623157e312", "1e308", "9.9e307", "2e308", "1e309", "-1e309", "1e99999", "1e-99999", "0e99999", "4.9e-324", "2.4e-324",
	"100000000000000000000", "99999999999999999999999999999999", "123456789012345678901.5", "1e22", "1e23", "9007199254740991e22", "3e-22", "3e-23",
}

// TestReadNumber compares the reading of values with the library's.
func TestReadNumber(t *testing.T) {
	for _, text := range shapes {
		if got, want := readNumber([]byte(text)), read(text); !same(got, want) {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
	shape := rapid.StringMatching(`[+-]?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{0,3})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := shape.Draw(t, "text")
		if got, want := readNumber([]byte(text)), read(text); !same(got, want) {
			t.Fatalf("%q is %+v, want %+v", text, got, want)
		}
	})
}

// TestRelations: each relation holds exactly where its negation does not, and as turned
// with its sides exchanged.
func TestRelations(t *testing.T) {
	for text, r := range relations {
		if r.String() != text {
			t.Errorf("%s is written %s", text, r)
		}
		for _, a := range wholes {
			for _, b := range wholes {
				n, m := number{kind: exact, i: a}, number{kind: approximate, f: float64(b)}
				if r.holds(n, m) == r.negated().holds(n, m) || r.holds(n, m) != r.turned().holds(m, n) || r.turned().turned() != r {
					t.Fatalf("%d %s %d", a, r, b)
				}
			}
		}
		if r.holds(number{}, number{}) || r.holds(number{}, number{kind: exact}) {
			t.Errorf("%s holds for what is unknown", r)
		}
	}
}

// TestReadingAllocatesNothing, whatever the value looks like.
func TestReadingAllocatesNothing(t *testing.T) {
	for _, text := range shapes {
		value := []byte(text)
		if n := testing.AllocsPerRun(10, func() { readNumber(value) }); n != 0 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
}
