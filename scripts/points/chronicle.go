package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/ipc"
)

// chronicle is a topic that lives as long as the walk, and is read from its start after each step.
type chronicle struct {
	client *trimq.Client
	p      *trimq.Producer
	n      int
	table  map[string]string // what was written last under each key of the compacted topic
}

const (
	chronicleTopic = "chronicle"
	floodTopic     = "flood"
	tableTopic     = "table" // which is compacted all the time
	tableKeys      = 8
)

func openChronicle(ctx context.Context, addr string) (*chronicle, error) {
	client, err := trimq.Dial(ctx, []string{addr}, trimq.WithName(chronicleTopic), trimq.WithBackoff(5*time.Millisecond, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{chronicleTopic, floodTopic} {
		if _, err := client.CreateTopic(ctx, trimq.TopicSpec{Name: name, Partitions: 1}); err != nil {
			return nil, err
		}
	}
	_, err = client.CreateTopic(ctx, trimq.TopicSpec{Name: tableTopic, Partitions: 1, Configs: []ipc.Header{
		{Key: "cleanup.policy", Value: "compact"}, {Key: "delete.retention.ms", Value: "500"}, {Key: "min.cleanable.dirty.ratio", Value: "0"}, {Key: "segment.ms", Value: "1"},
	}})
	if err != nil {
		return nil, err
	}
	p, err := client.NewProducer(trimq.WithRetryFor(patience))
	return &chronicle{client: client, p: p, table: map[string]string{}}, err
}

// write adds a line, and reads all of them; and it fills in the table, and reads that.
func (c *chronicle) write(ctx context.Context) error {
	if err := c.fillIn(ctx); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	if _, err := c.p.ProduceSync(ctx, &trimq.Message{Topic: chronicleTopic, Value: fmt.Append(nil, c.n)}); err != nil {
		return fmt.Errorf("chronicle: %w", err)
	}
	c.n++
	k, err := c.client.NewConsumer(ctx, []string{chronicleTopic})
	if err != nil {
		return err
	}
	for at := 0; at < c.n && err == nil; {
		var f *trimq.Fetch
		if f, err = k.Poll(ctx); err != nil {
			err = fmt.Errorf("chronicle, at line %d of %d: %w", at, c.n, err)
			break
		}
		for _, r := range f.Records {
			if want := fmt.Sprint(at); string(r.Value) != want || r.Offset != uint64(at) {
				err = fmt.Errorf("chronicle: offset %d holds %q, want %s", r.Offset, r.Value, want)
			}
			at++
		}
		f.Release()
	}
	return errors.Join(err, k.Close(ctx))
}

// fillIn writes something else under each key of the table, deletes one, and looks whether what was written last is there.
func (c *chronicle) fillIn(ctx context.Context) error {
	last := uint64(0)
	for i := range tableKeys {
		m := &trimq.Message{Topic: tableTopic, Key: fmt.Append(nil, "key ", i), Value: fmt.Append(nil, c.n)}
		if c.table[string(m.Key)] = string(m.Value); c.n%tableKeys == i {
			m.Value = nil
			delete(c.table, string(m.Key))
		}
		r, err := c.p.ProduceSync(ctx, m)
		if err != nil {
			return err
		}
		last = max(last, r.Offset)
	}
	k, err := c.client.NewConsumer(ctx, []string{tableTopic})
	if err != nil {
		return err
	}
	found := map[string]string{}
	for end := false; !end && err == nil; {
		var f *trimq.Fetch
		if f, err = k.Poll(ctx); err != nil {
			break
		}
		for _, r := range f.Records {
			if found[string(r.Key)] = string(r.Value); r.Value == nil {
				delete(found, string(r.Key))
			}
			end = r.Offset >= last
		}
		f.Release()
	}
	if err == nil && !maps.Equal(found, c.table) {
		err = fmt.Errorf("it holds %v, was filled in with %v", found, c.table)
	}
	return errors.Join(err, k.Close(ctx))
}

// flood sends more at once than the rings of smallSettings hold, and waits until all is acknowledged.
// Of each connection a ring takes a share only, so it takes many.
func (c *chronicle) flood() error {
	const connections = 12
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = c.pour() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	return nil
}

// pour is what one connection adds to a flood.
func (c *chronicle) pour() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := c.client.NewProducer(trimq.WithRetryFor(patience), trimq.WithBatchBytes(4<<10))
	if err != nil {
		return err
	}
	value, failed := make([]byte, 1000), error(nil)
	for range 50 {
		err = errors.Join(err, p.Produce(ctx, &trimq.Message{Topic: floodTopic, Value: value}, func(_ trimq.Result, err error) {
			failed = errors.Join(failed, err)
		}))
	}
	return errors.Join(err, p.Close(ctx), failed) // Close comes behind all callbacks
}
