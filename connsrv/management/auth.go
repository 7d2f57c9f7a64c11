package management

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/trimq/trimq/connsrv/access"
)

// Tags of users that let them in, as RabbitMQ has them: administrator may do all; monitoring sees all
// vhosts; policymaker makes policies, management sees and changes its own vhosts.
const (
	administrator = "administrator"
	monitoring    = "monitoring"
	policymaker   = "policymaker"
	viewer        = "management"
)

// anyone are the tags of all that may come in.
var anyone = []string{viewer, policymaker, monitoring}

// identify finds out who asks.
func (a *API) identify(r *http.Request) (*request, error) {
	table := a.users(r.Context())
	if table == nil {
		return nil, &problem{http.StatusServiceUnavailable, "service_unavailable", "users are not known yet: logicsrv has not told them"}
	}
	name, password, given := r.BasicAuth()
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	denied := &problem{http.StatusUnauthorized, "not_authorized", "Login failed"}
	if !given || err != nil {
		return nil, denied
	}
	user, err := table.Login(name, password, from.Addr())
	if err != nil {
		return nil, denied
	}
	return &request{Request: r, user: user, from: table}, nil
}

// usersWait is for how long a request waits for the users, which logicsrv tells when it has started; so do
// clients of the other protocols.
const usersWait, usersLook = 10 * time.Second, 5 * time.Millisecond

// users are those that there are; nil: nobody has told them.
func (a *API) users(ctx context.Context) *access.Table {
	ctx, cancel := context.WithTimeout(ctx, usersWait)
	defer cancel()
	for {
		if table := a.Access.Load(); table != nil {
			return table
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(usersLook):
		}
	}
}

// allowed tells whether the user has a tag that is asked for, and permissions in the vhost of the path.
func (r *request) allowed(tags []string) error {
	if r.user.Has(administrator) {
		return nil
	}
	if !r.user.Has(tags...) {
		return &problem{http.StatusUnauthorized, "not_authorized", "Not management user"}
	}
	if v := r.vhost(); v != "" && !r.sees(v) {
		return &problem{http.StatusUnauthorized, "not_authorized", "User not authorised to access virtual host"}
	}
	return nil
}

// sees tells whether the user sees what lies in a vhost.
func (r *request) sees(vhost string) bool {
	return r.user.Has(administrator, monitoring) || r.from.Enter(r.user.Name, vhost) == nil
}

// may refuses what the user has no permission for; administrators too, as in RabbitMQ, which does such
// things over AMQP in their name.
func (r *request) may(what access.Op, name string) error {
	if r.from.Enter(r.user.Name, r.vhost()) != nil || !r.from.May(r.user.Name, r.vhost(), what, name) {
		return &problem{http.StatusUnauthorized, "not_authorized", "ACCESS_REFUSED - access to '" + name + "' in vhost '" + r.vhost() + "' refused for user '" + r.user.Name + "'"}
	}
	return nil
}
