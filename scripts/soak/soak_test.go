package main

import (
	"os"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

func TestGrows(t *testing.T) {
	for name, tt := range map[string]struct {
		value func(i int) int64
		grown bool
	}{
		"flat":                         {func(int) int64 { return 100 }, false},
		"grows":                        {func(i int) int64 { return int64(100 + i) }, true},
		"grows by less than it varies": {func(i int) int64 { return int64(100 + i/10) }, false},
		"grows by a small part":        {func(i int) int64 { return int64(10_000 + i) }, false},
		"grows at first only":          {func(i int) int64 { return int64(min(i, 30)) }, false},
		"sometimes high":               {func(i int) int64 { return int64(100 + i%7/6*1000) }, false},
		"falls":                        {func(i int) int64 { return int64(500 - i) }, false},
	} {
		var s samples
		for i := range 100 {
			s.add(time.Duration(i)*time.Second, "logicsrv", files, tt.value(i))
		}
		if second, last, grown := s.list[0].grows(100 * time.Second); grown != tt.grown {
			t.Errorf("%s: %d, then %d: %v", name, second, last, grown)
		}
	}
	var s samples
	s.add(time.Second, "logicsrv", files, 1)
	if _, _, grown := s.list[0].grows(time.Second); grown {
		t.Error("one sample grows")
	}
}

func TestStacks(t *testing.T) {
	text := "level=INFO msg=state\ngoroutine 1 [running]:\nmain.main()\n\ngoroutine 34 [select, 2 minutes]:\nx.y()\ngoroutine is a word\n"
	if n := stacks(text); n != 2 {
		t.Errorf("%d goroutines", n)
	}
}

// A sample has what there is to know of a process: this one plays a daemon.
func TestTake(t *testing.T) {
	dir := t.TempDir()
	b := &broker.Broker{Config: &tier.Config{RunDir: dir, LogDir: dir}, KeyBase: 0x6fffff00}
	if err := os.WriteFile(dir+"/logicsrv.pid", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s samples
	s.take(time.Second, b)
	seen := map[string]int64{}
	for _, x := range s.list {
		seen[x.daemon+" "+x.name] = x.values[0]
	}
	if _, ok := seen["logicsrv own memory"]; !ok || seen["logicsrv threads"] < 1 || seen["all segments"] != 0 {
		t.Errorf("%v", seen)
	}
}
