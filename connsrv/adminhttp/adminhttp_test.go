package adminhttp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/trimq/trimq/shmqueue"
)

func listen(t *testing.T, ready bool) (*Server, *shmqueue.Metrics) {
	t.Helper()
	m := shmqueue.HeapMetrics()
	s, err := Listen(Options{
		Address: "127.0.0.1:0", Metrics: m, Log: slog.New(slog.DiscardHandler),
		Ready: func() (bool, string) { return ready, "logicsrv is not ready" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, m
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s%s", s.Addr(), path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMetricsOfAllTiers(t *testing.T) {
	s, m := listen(t, true)
	m.Tier(shmqueue.TierConn).Add(shmqueue.ConnProducedMessages, 42)
	m.Tier(shmqueue.TierConn).Add(shmqueue.ConnClosedIdle, 3)
	m.Tier(shmqueue.TierLogic).Set(shmqueue.LogicLSN, 7)
	m.Tier(shmqueue.TierLogic).Set(shmqueue.LogicRecoveryNS, 1500000000)
	code, body := get(t, s, "/metrics")
	for _, want := range []string{
		"trimq_conn_produced_messages_total 42\n", "# TYPE trimq_conn_produced_messages_total counter",
		`trimq_conn_closed_total{reason="idle_timeout"} 3`, "trimq_logic_lsn 7\n", "# TYPE trimq_logic_lsn gauge",
		"trimq_logic_recovery_seconds 1.5\n", "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("status %d: no %q", code, want)
		}
	}
	for _, tier := range tiers {
		for _, row := range shmqueue.Stats(tier) {
			if row.Name != "" && !strings.Contains(body, "\n"+row.Name) {
				t.Errorf("%s: %s is not shown", tier, row.Name)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	s, _ := listen(t, true)
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, s, path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	s, _ = listen(t, false)
	if code, body := get(t, s, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "logicsrv") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := get(t, s, "/healthz"); code != 200 {
		t.Errorf("alive but not ready: %d", code)
	}
	if code, _ := get(t, s, "/nothing"); code != http.StatusNotFound {
		t.Errorf("%d", code)
	}
}

func TestProfilesAreForThisMachineOnly(t *testing.T) {
	s, _ := listen(t, true)
	if code, _ := get(t, s, "/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("from here: %d", code)
	}
	h := routes(Options{Metrics: shmqueue.HeapMetrics(), Log: slog.New(slog.DiscardHandler)})
	for remote, want := range map[string]int{"192.0.2.7:99": 403, "[2001:db8::1]:5": 403, "nonsense": 403, "127.0.0.1:1": 200, "[::1]:1": 200} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", remote, w.Code, want)
		}
	}
}

func TestListenRefusesABusyAddress(t *testing.T) {
	s, m := listen(t, true)
	if _, err := Listen(Options{Address: s.Addr().String(), Metrics: m, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("two servers on one address")
	}
}
