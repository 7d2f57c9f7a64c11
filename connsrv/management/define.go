package management

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Users, vhosts, what users may do, policies, parameters, limits.

// defined are the definitions of a kind, as they stand now.
func (a *API) defined(r *request, kind admin.DefinitionKind) (out []*admin.Definition, err error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindDefinition)
	if err != nil {
		return nil, err
	}
	for i := range d.Definitions {
		if d.Definitions[i].Kind == kind {
			out = append(out, &d.Definitions[i])
		}
	}
	return out, nil
}

// shown is a definition in RabbitMQ's JSON.
func shown(d *admin.Definition) object {
	switch d.Kind {
	case admin.DefUser:
		o := objectOf(definitions.UserOf(d))
		o["limits"] = object{}
		return o
	case admin.DefVHost:
		return objectOf(definitions.VHostOf(d))
	case admin.DefPermission:
		return objectOf(definitions.PermissionOf(d))
	case admin.DefTopicPermission:
		return objectOf(definitions.TopicPermissionOf(d))
	case admin.DefPolicy, admin.DefOperatorPolicy:
		return objectOf(definitions.PolicyOf(d))
	}
	return objectOf(definitions.ParameterOf(d))
}

// meant tells whether a definition is one that the path is about.
func (r *request) meant(d *admin.Definition) bool {
	for key, is := range map[string]string{"vhost": d.VHost, "name": d.Name, "item": d.Item} {
		if want := r.PathValue(key); want != "" && want != is {
			return false
		}
	}
	return d.VHost == "" || r.sees(d.VHost)
}

// list lists definitions of a kind.
func (a *API) list(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		all, err := a.defined(r, kind)
		if err != nil {
			return answer{}, err
		}
		out := []object{}
		for _, d := range all {
			if r.meant(d) {
				out = append(out, shown(d))
			}
		}
		return answer{body: out}, nil
	}
}

// one shows the definition of the path.
func (a *API) one(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		all, err := a.defined(r, kind)
		if err != nil {
			return answer{}, err
		}
		for _, d := range all {
			if r.meant(d) {
				return answer{body: shown(d)}, nil
			}
		}
		return answer{}, notFound("Not Found")
	}
}

// undefine ends the definition of the path.
func (a *API) undefine(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		vhost, name := r.vhost(), r.PathValue("name")
		if kind == admin.DefVHost {
			vhost, name = "", r.vhost()
		}
		_, err := a.Broker.Do(r.Context(), definitions.Undefine(kind, vhost, name, r.PathValue("item")))
		return answer{}, err
	}
}

// put makes a definition so.
func (a *API) put(r *request, cmd definitions.Command, err error) (answer, error) {
	if err != nil {
		return answer{}, badRequest(err.Error())
	}
	return a.create(r, cmd)
}

func (a *API) whoami(r *request) (answer, error) {
	return answer{body: object{"name": r.user.Name, "tags": r.user.Tags}}, nil
}

// vhosts lists vhosts with what lies in them.
func (a *API) vhosts(r *request) (answer, error) {
	all, err := a.defined(r, admin.DefVHost)
	if err != nil {
		return answer{}, err
	}
	d, err := a.Broker.Describe(r.Context(), admin.KindQueue)
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for _, v := range all {
		if r.sees(v.Name) {
			list = append(list, a.vhostObject(v, d))
		}
	}
	return answer{body: list}, nil
}

func (a *API) vhostObject(v *admin.Definition, d *admin.Description) object {
	o := shown(v)
	var ready, held uint64
	for i := range d.Queues {
		if in, _ := admin.SplitVHost(d.Queues[i].Name); in == v.Name {
			ready += d.Queues[i].Ready
			held += d.Queues[i].Unacked + d.Queues[i].Leased
		}
	}
	o["messages"], o["messages_ready"], o["messages_unacknowledged"] = ready+held, ready, held
	o["description"], o["tags"] = v.Text("description"), definitions.ParseTags(v.Text("tags"))
	o["default_queue_type"] = cmp.Or(v.Text("default_queue_type"), "undefined")
	o["tracing"], o["cluster_state"] = false, object{a.Node: "running"}
	return o
}

func (a *API) vhostNamed(r *request) (answer, error) {
	list, err := a.vhosts(r)
	if err != nil {
		return answer{}, err
	}
	for _, o := range list.body.([]object) {
		if o["name"] == r.vhost() {
			return answer{body: o}, nil
		}
	}
	return answer{}, notFound("Not Found")
}

func (a *API) putVHost(r *request) (answer, error) {
	v := definitions.VHost{}
	if err := r.read(&v); err != nil {
		return answer{}, err
	}
	v.Name = r.vhost()
	cmd, err := v.Command()
	out, err := a.put(r, cmd, err)
	if err == nil && out.status == http.StatusCreated { // as in RabbitMQ, who makes it may use it
		p := definitions.Permission{User: r.user.Name, VHost: v.Name, Configure: ".*", Write: ".*", Read: ".*"}
		if cmd, err = p.Command(); err == nil {
			_, err = a.Broker.Do(r.Context(), cmd)
		}
	}
	return out, err
}

