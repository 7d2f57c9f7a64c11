package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/trimq/trimq/scripts/broker"
)

// What those who look after a broker do to AMQP's clients, and see of them.

// manage asks the management API as guest; it returns the body of what went well.
func manage(t *testing.T, b *broker.Broker, method, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, "http://"+b.Admin+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("guest", "guest")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, text, err)
	}
	return string(text)
}

// amqpRefusal is why a connection, or a channel of it, is refused; "": it is not.
func amqpRefusal(url string) (string, error) {
	c, err := amqp.Dial(url)
	if err == nil {
		defer c.Close()
		_, err = c.Channel()
	}
	var refused *amqp.Error
	if errors.As(err, &refused) {
		return fmt.Sprintf("%d %s", refused.Code, refused.Reason), nil
	}
	return "", err
}

// Limits of vhosts and users count over all connections, from a moment after they are set.
func TestAMQPLimits(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	first := amqpDial(t, url)
	amqpChannel(t, first)
	for _, l := range []struct{ path, want string }{
		{"/api/vhost-limits/%2F/max-connections", "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached"},
		{"/api/user-limits/guest/max-connections", "530 NOT_ALLOWED - Connection refused for user 'guest': user connection limit (1) is reached"},
		{"/api/user-limits/guest/max-channels", "530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (1)"},
	} {
		manage(t, b, http.MethodPut, l.path, `{"value": 1}`)
		got := ""
		eventually(t, l.path, func() bool {
			var err error
			if got, err = amqpRefusal(url); err != nil {
				t.Fatal(err)
			}
			return got != ""
		})
		if got != l.want {
			t.Errorf("%s: %q", l.path, got)
		}
		manage(t, b, http.MethodDelete, l.path, "")
		eventually(t, "an end of "+l.path, func() bool {
			got, err := amqpRefusal(url)
			return got == "" && err == nil
		})
	}
	manage(t, b, http.MethodPut, "/api/vhost-limits/%2F/max-queues", `{"value": 0}`)
	eventually(t, "max-queues", func() bool {
		_, err := amqpChannel(t, first).QueueDeclare("one", true, false, false, false, nil)
		var refused *amqp.Error
		return errors.As(err, &refused) && refused.Code == 406 && refused.Reason == "PRECONDITION_FAILED - cannot declare queue 'one': queue limit in vhost '/' (0) is reached"
	})
}

// What clients have done shows under RabbitMQ's names, in sums and apart.
func TestAMQPFigures(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "q", nil)
	amqpQueue(t, ch, "other", nil)
	amqpPublish(t, ch, "q", 0, 10)
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if d := amqpNext(t, deliveries); i == 3 {
			if err := d.Ack(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	amqpPublish(t, ch, "other", 0, 3)
	for path, lines := range map[string][]string{
		"/metrics": {
			"rabbitmq_queue_messages_ready 3", "rabbitmq_queue_messages_unacked 6", "rabbitmq_queues 2", "rabbitmq_consumers 1", "rabbitmq_connections 1",
			"rabbitmq_channels 1", "rabbitmq_global_messages_received_total 13", "rabbitmq_global_messages_confirmed_total 13", "rabbitmq_global_messages_routed_total 13",
			"rabbitmq_global_messages_delivered_total 10", "rabbitmq_global_messages_acknowledged_total 4", "rabbitmq_queues_created_total 2",
			"rabbitmq_global_publishers 1", "trimq_conn_open ",
		},
		"/metrics/per-object":                           {`rabbitmq_queue_messages_ready{queue="other",vhost="/"} 3`, `rabbitmq_queue_messages_unacked{queue="q",vhost="/"} 6`},
		"/metrics/detailed?family=queue_coarse_metrics": {`rabbitmq_detailed_queue_messages{queue="q",vhost="/"} 6`},
	} {
		text := ""
		told := func() bool {
			text = manage(t, b, http.MethodGet, path, "")
			for _, line := range lines {
				if !strings.Contains(text, "\n"+line) {
					return false
				}
			}
			return true
		}
		for end := time.Now().Add(10 * time.Second); !told(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not all of %q\n%s", path, lines, text)
			}
		}
	}
}
