package kafkaconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// Topics in which a broker of Kafka keeps its own state. Here that is in the broker's log, but clients
// and tools look for the one of groups, and leave it out of what is the user's: so it is there, from the
// first group on, and stays empty.
const (
	offsetsTopic = "__consumer_offsets"
	txnTopic     = "__transaction_state"
)

// internal tells whether a topic is the broker's own: shown as such, and written to by nobody.
func internal(name string) bool { return slices.Contains([]string{offsetsTopic, txnTopic}, name) }

// withOffsetsTopic sees that the topic of groups is there, and calls then. Whether it could be created
// makes no difference to who asks.
func (c *Conn) withOffsetsTopic(k *call, then func()) {
	if c.loop.topics.byName[offsetsTopic] != nil {
		then()
		return
	}
	c.lookUp(k, []string{offsetsTopic}, func(err error) {
		if err != nil || c.loop.topics.byName[offsetsTopic] != nil {
			then()
			return
		}
		spec := admin.CreateTopic{Name: offsetsTopic, Partitions: 1, Configs: []ipc.Header{{Key: topicconf.CleanupPolicy, Value: topicconf.Compact}}}
		c.createTopic(k, spec, func(err error) {
			if err != nil && !is(err, errcode.AlreadyExists) {
				c.settings.Log.Warn("the topic of groups could not be created", "topic", offsetsTopic, "err", err)
			}
			then()
		})
	})
}
