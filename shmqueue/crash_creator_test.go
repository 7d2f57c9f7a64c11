package shmqueue

import (
	"strconv"
	"strings"
	"testing"
)

// TestCreatorCrashEverywhere lets the creator of a segment die behind every store.
func TestCreatorCrashEverywhere(t *testing.T) {
	for _, how := range []manner{killsItself, killedUnreaped} {
		t.Run(string(how), func(t *testing.T) {
			everyN(t, 7, func(t *testing.T, n int) bool {
				key := freshKey(t)
				args := []string{strconv.Itoa(key), "4096"}
				said, through, successor := crash(t, n, how, "crash-creator", nil, args, args)
				nonces := append(numbers(t, said, "nonce"), numbers(t, successor.finish(t), "nonce")...)
				s, err := Attach(key, 4096, false)
				if err != nil {
					t.Errorf("died behind store %d: %v", n, err)
					return through
				}
				defer func() { _ = s.Detach() }()
				for _, nonce := range nonces {
					if nonce != s.Ring().Nonce() {
						t.Errorf("died behind store %d: the nonce changed, %d", n, nonces)
					}
				}
				if _, err := s.Ring().Producer(); err != nil {
					t.Error(err)
				}
				return through
			})
		})
	}
}

// TestUnfinishedIsExplained shows what an attacher says that may not complete a segment.
func TestUnfinishedIsExplained(t *testing.T) {
	key := freshKey(t)
	binary := armed(t)
	c := spawn(t, binary, "crash-creator", []string{"TRIMQ_DIE_AT=*:3"}, strconv.Itoa(key), "4096")
	c.lines()
	_, err := Attach(key, 4096, false)
	if err == nil || !strings.Contains(err.Error(), "was not finished") {
		t.Fatalf("attach without create gave %v", err)
	}
	if info, err := Stat(key); err != nil || info.Kind != "unfinished" || info.CreatorPID != c.cmd.Process.Pid {
		t.Fatalf("Stat gave %+v, %v; creator was %d", info, err, c.cmd.Process.Pid)
	}
	s, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Detach() }()
	if !s.Recovered() || s.Created() {
		t.Fatalf("recovered %v, created %v", s.Recovered(), s.Created())
	}
}
