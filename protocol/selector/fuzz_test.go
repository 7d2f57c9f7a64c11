package selector_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/selector"
)

// texts are the lines of the scripts, and some that are as large as may be.
func texts(t testing.TB) (all []string) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(string(b), "\n")...)
	}
	for _, part := range []string{"(", ")", "NOT ", "-", "+ ", "a OR ", "1+", "a*", "'", `"`, "'',", "(TRUE=", "(a=", "a BETWEEN ", "a.", "%", "é", "9", "0.", "abc", "a IN (", "0x", "1e", "$"} {
		all = append(all, strings.Repeat(part, selector.MaxText/len(part)), "a = "+strings.Repeat(part, 60)+"1")
	}
	return append(all, nested(9), nested(12), "a LIKE '"+strings.Repeat("%_", 2000)+"'", "a IN ("+numbered(500, "'%d'", ",")+")",
		strings.Repeat("(", 64)+strings.Repeat("a=1)=", 64)+"b")
}

// samples are messages for which two filters may differ.
func samples(t testing.TB) (recs []*batch.Record) {
	for _, value := range []string{"", "1", "hz", "true", "0.5", "a'b%"} {
		recs = append(recs, record(t, batch.RecordHeader{Key: "a", Value: []byte(value)}, batch.RecordHeader{Key: "b", Value: []byte("1")}, batch.RecordHeader{Key: "tag", Value: []byte(value)}))
	}
	return append(recs, sample(t), record(t))
}

// FuzzCompile: any text. No panic; a refusal has a place in the text, or just behind it, and
// a reason of bearable length; what is taken in has a normal form that is its own and matches the same.
func FuzzCompile(f *testing.F) {
	for _, text := range texts(f) {
		f.Add(uint8(selector.KindSelector), text)
		f.Add(uint8(selector.KindTags), text)
	}
	recs := samples(f)
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		filter, err := selector.Compile(selector.Kind(kind), text)
		if err != nil {
			var wrong *selector.SyntaxError
			if !errors.As(err, &wrong) || wrong.Text == "" || len(wrong.Text) > 1000 || wrong.Pos < 1 || wrong.Pos > utf8.RuneCountInString(text)+1 {
				t.Fatalf("%#v", err)
			}
			return
		}
		again, err := selector.Compile(filter.Kind(), filter.String())
		if err != nil || again.String() != filter.String() || again.All() != filter.All() {
			t.Fatalf("%q became %q, which became %v (%v)", text, filter, again, err)
		}
		for i, rec := range recs {
			if filter.Match(rec) != again.Match(rec) {
				t.Fatalf("%q and %q differ on message %d", text, filter, i)
			}
		}
	})
}

// FuzzMatch: any records under a filter. No panic, no allocation; never do a filter and its
// negation match; and headers behind those that were there change nothing.
func FuzzMatch(f *testing.F) {
	var b batch.Builder
	b.Add(1, []byte("k"), []byte("v"), []batch.RecordHeader{{Key: "a", Value: []byte("x")}, {Key: "price", Value: []byte("12.5")}, {Key: "b"}})
	b.Add(2, nil, nil, []batch.RecordHeader{{Key: strings.Repeat("n", 70), Value: bytes.Repeat([]byte("ab"), 50)}, {Key: "a", Value: []byte("true")}})
	sealed := bytes.Clone(b.Seal(batch.None, batch.NoProducer, 0, 0))
	for _, text := range []string{"a = 'x' AND price > 10", "a LIKE '%b_a%' OR b IS NULL", "a OR price BETWEEN 1 AND a", "$key = a AND -price / 2 < a"} {
		f.Add(text, sealed)
	}
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		filter, err := selector.CompileSelector(text)
		if err != nil || strings.TrimSpace(text) == "" {
			return
		}
		opposite, err := selector.CompileSelector("NOT (" + text + ")")
		r := batch.Reader{SkipCRC: true, Limit: 1 << 20}
		if r.Reset(b) != nil {
			return
		}
		for rec := new(batch.Record); r.Next(rec); {
			match := filter.Match(rec)
			if err == nil && match && opposite.Match(rec) {
				t.Fatalf("%q and its negation match", text)
			}
			longer := record(t, append(rec.AppendHeaders(nil), rec.AppendHeaders(nil)...)...)
			longer.Key, longer.TimeMS = rec.Key, rec.TimeMS
			if filter.Match(longer) != match {
				t.Fatalf("%q differs when headers occur twice", text)
			}
		}
	})
}

// TestCompileIsBounded: the largest texts take little memory.
func TestCompileIsBounded(t *testing.T) {
	const most = 8 << 20
	var before, after runtime.MemStats
	for _, text := range texts(t) {
		runtime.ReadMemStats(&before)
		_, err := selector.CompileSelector(text)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%.60s… took %d bytes (%v)", text, took, err)
		}
	}
}

// TestMatchAllocatesNothing, whatever filter and message are.
func TestMatchAllocatesNothing(t *testing.T) {
	recs := samples(t)
	for _, text := range texts(t) {
		f, err := selector.CompileSelector(text)
		if err != nil {
			continue
		}
		for _, rec := range recs {
			if n := testing.AllocsPerRun(2, func() { f.Match(rec) }); n != 0 {
				t.Errorf("%.60s: %v allocations", text, n)
			}
		}
	}
}

// TestFiltersAreShared: goroutines use one filter at a time (the race detector looks on).
func TestFiltersAreShared(t *testing.T) {
	f, err := selector.CompileSelector("area LIKE 'h_' AND price * 2 > 100 AND tag IN (" + numbered(20, "'v%d'", ",") + ")")
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan bool)
	for range 4 {
		go func() { results <- f.Match(sample(t)) }()
	}
	for range 4 {
		if !<-results {
			t.Error("no match")
		}
	}
}
