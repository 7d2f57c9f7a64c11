package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/trimq/trimq/scripts/broker"
)

// loginBroker starts a broker at which Kafka's clients log in: app, who may do what begins with "app", and root, an
// administrator. Their passwords are their names.
func loginBroker(t *testing.T, settings map[string]string) (*broker.Broker, string) {
	t.Helper()
	all := map[string]string{"kafka_auth": `"PLAIN SCRAM-SHA-256 SCRAM-SHA-512"`, "group_initial_delay_ms": "0", "group_heartbeat_ms": "500"}
	for k, v := range settings {
		all[k] = v
	}
	b, addr := kafkaBroker(t, all)
	for name, tags := range map[string]string{"app": "", "root": "administrator"} {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		pattern := map[string]string{"app": "^app", "root": ".*"}[name]
		for _, args := range [][]string{
			{"user", "set", name, "--password-file", secret, "--tags", tags},
			{"permission", "set", name, "--configure", pattern, "--write", pattern, "--read", pattern},
		} {
			// Flags stand before names.
			args = append(args[:2:2], append(args[3:], args[2])...)
			if out, err := b.Run(args...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	time.Sleep(time.Second) // until which a change counts, as docs/security.md has it
	return b, addr
}

// mechanismOf is one of franz-go's.
func mechanismOf(name, user, password string) kgo.Opt {
	m := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}
	return kgo.SASL(m[name])
}

// Clients log in by each mechanism and are served then; others are not let in, and who is in may do what he has a right to.
func TestKafkaLogin(t *testing.T) {
	t.Parallel()
	_, addr := loginBroker(t, nil)
	ctx := testContext(t)
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		topic := "app-" + name
		c := kafkaClient(t, addr, mechanismOf(name, "app", "app"), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic), kgo.AllowAutoTopicCreation(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		kafkaProduce(t, c, topic, 0, 100)
		everyValue(t, kafkaConsume(t, c, 100), 100)
		err := c.ProduceSync(ctx, &kgo.Record{Topic: "other", Value: []byte("x")}).FirstErr()
		if !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("%s: to another's topic: %v", name, err)
		}
		wrong := kafkaClient(t, addr, mechanismOf(name, "app", "root"))
		if err := wrong.Ping(ctx); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%s: a wrong password: %v", name, err)
		}
	}
	if err := kafkaClient(t, addr, kgo.RequestRetries(0), kgo.RetryTimeout(2*time.Second)).Ping(ctx); err == nil {
		t.Error("who does not log in is served")
	}
	// An administrator gives somebody a secret, and takes it.
	root := kafkaClient(t, addr, mechanismOf("SCRAM-SHA-256", "root", "root"))
	describe := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	resp, err := describe.RequestWith(ctx, root)
	if err != nil || resp.ErrorCode != 0 || len(resp.Results) != 3 { // guest is there as well
		t.Errorf("%v, %+v", err, resp)
	}
	app := kafkaClient(t, addr, mechanismOf("SCRAM-SHA-256", "app", "app"))
	if resp, err = describe.RequestWith(ctx, app); err != nil || resp.ErrorCode != kerr.ClusterAuthorizationFailed.Code {
		t.Errorf("%v, %+v", err, resp)
	}
}

// Where log-ins last for a time only, a client goes on over its connection, and notices nothing.
func TestKafkaLoginAgain(t *testing.T) {
	t.Parallel()
	b, addr := loginBroker(t, map[string]string{"kafka_auth_seconds": "3"})
	c := kafkaClient(t, addr, mechanismOf("SCRAM-SHA-512", "app", "app"), kgo.ConsumeTopics("app"), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	const rounds, each = 20, 10
	for i := range rounds {
		kafkaProduce(t, c, "app", i*each, (i+1)*each)
		if i == rounds/2 { // a hand-over keeps who is in
			if err := b.Signal("12", "connsrv"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(400 * time.Millisecond)
	}
	everyValue(t, kafkaConsume(t, c, rounds*each), rounds*each)
}

// The other makers' clients, each by each mechanism.
func TestKafkaLoginOthers(t *testing.T) {
	t.Parallel()
	_, addr := loginBroker(t, nil)
	programs := map[string][]string{}
	if java, err := exec.LookPath("java"); err == nil {
		if archives := clientPath(t, "java"); exists(archives) {
			programs["java"] = []string{java, "-cp", filepath.Join(archives, "*"), filepath.Join("testdata", "kafka", "java", "LoginClient.java"), addr}
		}
	}
	if python := clientPath(t, "bin", "python"); exists(python) {
		programs["librdkafka"] = []string{python, filepath.Join("testdata", "kafka", "login.py"), addr}
	}
	if len(programs) == 0 {
		t.Skip("no other client is there: `make kafka-clients` brings some")
	}
	for name, args := range programs {
		out, err := exec.CommandContext(testContext(t), args[0], args[1:]...).CombinedOutput()
		if err != nil || strings.Count(string(out), " ok\n") != 4 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Who logs in at one broker can do so at another, which has its definitions; and the management API shows who is there.
func TestKafkaLoginElsewhere(t *testing.T) {
	t.Parallel()
	b, _ := loginBroker(t, nil)
	other, addr := kafkaBroker(t, map[string]string{"kafka_auth": `"SCRAM-SHA-512"`})
	manage(t, other, http.MethodPost, "/api/definitions", manage(t, b, http.MethodGet, "/api/definitions", ""))
	var c *kgo.Client
	eventually(t, "the definitions count", func() bool {
		c = kafkaClient(t, addr, mechanismOf("SCRAM-SHA-512", "app", "app"), kgo.AllowAutoTopicCreation())
		return c.Ping(testContext(t)) == nil
	})
	kafkaProduce(t, c, "app-topic", 0, 10)
	var conns []struct{ Protocol, User, State, VHost string }
	if err := json.Unmarshal([]byte(manage(t, other, http.MethodGet, "/api/connections", "")), &conns); err != nil || len(conns) == 0 {
		t.Fatalf("%+v, %v", conns, err)
	}
	for _, c := range conns {
		if c.Protocol != "Kafka" || c.User != "app" || c.State != "running" || c.VHost != "/" {
			t.Errorf("%+v", c)
		}
	}
}
