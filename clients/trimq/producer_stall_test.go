package trimq

import (
	"errors"
	"sync/atomic"
	"testing"
)

// TestStallWithMoreQueued: a refusal stalls a stream, and ends the stall at once as nothing
// else is on the wire, while batches behind it wait for the broker's window. Each of them
// goes out once.
func TestStallWithMoreQueued(t *testing.T) {
	f := newFake(t)
	f.window = 1
	c := dialFake(t, f)
	ctx := testContext(t)
	if _, err := c.CreateExchange(ctx, ExchangeSpec{Name: "x", Type: Direct}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateQueue(ctx, QueueSpec{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: "q", RoutingKey: "there"}); err != nil {
		t.Fatal(err)
	}
	p := must[*Producer](t)(c.NewProducer())
	var routed, unroutable, other atomic.Int32
	for i := range 3000 {
		m := Message{Exchange: "x", RoutingKey: []string{"there", "nowhere"}[i%2], Mandatory: true, Value: []byte("v")}
		if err := p.Produce(ctx, &m, func(_ Result, err error) {
			switch {
			case err == nil:
				routed.Add(1)
			case errors.Is(err, ErrUnroutable):
				unroutable.Add(1)
			default:
				other.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if routed.Load() != 1500 || unroutable.Load() != 1500 || other.Load() != 0 {
		t.Errorf("%d routed, %d unroutable, %d otherwise; 3000 were sent", routed.Load(), unroutable.Load(), other.Load())
	}
}
