package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/native"
)

// manyLines are as many lines as a test wants.
func manyLines(n int) string { return strings.Repeat("line\n", n) }

// TestDescribeGroup shows members, positions, lag and rates.
func TestDescribeGroup(t *testing.T) {
	s := newStub(t)
	want := `GROUP  TYPE    STATE        EPOCH  ASSIGNOR  MEMBERS  POSITIONS  LAG
g      modern  reconciling      3  sticky          1          1   55

MEMBER  INSTANCE  CLIENT  HOST  EPOCH  HAS    GETS  GIVES UP
m-1     one       app     h         3  t/0,1        t/1

TOPIC  PARTITION  COMMITTED  END  LAG  IN/S  DONE/S  OLDEST  MEMBER  METADATA
t              0          5   60   55     -       -       -  m-1     note
t              1          -    0    -     -       -       -  m-1
`
	if got := s.succeed(t, "", "group", "describe", "g", "--interval", "0"); got != want {
		t.Errorf("group describe prints\n%s", got)
	}
	if got := s.succeed(t, "", "group", "describe", "old", "--interval", "0"); !strings.HasSuffix(got, "\n               0          3    9    6     -       -       -\n"+
		"t              0         60   60    0     -       -       -\n") || strings.Contains(got, "MEMBER  INSTANCE") {
		t.Errorf("a group without members, and a topic that is gone:\n%s", got)
	}
}

// TestGroupRates: two looks give rates, and the first record that is not committed gives an age.
func TestGroupRates(t *testing.T) {
	s := newStub(t)
	s.succeed(t, manyLines(20), "publish", "--topic", "t", "--partition", "0")
	var got []groupView
	if err := json.Unmarshal([]byte(s.succeed(t, "", "group", "describe", "g", "--interval", "20ms", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	p := got[0].Partitions[0]
	// Between two looks the stub's member commits one record.
	if *p.Committed != 6 || *p.Lag != 64 || p.Done == nil || *p.Done <= 0 || *p.Done > 50 || p.Oldest == nil || *p.Oldest < 0 || *p.Oldest > 60 {
		t.Errorf("described as %+v", p)
	}
	if p := got[0].Partitions[1]; p.Committed != nil || p.Done != nil || p.Oldest != nil || p.In == nil {
		t.Errorf("without a position: %+v", p)
	}
}

// TestQueueAge finds the age of a queue's oldest message where it is asked for.
func TestQueueAge(t *testing.T) {
	s := newStub(t)
	s.succeed(t, manyLines(3), "publish", "--topic", "t", "--partition", "0")
	for args, known := range map[string]bool{"list": false, "list --oldest": true, "describe q --interval 1ms": true} {
		s.mu.Lock()
		s.queueIndex = 1 // whose records the stub gives to who fetches them
		s.mu.Unlock()
		var got []queueView
		if err := json.Unmarshal([]byte(s.succeed(t, "", append(strings.Fields("queue "+args), "--json")...)), &got); err != nil {
			t.Fatal(err)
		}
		if (got[0].Oldest != nil) != known {
			t.Errorf("queue %s: the oldest is %v", args, got[0].Oldest)
		}
	}
}

// TestGovernGroups resets, forgets and deletes.
func TestGovernGroups(t *testing.T) {
	s := newStub(t)
	s.succeed(t, manyLines(20), "publish", "--topic", "t", "--partition", "0")
	for args, want := range map[string]string{
		"--to latest":               "[{1 20  0} {2 20  0}]", // the stub knows one end
		"--to 7 --partition 0":      "[{1 7  0}]",
		"--by 5":                    "[{1 6  0}]", // the group stands at 1
		"--by -5":                   "[{1 0  0}]",
		"--to earliest --topic t":   "[{1 0  0} {2 0  0}]",
		"--by 5 --dry-run --json":   "",
		"--to latest --partition 1": "[{2 20  0}]",
	} {
		s.mu.Lock()
		delete(s.asked, native.CmdResetOffsets)
		s.mu.Unlock()
		s.succeed(t, "", append([]string{"group", "reset-offsets", "g"}, strings.Fields(args)...)...)
		got := ""
		if body, ok := s.asked[native.CmdResetOffsets]; ok {
			m, err := admin.DecodeResetOffsets(body)
			if got = fmt.Sprint(m.Offsets); err != nil || m.Group != "g" {
				t.Errorf("%s: asked for %+v, %v", args, m, err)
			}
		}
		if got != want {
			t.Errorf("%s: asked for %s, want %s", args, got, want)
		}
	}
	if got := s.succeed(t, "", "group", "delete-offsets", "g", "--topic", "t"); got != "TOPIC  PARTITION  OFFSET\nt              0       1\n" {
		t.Errorf("delete-offsets prints\n%s", got)
	}
	if got := s.succeed(t, "", "group", "delete", "old"); got != "group old is deleted\n" {
		t.Errorf("delete prints %q", got)
	}
	code, _, errs := program(t, "", "group", "delete", "g", "--addr", s.ln.Addr().String())
	if code != exitFailed || errs != "trimq: in-use: group \"g\" has 1 members; stop them first\n" {
		t.Errorf("a group with members: exit code %d, %q", code, errs)
	}
}
