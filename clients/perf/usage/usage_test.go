package usage

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUsageFromProc(t *testing.T) {
	seconds, err := parseStat("42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 9 0 123 0 0")
	if err != nil || seconds != 3.25 {
		t.Fatalf("%v, %v", seconds, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1", "42 (a) S 1 42 42 0 -1 4194560 100 0 0 0 x 75 0"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
	status := "Name:\ta\nVmHWM:\t   2048 kB\nRssAnon:\t 4 kB\nOdd:\tx kB\n"
	if a, b, c, d := statusBytes(status, "VmHWM:"), statusBytes(status, "RssAnon:"), statusBytes(status, "VmPeak:"), statusBytes(status, "Odd:"); a != 2<<20 || b != 4096 || c != 0 || d != 0 {
		t.Fatalf("%d %d %d %d", a, b, c, d)
	}
}

func TestUsagesReadsPIDFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"connsrv.pid": "1\n", "logicsrv.pid": "no number"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := Read(dir)
	if all["connsrv"].PID != 1 || all[ClientName].PID != os.Getpid() || all[ClientName].PeakBytes == 0 || len(all) != 2 {
		t.Fatalf("%+v", all)
	}
}

func TestProcesses(t *testing.T) {
	before := map[string]Use{ClientName: {PID: 1, CPUSeconds: 1}, "connsrv": {PID: 2, CPUSeconds: 2}, "logicsrv": {PID: 3, CPUSeconds: 9}}
	after := map[string]Use{ClientName: {PID: 1, CPUSeconds: 1.5}, "connsrv": {PID: 9, CPUSeconds: 0.25}}
	got := Between(before, after, map[string]int64{ClientName: 7})
	if len(got) != 2 || got[0].OwnBytes != 7 || got[0].CPUSeconds != 0.5 || got[0].Restarted || got[1].CPUSeconds != 0.25 || !got[1].Restarted {
		t.Fatalf("%+v", got)
	}
}
