package selector

import (
	"math"
	"strconv"
)

// A header's value is bytes; what it is read as depends on what it is compared with.

// maxDigits is how long a value may be to be read as a number. A float64 takes 24 characters
// at most, and a string of this length is made without allocating.
const maxDigits = 32

// readNumber reads a value as a number: a sign, decimal digits with or without a point, an
// exponent. Unknown: it does not look like one, or is too large for one.
func readNumber(value []byte) number {
	if len(value) > maxDigits {
		return number{}
	}
	i, negative := afterSign(value, 0)
	digits, point, first := int64(0), -1, i
	for ; i < len(value); i++ {
		if c := value[i] - '0'; c <= 9 {
			digits = digits*10 + int64(c)
		} else if value[i] == '.' && point < 0 {
			point = i + 1
		} else {
			return readAny(value)
		}
	}
	switch {
	case point < 0 && 0 < i-first && i-first <= 18: // an int64 holds any 18 digits
		if negative {
			digits = -digits
		}
		return number{kind: exact, i: digits}
	case point >= 0 && 1 < i-first && i-first <= 16: // a float64 holds any 15
		return number{kind: approximate, f: scaled(digits, point-i, negative)}
	}
	return readAny(value)
}

// scaled is ±digits × 10^scale, the nearest there is: both are exact.
//
// REQUIRES: digits < 2^53, -len(tens) < scale < len(tens).
func scaled(digits int64, scale int, negative bool) float64 {
	f := float64(digits)
	if scale < 0 {
		f /= tens[-scale]
	} else {
		f *= tens[scale]
	}
	if negative {
		f = -f
	}
	return f
}

func afterSign(value []byte, i int) (next int, negative bool) {
	if i < len(value) && (value[i] == '-' || value[i] == '+') {
		return i + 1, value[i] == '-'
	}
	return i, false
}

// decimal is a number taken apart: digits × 10^scale, if none was left out.
type decimal struct {
	digits   uint64 // without leading zeros, the first 19 at most
	count    int    // of them
	scale    int
	left     bool // digits were left out
	whole    bool // it has neither point nor exponent
	negative bool
}

// take takes the next digit in.
func (d *decimal) take(c byte) {
	switch {
	case d.count == 19:
		d.left = true
		if d.whole {
			d.scale++
		}
		return
	case d.digits > 0 || c != '0':
		d.digits = d.digits*10 + uint64(c-'0')
		d.count++
	}
	if !d.whole {
		d.scale--
	}
}

// takeApart is false where the value does not look like a number.
func takeApart(value []byte) (d decimal, ok bool) {
	i := 0
	d.whole = true
	i, d.negative = afterSign(value, 0)
	for ; i < len(value); i++ {
		if value[i] == '.' && d.whole {
			d.whole = false
		} else if isDigit(value[i]) {
			d.take(value[i])
			ok = true
		} else {
			break
		}
	}
	if !ok || i == len(value) {
		return d, ok
	}
	if value[i]|0x20 != 'e' || i+1 == len(value) {
		return d, false
	}
	d.whole = false
	i, down := afterSign(value, i+1)
	exponent := 0
	for ; i < len(value) && isDigit(value[i]); i++ {
		exponent = min(exponent*10+int(value[i]-'0'), 10000)
	}
	if down {
		exponent = -exponent
	}
	d.scale += exponent
	return d, i == len(value) && isDigit(value[i-1])
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
	1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// readAny reads any number.
func readAny(value []byte) number {
	d, ok := takeApart(value)
	switch {
	case !ok || d.tooLarge():
		return number{}
	case d.whole && !d.left && d.digits <= math.MaxInt64:
		n := number{kind: exact, i: int64(d.digits)}
		if d.negative {
			n.i = -n.i
		}
		return n
	case d.whole && !d.left && d.negative && d.digits == 1<<63:
		return number{kind: exact, i: math.MinInt64}
	}
	if !d.left && d.digits < 1<<53 && -len(tens) < d.scale && d.scale < len(tens) {
		return number{kind: approximate, f: scaled(int64(d.digits), d.scale, d.negative)}
	}
	f, _ := strconv.ParseFloat(string(value), 64) // its only error would be one of range
	return approx(f)
}

// overflow is where numbers begin that are nearer to infinity than to the largest float64, as
// 19 digits: the next ones are 937….
const overflow = 1797693134862315807

// tooLarge looks whether the number is beyond the range of a float64, because an error of
// strconv would allocate.
func (d *decimal) tooLarge() bool {
	magnitude := d.count + d.scale // it is 0.digits × 10^magnitude
	if d.count == 0 || magnitude < 309 {
		return false
	}
	lead := d.digits
	for n := d.count; n < 19; n++ {
		lead *= 10
	}
	return magnitude > 309 || lead > overflow || lead == overflow && d.left
}

// readBool reads a value as a boolean, however the word is written.
func readBool(value []byte) (truth, known bool) {
	switch len(value) {
	case 4:
		return true, isWord(value, "true")
	case 5:
		return false, isWord(value, "false")
	}
	return false, false
}

func isWord(value []byte, word string) bool {
	for i := range len(word) {
		if value[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}
