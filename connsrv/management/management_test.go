package management

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/ipc"
)

func TestWhoMayComeIn(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		user, path string
		status     int
	}{
		{"", "/api/whoami", 401}, {"stranger", "/api/whoami", 401}, {"nobody", "/api/whoami", 401}, {"guest", "/api/whoami", 200},
		{"ann", "/api/whoami", 200}, {"ann", "/api/users", 401}, {"ann", "/api/queues/%2F", 401}, {"ann", "/api/queues/v", 200},
		{"mon", "/api/queues/%2F", 200}, {"mon", "/api/nodes", 200}, {"ann", "/api/nodes", 401}, {"guest", "/api/nothing", 404}, {"guest", "/api/queues/%2f/", 200},
	} {
		if r.user = c.user; c.status == 404 {
			r.user = "guest"
		}
		r.want(c.status, http.MethodGet, c.path, "")
	}
	r.user = "ann"
	r.want(401, http.MethodPut, "/api/queues/v/theirs", `{}`)
	r.want(201, http.MethodPut, "/api/queues/v/mine", `{}`)
	if len(r.Queues) != 1 || r.Queues[0].Name != "v\x1fmine" {
		t.Errorf("%+v", r.Queues)
	}
	r.want(401, http.MethodPost, "/api/exchanges/v/amq.default/publish", `{"routing_key":"mine","payload":"x"}`)
}

