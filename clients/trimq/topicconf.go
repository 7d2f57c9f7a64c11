package trimq

import (
	"context"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/protocol/topicconf"
)

// ConfigChange is a change of one key of a topic's configuration.
type ConfigChange = topicconf.Change

// SetConfig gives a key a value. docs/kafka.md lists the keys.
func SetConfig(key, value string) ConfigChange {
	return ConfigChange{Op: topicconf.Set, Key: key, Value: value}
}

// UnsetConfig gives a key its default again.
func UnsetConfig(key string) ConfigChange { return ConfigChange{Op: topicconf.Unset, Key: key} }

// AlterTopic changes the configuration of a topic: all of the changes, or none.
func (c *Client) AlterTopic(ctx context.Context, topic string, changes ...ConfigChange) error {
	_, err := c.calls.do(ctx, native.CmdAlterTopic, &admin.AlterTopic{Name: topic, Changes: changes})
	return err
}

// DeleteRecords lets partitions of topics begin at later offsets: what lies below is gone, for all
// who read. An offset lies at the partition's visible end at most.
func (c *Client) DeleteRecords(ctx context.Context, to ...SeekTo) error {
	_, err := c.calls.do(ctx, native.CmdDeleteRecords, &admin.DeleteRecords{To: to})
	return err
}
