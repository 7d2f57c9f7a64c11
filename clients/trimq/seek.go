package trimq

import (
	"context"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/native"
)

// Purge drops all messages that are ready in a queue; it tells how many.
func (c *Client) Purge(ctx context.Context, queue string) (messages uint64, err error) {
	made, err := request(ctx, c, native.CmdPurge, &admin.Purge{Name: queue}, admin.DecodeCreated)
	return made.Messages, err
}

// SeekTo sets indexes of a queue to offsets: all from there on is ready again, all below is done
// with. What consumers hold they go on holding. A queue can go back only within what it keeps (its
// rewind time, or what its topic keeps), and forward to its end.
func (c *Client) SeekTo(ctx context.Context, queue string, to ...SeekTo) error {
	_, err := c.calls.do(ctx, native.CmdSeek, &admin.Seek{Name: queue, To: to})
	return err
}

// Seek is SeekTo for all indexes of a queue. Earliest is all that it keeps.
func (c *Client) Seek(ctx context.Context, queue string, from From) error {
	q, err := c.queueNamed(ctx, queue)
	if err != nil {
		return err
	}
	if rewind := q.Settings.RewindMS; rewind.Given && from.kind == fromEarliest {
		from = AtTime(time.Now().Add(-time.Duration(rewind.N) * time.Millisecond))
	}
	to := make([]SeekTo, len(q.Indexes))
	for i, ix := range q.Indexes {
		to[i].Index = ix.Index
		if to[i].Offset, err = c.resolve(ctx, ix.Index, from); err != nil {
			return err
		}
	}
	return c.SeekTo(ctx, queue, to...)
}

// Rewind sets a queue back to a time: all messages that are not older are ready again.
func (c *Client) Rewind(ctx context.Context, queue string, t time.Time) error {
	return c.Seek(ctx, queue, AtTime(t))
}

// resolve asks the broker for the offset of an index that a From means.
func (c *Client) resolve(ctx context.Context, index uint64, from From) (uint64, error) {
	ask := native.ListOffsets{Index: index}
	switch from.kind {
	case fromEarliest:
		ask.TimeMS = native.TimeEarliest
	case fromLatest:
		ask.TimeMS = native.TimeLatest
	case fromTime:
		ask.TimeMS = max(from.timeMS, 0)
	case fromOffset:
		return from.offset, nil
	default:
		return 0, invalid("From is not set")
	}
	reply, err := request(ctx, c, native.CmdListOffsets, &ask, native.DecodeListOffsetsReply)
	return reply.Offset, err
}
