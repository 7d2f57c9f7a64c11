package trimq

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// topicTable remembers which partitions topics have. A topic is asked for once, and then
// every refreshEvery, to learn of partitions that were added.
type topicTable struct {
	c      *Client
	cancel context.CancelFunc
	done   chan struct{} // closed when the refreshing goroutine has ended

	mu       sync.Mutex
	known    map[string]*topicEntry
	watchers map[topicWatcher]struct{}
}

// topicEntry is what is known of a topic. It is never changed, only replaced.
type topicEntry struct {
	uuid    [16]byte
	indexes []uint64 // by partition
	asked   time.Time
}

// topicWatcher is told of topics whose partitions are no longer the ones that were known.
type topicWatcher interface {
	topicChanged(name string, e *topicEntry)
}

func startTopicTable(c *Client) *topicTable {
	ctx, cancel := context.WithCancel(context.Background())
	t := &topicTable{
		c: c, cancel: cancel, done: make(chan struct{}),
		known: map[string]*topicEntry{}, watchers: map[topicWatcher]struct{}{},
	}
	go t.run(ctx)
	return t
}

// get describes a topic, from memory where it is known.
func (t *topicTable) get(ctx context.Context, name string) (*topicEntry, error) {
	t.mu.Lock()
	e := t.known[name]
	t.mu.Unlock()
	if e != nil {
		return e, nil
	}
	return t.ask(ctx, name)
}

func (t *topicTable) ask(ctx context.Context, name string) (*topicEntry, error) {
	asked := time.Now()
	found, err := t.c.Topics(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].Name != name || len(found[0].Partitions) == 0 {
		return nil, protocolError("DESCRIBE of topic %q tells of %d topics", name, len(found))
	}
	e := &topicEntry{uuid: found[0].UUID, asked: asked}
	for _, p := range found[0].Partitions {
		e.indexes = append(e.indexes, p.Index)
	}
	t.mu.Lock()
	t.known[name] = e
	t.mu.Unlock()
	return e, nil
}

// forget makes the next get ask.
func (t *topicTable) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, name)
}

func (t *topicTable) watch(w topicWatcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[w] = struct{}{}
}

func (t *topicTable) unwatch(w topicWatcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}

func (t *topicTable) run(ctx context.Context) {
	defer close(t.done)
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.refresh(ctx)
		}
	}
}

// refresh asks for all known topics again and tells the watchers what has changed.
func (t *topicTable) refresh(ctx context.Context) {
	t.mu.Lock()
	old := make(map[string]*topicEntry, len(t.known))
	for name, e := range t.known {
		old[name] = e
	}
	t.mu.Unlock()
	for name, before := range old {
		now, err := t.ask(ctx, name)
		if errors.Is(err, ErrNotFound) {
			t.forget(name)
		}
		if err != nil || slices.Equal(before.indexes, now.indexes) {
			continue
		}
		t.mu.Lock()
		watchers := make([]topicWatcher, 0, len(t.watchers))
		for w := range t.watchers {
			watchers = append(watchers, w)
		}
		t.mu.Unlock()
		for _, w := range watchers {
			w.topicChanged(name, now)
		}
	}
}

func (t *topicTable) close() {
	t.cancel()
	<-t.done
}
