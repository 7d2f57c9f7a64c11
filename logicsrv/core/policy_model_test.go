package core

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
)

// modelPolicy is a policy as docs/queues.md tells of one.
type modelPolicy struct {
	operator bool
	name     string
	pattern  string
	priority int
	maximum  int // of messages; 0: not set
	ttl      int // likewise
	dlx      string
}

// countingPolicy is the policy that counts for a queue among those of operators, or the others.
func countingPolicy(policies map[string]modelPolicy, queue string, operator bool) (best modelPolicy) {
	for _, p := range policies {
		matches := p.operator == operator && regexp.MustCompile(p.pattern).MatchString(queue)
		if matches && (best.name == "" || p.priority > best.priority || p.priority == best.priority && p.name < best.name) {
			best = p
		}
	}
	return best
}

// wants is what a queue with a limit of its own (0: none) should have by the policies.
func wants(policies map[string]modelPolicy, queue string, own int) (maximum, ttl int, dlx string) {
	maximum = own
	for _, operator := range []bool{false, true} {
		p := countingPolicy(policies, queue, operator)
		if p.maximum > 0 && (maximum == 0 || p.maximum < maximum) {
			maximum = p.maximum
		}
		if p.ttl > 0 && (ttl == 0 || p.ttl < ttl) {
			ttl = p.ttl
		}
		if !operator {
			dlx = p.dlx
		}
	}
	return maximum, ttl, dlx
}

// playPolicies plays a history of policies that come and go, and of queues; it returns the first thing
// that is not as the model has it.
func playPolicies(t *testing.T, seed uint64, steps int) (noticed string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &script{world: newWorld(t, Config{})}
	policies, queues := map[string]modelPolicy{}, map[string]int{}
	for range steps {
		line := drawPolicy(rng, policies, queues)
		s.step(s.input(line))
		s.end()
		for name, own := range queues {
			q, _ := s.c.queues.get(name)
			maximum, ttl, dlx := wants(policies, name, own)
			if limitIs(q.set.MaxMessages, maximum) && limitIs(q.set.MessageTTLMS, ttl) && q.set.DeadLetterExchange == dlx && q.set.DeadLetter == (dlx != "") {
				continue
			}
			return fmt.Sprintf("after %s queue %s has %+v, and should have at most %d messages, %d ms, %q", line, name, *q.set, maximum, ttl, dlx)
		}
		if again, err := Load(Config{}, s.c.Checkpoint(nil)); err != nil || !sameSettings(s.c, again) {
			return fmt.Sprintf("after %s the checkpoint loads as another: %v", line, err)
		}
	}
	return ""
}

func limitIs(o admin.Opt, n int) bool { return o.Given == (n > 0) && o.N == uint64(n) }

// sameSettings tells whether the same counts for all queues.
func sameSettings(a, b *Core) bool {
	for name, q := range a.queues.all {
		if other, ok := b.queues.get(name); !ok || *other.set != *q.set {
			return false
		}
	}
	return true
}

// drawPolicy draws a step, and does it in the model.
func drawPolicy(rng *rand.Rand, policies map[string]modelPolicy, queues map[string]int) string {
	kinds := map[bool]string{false: "policy", true: "operator-policy"}
	p := modelPolicy{operator: rng.IntN(3) == 0, name: fmt.Sprintf("p%d", rng.IntN(4)), pattern: []string{"^a", "b$", ".*", "a.b"}[rng.IntN(4)], priority: rng.IntN(3)}
	key := kinds[p.operator] + p.name
	switch {
	case rng.IntN(3) == 0:
		name, own := []string{"a", "b", "axb", "ab", "c"}[rng.IntN(5)], rng.IntN(3)*50
		if _, there := queues[name]; there {
			delete(queues, name)
			return "delete-queue name=" + name
		}
		queues[name] = own
		if own == 0 {
			return "queue name=" + name
		}
		return fmt.Sprintf("queue name=%s max=%d", name, own)
	case policies[key].name != "" && rng.IntN(2) == 0:
		delete(policies, key)
		return fmt.Sprintf("undefine kind=%s vhost=/ name=%s", kinds[p.operator], p.name)
	}
	p.maximum, p.ttl = rng.IntN(3)*40, rng.IntN(3)*1000
	line := fmt.Sprintf("define kind=%s vhost=/ name=%s apply-to=queues pattern=%s priority=%d", kinds[p.operator], p.name, p.pattern, p.priority)
	if p.maximum > 0 {
		line += fmt.Sprintf(" definition.max-length=%d", p.maximum)
	}
	if p.ttl > 0 {
		line += fmt.Sprintf(" definition.message-ttl=%d", p.ttl)
	}
	if p.dlx = []string{"", "x"}[rng.IntN(2)]; p.dlx != "" || p.maximum+p.ttl == 0 {
		p.dlx = "x"
		line += " definition.dead-letter-exchange=x"
	}
	policies[key] = p
	return line
}

// TestPoliciesByModel: what counts for a queue is what the documents say, after every step, and after a
// checkpoint too.
func TestPoliciesByModel(t *testing.T) {
	for seed := range uint64(60) {
		if noticed := playPolicies(t, seed, 60); noticed != "" {
			t.Fatalf("seed %d: %s", seed, noticed)
		}
	}
}
