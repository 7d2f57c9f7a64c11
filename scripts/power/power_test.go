package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/clients/trimq"
)

func sound() *stream {
	return &stream{topic: "t", level: trimq.LevelDisk, sent: []string{"a", "b", "c", "d"}, acked: []bool{true, true, true, false}}
}

func TestJudgePrefix(t *testing.T) {
	for _, tt := range []struct {
		level trimq.Level
		found string
		want  string // empty: all is well
	}{
		{trimq.LevelDisk, "a b c", ""},
		{trimq.LevelDisk, "a b c d", ""},
		{trimq.LevelDisk, "a b", "LOST: t/0: message 2"},
		{trimq.LevelDisk, "a b d", "offset 2"},
		{trimq.LevelDisk, "a b c d e", "offset 4"},
		{trimq.LevelPage, "a", ""},
		{trimq.LevelPage, "", ""},
		{trimq.LevelPage, "b c", "offset 0"},
	} {
		s := sound()
		s.level = tt.level
		got := strings.Join(judgePrefix(s, strings.Fields(tt.found)), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("level %d, %q: %q, want %q", tt.level, tt.found, got, tt.want)
		}
	}
}

func TestJudgeQueue(t *testing.T) {
	for found, want := range map[string]string{
		"b c":     "",
		"c d b":   "",
		"b c d":   "",
		"b":       "LOST: queue q: message 2",
		"a b c":   "came again",
		"b c x":   "nobody sent",
		"b c c d": "DOUBLE",
	} {
		s := sound()
		s.topic, s.queue = "", "q"
		got := strings.Join(judgeQueue(s, map[string]settlement{"a": confirmed, "d": asked}, strings.Fields(found)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", found, got, want)
		}
	}
}

func TestTally(t *testing.T) {
	s := sound()
	var all tally
	all.count(s, 3)
	s.level = trimq.LevelPage
	all.count(s, 1)
	if all != (tally{disk: 3, page: 3, pageLost: 2}) {
		t.Errorf("%+v", all)
	}
}

// TestRecall: what a load told before the cut makes another one of the same seed know what it sent, what
// was acknowledged and what was settled.
func TestRecall(t *testing.T) {
	var told bytes.Buffer
	l := newLoad(0, rand.New(rand.NewPCG(7, 0)))
	report(l, &told)
	for i, s := range l.streams {
		all := s.values()
		for n := range 50 {
			v, _ := all.next()
			s.sent, s.acked = append(s.sent, v), append(s.acked, false)
			if n%(i+2) == 0 {
				s.answered(trimq.Result{Tag: uint64(n)}, nil)
			}
		}
	}
	queue := l.streams[len(l.streams)-1]
	l.settle(asked, queue.sent[:9])
	l.settle(confirmed, queue.sent[2:5])
	path := filepath.Join(t.TempDir(), "acks")
	told.WriteString("acked 0 4") // a line that was cut
	if err := os.WriteFile(path, append([]byte("noise\n"), told.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newLoad(0, rand.New(rand.NewPCG(7, 0)))
	if err := m.recall(path); err != nil {
		t.Fatal(err)
	}
	for i, s := range l.streams {
		if r := m.streams[i]; !slices.Equal(s.sent, r.sent[:50]) || !slices.Equal(s.acked, r.acked[:50]) || slices.Contains(r.acked[50:], true) {
			t.Errorf("%s is not what it was", s)
		}
	}
	if !maps.Equal(l.settled, m.settled) {
		t.Errorf("settled: %d, want %d", len(m.settled), len(l.settled))
	}
}
