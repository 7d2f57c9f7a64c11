package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trimq/trimq/connsrv/exporter"
	"github.com/trimq/trimq/shmqueue"
)

// Options say what to serve.
type Options struct {
	Address  string
	Metrics  *shmqueue.Metrics
	Ready    func() (ok bool, why string)
	API      http.Handler       // of /api/, see package management; nil: none
	Exporter *exporter.Exporter // RabbitMQ's names of figures; nil: none are told
	Log      *slog.Logger
}

// Server is the HTTP server of the admin address.
type Server struct {
	http     *http.Server
	listener net.Listener
	log      *slog.Logger
}

// Time limits of a request; profiles take their time.
const (
	readHeaderTimeout = 5 * time.Second
	writeTimeout      = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Listen binds the address and serves in the background until Close.
func Listen(o Options) (*Server, error) {
	ln, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("admin_listen: %w", err)
	}
	s := &Server{
		http: &http.Server{
			Handler: routes(o), ReadHeaderTimeout: readHeaderTimeout, WriteTimeout: writeTimeout,
			MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		},
		listener: ln, log: o.Log,
	}
	go func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin HTTP server", "err", err)
		}
	}()
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close ends the server; requests under way have until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

func routes(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{o.Metrics}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	if o.Exporter != nil {
		registry.MustRegister(o.Exporter)
		mux.HandleFunc("GET /metrics/per-object", o.Exporter.PerObject)
		mux.HandleFunc("GET /metrics/detailed", o.Exporter.Detailed)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ok, why := o.Ready(); !ok {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if o.API != nil {
		mux.Handle("/api/", o.API)
	}
	mux.HandleFunc("/debug/pprof/", loopbackOnly(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", loopbackOnly(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", loopbackOnly(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", loopbackOnly(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", loopbackOnly(pprof.Trace))
	return mux
}

// loopbackOnly refuses who does not come from this machine: profiles tell much and cost.
func loopbackOnly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			http.Error(w, "profiles are served to this machine only", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}
