package tour

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// patience bounds how long a message is sent again; no tour that ends well comes near it.
const patience = 30 * time.Second

// tour is one under way.
type tour struct {
	client *trimq.Client
	name   string

	mu    sync.Mutex
	wrong []string
}

// stop is a part of a tour.
type stop struct {
	name string
	do   func(t *tour, ctx context.Context, name string) error
}

// stops are visited at the same time. What each makes is called "TOUR.STOP", with more behind it.
var stops = []stop{
	{"disk", onDisk}, {"page", inPageCache}, {"work", work}, {"fan", fan}, {"later", later}, {"deal", deal}, {"lease", lease}, {"group", group}, {"view", view},
}

// Go takes a tour of the broker at addr. Its error says what was not as promised, or not done at all.
func Go(ctx context.Context, addr, name string, log *slog.Logger) (err error) {
	client, err := trimq.Dial(ctx, []string{addr}, trimq.WithName(name), trimq.WithLogger(log), trimq.WithBackoff(5*time.Millisecond, 200*time.Millisecond))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(ctx)) }()
	t := &tour{client: client, name: name}
	errs := make([]error, len(stops))
	var all sync.WaitGroup
	for i, s := range stops {
		all.Go(func() {
			if e := s.do(t, ctx, name+"."+s.name); e != nil {
				errs[i] = fmt.Errorf("%s.%s: %w", name, s.name, e)
			}
		})
	}
	all.Wait()
	for _, w := range t.wrong {
		errs = append(errs, errors.New(w))
	}
	return errors.Join(errs...)
}

// wrongs notes what a judge has found.
func (t *tour) wrongs(list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = append(t.wrong, list...)
}

// letter is a message for the queue of that name.
func letter(queue, value string) trimq.Message {
	return trimq.Message{RoutingKey: queue, Value: []byte(value), Mandatory: true}
}

// send produces messages, a few at a time, and gives the results once all are acknowledged.
func (t *tour) send(ctx context.Context, messages []trimq.Message, opts ...trimq.ProducerOption) ([]trimq.Result, error) {
	p, err := t.client.NewProducer(append([]trimq.ProducerOption{trimq.WithRetryFor(patience), trimq.WithBatchBytes(4 << 10)}, opts...)...)
	if err != nil {
		return nil, err
	}
	results, first := make([]trimq.Result, len(messages)), error(nil)
	var mu sync.Mutex
	for i := range messages {
		messages[i].Tag = uint64(i)
		err = p.Produce(ctx, &messages[i], func(r trimq.Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			if results[r.Tag] = r; err != nil && first == nil {
				first = fmt.Errorf("message %d: %w", r.Tag, err)
			}
		})
		if err == nil && i%7 == 6 {
			err = p.Flush(ctx)
		}
		if err != nil {
			break
		}
	}
	err = errors.Join(err, p.Close(ctx))
	mu.Lock()
	defer mu.Unlock()
	return results, errors.Join(err, first)
}

// gone removes something; that it is not there any more is well, for an earlier try may have got through.
func gone(err error) error {
	if errors.Is(err, trimq.ErrNotFound) || errors.Is(err, trimq.ErrUnknownIndex) {
		return nil
	}
	return err
}

// value is a message's: its number among those of a place, and filling up to a size in bytes.
func value(place string, n, size int) string {
	s := fmt.Sprintf("%s %d ", place, n)
	return s + strings.Repeat("x", max(0, size-len(s)))
}
