package management

import (
	"net/http"
	"strings"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Queues and exchanges.

// whole is the name of the path as the broker has it.
func (r *request) whole() string { return admin.InVHost(r.vhost(), r.PathValue("name")) }

// wants tells whether a thing of a vhost belongs in a list: that of the path, or all that the user sees.
func (r *request) wants(vhost string) bool {
	if of := r.vhost(); of != "" {
		return vhost == of
	}
	return r.sees(vhost)
}

// queues lists queues, and topics as those of type stream.
func (a *API) queues(r *request) (answer, error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindQueue)
	if err != nil {
		return answer{}, err
	}
	t, err := a.Broker.Describe(r.Context(), admin.KindTopic)
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for i := range d.Queues {
		if v, _ := admin.SplitVHost(d.Queues[i].Name); r.wants(v) {
			list = append(list, a.queueObject(&d.Queues[i]))
		}
	}
	for i := range t.Topics {
		if v, _ := admin.SplitVHost(t.Topics[i].Name); r.wants(v) {
			list = append(list, a.streamObject(&t.Topics[i]))
		}
	}
	return answer{body: list}, nil
}

// queue shows one, with its consumers.
func (a *API) queue(r *request) (answer, error) {
	q, t, err := a.find(r)
	switch {
	case err != nil:
		return answer{}, err
	case t != nil:
		return answer{body: a.streamObject(t)}, nil
	}
	o := a.queueObject(q)
	consumers := []object{}
	for _, k := range a.consumerObjects() {
		of, _ := k["queue"].(object)
		if of["name"] == r.PathValue("name") && of["vhost"] == r.vhost() {
			consumers = append(consumers, k)
		}
	}
	o["consumer_details"], o["incoming"], o["deliveries"] = consumers, []object{}, []object{}
	return answer{body: o}, nil
}

// find finds the queue or the stream of the path.
func (a *API) find(r *request) (*admin.QueueInfo, *admin.TopicInfo, error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindQueue, r.whole())
	if err != nil || len(d.Queues) > 0 {
		if err != nil {
			return nil, nil, err
		}
		return &d.Queues[0], nil, nil
	}
	d, err = a.Broker.Describe(r.Context(), admin.KindTopic, r.whole())
	if err == nil && len(d.Topics) > 0 {
		return nil, &d.Topics[0], nil
	}
	if err == nil {
		err = notFound("Not Found")
	}
	return nil, nil, err
}

// queueObject is a queue as RabbitMQ's tools know one.
func (a *API) queueObject(q *admin.QueueInfo) object {
	d := definitions.QueueOf(q)
	o := objectOf(d)
	held := q.Unacked + q.Leased
	o["messages_ready"], o["messages_unacknowledged"], o["messages"] = q.Ready, held, q.Ready+held
	key := "queue\x00" + q.Name
	for name, n := range map[string]uint64{"messages": q.Ready + held, "messages_ready": q.Ready, "messages_unacknowledged": held} {
		o[name+"_details"] = object{"rate": a.rates.rate(key+name, n)}
	}
	came := uint64(0)
	for i := range q.Indexes {
		came += q.Indexes[i].Next
	}
	stats := object{}
	a.rates.count(stats, key, "publish", came)
	a.rates.count(stats, key, "ack", q.Settled)
	a.rates.count(stats, key, "deliver_get", q.Settled+held)
	o["message_stats"] = stats
	o["consumers"], o["exclusive"], o["node"], o["state"] = q.Consumers, q.Settings.Exclusive, a.Node, "running"
	o["policy"], o["operator_policy"] = orNull(q.Policy), orNull(q.Operator)
	o["effective_policy_definition"] = effective(q)
	o["memory"], o["message_bytes"], o["consumer_utilisation"], o["consumer_capacity"] = 0, 0, 0, 0
	if d.Type == definitions.TypeName(admin.QuorumQueue) {
		o["leader"], o["members"], o["online"] = a.Node, []string{a.Node}, []string{a.Node}
	}
	return o
}

