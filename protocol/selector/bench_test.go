package selector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/selector"
)

// failer is what a test and a property have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// record makes a record with these headers, as a reader of batches gives it out.
func record(t failer, headers ...batch.RecordHeader) *batch.Record {
	t.Helper()
	var b batch.Builder
	if !b.Add(1700000000000, []byte("order-7"), []byte("value"), headers) {
		t.Fatal("not added")
	}
	var r batch.Reader
	if err := r.Reset(b.Seal(batch.None, batch.NoProducer, 0, 0)); err != nil {
		t.Fatal(err)
	}
	rec := new(batch.Record)
	if !r.Next(rec) {
		t.Fatal(r.Err())
	}
	return rec
}

// sample is a message with five headers.
func sample(t testing.TB) *batch.Record {
	return record(t,
		batch.RecordHeader{Key: "trace", Value: []byte("4bf92f3577b34da6a3ce929d0e0e4736")},
		batch.RecordHeader{Key: "area", Value: []byte("hz")},
		batch.RecordHeader{Key: "kind", Value: []byte("order")},
		batch.RecordHeader{Key: "price", Value: []byte("149.90")},
		batch.RecordHeader{Key: "tag", Value: []byte("v17")})
}

// numbered joins so many texts.
func numbered(n int, format, between string) string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(texts, between)
}

// BenchmarkMatch evaluates filters over a message with five headers.
func BenchmarkMatch(b *testing.B) {
	for _, bc := range []struct {
		name string
		kind selector.Kind
		text string
		want bool
	}{
		{"two conditions", selector.KindSelector, "area = 'hz' AND price > 100", true},
		{"two conditions, the first false", selector.KindSelector, "area = 'sh' AND price > 100", false},
		{"a missing header", selector.KindSelector, "region = 'hz'", false},
		{"IN of 50", selector.KindSelector, "tag IN (" + numbered(50, "'v%d'", ", ") + ")", true},
		{"IN of 8", selector.KindSelector, "tag NOT IN (" + numbered(8, "'v%d'", ", ") + ")", true},
		{"LIKE with a front", selector.KindSelector, "trace LIKE '4bf9%'", true},
		{"LIKE with a middle", selector.KindSelector, "trace LIKE '%929d0e%'", true},
		{"LIKE with _", selector.KindSelector, "trace LIKE '%b34_a6%0_4736'", true},
		{"20 ORs", selector.KindSelector, numbered(19, "tag = 'w%d'", " OR ") + " OR tag = 'v17'", true},
		{"arithmetic", selector.KindSelector, "price * 2 + 1 BETWEEN 200 AND 400", true},
		{"12 headers", selector.KindSelector, numbered(11, "h%d IS NULL", " AND ") + " AND area = 'hz'", true},
		{"tags", selector.KindTags, numbered(20, "v%d", " || "), true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			f, err := selector.Compile(bc.kind, bc.text)
			if err != nil {
				b.Fatal(err)
			}
			rec := sample(b)
			b.ReportAllocs()
			for b.Loop() {
				if f.Match(rec) != bc.want {
					b.Fatal("wrong")
				}
			}
		})
	}
}

// BenchmarkCompile reads filters.
func BenchmarkCompile(b *testing.B) {
	for _, bc := range []struct{ name, text string }{
		{"two conditions", "area = 'hz' AND price > 100"},
		{"4 KiB", numbered(250, "tag = 'v%d'", " OR ")},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := selector.CompileSelector(bc.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
