package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpShift is work that AMQP's clients do until the context ends, over connections that must stay.
type amqpShift struct {
	t    *testing.T
	url  string
	ctx  context.Context
	lost closings
	work sync.WaitGroup
}

// channel is one of a connection of its own, whose end is noticed.
func (s *amqpShift) channel() *amqp.Channel {
	c, err := amqp.DialConfig(s.url, amqp.Config{Dial: func(network, addr string) (net.Conn, error) { return s.lost.dial(s.ctx, network, addr) }})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return amqpChannel(s.t, c)
}

// run does something again and again, until the shift is over or it goes wrong.
func (s *amqpShift) run(what string, step func(n int) error) {
	s.work.Go(func() {
		n := 0
		for ; s.ctx.Err() == nil; n++ {
			if err := step(n); err != nil {
				s.t.Errorf("%s: step %d: %v", what, n, err)
				return
			}
		}
		if n < 10 {
			s.t.Errorf("%s: %d steps", what, n)
		}
	})
}

// confirmed waits for a confirm.
func confirmed(told *amqp.DeferredConfirmation, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if ok, err := told.WaitContext(ctx); err != nil || !ok {
		return fmt.Errorf("confirmed: %v, %v", ok, err)
	}
	return nil
}

func post(ch *amqp.Channel, exchange, key string, n int) (*amqp.DeferredConfirmation, error) {
	return ch.PublishWithDeferredConfirm(exchange, key, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Body: value(n), Headers: amqp.Table{"format": "pdf"},
	})
}

// producer publishes values in order, many under way at a time, and each tenth to nobody: that comes back.
func (s *amqpShift) producer(exchange, queue string) {
	ch, told := s.channel(), []*amqp.DeferredConfirmation(nil)
	if err := ch.Confirm(false); err != nil {
		s.t.Fatal(err)
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 100))
	s.run("producer to "+queue, func(n int) error {
		p, err := post(ch, exchange, queue, n)
		if err != nil {
			return err
		}
		if told = append(told, p); len(told) < 40 {
			return nil
		}
		for _, p := range told {
			if err := confirmed(p, nil); err != nil {
				return err
			}
		}
		told = told[:0]
		if err := confirmed(post(ch, "", "nowhere", n)); err != nil {
			return err
		}
		select {
		case r := <-returns:
			if string(r.Body) != string(value(n)) {
				return fmt.Errorf("%q came back", r.Body)
			}
			return nil
		default:
			return fmt.Errorf("a message to nobody was confirmed, and has not come back")
		}
	})
}

// worker takes a queue's values: all, in order, each once.
func (s *amqpShift) worker(queue string, prefetch int) {
	ch := s.channel()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		s.t.Fatal(err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("worker at "+queue, func(n int) error {
		var d amqp.Delivery
		select {
		case d = <-deliveries:
		case <-s.ctx.Done():
			return nil
		}
		if string(d.Body) != string(value(n)) || d.Redelivered {
			return fmt.Errorf("%q came, redelivered: %v", d.Body, d.Redelivered)
		}
		if n%(prefetch/2+1) == 0 {
			return d.Ack(true)
		}
		return nil
	})
}

// getter publishes a message and gets it.
func (s *amqpShift) getter(queue string) {
	ch := s.channel()
	amqpQueue(s.t, ch, queue, nil)
	if err := ch.Confirm(false); err != nil {
		s.t.Fatal(err)
	}
	s.run("getter", func(n int) error {
		if err := confirmed(post(ch, "", queue, n)); err != nil {
			return err
		}
		d, ok, err := ch.Get(queue, n%2 == 0)
		if err != nil || !ok || string(d.Body) != string(value(n)) || d.Redelivered {
			return fmt.Errorf("got %v: %q, redelivered: %v, %v", ok, d.Body, d.Redelivered, err)
		}
		if n%2 == 1 {
			return d.Ack(false)
		}
		return nil
	})
}

// dealer publishes and takes in transactions, of which each third is rolled back.
func (s *amqpShift) dealer(queue string) {
	ch := s.channel()
	amqpQueue(s.t, ch, queue, nil)
	if err := ch.Tx(); err != nil {
		s.t.Fatal(err)
	}
	kept, next := 0, 0
	s.run("dealer", func(n int) error {
		end := ch.TxCommit
		if n%3 == 2 {
			end = ch.TxRollback
		}
		for i := range 2 {
			if err := ch.Publish("", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: value(kept + i)}); err != nil {
				return err
			}
		}
		d, ok, err := ch.Get(queue, false)
		if err != nil || ok != (next < kept) || ok && string(d.Body) != string(value(next)) {
			return fmt.Errorf("got %v, of %d kept: %q instead of %d, %v", ok, kept, d.Body, next, err)
		}
		if ok {
			if err := d.Ack(false); err != nil {
				return err
			}
		}
		if err := end(); err != nil {
			return err
		}
		if n%3 != 2 {
			kept += 2
		}
		if !ok {
			return nil
		}
		if next++; n%3 == 2 { // it is held still: taken as a whole with the next
			if err := d.Ack(false); err != nil {
				return err
			}
			return ch.TxCommit()
		}
		return nil
	})
}

