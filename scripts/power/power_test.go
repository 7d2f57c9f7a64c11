package main

import (
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
		"b":       "LOST: queue q: message 2",
		"a b c":   "came again",
		"b c x":   "nobody sent",
		"b c c d": "DOUBLE",
	} {
		s := sound()
		s.topic, s.queue = "", "q"
		got := strings.Join(judgeQueue(s, map[string]bool{"a": true}, strings.Fields(found)), "\n")
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
