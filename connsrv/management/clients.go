package management

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/trimq/trimq/connsrv/connview"
)

// Connections, channels, consumers.

// connectionName is what RabbitMQ calls a connection: from where, to where.
func (a *API) connectionName(c *connview.Conn) string {
	for _, l := range a.Listeners() {
		if l.Protocol == listenerOf(c.Protocol) {
			return fmt.Sprintf("%s -> %s", c.Peer, net.JoinHostPort(l.Address, strconv.Itoa(int(l.Port))))
		}
	}
	return c.Peer + " -> " + a.Node
}

// listenerOf is the listener's word for a protocol.
func listenerOf(protocol string) string {
	switch protocol {
	case "AMQP 0-9-1":
		return "amqp"
	case "Kafka":
		return "kafka"
	}
	return "trimq"
}

// peer is a connection's other end.
func peer(c *connview.Conn) (host string, port int) {
	host, text, err := net.SplitHostPort(c.Peer)
	if err != nil {
		return c.Peer, 0
	}
	port, _ = strconv.Atoi(text)
	return host, port
}

// visible are the connections that the user sees, in order of their numbers.
func (a *API) visible(r *request) []connview.Conn {
	all := a.Connections()
	slices.SortFunc(all, func(x, y connview.Conn) int { return cmp.Compare(x.ID, y.ID) })
	return slices.DeleteFunc(all, func(c connview.Conn) bool {
		if of := r.vhost(); of != "" && c.VHost != of {
			return true
		}
		return c.User != r.user.Name && !r.user.Has(administrator, monitoring)
	})
}

func (a *API) connectionObject(c *connview.Conn) object {
	host, port := peer(c)
	name := a.connectionName(c)
	o := object{
		"name": name, "node": a.Node, "type": "network", "protocol": c.Protocol, "peer_host": host, "peer_port": port, "user": c.User, "vhost": c.VHost,
		"user_who_performed_action": c.User, "auth_mechanism": c.Mechanism, "client_properties": c.Client, "state": cmp.Or(c.State, "running"), "channel_max": c.ChannelMax,
		"frame_max": c.FrameMax, "timeout": c.HeartbeatS, "connected_at": c.ConnectedMS, "channels": c.ChannelCount, "ssl": false, "ssl_protocol": nil, "ssl_cipher": nil,
		"ssl_hash": nil, "ssl_key_exchange": nil, "peer_cert_subject": nil, "peer_cert_issuer": nil, "peer_cert_validity": nil, "trimq_id": c.ID,
	}
	if c.Client == nil {
		o["client_properties"] = object{}
	}
	if given, ok := c.Client["connection_name"].(string); ok {
		o["user_provided_name"] = given
	}
	for _, l := range a.Listeners() {
		if l.Protocol == listenerOf(c.Protocol) {
			o["host"], o["port"] = l.Address, l.Port
		}
	}
	return o
}

func (a *API) connections(r *request) (answer, error) {
	list := []object{}
	for _, c := range a.visible(r) {
		list = append(list, a.connectionObject(&c))
	}
	return answer{body: list}, nil
}

// connectionNamed finds the connection of the path.
func (a *API) connectionNamed(r *request) (*connview.Conn, error) {
	for _, c := range a.visible(r) {
		if name := r.PathValue("name"); a.connectionName(&c) == name || c.Client["connection_name"] == name {
			return &c, nil
		}
	}
	return nil, notFound("Not Found")
}

func (a *API) connection(r *request) (answer, error) {
	c, err := a.connectionNamed(r)
	if err != nil {
		return answer{}, err
	}
	return answer{body: a.connectionObject(c)}, nil
}

// closedHere is RabbitMQ's word for why a connection was closed, where nobody has given another.
const closedHere = "Closed via management plugin"

// closeConnection ends a connection; the header X-Reason says why.
func (a *API) closeConnection(r *request) (answer, error) {
	c, err := a.connectionNamed(r)
	if err != nil {
		return answer{}, err
	}
	if !a.Close(c.ID, cmp.Or(r.Header.Get("X-Reason"), closedHere)) {
		return answer{}, notFound("Not Found")
	}
	return answer{}, nil
}

