package commitlog

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestKnownDamage(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	list := []KnownDamage{{3, 5, at, "body 0: fails its\ncheck"}, {6, 6, at, "missing"}, {9, 12, at, strings.Repeat("long ", 2000)}}
	var text string
	for _, k := range list {
		text += k.String() + "\n"
	}
	got, err := ParseKnownDamage([]byte(text))
	if err != nil || len(got) != 3 || got[0] != (KnownDamage{3, 5, at, "body 0: fails its check"}) || got[2].Last != 12 {
		t.Fatalf("%+v %v", got, err)
	}
	for _, c := range []struct {
		first, last uint64
		want        bool
	}{{3, 3, true}, {3, 6, true}, {4, 6, true}, {2, 4, false}, {6, 7, false}, {6, 9, false}, {9, 12, true}, {12, 13, false}, {5, 4, false}} {
		if Covers(got, c.first, c.last) != c.want {
			t.Errorf("%d to %d: not %v", c.first, c.last, c.want)
		}
	}
	if Covers(nil, 1, 1) {
		t.Error("nothing is known")
	}
	for _, bad := range []string{
		"x", "lsn 1 2 since now: why", "lsn 0 2 since 2024-05-06T07:08:09Z: why", "lsn 3 2 since 2024-05-06T07:08:09Z: why",
		"lsn 1 2 since 2024-05-06T07:08:09Z", "lsn 01 2 since 2024-05-06T07:08:09Z: why", "\n",
	} {
		var format *FormatError
		if got, err := ParseKnownDamage([]byte(bad)); !errors.As(err, &format) || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %+v %v", bad, got, err)
		}
	}
}

// FuzzKnownDamage: no panic, and what is read is written so.
func FuzzKnownDamage(f *testing.F) {
	f.Add("lsn 3 5 since 2024-05-06T07:08:09Z: body 0: fails\n")
	f.Add("lsn 1 1 since 2024-05-06T07:08:09Z: a\nlsn 18446744073709551615 18446744073709551615 since 2024-05-06T07:08:09Z: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseKnownDamage([]byte(text))
		if err != nil {
			return
		}
		again := ""
		for _, k := range list {
			again += k.String() + "\n"
			Covers(list, k.First, k.Last)
		}
		if again != text && again != text+"\n" {
			t.Errorf("%q is read as %q", text, again)
		}
	})
}
