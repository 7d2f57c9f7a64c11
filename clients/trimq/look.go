package trimq

import (
	"context"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/native"
)

// TimeAt gives the time of the first message at or behind an offset of an index: of a partition, or
// of a queue's (QueueInfo.Indexes), where the message is not taken from anybody. ok is false where
// there is none that can be read.
func (c *Client) TimeAt(ctx context.Context, index, offset uint64) (t time.Time, ok bool, err error) {
	ask := native.Fetch{Index: index, Offset: offset, MaxBytes: 1} // the broker gives a whole batch
	a, err := c.calls.do(ctx, native.CmdFetch, &ask)
	if err != nil {
		return t, false, err
	}
	_, batches, err := native.DecodeFetchReply(a.body)
	if err != nil {
		return t, false, protocolError("FETCH: %w", err)
	}
	var r batch.Reader
	var rec batch.Record
	for len(batches) > 0 {
		var first []byte
		if first, batches, err = batch.Split(batches); err == nil {
			err = r.Reset(first)
		}
		if err != nil {
			return t, false, corrupt(err)
		}
		for r.Next(&rec) {
			if rec.Offset >= offset {
				return time.UnixMilli(rec.TimeMS), true, nil
			}
		}
		if r.Err() != nil {
			return t, false, corrupt(r.Err())
		}
	}
	return t, false, nil
}
