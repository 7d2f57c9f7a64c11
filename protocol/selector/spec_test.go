package selector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/selector"
)

// matches tells whether a message with these headers passes; pairs of name and value.
func matches(t testing.TB, text string, pairs ...string) bool {
	t.Helper()
	f, err := selector.CompileSelector(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var headers []batch.RecordHeader
	for i := 0; i < len(pairs); i += 2 {
		headers = append(headers, batch.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return f.Match(record(t, headers...))
}

// truth tells what a condition is: true, false or unknown.
func truth(t testing.TB, text string, pairs ...string) byte {
	t.Helper()
	yes, no := matches(t, text, pairs...), matches(t, "NOT ("+text+")", pairs...)
	switch {
	case yes && no:
		t.Fatalf("%s is true, and so is its negation", text)
	case yes:
		return 'T'
	case no:
		return 'F'
	}
	return 'U'
}

// TestTruthTables is tables 3-4 to 3-6 of the specification. Header t is true, f is false, u
// is missing.
func TestTruthTables(t *testing.T) {
	for _, row := range []struct{ a, b, and, or byte }{
		{'t', 't', 'T', 'T'}, {'t', 'f', 'F', 'T'}, {'t', 'u', 'U', 'T'},
		{'f', 't', 'F', 'T'}, {'f', 'f', 'F', 'F'}, {'f', 'u', 'F', 'U'},
		{'u', 't', 'U', 'T'}, {'u', 'f', 'F', 'U'}, {'u', 'u', 'U', 'U'},
	} {
		for word, want := range map[string]byte{"AND": row.and, "OR": row.or} {
			text := fmt.Sprintf("%c %s %c", row.a, word, row.b)
			if got := truth(t, text, "t", "true", "f", "false"); got != want {
				t.Errorf("%s is %c, want %c", text, got, want)
			}
		}
	}
	for text, want := range map[string]byte{
		"NOT t": 'F', "NOT f": 'T', "NOT u": 'U', "TRUE": 'T', "FALSE": 'F', "TRUE OR u": 'T', "FALSE AND u": 'F',
		"t = f": 'F', "t <> f": 'T', "t = u": 'U', "(t AND f) = FALSE": 'T', "(t OR u) = (f AND u)": 'F', "(u OR f) <> TRUE": 'U',
	} {
		if got := truth(t, text, "t", "true", "f", "false"); got != want {
			t.Errorf("%s is %c, want %c", text, got, want)
		}
	}
}

// TestRules goes through the rules of the language, on one message.
func TestRules(t *testing.T) {
	message := []string{
		"country", "UK", "quote", "it's", "empty", "", "weight", "5", "price", "10.5", "small", "-3", "zero", "0", "octal", "010",
		"big", "9223372036854775807", "low", "-9223372036854775808", "huge", "92233720368547758070", "exp", "1.2e3", "text5", "5x",
		"active", "true", "premium", "FALSE", "phone", "12993", "under", "_foo", "percent", "5%", "flag", "a🇬🇧b", "bad", "a\xff\xc3b", "version", "1.2.3",
		"NOT", "odd", "content-type", "text/plain", "weight", "6", "infinite", "Inf", "hex", "0x10", "spaced", " 5", "same", "5.0", "dot", ".5", "nan", "NaN",
	}
	for want, texts := range map[byte]string{
		'T': `
			country = 'UK'
			country <> 'uk'
			quote = 'it''s'
			empty = ''
			'UK' = country
			"NOT" = 'odd' AND "content-type" = 'text/plain'
			weight = 5
			weight = 5.0
			5 = weight
			4 < weight
			weight = '5'
			weight + 2 * 3 = 11
			(weight + 2) * 3 = 21
			weight - 1 - 1 = 3
			20 / weight / 2 = 2
			-weight + 6 = 1
			- -weight = +weight
			7 / 2 = 3
			-7 / 2 = -3
			7 / 2.0 = 3.5
			price * 2 = 21
			price > 10 AND price < 11
			octal = 10
			octal = 0xA
			small < 0
			exp = 1200
			dot = 0.5
			big + 1 >= big
			big + 1 = 9223372036854775808.0
			low - 1 < 0
			big * 2 > 1e18
			low / -1 = 9.223372036854775808e18
			-low > 0
			huge > big
			weight BETWEEN 5 AND 6
			weight BETWEEN 4 AND 5
			weight NOT BETWEEN 6 AND 10
			weight BETWEEN small AND price
			price + 1 BETWEEN weight * 2 AND 100
			weight NOT BETWEEN 6 AND missing
			weight NOT BETWEEN missing AND 4
			country IN ('US', 'UK')
			country NOT IN ('US', 'FR')
			country IN ('UK')
			weight IN ('5', '6')
			phone LIKE '12%3'
			phone NOT LIKE '13%'
			under LIKE '\_%' ESCAPE '\'
			percent LIKE '%!%' ESCAPE '!'
			missing IS NULL
			weight IS NOT NULL
			empty IS NOT NULL
			active
			active = TRUE
			premium = FALSE
			NOT premium
			active <> premium
			active <> FALSE
			NOT active = premium
			NOT country = 'US' AND weight = 5
			country = 'FR' AND weight > 3 OR NOT country = 'US'
			TRUE
			(weight > 3) = active
			(weight > 3) <> (price < 3)
			weight = same
			weight <> price
			weight < price
			country <> weight
			country = country
			$key = 'order-7'
			$key LIKE 'order-%' AND $key IS NOT NULL
			$timestamp = 1700000000000
			$timestamp + 1 > 1700000000000
			country = 'UK' aNd NoT missing Is NoT nUlL
			'a' = 'a' AND 'a' <> 'b' AND 1 = 1.0 AND 2 > 1`,
		'F': `
			country = 'US'
			country <> 'UK'
			weight = 6
			weight <> 5
			weight > 5
			weight NOT BETWEEN 5 AND 5
			country IN ('uk')
			country NOT IN ('UK')
			phone LIKE '12%4'
			under LIKE '!_' ESCAPE '!'
			missing IS NOT NULL
			weight IS NULL
			premium
			FALSE
			active = premium
			country = weight
			weight = price
			weight BETWEEN 6 AND missing
			big + 1 > big
			'a' = 'b'`,
		'U': `
			missing = 'x'
			missing <> 'x'
			missing = 5
			missing <> missing
			missing = missing
			missing
			missing IN ('x')
			missing NOT IN ('x')
			missing LIKE '%'
			missing NOT LIKE '%'
			missing + 1 = 1
			missing * 0 = 0
			missing BETWEEN 1 AND 2
			weight BETWEEN 1 AND missing
			weight BETWEEN missing AND 9
			country = 5
			country <> 5
			country > 5
			text5 = 5
			version > 1
			infinite > 1
			nan = nan + 0
			hex = 16
			spaced = 5
			empty = 0
			country
			NOT country
			country = TRUE
			weight = TRUE
			weight
			country < quote
			country < weight
			country BETWEEN 1 AND 2
			weight / 0 > 0
			weight / zero = 5
			weight / 0.0 = 5
			1e308 * 10 * zero = 0
			-country = -5`,
	} {
		for line := range strings.SplitSeq(texts, "\n") {
			if text := strings.TrimSpace(line); text != "" {
				if got := truth(t, text, message...); got != want {
					t.Errorf("%s is %c, want %c", text, got, want)
				}
			}
		}
	}
}

// TestLike looks at the corners of patterns.
func TestLike(t *testing.T) {
	for _, tc := range []struct {
		value, pattern string
		want           bool
	}{
		{"", "", true}, {"", "%", true}, {"", "%%", true}, {"", "_", false}, {"", "%_%", false}, {"a", "", false},
		{"abc", "abc", true}, {"abc", "ab", false}, {"abc", "abcd", false}, {"abc", "a_c", true}, {"abc", "___", true}, {"abc", "__", false}, {"abc", "____", false},
		{"abc", "a%", true}, {"abc", "%c", true}, {"abc", "%b%", true}, {"abc", "b%", false}, {"abc", "%b", false},
		{"aba", "aba%aba", false}, {"abaaba", "aba%aba", true}, {"ababa", "aba%aba", false}, {"aba", "ab%ba", false}, {"abba", "ab%ba", true},
		{"aXbXc", "a%b%c", true}, {"ac", "a%b%c", false}, {"abcbc", "a%bc", true}, {"aab", "%_b", true}, {"b", "%_b", false},
		{"mississippi", "%iss%ipp%", true}, {"mississippi", "%iss%iss%", true}, {"mississippi", "%iss%iss%iss%", false}, {"mississippi", "m%_ss_pp_", true},
		{"xaaab", "%aab", true}, {"xaxab", "%a_a%", true}, {"aaaa", "%a_a_%", true}, {"aaa", "%a_a_%", false},
		{"a.c", "a.c", true}, {"abc", "a.c", false}, {"a*c", "a*c", true}, {"a\nc", "a_c", true}, {"a\nb", "a%", true},
		{"é", "_", true}, {"日本語", "___", true}, {"日本語", "日_語", true}, {"日本語", "%本%", true}, {"日本", "%_本", true}, {"本", "%_本", false},
		{"a\xffb", "a_b", true}, {"\xe6\x97", "__", true}, {"\xe6\x97", "_", false}, {"\xe6\x97x", "%_x", true}, {"a\xf0\x9f\x87b", "a___b", true},
	} {
		if got := matches(t, "v LIKE '"+tc.pattern+"'", "v", tc.value); got != tc.want {
			t.Errorf("%q LIKE %q is %v", tc.value, tc.pattern, got)
		}
		if got := matches(t, "v NOT LIKE '"+tc.pattern+"'", "v", tc.value); got == tc.want {
			t.Errorf("%q NOT LIKE %q is %v", tc.value, tc.pattern, got)
		}
	}
}

// TestFirstHeaderCounts, even if it has no value.
func TestFirstHeaderCounts(t *testing.T) {
	f, err := selector.CompileSelector("a = '1' AND b IS NULL AND c = '2'")
	if err != nil {
		t.Fatal(err)
	}
	twice := []batch.RecordHeader{{Key: "b"}, {Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("x")}, {Key: "a", Value: []byte("2")}, {Key: "c", Value: []byte("2")}}
	if !f.Match(record(t, twice...)) {
		t.Error("a header that came later was taken")
	}
}

// TestLimits: what is too large is refused in words, and what is just small enough is not.
func TestLimits(t *testing.T) {
	for _, tc := range []struct{ name, ok, over, want string }{
		{"text", "a = '" + strings.Repeat("x", 4090) + "'", "a = '" + strings.Repeat("x", 4091) + "'", "4097 bytes"},
		{"parentheses", strings.Repeat("(", 64) + "a" + strings.Repeat(")", 64), strings.Repeat("(", 65) + "a" + strings.Repeat(")", 65), "deep"},
		{"NOTs", strings.Repeat("NOT ", 64) + "a", strings.Repeat("NOT ", 65) + "a", "deep"},
		{"signs", "a = " + strings.Repeat("-", 64) + "b", "a = " + strings.Repeat("- ", 65) + "b", "deep"},
		{"values", "a=" + repeated(1000, "1", "+"), "a=" + repeated(1450, "1", "+"), "more than 1400"},
		{"headers", numbered(32, "h%d", " OR "), numbered(33, "h%d", " OR "), "more than 32"},
		{"comparisons of conditions", nested(8), nested(20), "too large"},
		{"the normal form", repeated(450, "a=1", " OR "), repeated(460, "a=1", " OR "), "normal form"},
		{"a part of a pattern", "a LIKE '%_" + strings.Repeat("x", 63) + "%'", "a LIKE '%_" + strings.Repeat("x", 64) + "%'", "at most 64"},
	} {
		if _, err := selector.CompileSelector(tc.ok); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, err := selector.CompileSelector(tc.over); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want one with %q", tc.name, err, tc.want)
		}
	}
	if _, err := selector.Compile(0, "a"); err == nil || !strings.Contains(err.Error(), "kind is 0") {
		t.Errorf("kind 0: %v", err)
	}
	if _, err := selector.Compile(selector.KindTags, "\xff"); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a byte: %v", err)
	}
}

func repeated(n int, text, between string) string { return strings.Repeat(text+between, n-1) + text }

// nested makes conditions that are compared with one another, n deep.
func nested(n int) string {
	if n == 0 {
		return "(a > 1)"
	}
	return "(" + nested(n-1) + " = (b > 1))"
}

// TestAll knows filters that let everything pass without looking.
func TestAll(t *testing.T) {
	for text, want := range map[string]bool{"": true, " \n": true, "TRUE": true, "a OR TRUE": false, "a": false, "NOT FALSE": true} {
		f, err := selector.CompileSelector(text)
		if err != nil || f.All() != want || f.Kind() != selector.KindSelector {
			t.Errorf("%q: %v, %v", text, f.All(), err)
		}
	}
}