// TestWhoComesBeforeTheUsers: who asks while logicsrv has not told the users yet waits for them, as clients of
// the other protocols do.
func TestWhoComesBeforeTheUsers(t *testing.T) {
	r := newRig(t)
	users := r.api.Access.Load()
	r.api.Access.Store(nil)
	go func() {
		time.Sleep(20 * time.Millisecond)
		r.api.Access.Store(users)
	}()
	if status, body := r.ask(http.MethodGet, "/api/whoami", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	r.api.Access.Store(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r.api.users(ctx) != nil {
		t.Error("who has gone is told users")
	}
}

func TestQueuesAndExchanges(t *testing.T) {
	r := newRig(t)
	r.want(201, http.MethodPut, "/api/queues/%2F/q", `{"durable":"true","arguments":{"x-max-length":10,"x-queue-type":"quorum"}}`)
	r.want(204, http.MethodPut, "/api/queues/%2F/q", `{"durable":true,"arguments":{"x-max-length":10,"x-queue-type":"quorum"}}`)
	r.want(201, http.MethodPut, "/api/queues/%2F/log", `{"arguments":{"x-queue-type":"stream"}}`)
	r.want(400, http.MethodPut, "/api/queues/%2F/bad", `{"arguments":{"x-max-length":"ten"}}`)
	r.want(400, http.MethodPut, "/api/queues/%2F/bad", `{`)
	q := get[map[string]any](r, "/api/queues/%2F/q")
	if q["type"] != "quorum" || q["leader"] != "rabbit@test" || fmt.Sprint(q["arguments"]) != "map[x-max-length:10 x-queue-type:quorum]" {
		t.Errorf("%v", q)
	}
	if all := get[[]map[string]any](r, "/api/queues"); len(all) != 2 || all[1]["type"] != "stream" {
		t.Errorf("%v", all)
	}
	r.want(404, http.MethodGet, "/api/queues/%2F/none", "")
	r.want(204, http.MethodDelete, "/api/queues/%2F/q?if-empty=true", "")
	r.want(404, http.MethodDelete, "/api/queues/%2F/q", "")
	r.want(201, http.MethodPut, "/api/exchanges/%2F/x", `{"type":"topic","auto_delete":"false"}`)
	r.want(400, http.MethodPut, "/api/exchanges/%2F/y", `{"type":"odd"}`)
	if x := get[map[string]any](r, "/api/exchanges/%2F/amq.default"); x["name"] != "" || x["type"] != "direct" {
		t.Errorf("%v", x)
	}
	if all := get[[]map[string]any](r, "/api/exchanges/v"); len(all) != 1 || all[0]["vhost"] != "v" {
		t.Errorf("%v", all)
	}
	r.want(400, http.MethodDelete, "/api/exchanges/%2F/amq.direct", "")
	r.want(204, http.MethodDelete, "/api/exchanges/%2F/x", "")
}

func TestBindings(t *testing.T) {
	r := newRig(t)
	r.want(201, http.MethodPut, "/api/queues/%2F/q", `{}`)
	r.want(201, http.MethodPut, "/api/exchanges/%2F/x", `{"type":"headers"}`)
	made := r.want(201, http.MethodPost, "/api/bindings/%2F/e/x/q/q", `{"routing_key":"a b","arguments":{"format":"pdf","n":3}}`)
	var key struct {
		Key string `json:"properties_key"`
	}
	if err := json.Unmarshal([]byte(made), &key); err != nil || !strings.HasPrefix(key.Key, "a+b~") {
		t.Errorf("%s, %v", made, err)
	}
	if at := r.header.Get("Location"); at != "q/"+url.PathEscape(key.Key) {
		t.Errorf("the binding is said to be at %q", at)
	}
	all := get[[]map[string]any](r, "/api/bindings/%2F")
	if len(all) != 2 || all[0]["source"] != "" || all[1]["properties_key"] != key.Key {
		t.Errorf("%v", all)
	}
	if one := get[map[string]any](r, "/api/bindings/%2F/e/x/q/q/"+key.Key); one["routing_key"] != "a b" {
		t.Errorf("%v", one)
	}
	for path, n := range map[string]int{
		"/api/queues/%2F/q/bindings": 2, "/api/exchanges/%2F/x/bindings/source": 1, "/api/exchanges/%2F/amq.default/bindings/source": 1,
		"/api/exchanges/%2F/x/bindings/destination": 0, "/api/bindings/%2F/e/x/q/q": 1, "/api/bindings/v": 0,
	} {
		if list := get[[]any](r, path); len(list) != n {
			t.Errorf("%s: %v", path, list)
		}
	}
	r.want(404, http.MethodPost, "/api/bindings/%2F/e/none/q/q", `{}`)
	r.want(400, http.MethodDelete, "/api/bindings/%2F/e/amq.default/q/q/q", "")
	r.want(204, http.MethodDelete, "/api/bindings/%2F/e/x/q/q/"+key.Key, "")
	r.want(404, http.MethodGet, "/api/bindings/%2F/e/x/q/q/"+key.Key, "")
}

func TestMessages(t *testing.T) {
	r := newRig(t)
	r.want(201, http.MethodPut, "/api/queues/%2F/q", `{}`)
	const props = `{"delivery_mode":2,"content_type":"text/plain","priority":3,"expiration":"60000","headers":{"n":1,"s":"x"}}`
	if got := r.want(200, http.MethodPost, "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"q","payload":"aGk=","payload_encoding":"base64","properties":`+props+`}`); got != `{"routed":true}` {
		t.Error(got)
	}
	if got := r.want(200, http.MethodPost, "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"nowhere","payload":""}`); got != `{"routed":false}` {
		t.Error(got)
	}
	if p := r.published[0]; p.Priority != 3 || p.TTLMS != 60_000 || !p.Mandatory || len(p.Headers) != 2 {
		t.Errorf("%+v", p)
	}
	got := r.want(200, http.MethodPost, "/api/queues/%2F/q/get", `{"count":"1","ackmode":"reject_requeue_false","encoding":"auto"}`)
	var list []struct {
		Payload    string         `json:"payload"`
		Key        string         `json:"routing_key"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(got), &list); err != nil || len(list) != 1 || list[0].Payload != "hi" || list[0].Key != "q" {
		t.Fatalf("%s, %v", got, err)
	}
	if back, _ := json.Marshal(list[0].Properties); string(back) != `{"content_type":"text/plain","delivery_mode":2,"expiration":"60000","headers":{"n":1,"s":"x"},"priority":3}` {
		t.Errorf("%s", back)
	}
	if got := r.want(200, http.MethodPost, "/api/queues/%2F/q/get", `{"count":5,"requeue":true,"encoding":"base64","truncate":1}`); !strings.Contains(got, `"payload":"aA=="`) {
		t.Error(got)
	}
	if !slices.Equal(r.taken, []ipc.Verdict{ipc.VerdictReject, ipc.VerdictRequeue}) {
		t.Errorf("%v", r.taken)
	}
	for path, body := range map[string]string{
		"/api/queues/%2F/q/get":                  `{"ackmode":"odd"}`,
		"/api/exchanges/%2F/amq.default/publish": `{"routing_key":"q"}`,
		"/api/exchanges/%2F/x/publish":           `{"routing_key":"q","payload":"?","payload_encoding":"base64"}`,
		"/api/exchanges/%2F/y/publish":           `{"payload":"","properties":{"odd":1}}`,
	} {
		r.want(400, http.MethodPost, path, body)
	}
	if got := get[map[string]any](r, "/api/aliveness-test/%2F"); got["status"] != "ok" {
		t.Errorf("%v", got)
	}
}

func TestDefinitions(t *testing.T) {
	r := newRig(t)
	r.want(201, http.MethodPut, "/api/vhosts/shop", `{"description":"d","tags":"a,b"}`)
	r.want(201, http.MethodPut, "/api/users/bob", `{"password":"pw","tags":"monitoring"}`)
	r.want(204, http.MethodPut, "/api/users/bob", `{"tags":["management"]}`)
	r.want(201, http.MethodPut, "/api/permissions/shop/bob", `{"configure":"","write":".*","read":".*"}`)
	r.want(201, http.MethodPut, "/api/topic-permissions/shop/bob", `{"exchange":"amq.topic","write":"a","read":"b"}`)
	r.want(201, http.MethodPut, "/api/policies/shop/p", `{"pattern":"^a","definition":{"max-length":5,"dead-letter-exchange":"d"},"priority":"1","apply-to":"queues"}`)
	r.want(201, http.MethodPut, "/api/operator-policies/shop/p", `{"pattern":"^a","definition":{"max-length":5}}`)
	r.want(201, http.MethodPut, "/api/parameters/shovel/shop/s", `{"value":{"a":1}}`)
	r.want(201, http.MethodPut, "/api/global-parameters/g", `{"value":"x"}`)
	r.want(204, http.MethodPost, "/api/rebalance/queues", "")
	r.want(400, http.MethodPut, "/api/cluster-name", `{}`)
	r.want(204, http.MethodPut, "/api/cluster-name", `{"name":"north"}`)
	r.want(201, http.MethodPut, "/api/topic-permissions/shop/bob", `{"exchange":"x","write":"a","read":"b"}`)
	r.want(204, http.MethodDelete, "/api/topic-permissions/shop/bob/x", "")
	r.want(404, http.MethodDelete, "/api/topic-permissions/shop/bob/x", "")
	r.want(400, http.MethodPut, "/api/users/eve", `{"password_hash":"no-Base64!","tags":""}`)
	r.want(204, http.MethodPut, "/api/vhost-limits/shop/max-queues", `{"value":7}`)
	r.want(204, http.MethodPut, "/api/vhost-limits/shop/max-connections", `{"value":8}`)
	r.want(204, http.MethodPut, "/api/user-limits/bob/max-channels", `{"value":9}`)
	r.want(400, http.MethodPut, "/api/vhost-limits/shop/max-queues", `{"value":"many"}`)
	for path, want := range map[string]string{
		"/api/users/bob":                   `"tags":["management"]`,
		"/api/permissions/shop/bob":        `"configure":""`,
		"/api/users/bob/permissions":       `"vhost":"shop"`,
		"/api/vhosts/shop/permissions":     `"user":"bob"`,
		"/api/topic-permissions/shop/bob":  `"exchange":"amq.topic"`,
		"/api/policies/shop/p":             `"definition":{"dead-letter-exchange":"d","max-length":5}`,
		"/api/operator-policies/shop":      `"max-length":5`,
		"/api/parameters/shovel/shop/s":    `"value":{"a":1}`,
		"/api/global-parameters":           `"value":"x"`,
		"/api/vhost-limits/shop":           `"max-connections":8,"max-queues":7`,
		"/api/user-limits/bob":             `"max-channels":9`,
		"/api/vhosts/shop":                 `"description":"d"`,
		"/api/users/bob/topic-permissions": `"exchange":"amq.topic"`,
		"/api/cluster-name":                `{"name":"north"}`,
		"/api/overview":                    `"cluster_name":"north"`,
		"/api/definitions":                 `{"name":"cluster_name","value":"north"}`,
	} {
		if got := r.want(200, http.MethodGet, path, ""); !strings.Contains(got, want) {
			t.Errorf("%s: %s lacks %s", path, got, want)
		}
	}
	for _, path := range []string{
		"/api/vhost-limits/shop/max-queues", "/api/vhost-limits/shop/max-connections", "/api/policies/shop/p", "/api/parameters/shovel/shop/s",
		"/api/topic-permissions/shop/bob", "/api/permissions/shop/bob", "/api/users/bob", "/api/vhosts/shop",
	} {
		r.want(204, http.MethodDelete, path, "")
	}
	r.want(404, http.MethodGet, "/api/topic-permissions/shop/bob", "")
	r.want(404, http.MethodDelete, "/api/users/bob", "")
	r.want(404, http.MethodGet, "/api/vhosts/shop", "")
}

// What was exported is loaded again, whole or one vhost of it.
func TestExportAndLoad(t *testing.T) {
	r := newRig(t)
	file, err := os.ReadFile("../../protocol/definitions/testdata/generated.json")
	if err != nil {
		t.Fatal(err)
	}
	r.want(204, http.MethodPost, "/api/definitions", string(file))
	whole := r.want(200, http.MethodGet, "/api/definitions", "")
	r.want(204, http.MethodPost, "/api/definitions", whole)
	shop := get[definitions.File](r, "/api/definitions/shop")
	if len(shop.Users) != 0 || len(shop.Queues) != 1 || len(shop.Exchanges) != 6 || len(shop.Policies) != 1 {
		t.Errorf("%v", shop)
	}
	r.want(204, http.MethodPost, "/api/definitions/other", `{"queues":[{"name":"q","vhost":"shop","arguments":{}}]}`)
	if q := r.Queues[len(r.Queues)-1]; q.Name != "other\x1fq" {
		t.Errorf("%+v", q)
	}
	got := r.want(400, http.MethodPost, "/api/definitions", `{"queues":[{"name":"q","vhost":"/","arguments":{"x-max-length":"x"}}],"users":[{"name":"u","hashing_algorithm":"odd"}]}`)
	if !strings.Contains(got, "x-max-length") || !strings.Contains(got, "odd") {
		t.Error(got)
	}
	r.want(400, http.MethodPost, "/api/definitions", `[]`)
}

func TestConnections(t *testing.T) {
	r := newRig(t)
	all := get[[]map[string]any](r, "/api/connections")
	if len(all) != 2 || all[0]["name"] != "127.0.0.1:1 -> 127.0.0.1:5672" || all[0]["user_provided_name"] != "first" || all[1]["protocol"] != "Kafka" {
		t.Fatalf("%v", all)
	}
	if ch := get[[]map[string]any](r, "/api/channels"); len(ch) != 1 || ch[0]["name"] != "127.0.0.1:1 -> 127.0.0.1:5672 (1)" || ch[0]["confirm"] != true {
		t.Errorf("%v", ch)
	}
	if k := get[[]map[string]any](r, "/api/consumers/%2F"); len(k) != 1 || k[0]["consumer_tag"] != "t" || k[0]["consumer_timeout"] != 0.0 {
		t.Errorf("%v", k)
	}
	if k := get[[]map[string]any](r, "/api/consumers/v"); len(k) != 0 {
		t.Errorf("%v", k)
	}
	one := get[map[string]any](r, "/api/channels/127.0.0.1:1%20-%3E%20127.0.0.1:5672%20(1)")
	if one["prefetch_count"] != 10.0 {
		t.Errorf("%v", one)
	}
	r.want(404, http.MethodGet, "/api/connections/none", "")
	r.want(204, http.MethodDelete, "/api/connections/127.0.0.1:1%20-%3E%20127.0.0.1:5672", "")
	if r.closed[256] == "" {
		t.Errorf("%v", r.closed)
	}
	if all := get[[]any](r, "/api/connections/username/guest"); len(all) != 1 {
		t.Errorf("%v", all)
	}
	r.want(204, http.MethodDelete, "/api/connections/username/guest", "")
	r.want(404, http.MethodGet, "/api/connections/first/neither", "")
	if all := get[[]any](r, "/api/connections/first/channels"); len(all) != 1 || r.closed[256] != "Closed via management plugin" || len(r.closed) != 1 {
		t.Errorf("%v; closed %v", all, r.closed)
	}
	r.user = "ann"
	if all := get[[]any](r, "/api/connections"); len(all) != 0 {
		t.Errorf("ann sees %v", all)
	}
}

func TestPages(t *testing.T) {
	r := newRig(t)
	for i := range 25 {
		r.Queues = append(r.Queues, admin.QueueInfo{Name: fmt.Sprintf("q%02d", i), Ready: uint64(100 - i)})
	}
	page := get[map[string]any](r, "/api/queues?page=2&page_size=10&columns=name,messages")
	items, _ := page["items"].([]any)
	if page["page_count"] != 3.0 || page["total_count"] != 25.0 || len(items) != 10 || fmt.Sprint(items[0]) != "map[messages:90 name:q10]" {
		t.Errorf("%v", page)
	}
	sorted := get[[]map[string]any](r, "/api/queues?sort=messages&columns=name")
	if sorted[0]["name"] != "q24" {
		t.Errorf("%v", sorted[0])
	}
	if sorted = get[[]map[string]any](r, "/api/queues?sort=messages&sort_reverse=true&columns=name"); sorted[0]["name"] != "q00" {
		t.Errorf("%v", sorted[0])
	}
	if page = get[map[string]any](r, "/api/queues?page=1&name=Q1"); page["filtered_count"] != 10.0 {
		t.Errorf("%v", page)
	}
	if page = get[map[string]any](r, "/api/queues?page=1&name=^q0[12]$&use_regex=true"); page["filtered_count"] != 2.0 {
		t.Errorf("%v", page)
	}
	for _, query := range []string{"page=0", "page=9", "page=x", "page=1&page_size=501", "page=1&name=(&use_regex=true"} {
		r.want(400, http.MethodGet, "/api/queues?"+query, "")
	}
}

// Rates are told between two looks that are some seconds apart.
func TestRates(t *testing.T) {
	r := newRig(t)
	r.Queues = []admin.QueueInfo{{Name: "q", Settled: 100}}
	rate := func() any {
		q := get[map[string]any](r, "/api/queues/%2F/q")
		stats, _ := q["message_stats"].(map[string]any)
		details, _ := stats["ack_details"].(map[string]any)
		return details["rate"]
	}
	if got := rate(); got != 0.0 {
		t.Errorf("at first %v", got)
	}
	r.now = r.now.Add(10 * time.Second)
	if r.Queues[0].Settled = 600; rate() != 50.0 {
		t.Errorf("then %v", rate())
	}
	if r.Queues[0].Settled = 1; rate() != 0.0 {
		t.Error("a counter that began anew has a rate")
	}
}

func TestOverviewAndHealth(t *testing.T) {
	r := newRig(t)
	o := get[map[string]any](r, "/api/overview")
	if o["node"] != "rabbit@test" || o["rabbitmq_version"] != rabbitVersion || fmt.Sprint(o["object_totals"]) != "map[channels:1 connections:2 consumers:0 exchanges:1 queues:0]" {
		t.Errorf("%v", o)
	}
	if n := get[map[string]any](r, "/api/nodes/rabbit@test"); n["running"] != true {
		t.Errorf("%v", n)
	}
	r.want(404, http.MethodGet, "/api/nodes/other", "")
	for _, check := range []string{"alarms", "local-alarms", "virtual-hosts", "port-listener/5672", "protocol-listener/amqp091"} {
		r.want(200, http.MethodGet, "/api/health/checks/"+check, "")
	}
	r.want(503, http.MethodGet, "/api/health/checks/port-listener/1", "")
	r.err = fmt.Errorf("%w: gone", errUnavailable)
	r.want(503, http.MethodGet, "/api/health/checks/alarms", "")
	r.want(503, http.MethodGet, "/api/overview", "")
	r.err = errors.New("odd")
	r.want(400, http.MethodGet, "/api/queues", "")
}
