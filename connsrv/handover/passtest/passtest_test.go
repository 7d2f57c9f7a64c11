package passtest

import (
	"slices"
	"testing"
)

type thing struct {
	a int
	b string
	C []byte
}

func TestUnset(t *testing.T) {
	for _, x := range []struct {
		named   []string
		samples []any
		want    []string
	}{
		{nil, []any{thing{1, "b", []byte{1}}}, nil},
		{nil, []any{thing{a: 1}, thing{b: "b"}, thing{C: []byte{1}}}, nil},
		{[]string{"b"}, []any{thing{a: 1, C: []byte{1}}}, nil},
		{nil, []any{thing{a: 1, C: []byte{1}}}, []string{"passtest.thing.b is zero in all samples: it is not known whether it is passed on"}},
		{[]string{"a"}, []any{thing{1, "b", []byte{1}}}, []string{"passtest.thing.a is named as not passed on, and set in a sample"}},
		{[]string{"d"}, []any{thing{1, "b", []byte{1}}}, []string{"passtest.thing has no field d"}},
	} {
		if got := Unset(x.named, x.samples...); !slices.Equal(got, x.want) {
			t.Errorf("%v of %+v: %q", x.named, x.samples, got)
		}
	}
}