func (a *API) putUser(r *request) (answer, error) {
	u := definitions.User{}
	if err := r.read(&u); err != nil {
		return answer{}, err
	}
	if u.Name = r.PathValue("name"); u.Password == nil && u.PasswordHash == "" {
		old, err := a.defined(r, admin.DefUser)
		if err != nil {
			return answer{}, err
		}
		for _, d := range old { // tags alone: the password stays
			if d.Name == u.Name {
				is := definitions.UserOf(d)
				u.PasswordHash, u.HashingAlgorithm, u.ScramSHA256, u.ScramSHA512 = is.PasswordHash, is.HashingAlgorithm, is.ScramSHA256, is.ScramSHA512
			}
		}
	}
	cmd, err := u.Command(a.Salt())
	return a.put(r, cmd, err)
}

func (a *API) putPermission(r *request) (answer, error) {
	p := definitions.Permission{}
	if err := r.read(&p); err != nil {
		return answer{}, err
	}
	p.User, p.VHost = r.PathValue("name"), r.vhost()
	cmd, err := p.Command()
	return a.put(r, cmd, err)
}

func (a *API) putTopicPermission(r *request) (answer, error) {
	p := definitions.TopicPermission{}
	if err := r.read(&p); err != nil {
		return answer{}, err
	}
	p.User, p.VHost = r.PathValue("name"), r.vhost()
	cmd, err := p.Command()
	return a.put(r, cmd, err)
}

// topicPermissionsOf lists those of a user in a vhost; to have none is an error, as in RabbitMQ.
func (a *API) topicPermissionsOf(r *request) (answer, error) {
	out, err := a.list(admin.DefTopicPermission)(r)
	if list, _ := out.body.([]object); err == nil && len(list) == 0 {
		return answer{}, notFound("Not Found")
	}
	return out, err
}

// deleteTopicPermissions ends all of a user in a vhost.
func (a *API) deleteTopicPermissions(r *request) (answer, error) {
	all, err := a.defined(r, admin.DefTopicPermission)
	for _, d := range all {
		if err == nil && r.meant(d) {
			_, err = a.Broker.Do(r.Context(), definitions.Undefine(d.Kind, d.VHost, d.Name, d.Item))
		}
	}
	return answer{}, err
}

func (a *API) putPolicy(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		p := definitions.Policy{}
		if err := r.read(&p); err != nil {
			return answer{}, err
		}
		p.Name, p.VHost = r.PathValue("name"), r.vhost()
		cmd, err := p.Command(kind == admin.DefOperatorPolicy)
		return a.put(r, cmd, err)
	}
}

func (a *API) putParameter(r *request) (answer, error) {
	p := definitions.Parameter{}
	if err := r.read(&p); err != nil {
		return answer{}, err
	}
	p.Component, p.VHost, p.Name = r.PathValue("item"), r.vhost(), r.PathValue("name")
	cmd, err := p.Command()
	return a.put(r, cmd, err)
}

// putClusterName keeps the name that the broker is told by in a global parameter, as RabbitMQ does.
func (a *API) putClusterName(r *request) (answer, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := r.read(&in); err != nil {
		return answer{}, err
	}
	if in.Name == "" {
		return answer{}, badRequest("name: a text is wanted that is not empty")
	}
	name, _ := json.Marshal(in.Name) // a text always can be
	p := definitions.Parameter{Name: access.ClusterName, Value: name}
	cmd, err := p.Command()
	_, err = a.put(r, cmd, err)
	return answer{}, err
}

// limitNames are how lists of limits call whose they are.
var limitNames = map[admin.DefinitionKind]string{admin.DefVHostLimit: "vhost", admin.DefUserLimit: "user"}

func (a *API) limits(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		all, err := a.defined(r, kind)
		if err != nil {
			return answer{}, err
		}
		list := []object{}
		for _, d := range all {
			if of := r.PathValue("of"); of == "" || of == d.Name {
				list = append(list, object{limitNames[kind]: d.Name, "value": definitions.LimitsOf(d)})
			}
		}
		return answer{body: list}, nil
	}
}

// limitsOf are the limits that are set now.
func (a *API) limitsOf(r *request, kind admin.DefinitionKind) (map[string]int64, error) {
	all, err := a.defined(r, kind)
	for _, d := range all {
		if d.Name == r.PathValue("of") {
			return definitions.LimitsOf(d), err
		}
	}
	return map[string]int64{}, err
}

func (a *API) putLimit(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		var in struct {
			Value json.Number `json:"value"`
		}
		if err := r.read(&in); err != nil {
			return answer{}, err
		}
		n, err := in.Value.Int64()
		if err != nil {
			return answer{}, badRequest(fmt.Sprintf("value: a whole number is wanted, not %q", in.Value))
		}
		limits, err := a.limitsOf(r, kind)
		if err != nil {
			return answer{}, err
		}
		limits[r.PathValue("limit")] = n
		cmd, _, err := definitions.LimitsCommand(kind, r.PathValue("of"), limits)
		if _, err = a.put(r, cmd, err); err != nil {
			return answer{}, err
		}
		return answer{}, nil
	}
}

func (a *API) deleteLimit(kind admin.DefinitionKind) func(*request) (answer, error) {
	return func(r *request) (answer, error) {
		limits, err := a.limitsOf(r, kind)
		if err != nil {
			return answer{}, err
		}
		delete(limits, r.PathValue("limit"))
		cmd, left, err := definitions.LimitsCommand(kind, r.PathValue("of"), limits)
		if !left {
			cmd = definitions.Undefine(kind, "", r.PathValue("of"), "")
		}
		if err == nil {
			_, err = a.Broker.Do(r.Context(), cmd)
		}
		return answer{}, err
	}
}
