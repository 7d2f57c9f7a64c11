package management

import (
	"errors"
	"net/http"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// export gives all definitions, or those of a vhost.
func (a *API) export(r *request) (answer, error) {
	var w definitions.Whole
	for _, part := range []struct {
		kind admin.Kind
		take func(*admin.Description)
	}{
		{admin.KindDefinition, func(d *admin.Description) { w.Definitions = d.Definitions }},
		{admin.KindExchange, func(d *admin.Description) { w.Exchanges = d.Exchanges }},
		{admin.KindQueue, func(d *admin.Description) { w.Queues = d.Queues }},
		{admin.KindTopic, func(d *admin.Description) { w.Topics = d.Topics }},
		{admin.KindBinding, func(d *admin.Description) { w.Bindings = d.Bindings }},
	} {
		d, err := a.Broker.Describe(r.Context(), part.kind)
		if err != nil {
			return answer{}, err
		}
		part.take(d)
	}
	f := w.Export(r.vhost())
	f.RabbitVersion, f.RabbitMQVersion, f.ProductName, f.ProductVersion = rabbitVersion, rabbitVersion, "TriMQ", a.Version
	return answer{body: f}, nil
}

// load makes all so that a file defines. What cannot be done is told together, behind the rest.
func (a *API) load(r *request) (answer, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, definitions.MaxFileBytes)
	f, err := definitions.Read(r.Body)
	if err != nil {
		return answer{}, badRequest(err.Error())
	}
	if v := r.vhost(); v != "" {
		f.In(v)
	}
	var problems []string
	for _, step := range f.Plan(a.Salt) {
		err := step.Problem
		if err == nil {
			if _, err = a.Broker.Do(r.Context(), step.Command); err != nil {
				err = errors.New(step.What + ": " + err.Error())
			}
		}
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	if len(problems) > 0 {
		return answer{}, badRequest(strings.Join(problems, "; "))
	}
	return answer{}, nil
}
