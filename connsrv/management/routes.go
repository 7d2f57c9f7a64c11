package management

import (
	"net/http"

	"github.com/trimq/trimq/protocol/admin"
)

// routes enters all handlers. Go's patterns keep %2F within one part of a path.
func (a *API) routes() {
	a.handle("GET /api/whoami", a.whoami, anyone...)
	a.handle("GET /api/overview", a.overview, anyone...)
	a.handle("GET /api/cluster-name", func(r *request) (answer, error) {
		return answer{body: object{"name": r.from.ClusterName(a.Cluster)}}, nil
	}, anyone...)
	a.change("PUT /api/cluster-name", a.putClusterName, administrator)
	a.handle("GET /api/nodes", a.nodes, monitoring)
	a.handle("GET /api/nodes/{node}", a.node, monitoring)
	for _, path := range []string{ // what there is none of
		"extensions", "feature-flags", "deprecated-features", "deprecated-features/used", "federation-links", "federation-links/{vhost}",
		"shovels", "shovels/{vhost}",
	} {
		a.handle("GET /api/"+path, func(*request) (answer, error) { return answer{body: []object{}}, nil }, anyone...)
	}
	a.handle("GET /api/health/checks/{check...}", a.healthCheck, anyone...)
	a.handle("GET /api/healthchecks/node", a.healthCheck, anyone...)
	a.handle("GET /api/aliveness-test/{vhost}", a.aliveness, anyone...)
	// One node leads all queues: there is nothing to move.
	a.handle("POST /api/rebalance/queues", func(*request) (answer, error) { return answer{}, nil }, administrator)
	a.connectionRoutes()
	a.thingRoutes()
	a.definitionRoutes()
	a.mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, notFound("Not Found")) })
}

// connectionRoutes are those of connections, channels and consumers.
func (a *API) connectionRoutes() {
	a.handle("GET /api/connections", a.connections, anyone...)
	a.handle("GET /api/vhosts/{vhost}/connections", a.connections, anyone...)
	a.handle("GET /api/connections/{name}", a.connection, anyone...)
	a.handle("DELETE /api/connections/{name}", a.closeConnection, anyone...)
	a.handle("GET /api/connections/{name}/{part}", a.connectionPart, anyone...)
	a.handle("DELETE /api/connections/username/{of}", a.closeConnectionsOf, anyone...)
	a.handle("GET /api/channels", a.channels, anyone...)
	a.handle("GET /api/vhosts/{vhost}/channels", a.channels, anyone...)
	a.handle("GET /api/channels/{name}", a.channel, anyone...)
	a.handle("GET /api/consumers", a.consumers, anyone...)
	a.handle("GET /api/consumers/{vhost}", a.consumers, anyone...)
}

// thingRoutes are those of queues, exchanges, bindings and messages.
func (a *API) thingRoutes() {
	a.handle("GET /api/queues", a.queues, anyone...)
	a.handle("GET /api/queues/{vhost}", a.queues, anyone...)
	a.handle("GET /api/queues/{vhost}/{name}", a.queue, anyone...)
	a.handle("PUT /api/queues/{vhost}/{name}", a.declareQueue, anyone...)
	a.handle("DELETE /api/queues/{vhost}/{name}", a.deleteQueue, anyone...)
	a.handle("GET /api/queues/{vhost}/{name}/bindings", a.bindingsOfQueue, anyone...)
	a.handle("DELETE /api/queues/{vhost}/{name}/contents", a.purge, anyone...)
	a.handle("POST /api/queues/{vhost}/{name}/get", a.get, anyone...)
	a.handle("GET /api/exchanges", a.exchanges, anyone...)
	a.handle("GET /api/exchanges/{vhost}", a.exchanges, anyone...)
	a.handle("GET /api/exchanges/{vhost}/{name}", a.exchange, anyone...)
	a.handle("PUT /api/exchanges/{vhost}/{name}", a.declareExchange, anyone...)
	a.handle("DELETE /api/exchanges/{vhost}/{name}", a.deleteExchange, anyone...)
	a.handle("GET /api/exchanges/{vhost}/{name}/bindings/source", a.bindingsFrom, anyone...)
	a.handle("GET /api/exchanges/{vhost}/{name}/bindings/destination", a.bindingsTo, anyone...)
	a.handle("POST /api/exchanges/{vhost}/{name}/publish", a.publish, anyone...)
	a.handle("GET /api/bindings", a.bindings, anyone...)
	a.handle("GET /api/bindings/{vhost}", a.bindings, anyone...)
	a.handle("GET /api/bindings/{vhost}/e/{source}/{kind}/{name}", a.bindingsBetween, anyone...)
	a.handle("POST /api/bindings/{vhost}/e/{source}/{kind}/{name}", a.bind, anyone...)
	a.handle("GET /api/bindings/{vhost}/e/{source}/{kind}/{name}/{props}", a.binding, anyone...)
	a.handle("DELETE /api/bindings/{vhost}/e/{source}/{kind}/{name}/{props}", a.unbind, anyone...)
}

