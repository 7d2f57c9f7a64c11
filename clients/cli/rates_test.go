package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestRatesAndAges(t *testing.T) {
	for _, x := range []struct {
		before, now uint64
		apart       time.Duration
		want        string
	}{
		{5, 10, 0, "-"},
		{5, 10, time.Second, "5.0"},
		{5, 10, 2 * time.Second, "2.5"},
		{0, 123456, time.Second, "123456"},
		{10, 5, time.Second, "0.0"}, // it was set back
	} {
		if got := rateText(ratePer(x.before, x.now, x.apart)); got != x.want {
			t.Errorf("from %d to %d in %v: %s, want %s", x.before, x.now, x.apart, got, x.want)
		}
	}
	young, old := 1.26, 3661.4
	for _, x := range []struct {
		a, b age
		want string
	}{{nil, nil, "-"}, {&young, nil, "1.3s"}, {nil, &young, "1.3s"}, {&young, &old, "1h1m1s"}, {&old, &young, "1h1m1s"}} {
		if got := ageText(elder(x.a, x.b)); got != x.want {
			t.Errorf("the age is %s, want %s", got, x.want)
		}
	}
}

// TestRatesOfExchangesAndConsumers: what two looks find tells the rates, whatever they are.
func TestRatesOfExchangesAndConsumers(t *testing.T) {
	s := newStub(t)
	s.busy = 1000
	var exchanges []exchangeView
	out := s.succeed(t, "", "exchange", "list", "--interval", "5ms", "--json")
	if err := json.Unmarshal([]byte(out), &exchanges); err != nil || len(exchanges) != 1 {
		t.Fatalf("%s: %v", out, err)
	}
	if x := &exchanges[0]; x.In == nil || x.Out == nil || *x.In <= 0 || *x.Out < 1.99**x.In || *x.Out > 2.01**x.In {
		t.Errorf("the rates of an exchange: %s", out)
	}
	var consumers []consumerView
	out = s.succeed(t, "", "consumer", "list", "--interval", "5ms", "--json")
	if err := json.Unmarshal([]byte(out), &consumers); err != nil || len(consumers) != 2 {
		t.Fatalf("%s: %v", out, err)
	}
	if a, b := consumers[0].Rate, consumers[1].Rate; a == nil || *a <= 0 || b == nil || *b != 0 {
		t.Errorf("the rates of consumers: %s", out)
	}
}