// connectionPart lists the channels of a connection, or the connections of a user.
func (a *API) connectionPart(r *request) (answer, error) {
	switch {
	case r.PathValue("name") == "username":
		list := []object{}
		for _, c := range a.ofUser(r, r.PathValue("part")) {
			list = append(list, a.connectionObject(&c))
		}
		return answer{body: list}, nil
	case r.PathValue("part") == "channels":
		return a.channelsOf(r)
	}
	return answer{}, notFound("Not Found")
}

// ofUser are the connections of a user, as far as they are seen.
func (a *API) ofUser(r *request, name string) []connview.Conn {
	return slices.DeleteFunc(a.visible(r), func(c connview.Conn) bool { return c.User != name })
}

// closeConnectionsOf ends all connections of a user: those that are seen.
func (a *API) closeConnectionsOf(r *request) (answer, error) {
	for _, c := range a.ofUser(r, r.PathValue("of")) {
		a.Close(c.ID, cmp.Or(r.Header.Get("X-Reason"), closedHere)) // one that has gone by itself is closed, too
	}
	return answer{}, nil
}

func (a *API) channelObject(c *connview.Conn, ch *connview.Channel) object {
	host, port := peer(c)
	name := a.connectionName(c)
	return object{
		"name": fmt.Sprintf("%s (%d)", name, ch.Number), "number": ch.Number, "node": a.Node, "user": c.User, "vhost": c.VHost, "state": "running",
		"user_who_performed_action": c.User, "connection_details": object{"name": name, "peer_host": host, "peer_port": port},
		"consumer_count": len(ch.Consumers), "prefetch_count": ch.Prefetch, "global_prefetch_count": ch.SharedPrefetch,
		"confirm": ch.Confirms, "transactional": ch.Transactional, "messages_unacknowledged": ch.Unacked, "messages_unconfirmed": ch.Unconfirmed,
		"messages_uncommitted": 0, "acks_uncommitted": 0, "message_stats": object{},
	}
}

// channelList is all channels of some connections.
func (a *API) channelList(conns []connview.Conn) []object {
	list := []object{}
	for i := range conns {
		for j := range conns[i].Channels {
			list = append(list, a.channelObject(&conns[i], &conns[i].Channels[j]))
		}
	}
	return list
}

func (a *API) channels(r *request) (answer, error) {
	return answer{body: a.channelList(a.visible(r))}, nil
}

func (a *API) channelsOf(r *request) (answer, error) {
	c, err := a.connectionNamed(r)
	if err != nil {
		return answer{}, err
	}
	return answer{body: a.channelList([]connview.Conn{*c})}, nil
}

func (a *API) channel(r *request) (answer, error) {
	for _, c := range a.visible(r) {
		for i := range c.Channels {
			if o := a.channelObject(&c, &c.Channels[i]); o["name"] == r.PathValue("name") {
				o["consumer_details"] = a.consumersOf(&c, &c.Channels[i])
				return answer{body: o}, nil
			}
		}
	}
	return answer{}, notFound("Not Found")
}

// consumersOf are the consumers of a channel.
func (a *API) consumersOf(c *connview.Conn, ch *connview.Channel) []object {
	host, port := peer(c)
	name := a.connectionName(c)
	list := []object{}
	for _, k := range ch.Consumers {
		args := k.Arguments
		if args == nil {
			args = object{}
		}
		list = append(list, object{
			"consumer_tag": k.Tag, "queue": object{"name": k.Queue, "vhost": c.VHost}, "ack_required": k.AckNeeded, "exclusive": k.Exclusive,
			"prefetch_count": k.Prefetch, "arguments": args, "active": true, "activity_status": "up",
			"consumer_timeout": 0, // what is held is not taken back for its age
			"channel_details": object{
				"name": fmt.Sprintf("%s (%d)", name, ch.Number), "number": ch.Number, "connection_name": name, "node": a.Node,
				"peer_host": host, "peer_port": port, "user": c.User,
			},
		})
	}
	return list
}

// consumerObjects are all consumers of AMQP's clients.
func (a *API) consumerObjects() []object {
	list := []object{}
	for _, c := range a.Connections() {
		for i := range c.Channels {
			list = append(list, a.consumersOf(&c, &c.Channels[i])...)
		}
	}
	return list
}

func (a *API) consumers(r *request) (answer, error) {
	list := slices.DeleteFunc(a.consumerObjects(), func(o object) bool {
		of, _ := o["queue"].(object)
		vhost, _ := of["vhost"].(string)
		return !r.wants(vhost)
	})
	return answer{body: list}, nil
}
