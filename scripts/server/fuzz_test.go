package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/trimq/trimq/shmqueue/tier"
)

// FuzzState reads any bytes as the state file, which outlives crashes and copies. Invariants: no
// panic; either an error that names the file, or a state of the three daemons, none of which runs.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"supervisor":1,"tiers":[{"name":"persistsrv","state":"ready","pid":9},{"name":"logicsrv","state":"failed"},{"name":"connsrv","state":"back-off"}]}`))
	f.Add([]byte(`{"tiers":[{"name":"../../etc/passwd"},{},{}]}`))
	f.Add([]byte(`{`))
	dir := f.TempDir()
	c := &tier.Config{DataDir: dir, RunDir: dir, LogDir: dir}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(statePath(c), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readState(c)
		if err != nil {
			if !strings.Contains(err.Error(), statePath(c)) {
				t.Errorf("%v", err)
			}
			return
		}
		if !s.complete() || s.Supervisor != 0 || s.all(stateReady) {
			t.Errorf("%+v", s)
		}
		var out bytes.Buffer
		if err := status(c, nil, &out); err == nil {
			t.Errorf("all is well, it says:\n%s", out.String())
		}
	})
}