// effective is what the policies of a queue give it, in their words.
func effective(q *admin.QueueInfo) object {
	o := object{}
	for word, o2 := range map[string][2]admin.Opt{
		"message-ttl": {q.Effective.MessageTTLMS, q.Settings.MessageTTLMS}, "expires": {q.Effective.ExpiresMS, q.Settings.ExpiresMS},
		"max-length": {q.Effective.MaxMessages, q.Settings.MaxMessages}, "max-length-bytes": {q.Effective.MaxBytes, q.Settings.MaxBytes},
		"delivery-limit": {q.Effective.DeliveryLimit, q.Settings.DeliveryLimit},
	} {
		if o2[0] != o2[1] {
			o[word] = o2[0].N
		}
	}
	if q.Effective.DeadLetter && !q.Settings.DeadLetter {
		_, o["dead-letter-exchange"] = admin.SplitVHost(q.Effective.DeadLetterExchange)
	}
	if q.Effective.DeadLetterKey != q.Settings.DeadLetterKey {
		o["dead-letter-routing-key"] = q.Effective.DeadLetterKey
	}
	if q.Effective.Overflow != q.Settings.Overflow {
		o["overflow"] = [...]string{"drop-head", "reject-publish", "reject-publish-dlx"}[q.Effective.Overflow]
	}
	return o
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// streamObject is a topic as a queue of type stream.
func (a *API) streamObject(t *admin.TopicInfo) object {
	o := objectOf(definitions.StreamOf(t))
	messages := uint64(0)
	for i := range t.Partitions {
		messages += t.Partitions[i].Visible
	}
	o["messages"], o["messages_ready"], o["messages_unacknowledged"] = messages, messages, 0
	for _, name := range []string{"messages", "messages_ready", "messages_unacknowledged"} {
		o[name+"_details"] = object{"rate": 0.0}
	}
	o["consumers"], o["exclusive"], o["node"], o["state"] = 0, false, a.Node, "running"
	o["policy"], o["operator_policy"], o["effective_policy_definition"] = nil, nil, object{}
	o["leader"], o["members"], o["online"] = a.Node, []string{a.Node}, []string{a.Node}
	return o
}

// declareQueue makes a queue.
func (a *API) declareQueue(r *request) (answer, error) {
	q := definitions.Queue{Durable: true}
	if err := r.read(&q); err != nil {
		return answer{}, err
	}
	q.Name, q.VHost = r.PathValue("name"), r.vhost()
	cmd, err := q.Command()
	if err == nil {
		err = r.may(access.Configure, q.Name)
	}
	if err != nil {
		return answer{}, err
	}
	return a.create(r, cmd)
}

// create carries a command out that makes something.
func (a *API) create(r *request, cmd definitions.Command) (answer, error) {
	made, err := a.Broker.Do(r.Context(), cmd)
	switch {
	case err != nil:
		return answer{}, err
	case made.Existed:
		return answer{status: http.StatusNoContent}, nil
	}
	return answer{status: http.StatusCreated}, nil
}

// deletion is the command that deletes what the path names.
func (r *request) deletion(cmd admin.Command, what string) definitions.Command {
	q := r.URL.Query()
	return definitions.Command{What: what, Command: cmd, Body: &admin.Delete{
		Name: r.whole(), IfUnused: q.Get("if-unused") == "true", IfEmpty: q.Get("if-empty") == "true",
	}}
}

func (a *API) deleteQueue(r *request) (answer, error) {
	_, t, err := a.find(r)
	if err == nil {
		err = r.may(access.Configure, r.PathValue("name"))
	}
	if err != nil {
		return answer{}, err
	}
	cmd := admin.CmdDeleteQueue
	if t != nil {
		cmd = admin.CmdDeleteTopic
	}
	_, err = a.Broker.Do(r.Context(), r.deletion(cmd, "queue"))
	return answer{}, err
}

func (a *API) purge(r *request) (answer, error) {
	if err := r.may(access.Read, r.PathValue("name")); err != nil {
		return answer{}, err
	}
	_, err := a.Broker.Do(r.Context(), definitions.Command{What: "purge", Command: admin.CmdPurge, Body: &admin.Purge{Name: r.whole()}})
	return answer{}, err
}

// exchanges lists exchanges. The default one is in every vhost.
func (a *API) exchanges(r *request) (answer, error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindExchange)
	if err != nil {
		return answer{}, err
	}
	list := []object{}
	for i := range d.Exchanges {
		x := &d.Exchanges[i]
		v, name := admin.SplitVHost(x.Name)
		if name == "" { // the default one is in every vhost
			for _, vhost := range r.vhostNames() {
				if r.wants(vhost) {
					o := a.exchangeObject(x)
					o["vhost"] = vhost
					list = append(list, o)
				}
			}
		} else if r.wants(v) {
			list = append(list, a.exchangeObject(x))
		}
	}
	return answer{body: list}, nil
}

