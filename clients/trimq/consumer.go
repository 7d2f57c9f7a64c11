package trimq

import "context"

// Fetch is a run of records of one partition.
type Fetch struct {
	Topic     string
	Partition uint32
	Records   []Record // in order of offset
	Start     uint64   // the oldest offset that is kept
	Visible   uint64   // the end of what could be read when the records were fetched
}

// Release gives the memory of the records back to the client; Key, Value and Headers must
// not be used any longer. It is not required: the garbage collector does it, more slowly.
func (f *Fetch) Release() {}

// Consumer reads topics. One goroutine at a time may use it.
type Consumer struct{ c *Client }

// NewConsumer makes a consumer of all, or some, partitions of topics.
func (c *Client) NewConsumer(ctx context.Context, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	return nil, ErrClosed
}

// Poll gives the next records, of one partition, waiting for them until ctx ends.
func (c *Consumer) Poll(ctx context.Context) (*Fetch, error) { return nil, ErrClosed }

// Position is a partition and the offset of the next record to read there.
type Position struct {
	Topic     string
	Partition uint32
	Offset    uint64
	Metadata  string // committed with it
}

// Commit stores, for the consumer's group, the positions behind all that Poll has given.
func (c *Consumer) Commit(ctx context.Context) error { return ErrClosed }

// CommitAsync is Commit without waiting; done may be nil. Commits asked for while one is on
// its way are sent as one.
func (c *Consumer) CommitAsync(done func(error)) {}

// CommitPositions stores the given positions.
func (c *Consumer) CommitPositions(ctx context.Context, positions ...Position) error {
	return ErrClosed
}

// Committed gives the group's committed positions.
func (c *Consumer) Committed(ctx context.Context) ([]Position, error) { return nil, ErrClosed }

// Positions gives where the next Poll of each partition continues.
func (c *Consumer) Positions() []Position { return nil }

// Seek makes Poll continue elsewhere in a partition.
func (c *Consumer) Seek(ctx context.Context, topic string, partition uint32, from From) error {
	return ErrClosed
}

// Close ends the consumer. It commits nothing.
func (c *Consumer) Close(ctx context.Context) error { return ErrClosed }
