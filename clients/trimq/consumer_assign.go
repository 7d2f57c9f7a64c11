package trimq

import (
	"context"
	"slices"
)

// assignment decides which partitions a consumer reads. The consumer finds out where to begin with
// each, and reads.
type assignment interface {
	// begin gives the partitions to begin with.
	begin(ctx context.Context, c *Client) ([]*part, error)
	// grown gives what is to be read of a topic that has other partitions than before. The
	// consumer knows which of them it reads already.
	grown(topic string, e *topicEntry) []*part
}

// ownAssignment is a consumer's own: all partitions of some topics, later ones included, or those
// with some numbers.
type ownAssignment struct {
	topics []string
	chosen []uint32 // nil: all
}

func (a *ownAssignment) begin(ctx context.Context, c *Client) ([]*part, error) {
	var parts []*part
	for _, name := range a.topics {
		e, err := c.topics.get(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, n := range a.chosen {
			if int(n) >= len(e.indexes) {
				return nil, &PartitionError{Topic: name, Partition: n, Err: ErrNoPartition}
			}
			parts = append(parts, &part{topic: name, number: n, index: e.indexes[n]})
		}
		parts = append(parts, a.grown(name, e)...)
	}
	return parts, nil
}

func (a *ownAssignment) grown(topic string, e *topicEntry) (parts []*part) {
	if a.chosen != nil || !slices.Contains(a.topics, topic) {
		return nil
	}
	for n, index := range e.indexes {
		parts = append(parts, &part{topic: topic, number: uint32(n), index: index})
	}
	return parts
}
