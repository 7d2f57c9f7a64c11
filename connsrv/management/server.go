package management

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/errcode"
)

// Options say what the API works with.
type Options struct {
	Broker      Broker
	Access      *access.Current
	Connections func() []connview.Conn           // of the process, now
	Close       func(id uint64, why string) bool // ends a connection; false: there is none
	Ready       func() (ok bool, why string)
	Node        string // what the broker calls itself
	Cluster     string
	Version     string
	Started     time.Time
	Listeners   func() []Listener
	Host        func() Host
	// Learn brings Access up to what is defined now, which it is told by read.
	Learn func(ctx context.Context, read func(context.Context) ([]admin.Definition, error)) error
	Salt  func() []byte // definitions.SaltBytes random bytes
	Now   func() time.Time
}

// Host is what the machine gives the broker.
type Host struct {
	MemoryBytes  uint64 // that the three daemons hold
	OpenFiles    uint64 // of connsrv
	MaxFiles     uint64
	Sockets      uint64 // of clients
	FreeBytes    uint64 // on the disk of data_dir
	ReserveBytes uint64 // below which that counts as full
}

// Full tells whether publishers are held up for want of room.
func (h *Host) Full() bool { return h.FreeBytes < h.ReserveBytes }

// Listener is where clients of a protocol are served.
type Listener struct {
	Protocol string
	Address  string
	Port     uint16
}

// API is the handler of /api/.
type API struct {
	Options
	mux   *http.ServeMux
	rates rates
}

// New makes it.
func New(o Options) *API {
	a := &API{Options: o, mux: http.NewServeMux(), rates: rates{now: o.Now, of: map[string]*sample{}}}
	a.routes()
	return a
}

// request is a request of a user who has shown who it is.
type request struct {
	*http.Request
	user *access.User
	from *access.Table
}

// vhost is the one of the path.
func (r *request) vhost() string { return r.PathValue("vhost") }

// answer is what a handler returns: a body to be encoded, and a status; 0: 200, or 204 without a body.
type answer struct {
	status   int
	location string // where what was made is found, from the path of the request on; "": it is not told
	body     any
}

// handle enters a handler for users who have one of the tags; an administrator may do all.
func (a *API) handle(pattern string, do func(*request) (answer, error), tags ...string) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		req, err := a.identify(r)
		if err == nil {
			err = req.allowed(tags)
		}
		var out answer
		if err == nil {
			out, err = do(req)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		send(w, req, out)
	})
}

// change is handle for what changes definitions. What it answers counts when the answer comes: a client that a
// user was made for may connect at once.
func (a *API) change(pattern string, do func(*request) (answer, error), tags ...string) {
	a.handle(pattern, func(r *request) (answer, error) {
		out, err := do(r)
		if err == nil {
			err = a.Learn(r.Context(), a.definitions)
		}
		return out, err
	}, tags...)
}

// definitions are all that is defined.
func (a *API) definitions(ctx context.Context) ([]admin.Definition, error) {
	d, err := a.Broker.Describe(ctx, admin.KindDefinition)
	if err != nil {
		return nil, err
	}
	return d.Definitions, nil
}

// aSlash stands for a part of a path that is a slash, as the vhost %2F is: Go's patterns take that for
// the end of the path. No name holds the character.
const aSlash = "\x00"

// ServeHTTP serves a request. A slash at the end of a path means nothing.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimRight(r.URL.EscapedPath(), "/"), "/")
	for i, part := range parts {
		if strings.EqualFold(part, "%2f") {
			parts[i] = url.PathEscape(aSlash)
		}
	}
	raw := strings.Join(parts, "/")
	if path, err := url.PathUnescape(raw); err == nil {
		r.URL.Path, r.URL.RawPath = path, raw
	}
	a.mux.ServeHTTP(w, r)
}

// PathValue is a part of the path.
func (r *request) PathValue(key string) string {
	if v := r.Request.PathValue(key); v != aSlash {
		return v
	}
	return "/"
}

// problem is an error with what HTTP and RabbitMQ's tools are told of it.
type problem struct {
	status       int
	word, reason string
}

// Error is the reason.
func (p *problem) Error() string { return p.reason }

func badRequest(reason string) error {
	return &problem{http.StatusBadRequest, "bad_request", reason}
}

func notFound(reason string) error {
	return &problem{http.StatusNotFound, "Object Not Found", reason}
}

// statusOf is how a refusal of the broker is told.
func statusOf(err error) *problem {
	var p *problem
	var e *errcode.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errUnavailable):
		return &problem{http.StatusServiceUnavailable, "service_unavailable", err.Error()}
	case !errors.As(err, &e):
		return &problem{http.StatusBadRequest, "bad_request", err.Error()}
	}
	switch e.Code {
	case errcode.NotFound, errcode.UnknownIndex:
		return &problem{http.StatusNotFound, "Object Not Found", e.Text}
	case errcode.Unavailable, errcode.ShuttingDown, errcode.Internal:
		return &problem{http.StatusServiceUnavailable, "service_unavailable", e.Text}
	case errcode.AccessRefused:
		return &problem{http.StatusForbidden, "access_refused", e.Text}
	}
	return &problem{http.StatusBadRequest, "bad_request", e.Text}
}

func refuse(w http.ResponseWriter, err error) {
	p := statusOf(err)
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="TriMQ Management"`)
	}
	write(w, p.status, map[string]string{"error": p.word, "reason": p.reason})
}

// send encodes an answer; of a list what the request wants of it.
func send(w http.ResponseWriter, r *request, out answer) {
	status := out.status
	switch {
	case status == 0 && out.body == nil:
		status = http.StatusNoContent
	case status == 0:
		status = http.StatusOK
	}
	if out.location != "" {
		w.Header().Set("Location", out.location)
	}
	if out.body == nil {
		w.WriteHeader(status)
		return
	}
	body := out.body
	if list, ok := body.([]object); ok {
		paged, err := r.page(list)
		if err != nil {
			refuse(w, err)
			return
		}
		body = paged
	} else if o, ok := body.(object); ok {
		body = r.columns(o)
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // whoever has gone does not want it
}

// maxBodyBytes bounds a request's body, but for definitions.
const maxBodyBytes = 20 << 20

// read decodes the request's body; an empty one leaves into as it is.
func (r *request) read(into any) error {
	if r.ContentLength == 0 {
		return nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBodyBytes)
	if err := definitions.Decode(r.Body, into); err != nil {
		return badRequest("the body is not the JSON that is wanted: " + err.Error())
	}
	return nil
}
