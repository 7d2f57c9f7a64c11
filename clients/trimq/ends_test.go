package trimq

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// TestPushBeyondTheBuffer: batches that are larger than the credit come one by one; none of
// them is the last.
func TestPushBeyondTheBuffer(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	p := must[*Producer](t)(c.NewProducer())
	for range 4 {
		if _, err := p.ProduceSync(ctx, &Message{Topic: "t", Value: bytes.Repeat([]byte("0123456789abcdef"), 10_000)}); err != nil {
			t.Fatal(err)
		}
	}
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithPush(), WithBuffer(16<<10)))
	for n := 0; n < 4; {
		fetch, err := k.Poll(ctx)
		if err != nil {
			t.Fatalf("after %d of 4 messages: %v", n, err)
		}
		n += len(fetch.Records)
		fetch.Release()
	}
}

// TestNoMessageIsForgotten: when what was closed is reported as failed, what was filling
// behind it still leaves, or fails as well.
func TestNoMessageIsForgotten(t *testing.T) {
	f := newFake(t)
	asked, goOn := make(chan bool), make(chan bool)
	var once atomic.Bool
	f.fault = func(_ *fakeConn, h native.Header, _ []byte) fakeFault {
		if h.Command == native.CmdInitProducer && !once.Swap(true) {
			asked <- true
			<-goOn
			return fakeFault{refuse: errcode.AccessRefused}
		}
		return fakeFault{}
	}
	c := dialFake(t, f)
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Topics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.topics.get(ctx, "t"); err != nil { // nothing else is to be asked
		t.Fatal(err)
	}
	p := must[*Producer](t)(c.NewProducer())
	<-asked
	first, second := make(chan error, 1), make(chan error, 1)
	if err := p.Produce(ctx, &Message{Topic: "t", Value: []byte("1")}, func(_ Result, err error) { first <- err }); err != nil {
		t.Fatal(err)
	}
	s, err := p.route(ctx, &Message{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for closed := false; !closed; { // the writer takes it
		p.mu.Lock()
		closed = s.unanswered.len() == 1
		p.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	if err := p.Produce(ctx, &Message{Topic: "t", Value: []byte("2")}, func(_ Result, err error) { second <- err }); err != nil {
		t.Fatal(err)
	}
	goOn <- true
	if err := <-first; codeOf(err) != errcode.AccessRefused {
		t.Errorf("the first: %v", err)
	}
	select {
	case err := <-second:
		if err != nil {
			t.Errorf("the second: %v", err)
		}
	case <-ctx.Done():
		t.Error("the second message was never reported")
	}
}
