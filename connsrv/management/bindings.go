package management

import (
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"net/http"
	"net/url"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// bindingRow is a binding with what identifies it in a path.
type bindingRow struct {
	definitions.Binding
	info *admin.BindingInfo // nil: of the default exchange, where every queue is bound by its name
	key  string
}

func rowOf(b *admin.BindingInfo) bindingRow {
	d := definitions.BindingOf(b)
	return bindingRow{d, b, propertiesKey(&d)}
}

// propertiesKey names a binding among those between the same two: its routing key, ~ where that is
// empty, with a hash of the arguments where it has some.
func propertiesKey(b *definitions.Binding) string {
	key := url.QueryEscape(b.RoutingKey)
	if key == "" {
		key = "~"
	}
	if len(b.Arguments) == 0 {
		return key
	}
	if b.RoutingKey == "" {
		key = ""
	}
	h := fnv.New64a()
	text, err := json.Marshal(b.Arguments) // in order of their names
	if err == nil {
		h.Write(text)
	}
	return key + "~" + hex.EncodeToString(h.Sum(nil))
}

func (b *bindingRow) object() object {
	o := objectOf(b.Binding)
	o["properties_key"] = b.key
	return o
}

// rows are the bindings that the request is about, those of the default exchange first.
func (a *API) rows(r *request) (rows []bindingRow, err error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindQueue)
	if err != nil {
		return nil, err
	}
	for i := range d.Queues {
		v, name := admin.SplitVHost(d.Queues[i].Name)
		b := definitions.Binding{VHost: v, Destination: name, DestinationType: "queue", RoutingKey: name, Arguments: map[string]any{}}
		rows = append(rows, bindingRow{b, nil, propertiesKey(&b)})
	}
	if d, err = a.Broker.Describe(r.Context(), admin.KindBinding); err != nil {
		return nil, err
	}
	for i := range d.Bindings {
		rows = append(rows, rowOf(&d.Bindings[i]))
	}
	return rows, nil
}

// listBindings lists those that are meant.
func (a *API) listBindings(r *request, meant func(*bindingRow) bool) (answer, error) {
	rows, err := a.rows(r)
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for i := range rows {
		if b := &rows[i]; r.wants(b.VHost) && meant(b) {
			list = append(list, b.object())
		}
	}
	return answer{body: list}, nil
}

func (a *API) bindings(r *request) (answer, error) {
	return a.listBindings(r, func(*bindingRow) bool { return true })
}

func (a *API) bindingsOfQueue(r *request) (answer, error) {
	return a.listBindings(r, func(b *bindingRow) bool { return b.DestinationType == "queue" && b.Destination == r.PathValue("name") })
}

// plainExchange is the name of an exchange that a path calls so.
func plainExchange(name string) string {
	if name == defaultExchange {
		return ""
	}
	return name
}

func (a *API) bindingsFrom(r *request) (answer, error) {
	return a.listBindings(r, func(b *bindingRow) bool { return b.Source == plainExchange(r.PathValue("name")) })
}

func (a *API) bindingsTo(r *request) (answer, error) {
	return a.listBindings(r, func(b *bindingRow) bool {
		return b.DestinationType == "exchange" && b.Destination == r.PathValue("name")
	})
}

// between tells whether a binding is one between the two of the path.
func (r *request) between(b *bindingRow) bool {
	kind := map[string]string{"q": "queue", "e": "exchange"}[r.PathValue("kind")]
	return b.VHost == r.vhost() && b.Source == plainExchange(r.PathValue("source")) && b.DestinationType == kind && b.Destination == r.PathValue("name")
}

func (a *API) bindingsBetween(r *request) (answer, error) { return a.listBindings(r, r.between) }

// bindingNamed finds the binding of the path.
func (a *API) bindingNamed(r *request) (*bindingRow, error) {
	rows, err := a.rows(r)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if b := &rows[i]; r.between(b) && (b.key == r.PathValue("props") || b.key == url.QueryEscape(r.PathValue("props"))) {
			return b, nil
		}
	}
	return nil, notFound("Not Found")
}

func (a *API) binding(r *request) (answer, error) {
	b, err := a.bindingNamed(r)
	if err != nil {
		return answer{}, err
	}
	return answer{body: b.object()}, nil
}

// mayBind wants the rights that AMQP wants for a binding.
func (r *request) mayBind() error {
	if err := r.may(access.Write, r.PathValue("name")); err != nil {
		return err
	}
	return r.may(access.Read, plainExchange(r.PathValue("source")))
}

func (a *API) bind(r *request) (answer, error) {
	b := definitions.Binding{}
	if err := r.read(&b); err != nil {
		return answer{}, err
	}
	if err := r.mayBind(); err != nil {
		return answer{}, err
	}
	x, err := a.exchangeNamed(r, r.PathValue("source"))
	if err != nil {
		return answer{}, err
	}
	b.VHost, b.Source, b.Destination = r.vhost(), plainExchange(r.PathValue("source")), r.PathValue("name")
	if b.DestinationType = "queue"; r.PathValue("kind") == "e" {
		b.DestinationType = "exchange"
	}
	cmd, err := b.Command(x.Type == admin.Headers, false)
	if err != nil {
		return answer{}, err
	}
	if _, err := a.Broker.Do(r.Context(), cmd); err != nil {
		return answer{}, err
	}
	key := propertiesKey(&b)
	location := url.PathEscape(b.Destination) + "/" + url.PathEscape(key)
	return answer{status: http.StatusCreated, location: location, body: object{"properties_key": key}}, nil
}

func (a *API) unbind(r *request) (answer, error) {
	b, err := a.bindingNamed(r)
	if err == nil {
		err = r.mayBind()
	}
	switch {
	case err != nil:
		return answer{}, err
	case b.info == nil:
		return answer{}, badRequest("ACCESS_REFUSED - operation not permitted on the default exchange")
	}
	gone := admin.DeleteBinding(*b.info)
	_, err = a.Broker.Do(r.Context(), definitions.Command{What: "binding", Command: admin.CmdDeleteBinding, Body: &gone})
	return answer{}, err
}