// definitionRoutes are those of users, vhosts, what users may do, policies and parameters.
func (a *API) definitionRoutes() {
	a.handle("GET /api/definitions", a.export, administrator)
	a.change("POST /api/definitions", a.load, administrator)
	a.handle("GET /api/definitions/{vhost}", a.export, anyone...)
	a.change("POST /api/definitions/{vhost}", a.load, administrator)
	a.handle("GET /api/vhosts", a.vhosts, anyone...)
	a.handle("GET /api/vhosts/{vhost}", a.vhostNamed, anyone...)
	a.change("PUT /api/vhosts/{vhost}", a.putVHost, administrator)
	a.change("DELETE /api/vhosts/{vhost}", a.undefine(admin.DefVHost), administrator)
	a.handle("GET /api/vhosts/{vhost}/permissions", a.list(admin.DefPermission), administrator)
	a.handle("GET /api/vhosts/{vhost}/topic-permissions", a.list(admin.DefTopicPermission), administrator)
	a.handle("GET /api/users", a.list(admin.DefUser), administrator)
	a.handle("GET /api/users/{name}", a.one(admin.DefUser), administrator)
	a.change("PUT /api/users/{name}", a.putUser, administrator)
	a.change("DELETE /api/users/{name}", a.undefine(admin.DefUser), administrator)
	a.handle("GET /api/users/{name}/permissions", a.list(admin.DefPermission), administrator)
	a.handle("GET /api/users/{name}/topic-permissions", a.list(admin.DefTopicPermission), administrator)
	a.handle("GET /api/permissions", a.list(admin.DefPermission), administrator)
	a.handle("GET /api/permissions/{vhost}/{name}", a.one(admin.DefPermission), administrator)
	a.change("PUT /api/permissions/{vhost}/{name}", a.putPermission, administrator)
	a.change("DELETE /api/permissions/{vhost}/{name}", a.undefine(admin.DefPermission), administrator)
	a.handle("GET /api/topic-permissions", a.list(admin.DefTopicPermission), administrator)
	a.handle("GET /api/topic-permissions/{vhost}/{name}", a.topicPermissionsOf, administrator)
	a.change("PUT /api/topic-permissions/{vhost}/{name}", a.putTopicPermission, administrator)
	a.change("DELETE /api/topic-permissions/{vhost}/{name}", a.deleteTopicPermissions, administrator)
	a.change("DELETE /api/topic-permissions/{vhost}/{name}/{item}", a.undefine(admin.DefTopicPermission), administrator)
	for path, kind := range map[string]admin.DefinitionKind{"policies": admin.DefPolicy, "operator-policies": admin.DefOperatorPolicy} {
		a.handle("GET /api/"+path, a.list(kind), anyone...)
		a.handle("GET /api/"+path+"/{vhost}", a.list(kind), anyone...)
		a.handle("GET /api/"+path+"/{vhost}/{name}", a.one(kind), anyone...)
		a.change("PUT /api/"+path+"/{vhost}/{name}", a.putPolicy(kind), policymaker)
		a.change("DELETE /api/"+path+"/{vhost}/{name}", a.undefine(kind), policymaker)
	}
	a.parameterRoutes()
}

// parameterRoutes are those of parameters and limits.
func (a *API) parameterRoutes() {
	a.handle("GET /api/parameters", a.list(admin.DefParameter), policymaker)
	a.handle("GET /api/parameters/{item}", a.list(admin.DefParameter), policymaker)
	a.handle("GET /api/parameters/{item}/{vhost}", a.list(admin.DefParameter), policymaker)
	a.handle("GET /api/parameters/{item}/{vhost}/{name}", a.one(admin.DefParameter), policymaker)
	a.change("PUT /api/parameters/{item}/{vhost}/{name}", a.putParameter, policymaker)
	a.change("DELETE /api/parameters/{item}/{vhost}/{name}", a.undefine(admin.DefParameter), policymaker)
	a.handle("GET /api/global-parameters", a.list(admin.DefGlobalParameter), policymaker)
	a.handle("GET /api/global-parameters/{name}", a.one(admin.DefGlobalParameter), policymaker)
	a.change("PUT /api/global-parameters/{name}", a.putParameter, administrator)
	a.change("DELETE /api/global-parameters/{name}", a.undefine(admin.DefGlobalParameter), administrator)
	for path, kind := range map[string]admin.DefinitionKind{"vhost-limits": admin.DefVHostLimit, "user-limits": admin.DefUserLimit} {
		a.handle("GET /api/"+path, a.limits(kind), administrator)
		a.handle("GET /api/"+path+"/{of}", a.limits(kind), administrator)
		a.change("PUT /api/"+path+"/{of}/{limit}", a.putLimit(kind), administrator)
		a.change("DELETE /api/"+path+"/{of}/{limit}", a.deleteLimit(kind), administrator)
	}
}