// caller asks and is answered directly, and by way of a queue that is its connection's own.
func (s *amqpShift) caller() {
	ch := s.channel()
	own, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	direct, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	byQueue, err := ch.Consume(own.Name, "", true, true, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("caller", func(n int) error {
		to, answers := "amq.rabbitmq.reply-to", direct
		if n%2 == 1 {
			to, answers = own.Name, byQueue
		}
		if err := ch.Publish("", "calls", true, false, amqp.Publishing{ReplyTo: to, Body: value(n)}); err != nil {
			return err
		}
		select {
		case d, ok := <-answers:
			if !ok || string(d.Body) != string(value(n)) {
				return fmt.Errorf("answered with %q, %v", d.Body, ok)
			}
			return nil
		case <-time.After(30 * time.Second):
			return fmt.Errorf("no answer")
		}
	})
}

// callee answers.
func (s *amqpShift) callee() {
	ch := s.channel()
	calls, err := ch.Consume("calls", "callee", true, false, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { // until its connection ends: whoever calls last is answered
		for d := range calls {
			if err := ch.Publish("", d.ReplyTo, false, false, amqp.Publishing{Body: d.Body}); err != nil {
				s.t.Errorf("callee: %v", err)
				return
			}
		}
	}()
}

// No connection of an AMQP client is closed by hand-overs of connsrv, nor of the other daemons. Nothing is
// lost, doubled, out of order, or flagged as redelivered that was not; confirms, returns, answers and
// transactions go on, and a connection's own queues stay.
func TestAMQPHandOvers(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	s := &amqpShift{t: t, url: url, ctx: ctx}
	ch := amqpChannel(t, amqpDial(t, url))
	for _, queue := range []string{"work", "few", "headed"} {
		amqpQueue(t, ch, queue, nil)
	}
	amqpQueue(t, ch, "calls", nil)
	if err := ch.ExchangeDeclare("by-headers", "headers", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("headed", "", "by-headers", false, amqp.Table{"x-match": "all", "format": "pdf"}); err != nil {
		t.Fatal(err)
	}
	s.worker("work", 100)
	s.worker("few", 1)
	s.worker("headed", 30)
	s.producer("", "work")
	s.producer("", "few")
	s.producer("by-headers", "headed")
	s.getter("got")
	s.dealer("deals")
	s.callee()
	s.caller()
	for round := range 10 {
		time.Sleep(150 * time.Millisecond)
		tiers := []string{"connsrv"}
		if round%4 == 3 {
			tiers = nil // all three
		}
		if err := b.Signal("12", tiers...); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	stop()
	s.work.Wait()
	if n := s.lost.n.Load(); n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// Neither is one of pika's.
func TestAMQPPikaHandOvers(t *testing.T) {
	t.Parallel()
	python := amqpPython(t)
	b, url := amqpBroker(t, nil)
	ctx, cancel := context.WithTimeout(testContext(t), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, filepath.Join("testdata", "amqp", "steady.py"), url)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		time.Sleep(200 * time.Millisecond)
		if err := b.Signal("12", "connsrv"); err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil || !strings.HasSuffix(out.String(), "ok\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
