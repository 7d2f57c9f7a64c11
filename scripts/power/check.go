package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// maxWrong violations of a stream are told.
const maxWrong = 5

// judgePrefix: what a partition holds is a prefix of what was sent to it, and at level disk it has all
// that was acknowledged.
func judgePrefix(s *stream, found []string) (wrong []string) {
	for i, v := range found {
		if i >= len(s.sent) || v != s.sent[i] {
			wrong = append(wrong, fmt.Sprintf("%s offset %d: %.40q is not what was sent as number %d", s, i, v, i))
		}
	}
	for i, acked := range s.acked {
		if acked && i >= len(found) && s.level == trimq.LevelDisk {
			wrong = append(wrong, fmt.Sprintf("LOST: %s: message %d was acknowledged at level disk; %d messages are there", s, i, len(found)))
		}
	}
	return wrong[:min(len(wrong), maxWrong)]
}

// judgeQueue: a queue delivers what was acknowledged, unless its settlement was asked for, and each message
// once; and nothing whose settlement was confirmed.
func judgeQueue(s *stream, settled map[string]settlement, found []string) (wrong []string) {
	known, seen := map[string]bool{}, map[string]bool{}
	for _, v := range s.sent {
		known[v] = true
	}
	for _, v := range found {
		switch {
		case !known[v]:
			wrong = append(wrong, fmt.Sprintf("%s: nobody sent %.40q", s, v))
		case settled[v] == confirmed:
			wrong = append(wrong, fmt.Sprintf("%s: %.40q came again after its settlement was confirmed", s, v))
		case seen[v]:
			wrong = append(wrong, fmt.Sprintf("DOUBLE: %s: %.40q", s, v))
		}
		seen[v] = true
	}
	for i, v := range s.sent {
		if s.acked[i] && !seen[v] && settled[v] == "" {
			wrong = append(wrong, fmt.Sprintf("LOST: %s: message %d was acknowledged at level disk", s, i))
		}
	}
	return wrong[:min(len(wrong), maxWrong)]
}

// tally counts, for the line about a cycle.
type tally struct{ disk, page, pageLost, left int }

func (t tally) String() string {
	return fmt.Sprintf("acknowledged at disk %5d, at page %5d of which %5d are gone; left in the queue %4d", t.disk, t.page, t.pageLost, t.left)
}

// check reads everything and judges it.
func (l *load) check(ctx context.Context, addr string) (t tally, wrong []string, err error) {
	client, err := trimq.Dial(ctx, []string{addr}, trimq.WithName("check"))
	if err != nil {
		return t, nil, err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	for _, s := range l.streams {
		var found []string
		if s.topic == "" {
			if found, err = drain(ctx, client, l.queue); err == nil {
				wrong = append(wrong, judgeQueue(s, l.settled, found)...)
				t.left = len(found)
			}
		} else if found, err = read(ctx, client, s); err == nil {
			wrong = append(wrong, judgePrefix(s, found)...)
		}
		if err != nil {
			return t, wrong, fmt.Errorf("%s: %w", s, err)
		}
		t.count(s, len(found))
	}
	return t, wrong, nil
}

func (t *tally) count(s *stream, found int) {
	for i, acked := range s.acked {
		switch {
		case acked && s.level == trimq.LevelDisk:
			t.disk++
		case acked && i >= found:
			t.pageLost++
			fallthrough
		case acked:
			t.page++
		}
	}
}

// read gives all that a partition holds.
func read(ctx context.Context, client *trimq.Client, s *stream) (found []string, err error) {
	k, err := client.NewConsumer(ctx, []string{s.topic}, trimq.WithPartitions(s.partition))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close(ctx)) }()
	for {
		short, cancel := context.WithTimeout(ctx, time.Second)
		f, err := k.Poll(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return found, nil // it is empty, or was read to its end and nothing follows
		}
		if err != nil {
			return found, err
		}
		end := uint64(0)
		for _, r := range f.Records {
			if found = append(found, string(r.Value)); r.Offset != uint64(len(found)-1) {
				return found, fmt.Errorf("offset %d at place %d", r.Offset, len(found)-1)
			}
			end = r.Offset + 1
		}
		visible := f.Visible
		f.Release()
		if end == visible {
			return found, nil
		}
	}
}

// drain takes all that is ready in a queue. What it has acknowledged is waited for once, at the end: with a sync
// for each delivery a busy machine would need minutes.
func drain(ctx context.Context, client *trimq.Client, queue string) (found []string, err error) {
	k, err := client.ConsumeQueue(ctx, queue)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.Close(ctx)) }()
	for {
		short, cancel := context.WithTimeout(ctx, time.Second)
		d, err := k.Receive(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return found, k.Flush(ctx)
		}
		if err != nil {
			return found, fmt.Errorf("after %d messages: %w", len(found), err)
		}
		for _, m := range d.Messages {
			found = append(found, string(m.Value))
		}
		if err := d.Ack(); err != nil {
			return found, fmt.Errorf("after %d messages: %w", len(found), err)
		}
		d.Release()
	}
}
