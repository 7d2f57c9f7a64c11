package selector

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Numbers in the text of a selector are those of Java. Whole ones: decimal, hexadecimal with
// 0x in front, octal with 0, binary with 0b; a last l changes nothing. Approximate ones: with
// a point, an exponent, or a last f or d; hexadecimal ones have an exponent after p. A _ may
// stand between two digits.

// numberLength is how many bytes of the text's front are meant to be a number.
func numberLength(text string) int {
	hex := len(text) > 1 && text[1]|0x20 == 'x'
	for i := range len(text) {
		c := text[i] | 0x20 // a small letter, if it is one
		switch {
		case isDigit(text[i]), 'a' <= c && c <= 'z', text[i] == '.', text[i] == '_':
		case (text[i] == '+' || text[i] == '-') && i > 0 && (text[i-1]|0x20 == 'e' && !hex || text[i-1]|0x20 == 'p' && hex):
		default:
			return i
		}
	}
	return len(text)
}

// readLiteral reads a number that is written as raw; wrong says why it is none. Edge: it is
// 9223372036854775808, which only a minus before it makes small enough; n is then negative.
func readLiteral(raw string) (n number, edge bool, wrong string) {
	text := strings.ToLower(raw)
	hex, binary := strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0b")
	for i := range len(text) {
		if text[i] == '_' && (!groups(text, i-1, hex) || !groups(text, i+1, hex)) {
			return n, false, fmt.Sprintf("found %s, but _ may stand between two digits only", shortened(raw))
		}
	}
	text = strings.ReplaceAll(text, "_", "")
	if hex && strings.ContainsAny(text, ".p") || !hex && !binary && strings.ContainsAny(text, ".efd") {
		n, wrong = readApproximate(raw, text, hex)
		return n, false, wrong
	}
	return readExact(raw, text)
}

// groups tells whether a _ may stand beside character i.
func groups(text string, i int, hex bool) bool {
	return i >= 0 && i < len(text) && (isDigit(text[i]) || text[i] == '_' || hex && 'a' <= text[i] && text[i] <= 'f')
}

func readApproximate(raw, text string, hex bool) (n number, wrong string) {
	if last := text[len(text)-1]; (last == 'f' || last == 'd') && (!hex || strings.Contains(text, "p")) {
		text = text[:len(text)-1]
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return n, fmt.Sprintf("found %s, which is too large; the largest number is 1.7976931348623157e308", shortened(raw))
	case err != nil:
		return n, noNumber(raw)
	}
	return number{kind: approximate, f: f}, ""
}

func readExact(raw, text string) (n number, edge bool, wrong string) {
	digits, base := strings.TrimSuffix(text, "l"), 10
	switch {
	case strings.HasPrefix(digits, "0x"):
		digits, base = digits[2:], 16
	case strings.HasPrefix(digits, "0b"):
		digits, base = digits[2:], 2
	case len(digits) > 1 && digits[0] == '0':
		digits, base = digits[1:], 8
	}
	u, err := strconv.ParseUint(digits, base, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), u > 1<<63:
		return n, false, tooLarge(raw)
	case err != nil && base == 8 && strings.Trim(digits, "0123456789") == "":
		return n, false, fmt.Sprintf("found %s, which is octal because of its first 0 and may have digits to 7 only; write %s", shortened(raw), shortened(strings.TrimLeft(digits, "0")))
	case err != nil:
		return n, false, noNumber(raw)
	}
	return number{kind: exact, i: int64(u)}, u == 1<<63, ""
}

func tooLarge(raw string) string {
	return fmt.Sprintf("found %s, which is too large; the largest whole number is 9223372036854775807, larger ones are written with a point: %s.0", shortened(raw), shortened(raw))
}

func noNumber(raw string) string {
	return fmt.Sprintf(`found %s, which is no number; one is written 12, 1.5 or 2e-3, a header's name that begins with a digit in double quotes: "%s"`, shortened(raw), shortened(raw))
}
