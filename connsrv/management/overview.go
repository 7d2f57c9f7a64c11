package management

import (
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// rabbitVersion is the version of RabbitMQ whose answers these are like: tools look at it.
const rabbitVersion = "3.13.7"

// exchangeTypes are those that AMQP's clients can have.
func exchangeTypes() []object {
	list := []object{}
	for _, name := range append(admin.TypeNames(), "x-delayed-message") {
		list = append(list, object{"name": name, "description": "exchange of type " + name, "enabled": true})
	}
	return list
}

// overview is the broker at a glance.
func (a *API) overview(r *request) (answer, error) {
	queues, err := a.Broker.Describe(r.Context(), admin.KindQueue)
	if err != nil {
		return answer{}, err
	}
	exchanges, err := a.Broker.Describe(r.Context(), admin.KindExchange)
	if err != nil {
		return answer{}, err
	}
	o := object{
		"management_version": rabbitVersion, "rates_mode": "basic", "exchange_types": exchangeTypes(), "product_version": a.Version, "product_name": "TriMQ",
		"rabbitmq_version": rabbitVersion, "cluster_name": r.from.ClusterName(a.Cluster), "erlang_version": runtime.Version(), "erlang_full_version": runtime.Version(),
		"disable_stats": false, "enable_queue_totals": false, "statistics_db_event_queue": 0, "node": a.Node, "contexts": []object{},
		"sample_retention_policies": object{"global": []int{600}, "basic": []int{600}, "detailed": []int{600}},
		"listeners":                 a.listeners(), "churn_rates": object{},
	}
	a.totals(o, queues, exchanges)
	return answer{body: o}, nil
}

// totals adds what is there in all.
func (a *API) totals(o object, queues, exchanges *admin.Description) {
	var ready, held, settled, published, reached uint64
	consumers := uint32(0)
	for i := range queues.Queues {
		q := &queues.Queues[i]
		ready, held, settled = ready+q.Ready, held+q.Unacked+q.Leased, settled+q.Settled
		consumers += q.Consumers
	}
	for i := range exchanges.Exchanges {
		published += exchanges.Exchanges[i].Published
		reached += exchanges.Exchanges[i].Reached
	}
	stats, total := object{}, object{}
	a.rates.count(stats, "all", "publish", published)
	a.rates.count(stats, "all", "confirm", published)
	a.rates.count(stats, "all", "ack", settled)
	a.rates.count(stats, "all", "deliver_get", settled+held)
	for name, n := range map[string]uint64{"messages": ready + held, "messages_ready": ready, "messages_unacknowledged": held} {
		a.rates.count(total, "all", name, n)
	}
	connections := a.Connections()
	channels := 0
	for i := range connections {
		channels += connections[i].ChannelCount
	}
	o["message_stats"], o["queue_totals"] = stats, total
	o["object_totals"] = object{
		"channels": channels, "connections": len(connections), "consumers": consumers, "exchanges": len(exchanges.Exchanges), "queues": len(queues.Queues),
	}
}

func (a *API) listeners() []object {
	list := []object{}
	for _, l := range a.Listeners() {
		list = append(list, object{"node": a.Node, "protocol": l.Protocol, "ip_address": l.Address, "port": l.Port, "socket_opts": object{}})
	}
	return list
}

func (a *API) nodeObject() object {
	h := a.Host()
	return object{
		"name": a.Node, "type": "disc", "running": true, "uptime": a.Now().Sub(a.Started).Milliseconds(), "os_pid": strconv.Itoa(os.Getpid()),
		"mem_used": h.MemoryBytes, "mem_limit": 0, "mem_alarm": false, "disk_free_alarm": h.Full(), "disk_free": h.FreeBytes, "disk_free_limit": h.ReserveBytes,
		"fd_used": h.OpenFiles, "fd_total": h.MaxFiles, "sockets_used": h.Sockets, "sockets_total": h.MaxFiles, "proc_used": runtime.NumGoroutine(), "proc_total": 0,
		"run_queue": 0, "processors": runtime.NumCPU(), "rates_mode": "basic", "partitions": []string{}, "exchange_types": exchangeTypes(),
		"auth_mechanisms": []object{{"name": "PLAIN", "description": "SASL PLAIN", "enabled": true}, {"name": "AMQPLAIN", "description": "AMQPLAIN", "enabled": true}},
		"applications":    []object{{"name": "rabbit", "description": "TriMQ", "version": a.Version}}, "enabled_plugins": []string{"rabbitmq_management"},
		"contexts": []object{}, "config_files": []string{}, "db_dir": "", "log_files": []string{}, "being_drained": false,
	}
}

func (a *API) nodes(*request) (answer, error) { return answer{body: []object{a.nodeObject()}}, nil }

func (a *API) node(r *request) (answer, error) {
	if r.PathValue("node") != a.Node {
		return answer{}, notFound("Not Found")
	}
	return answer{body: a.nodeObject()}, nil
}

// healthCheck is one of RabbitMQ's checks. Those that ask for a port or a protocol look for a listener,
// all others whether the three tiers are there.
func (a *API) healthCheck(r *request) (answer, error) {
	check, arg, _ := strings.Cut(r.PathValue("check"), "/")
	failed := func(reason string) (answer, error) {
		return answer{status: http.StatusServiceUnavailable, body: object{"status": "failed", "reason": reason}}, nil
	}
	if check == "port-listener" || check == "protocol-listener" {
		for _, l := range a.Listeners() {
			if strconv.Itoa(int(l.Port)) == arg || strings.EqualFold(l.Protocol, arg) || arg == "amqp091" && l.Protocol == "amqp" {
				return answer{body: object{"status": "ok", strings.TrimSuffix(check, "-listener"): arg}}, nil
			}
		}
		return failed("No active listener")
	}
	if ok, why := a.Ready(); !ok {
		return failed(why)
	}
	return answer{body: object{"status": "ok"}}, nil
}

// aliveQueue is the queue of the aliveness test.
const aliveQueue = "aliveness-test"

// aliveWait is how long its message may take.
const aliveWait = 5 * time.Second

// aliveness publishes a message to a queue of its own and gets it back.
func (a *API) aliveness(r *request) (answer, error) {
	q := definitions.Queue{Name: aliveQueue, VHost: r.vhost()}
	cmd, err := q.Command()
	if err != nil {
		return answer{}, err
	}
	made, err := a.Broker.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}
	props, err := readProperties(nil)
	if err != nil {
		return answer{}, err
	}
	head, sealed := a.message(r.vhost(), "", aliveQueue, []byte("test_message"), props)
	if _, err := a.Broker.Publish(r.Context(), head, sealed); err != nil {
		return answer{}, err
	}
	got, err := a.Broker.Get(r.Context(), made.Index, 1, aliveWait, verdicts["ack_requeue_false"])
	if err == nil && len(got) == 0 {
		return answer{status: http.StatusServiceUnavailable, body: object{"status": "failed", "reason": "the message did not come back"}}, nil
	}
	return answer{body: object{"status": "ok"}}, err
}
