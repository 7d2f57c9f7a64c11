package adminhttp

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/trimq/trimq/shmqueue"
)

// FuzzRequest lets any bytes that HTTP takes for a request come in. Invariants: no panic; nothing
// but what it has not got (4xx), or that a daemon is not ready (503), is refused. Profiles are left
// out: they take their time.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET /healthz HTTP/1.0\r\n\r\n", "HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "GET /metrics?name[]=%00 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, zstd\r\n\r\n",
		"GET //../metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text; version=9\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	handler := routes(Options{
		Metrics: shmqueue.HeapMetrics(), Ready: func() (bool, string) { return false, "logicsrv is not ready" }, Log: slog.New(slog.DiscardHandler),
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil || strings.Contains(r.URL.Path, "debug") {
			return
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		_, _ = io.Copy(io.Discard, w.Body)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %q: %d", r.Method, r.URL, w.Code)
		}
	})
}