// vhostNames are all vhosts.
func (r *request) vhostNames() (names []string) {
	for _, d := range r.from.Definitions() {
		if d.Kind == admin.DefVHost {
			names = append(names, d.Name)
		}
	}
	return names
}

// defaultExchange is what paths call the exchange without a name.
const defaultExchange = "amq.default"

// exchangeName is the exchange that a path calls so, as the broker has it.
func exchangeName(vhost, name string) string {
	if name == defaultExchange {
		return ""
	}
	return admin.InVHost(vhost, name)
}

func (a *API) exchange(r *request) (answer, error) {
	x, err := a.exchangeNamed(r, r.PathValue("name"))
	if err != nil {
		return answer{}, err
	}
	o := a.exchangeObject(x)
	o["vhost"], o["incoming"], o["outgoing"] = r.vhost(), []object{}, []object{}
	return answer{body: o}, nil
}

func (a *API) exchangeNamed(r *request, name string) (*admin.ExchangeInfo, error) {
	d, err := a.Broker.Describe(r.Context(), admin.KindExchange, exchangeName(r.vhost(), name))
	switch {
	case err != nil:
		return nil, err
	case len(d.Exchanges) == 0:
		return nil, notFound("Not Found")
	}
	return &d.Exchanges[0], nil
}

func (a *API) exchangeObject(x *admin.ExchangeInfo) object {
	o := objectOf(definitions.ExchangeOf(x))
	stats := object{}
	a.rates.count(stats, "exchange\x00"+x.Name, "publish_in", x.Published)
	a.rates.count(stats, "exchange\x00"+x.Name, "publish_out", x.Reached)
	o["message_stats"] = stats
	o["policy"] = orNull(x.Policy)
	o["user_who_performed_action"] = "rmq-internal"
	return o
}

func (a *API) declareExchange(r *request) (answer, error) {
	x := definitions.Exchange{Durable: true, Type: "direct"}
	if err := r.read(&x); err != nil {
		return answer{}, err
	}
	x.Name, x.VHost = r.PathValue("name"), r.vhost()
	cmd, err := x.Command()
	if err == nil {
		err = r.may(access.Configure, x.Name)
	}
	if err != nil {
		return answer{}, err
	}
	return a.create(r, cmd)
}

func (a *API) deleteExchange(r *request) (answer, error) {
	name := r.PathValue("name")
	if err := r.may(access.Configure, name); err != nil {
		return answer{}, err
	}
	if strings.HasPrefix(name, "amq.") {
		return answer{}, badRequest("ACCESS_REFUSED - operation not permitted on exchange '" + name + "'")
	}
	_, err := a.Broker.Do(r.Context(), r.deletion(admin.CmdDeleteExchange, "exchange"))
	return answer{}, err
}
