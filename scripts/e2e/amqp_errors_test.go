package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What RabbitMQ answers to what is wrong: code and text, and whether the channel or the connection
// ends. Clients depend on them.

// probe does something on a channel of its own. want is the text with the code's word; "": it succeeds.
type probe struct {
	name string
	do   func(ch *amqp.Channel) error
	code int
	want string
}

// declareArgs declares a durable queue with arguments.
func declareArgs(queue string, args amqp.Table) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, args)
		return err
	}
}

// consumeOf consumes with arguments, prefetch 0.
func consumeOf(queue, tag string, autoAck, exclusive bool) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.Consume(queue, tag, autoAck, exclusive, false, false, nil)
		return err
	}
}

// published publishes, and waits for the end of the channel or, if there is none, for a round trip.
func published(exchange, key string, mandatory, immediate bool, p amqp.Publishing) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		ended := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Publish(exchange, key, mandatory, immediate, p); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(2 * time.Second):
			return nil
		}
	}
}

func then(steps ...func(ch *amqp.Channel) error) func(ch *amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		for _, step := range steps {
			if err := step(ch); err != nil {
				return err
			}
		}
		return nil
	}
}

var queueProbes = []probe{
	{"passive declare missing queue", func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive("nope", true, false, false, false, nil)
		return err
	}, 404, "NOT_FOUND - no queue 'nope' in vhost '/'"},
	{"redeclare durable!=", func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("cq", false, false, false, false, nil)
		return err
	}, 406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'cq' in vhost '/': received 'false' but current is 'true'"},
	{"redeclare arg x-max-length", declareArgs("cq", amqp.Table{"x-max-length": int32(1)}),
		406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'cq' in vhost '/': received the value '1' of type 'signedint' but current is none"},
	{"declare amq.reserved", declareArgs("amq.foo", nil), 403, "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'"},
	{"server-named", declareArgs("", nil), 0, ""},
	{"bad arg type x-message-ttl", declareArgs("b1", amqp.Table{"x-message-ttl": "soon"}),
		406, `PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'b1' in vhost '/': "expected integer, got longstr"`},
	{"bad arg neg ttl", declareArgs("b1", amqp.Table{"x-message-ttl": int32(-1)}),
		406, "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'b1' in vhost '/': {value_negative,-1}"},
	{"unknown x- arg", declareArgs("b2", amqp.Table{"x-whatever": "1"}), 0, ""},
	{"bad queue type", declareArgs("b3", amqp.Table{"x-queue-type": "zzz"}),
		406, `PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'b3' in vhost '/': "unsupported queue type 'zzz'"`},
	{"quorum non-durable", func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("b4", false, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	}, 406, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'b4' in vhost '/'"},
	{"quorum exclusive", func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("b4", true, false, true, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	}, 406, "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'b4' in vhost '/'"},
	{"quorum + x-max-priority", declareArgs("b5", amqp.Table{"x-queue-type": "quorum", "x-max-priority": int32(5)}),
		406, "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'b5' in vhost '/' of queue type rabbit_quorum_queue"},
	{"stream + ttl", declareArgs("b6", amqp.Table{"x-queue-type": "stream", "x-message-ttl": int32(5)}),
		406, "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'b6' in vhost '/' of queue type rabbit_stream_queue"},
	{"stream basic.get", func(ch *amqp.Channel) error { _, _, err := ch.Get("sq", false); return err },
		540, "NOT_IMPLEMENTED - basic.get not supported by stream queues queue 'sq' in vhost '/'"},
	{"stream purge", func(ch *amqp.Channel) error { _, err := ch.QueuePurge("sq", false); return err },
		540, "NOT_IMPLEMENTED - queue.purge not supported by stream queues queue 'sq' in vhost '/'"},
	{"delete missing queue", func(ch *amqp.Channel) error { _, err := ch.QueueDelete("nope", false, false, false); return err }, 0, ""},
	{"delete if_empty non-empty", then(published("", "cq", false, false, amqp.Publishing{Body: []byte("x")}),
		func(ch *amqp.Channel) error { _, err := ch.QueueDelete("cq", false, true, false); return err }),
		406, "PRECONDITION_FAILED - queue 'cq' in vhost '/' not empty"},
	{"delete if_unused in use", then(consumeOf("cq", "", false, false),
		func(ch *amqp.Channel) error { _, err := ch.QueueDelete("cq", true, false, false); return err }),
		406, "PRECONDITION_FAILED - queue 'cq' in vhost '/' in use"},
}

var exchangeProbes = []probe{
	{"passive declare missing exchange", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive("nope", "direct", true, false, false, false, nil)
	}, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'"},
	{"unknown exchange type", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("x1", "zzz", true, false, false, false, nil)
	}, 406, "PRECONDITION_FAILED - unknown exchange type 'zzz'"},
	{"redeclare another type", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("int", "direct", true, false, true, false, nil)
	}, 406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'int' in vhost '/': received 'direct' but current is 'fanout'"},
	{"declare amq.foo", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("amq.foo", "direct", true, false, false, false, nil)
	}, 403, "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'"},
	{"declare amq.direct as it is", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("amq.direct", "direct", true, false, false, false, nil)
	}, 0, ""},
	{"delete default exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete("", false, false) },
		403, "ACCESS_REFUSED - operation not permitted on the default exchange"},
	{"delete amq.direct", func(ch *amqp.Channel) error { return ch.ExchangeDelete("amq.direct", false, false) },
		403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed"},
	{"bind to default exchange", func(ch *amqp.Channel) error { return ch.QueueBind("cq", "k", "", false, nil) },
		403, "ACCESS_REFUSED - operation not permitted on the default exchange"},
	{"bind missing queue", func(ch *amqp.Channel) error { return ch.QueueBind("nope", "k", "amq.direct", false, nil) },
		404, "NOT_FOUND - no queue 'nope' in vhost '/'"},
	{"bind to missing exchange", func(ch *amqp.Channel) error { return ch.QueueBind("cq", "k", "nope", false, nil) },
		404, "NOT_FOUND - no exchange 'nope' in vhost '/'"},
	{"bind missing exchange to exchange", func(ch *amqp.Channel) error { return ch.ExchangeBind("nope", "k", "amq.direct", false, nil) },
		404, "NOT_FOUND - no exchange 'nope' in vhost '/'"},
	{"bind with an odd x-match", func(ch *amqp.Channel) error {
		return ch.QueueBind("cq", "", "amq.headers", false, amqp.Table{"x-match": "most"})
	}, 406, `PRECONDITION_FAILED - Invalid x-match field value <<"most">>; expected all, any, all-with-x, or any-with-x`},
	{"bind with a number as x-match", func(ch *amqp.Channel) error {
		return ch.QueueBind("cq", "", "amq.headers", false, amqp.Table{"x-match": int32(23)})
	}, 406, "PRECONDITION_FAILED - Invalid x-match field type signedint (value 23); expected longstr"},
	{"delete missing exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete("nope", false, false) }, 0, ""},
	{"unbind missing exchanges", func(ch *amqp.Channel) error {
		return ch.ExchangeUnbind("amq.direct", "", "no-such-exchange", false, nil)
	}, 0, ""},
	{"unbind missing destination", func(ch *amqp.Channel) error {
		return ch.ExchangeUnbind("no-such-exchange", "", "amq.direct", false, nil)
	}, 0, ""},
	{"unbind missing", func(ch *amqp.Channel) error { return ch.QueueUnbind("cq", "nope", "amq.direct", nil) }, 0, ""},
}

var basicProbes = []probe{
	{"qos prefetch_size!=0", func(ch *amqp.Channel) error { return ch.Qos(1, 10, false) },
		540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)"},
	{"publish to missing exchange", published("nope", "k", false, false, amqp.Publishing{}),
		404, "NOT_FOUND - no exchange 'nope' in vhost '/'"},
	{"publish to internal exchange", published("int", "k", false, false, amqp.Publishing{}),
		403, "ACCESS_REFUSED - cannot publish to internal exchange 'int' in vhost '/'"},
	{"bad expiration", published("", "cq", false, false, amqp.Publishing{Expiration: "abc"}),
		406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer"},
	{"user-id mismatch", published("", "cq", false, false, amqp.Publishing{UserId: "bob"}),
		406, "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"},
	{"user-id", published("", "cq", false, false, amqp.Publishing{UserId: "guest"}), 0, ""},
	{"immediate flag", published("", "cq", false, true, amqp.Publishing{}), 540, "NOT_IMPLEMENTED - immediate=true"},
	{"consume missing queue", consumeOf("nope", "", false, false), 404, "NOT_FOUND - no queue 'nope' in vhost '/'"},
	{"ack unknown tag", func(ch *amqp.Channel) error {
		ended := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.Ack(99, false); err != nil {
			return err
		}
		return <-ended
	}, 406, "PRECONDITION_FAILED - unknown delivery tag 99"},
	{"exclusive consumer conflict", then(consumeOf("cq", "", false, false), consumeOf("cq", "", false, true)),
		403, "ACCESS_REFUSED - queue 'cq' in vhost '/' in exclusive use"},
	{"reply-to consume w/o no_ack", consumeOf("amq.rabbitmq.reply-to", "", false, false),
		406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"},
	{"reply-to publish w/o consumer", published("", "cq", false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"}),
		406, "PRECONDITION_FAILED - fast reply consumer does not exist"},
	{"tx then confirm", then((*amqp.Channel).Tx, func(ch *amqp.Channel) error { return ch.Confirm(false) }),
		406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"},
	{"confirm then tx", then(func(ch *amqp.Channel) error { return ch.Confirm(false) }, (*amqp.Channel).Tx),
		406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"},
	{"commit without tx", (*amqp.Channel).TxCommit, 406, "PRECONDITION_FAILED - channel is not transactional"},
	//lint:ignore SA1019 what is refused is refused with this text
	{"basic.recover requeue=false", func(ch *amqp.Channel) error { return ch.Recover(false) }, 540, "NOT_IMPLEMENTED - requeue=false"},
	{"channel.flow(false)", func(ch *amqp.Channel) error { return ch.Flow(false) }, 540, "NOT_IMPLEMENTED - active=false"},
}

func TestAMQPErrors(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "cq", nil)
	amqpQueue(t, ch, "sq", amqp.Table{"x-queue-type": "stream"})
	if err := ch.ExchangeDeclare("int", "fanout", true, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]probe{queueProbes, exchangeProbes, basicProbes} {
		for _, p := range list {
			t.Run(p.name, func(t *testing.T) { ask(t, url, p) })
		}
	}
}

// ask does a probe on a connection of its own, and looks at what becomes of that.
func ask(t *testing.T, url string, p probe) {
	c := amqpDial(t, url)
	ended := c.NotifyClose(make(chan *amqp.Error, 1))
	err := p.do(amqpChannel(t, c))
	var e *amqp.Error
	switch {
	case p.code == 0:
		if err != nil && !isNil(err) {
			t.Fatal(err)
		}
		return
	case !errors.As(err, &e) || e == nil || e.Code != p.code || e.Reason != p.want:
		t.Fatalf("%v; it should be %d %s", err, p.code, p.want)
	}
	if soft := p.code < 500; soft {
		if _, err := c.Channel(); err != nil {
			t.Fatalf("the connection ended, too: %v", err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Fatal("the connection is open")
	}
}

// isNil tells a nil *amqp.Error in an error.
func isNil(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e == nil
}

func TestAMQPConsumerTagTwice(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	c := amqpDial(t, url)
	ch := amqpChannel(t, c)
	amqpQueue(t, ch, "q", nil)
	if err := consumeOf("q", "a", false, false)(ch); err != nil {
		t.Fatal(err)
	}
	// The client knows its tags itself; so the second one comes from under another name to it.
	ended := c.NotifyClose(make(chan *amqp.Error, 1))
	_, err := ch.Consume("q", "a", false, false, false, false, nil)
	if e := <-ended; e == nil || e.Code != 530 || e.Reason != "NOT_ALLOWED - attempt to reuse consumer tag 'a'" {
		t.Fatalf("%v, %v", err, e)
	}
}
