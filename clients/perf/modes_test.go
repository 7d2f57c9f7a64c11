package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func jsonInto(b []byte, r *Report) error { return json.Unmarshal(b, r) }

func TestProduceThenConsume(t *testing.T) {
	s := newStub(t)
	r, err := s.perf(t, "produce", "--count", "5000", "--producers", "2", "--batch-bytes", "16384")
	if err != nil || r.Messages != 5000 || r.Acknowledged != 5000 || r.Lost != 0 || r.Rate <= 0 || r.AckLatency == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, commit := range []string{"sync", "async", "none"} {
		r, err = s.perf(t, "consume", "--commit", commit)
		if err != nil || r.Received != 5000 || r.Lost != 0 || (r.Commits == 0) != (commit == "none") {
			t.Fatalf("commit %s: %+v, %v", commit, r, err)
		}
	}
	r, err = s.perf(t, "consume", "--count", "1000")
	if err != nil || r.Received < 1000 || r.Lost != 0 {
		t.Fatalf("the first 1000: %+v, %v", r, err)
	}
}

func TestZstd(t *testing.T) {
	s := newStub(t)
	if r, err := s.perf(t, "produce", "--count", "3000", "--codec", "zstd"); err != nil || r.Acknowledged != 3000 {
		t.Fatalf("%+v, %v", r, err)
	}
	if c := batchCodec(s); c != "zstd" {
		t.Fatalf("stored with codec %s", c)
	}
	if r, err := s.perf(t, "consume"); err != nil || r.Received != 3000 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestEndToEnd(t *testing.T) {
	s := newStub(t)
	if _, err := s.perf(t, "produce", "--count", "100"); err != nil { // what lies there is not read again
		t.Fatal(err)
	}
	r, err := s.perf(t, "e2e", "--count", "5000")
	if err != nil || r.Acknowledged != 5000 || r.Received != 5000 || r.EndToEnd == nil || r.EndToEnd.Samples != 5000 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestRate(t *testing.T) {
	s := newStub(t)
	r, err := s.perf(t, "rate", "--rate", "5000", "--duration", "200ms", "--consume", "--producers", "2")
	if err != nil || r.Messages != 1000 || r.Received != 1000 || r.AckLatency.Samples != 1000 || r.AskedRate != 5000 || r.EndToEnd.Samples != 1000 {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = s.perf(t, "rate", "--rate", "5000", "--count", "100")
	if err != nil || r.Messages != 100 || r.Acknowledged != 100 || r.Received != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// What goes wrong on the way is noticed.
func TestFaultsAreFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*stub)
		wrong func(*Report) bool
	}{
		{"lost", func(s *stub) { s.drop = 5 }, func(r *Report) bool { return r.Lost > 0 }},
		{"doubled", func(s *stub) { s.double = 3 }, func(r *Report) bool { return r.Duplicates > 0 && r.Reordered > 0 }},
		{"changed", func(s *stub) { s.corrupt = 3 }, func(r *Report) bool { return r.Corrupt == 1 }},
	} {
		s := newStub(t)
		c.fault(s)
		r, err := s.perf(t, "e2e", "--count", "2000", "--batch-bytes", "16384", "--window", "65536", "--idle", "300ms")
		if err == nil || !c.wrong(r) {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

func TestConsumeOfNothing(t *testing.T) {
	s := newStub(t)
	for _, c := range []struct{ prepare, want string }{{"", "not-found"}, {"perf", "is empty"}} {
		s.topic = c.prepare
		app := newApp()
		err := app.Run([]string{"mq_perf", "consume", "--addr", s.addr})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("topic %q: %v", c.prepare, err)
		}
	}
	r, err := s.perf(t, "consume", "--count", "10", "--idle", "200ms")
	if err == nil || r.Lost != 10 || !strings.HasPrefix(r.Stopped, "nothing came") {
		t.Errorf("waiting for what never comes: %+v, %v", r, err)
	}
}
