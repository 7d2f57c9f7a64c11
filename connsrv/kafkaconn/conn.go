package kafkaconn

import (
	"slices"

	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// state is how far a connection has got.
type state uint8

const (
	stateNew      state = iota // nothing has come yet
	stateOpen                  // its first request was a sound one
	stateDraining              // nothing new is taken
	stateClosed
)

// Conn is one connection.
type Conn struct {
	settings *Settings
	loop     *Loop
	link     session.Link
	local    netip.AddrPort // at which the client has reached us

	state     state
	told      bool // logicsrv knows the connection: it must hear of its end
	shareWait bool // a batch waits until the connection holds less of the ring

	pending session.Pending
	line    []*call // requests without a response, oldest first
	calls   uint32  // how many there have been
	intake  *intake // the Produce request that is coming in
	slot    shmqueue.Slot
	watches map[uint64]uint64 // indexes with a Wait in logicsrv, and its number

	patterns  map[string]*pattern // of members of modern groups
	shares    map[shareKey]*shareSession
	fetches   []*fetchSession // the one that was used longest ago first
	login     login
	resyncReq uint64     // all that is parked below is told
	recalled  []recalled // answers from before a hand-over that are to be looked at again
}

var (
	_ session.Protocol = (*Conn)(nil)
	_ connview.Room    = (*Conn)(nil)
)

// New makes the room of a connection that has come in at an address.
func New(s *Settings, loop *Loop, link session.Link, local netip.AddrPort) *Conn {
	return &Conn{settings: s, loop: loop, link: link, local: local}
}

// Input takes requests off the front of b.
func (c *Conn) Input(b []byte) (used int, want session.Want) {
	for used < len(b) && c.state != stateClosed {
		n, want := c.step(b[used:])
		used += n
		// The answer to a request may be many times as large: the link shall look at each.
		if c.state != stateClosed && (n == 0 || want.Direct || want.Pause || c.intake == nil) {
			return used, want
		}
	}
	if c.state == stateClosed {
		used = len(b)
	}
	return used, session.Want{}
}

// step goes on with the bytes at the front of b. It returns how many it has used; 0: more bytes,
// or others' answers, are wanted.
func (c *Conn) step(b []byte) (used int, want session.Want) {
	if c.intake != nil {
		return c.takeIn(b)
	}
	if c.login.refusedMS != 0 {
		return len(b), want // nothing is heard any more
	}
	if c.login.raw && c.login.mechanism != "" {
		used, want.Bytes = c.takeRaw(b)
		return used, want
	}
	if len(b) < headFixed {
		return 0, session.Want{Bytes: headFixed}
	}
	h, idBytes := parseHead(b)
	a := apiOf(h.key)
	switch {
	case c.mustLogIn() && !logsIn(kmsg.Key(h.key)):
		c.fatal("a client has not logged in, or not again in time", h)
		return len(b), want
	case h.size < headFixed-sizeBytes+idBytes || idBytes > maxClientID:
		c.fatal("a request is shorter than its header, or its client id too long", h)
		return len(b), want
	case a == nil:
		c.fatal("an API that is not served", h)
		return len(b), want
	case h.size > a.limit:
		c.fatal("a request is too large", h)
		return len(b), want
	case c.state == stateDraining:
		return len(b), want
	case !c.mayBegin(h.key):
		return 0, session.Want{Pause: true}
	case a.key == kmsg.Produce:
		return c.beginProduce(h, idBytes, b)
	case len(b) < sizeBytes+h.size:
		return 0, session.Want{Bytes: sizeBytes + h.size}
	}
	c.request(a, h, idBytes, b[headFixed:sizeBytes+h.size])
	return sizeBytes + h.size, want
}

// request carries a whole request out, all but Produce.
func (c *Conn) request(a *api, h requestHead, idBytes int, rest []byte) {
	c.loop.Lane.Counters.Add(shmqueue.ConnRequests, 1)
	if a.key == kmsg.ApiVersions && !a.serves(h.version) {
		c.established()
		c.unknownVersions(c.begin(h, ""))
		return
	}
	clientID, body := string(rest[:idBytes]), rest[idBytes:]
	req := kmsg.RequestForKey(h.key)
	req.SetVersion(h.version)
	if a.key != kmsg.Fetch { // what a fetch names is copied; of others, which wait, parts would lie in a buffer of everybody's
		body = slices.Clone(body)
	}
	r := reader{b: body, total: len(body)}
	r.tags(req.IsFlexible())
	if !a.serves(h.version) || r.fault != sound || req.ReadFrom(body[r.at:]) != nil {
		c.fatal("a request cannot be read, or is of a version that is not served", h)
		return
	}
	c.established()
	k := c.begin(h, clientID)
	k.req = req
	c.serve(k, req)
}

// serve carries a request out.
func (c *Conn) serve(k *call, req kmsg.Request) {
	if c.forbidden(k, req) {
		return
	}
	switch m := req.(type) {
	case *kmsg.ApiVersionsRequest:
		c.apiVersions(k, m)
	case *kmsg.MetadataRequest:
		c.metadata(k, m)
	case *kmsg.FetchRequest:
		c.fetch(k, m)
	case *kmsg.ListOffsetsRequest:
		c.listOffsets(k, m)
	case *kmsg.ShareFetchRequest:
		c.shareFetch(k, m)
	case *kmsg.ShareAcknowledgeRequest:
		c.shareAcknowledge(k, m)
	case *kmsg.OffsetForLeaderEpochRequest:
		c.offsetForLeaderEpoch(k, m)
	case *kmsg.InitProducerIDRequest:
		c.initProducerID(k, m)
	case *kmsg.SASLHandshakeRequest:
		c.saslHandshake(k, m)
	case *kmsg.SASLAuthenticateRequest:
		c.saslAuthenticate(k, m)
	default:
		c.serveTxn(k, req)
	}
}

// serveTxn carries a request about transactions out.
func (c *Conn) serveTxn(k *call, req kmsg.Request) {
	switch m := req.(type) {
	case *kmsg.AddPartitionsToTxnRequest:
		c.addPartitions(k, m)
	case *kmsg.AddOffsetsToTxnRequest:
		c.addOffsets(k, m)
	case *kmsg.TxnOffsetCommitRequest:
		c.txnOffsetCommit(k, m)
	case *kmsg.EndTxnRequest:
		c.endTxn(k, m)
	case *kmsg.DescribeTransactionsRequest:
		c.describeTransactions(k, m)
	case *kmsg.ListTransactionsRequest:
		c.listTransactions(k, m)
	case *kmsg.DescribeProducersRequest:
		c.describeProducers(k, m)
	default:
		c.serveGroup(k, req)
	}
}

// serveGroup carries a request about a group out.
func (c *Conn) serveGroup(k *call, req kmsg.Request) {
	switch m := req.(type) {
	case *kmsg.FindCoordinatorRequest:
		c.findCoordinator(k, m)
	case *kmsg.JoinGroupRequest:
		c.joinGroup(k, m)
	case *kmsg.SyncGroupRequest:
		c.syncGroup(k, m)
	case *kmsg.HeartbeatRequest:
		c.heartbeat(k, m)
	case *kmsg.LeaveGroupRequest:
		c.leaveGroup(k, m)
	case *kmsg.OffsetCommitRequest:
		c.offsetCommit(k, m)
	case *kmsg.OffsetFetchRequest:
		c.offsetFetch(k, m)
	case *kmsg.OffsetDeleteRequest:
		c.offsetDelete(k, m)
	case *kmsg.ListGroupsRequest:
		c.listGroups(k, m)
	case *kmsg.DescribeGroupsRequest:
		c.describeGroups(k, m)
	case *kmsg.DeleteGroupsRequest:
		c.deleteGroups(k, m)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		c.consumerGroupHeartbeat(k, m)
	case *kmsg.ConsumerGroupDescribeRequest:
		c.consumerGroupDescribe(k, m)
	default:
		c.serveShareGroup(k, req)
	}
}

// serveShareGroup carries a request about a share group out.
func (c *Conn) serveShareGroup(k *call, req kmsg.Request) {
	switch m := req.(type) {
	case *kmsg.ShareGroupHeartbeatRequest:
		c.shareGroupHeartbeat(k, m)
	case *kmsg.ShareGroupDescribeRequest:
		c.shareGroupDescribe(k, m)
	case *kmsg.DescribeShareGroupOffsetsRequest:
		c.describeShareGroupOffsets(k, m)
	case *kmsg.AlterShareGroupOffsetsRequest:
		c.alterShareGroupOffsets(k, m)
	case *kmsg.DeleteShareGroupOffsetsRequest:
		c.deleteShareGroupOffsets(k, m)
	default:
		c.serveAdmin(k, req)
	}
}

// serveAdmin carries a request about topics, their configuration or the cluster out.
func (c *Conn) serveAdmin(k *call, req kmsg.Request) {
	switch m := req.(type) {
	case *kmsg.CreateTopicsRequest:
		c.createTopics(k, m)
	case *kmsg.DeleteTopicsRequest:
		c.deleteTopics(k, m)
	case *kmsg.CreatePartitionsRequest:
		c.createPartitions(k, m)
	case *kmsg.DeleteRecordsRequest:
		c.deleteRecords(k, m)
	case *kmsg.DescribeConfigsRequest:
		c.describeConfigs(k, m)
	case *kmsg.AlterConfigsRequest:
		c.alterConfigs(k, m)
	case *kmsg.IncrementalAlterConfigsRequest:
		c.incrementalAlterConfigs(k, m)
	case *kmsg.DescribeClusterRequest:
		c.describeCluster(k, m)
	case *kmsg.DescribeTopicPartitionsRequest:
		c.describeTopicPartitions(k, m)
	case *kmsg.ListPartitionReassignmentsRequest:
		c.listPartitionReassignments(k, m)
	default:
		if c.serveUnconfigured(k, req) {
			return
		}
		invariant.Fail("API %d is listed and not served", k.key)
	}
}

// established ends the time limit for the first request, or for the log-in where there is one.
func (c *Conn) established() {
	if c.state == stateNew && !c.mustLogIn() {
		c.state = stateOpen
		c.link.Established()
	}
}

// fatal closes the connection, as Kafka does: there is no response that says why.
func (c *Conn) fatal(why string, h requestHead) {
	if c.state == stateClosed {
		return
	}
	c.loop.Lane.Counters.Add(shmqueue.ConnProtocolErrors, 1)
	c.settings.Log.Debug("Kafka connection closed", "conn", c.link.ID(), "remote", c.link.Remote(), "err", why,
		"key", int(h.key), "version", int(h.version), "bytes", h.size)
	c.state = stateClosed
	c.link.Close()
}

// head is the head of a record of this connection.
func (c *Conn) head(req uint64) ipc.Head { return c.loop.Lane.Head(c.link.ID(), req) }

// Shutdown answers what is under way, and closes then. Clients find out by the end of the
// connection; there is no word for it.
func (c *Conn) Shutdown() { c.drain() }

// Ended answers what is under way: nothing more comes. A request of which a part is missing gets
// no answer.
func (c *Conn) Ended() {
	if c.intake != nil {
		c.intake = nil
		c.line = c.line[:len(c.line)-1]
	}
	c.drain()
}

func (c *Conn) drain() {
	switch c.state {
	case stateClosed, stateDraining:
		return
	}
	c.state = stateDraining
	c.Deadline(c.link.NowMS())
}

// closeIfDrained closes a draining connection that has nothing left to answer.
func (c *Conn) closeIfDrained() {
	if c.state == stateDraining && len(c.line) == 0 && c.intake == nil && c.login.refusedMS == 0 {
		c.link.Close()
	}
}

// Deadline ends what has waited for its time: a long poll, or the refusal of a log-in.
func (c *Conn) Deadline(nowMS int64) {
	if len(c.line) > 0 && c.line[0].fetch != nil {
		c.continueFetch(c.line[0])
	}
	if len(c.line) > 0 && c.line[0].share != nil && (c.state == stateDraining || nowMS >= c.line[0].share.deadlineMS) {
		c.endPulls(c.line[0])
	}
	if c.login.refusedMS != 0 && c.state != stateClosed && nowMS >= c.login.refusedMS {
		c.endRefusal()
		return
	}
	c.closeIfDrained()
}

// Drained: nothing optional is sent here.
func (c *Conn) Drained() {}

// Broadcast: what is gone is told to the event loop (Loop.IndexGone) and to the Waits for it.
func (c *Conn) Broadcast(ipc.Type, []byte) {}

// Closed tells logicsrv, if it knows the connection.
func (c *Conn) Closed() {
	c.state = stateClosed
	c.closeShares()
	c.loop.Lane.Forget(c.link)
	if c.told {
		m := ipc.ConnClosed{Head: c.head(0)}
		c.loop.Lane.PutLater(ipc.TypeConnClosed, m.Append(c.loop.Lane.Scratch()))
	}
}
