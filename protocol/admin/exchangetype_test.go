package admin

import "testing"

func TestExchangeTypes(t *testing.T) {
	if len(TypeNames()) != int(ConsistentHash) {
		t.Fatalf("%d types have names", len(TypeNames()))
	}
	for i, name := range TypeNames() {
		typ, ok := TypeNamed(name)
		if !ok || int(typ) != i+1 || typ.String() != name || !typ.Known() {
			t.Errorf("%q is type %d, %t, whose name is %q", name, typ, ok, typ)
		}
	}
	for _, typ := range []ExchangeType{0, ConsistentHash + 1} {
		if typ.Known() || typ.String() == "" {
			t.Errorf("type %d is known, as %q", typ, typ)
		}
	}
	for _, name := range []string{"", "type-0", "Topic"} {
		if typ, ok := TypeNamed(name); ok {
			t.Errorf("%q is type %d", name, typ)
		}
	}
}

// TestByHeaders: headers matter to exchanges that look at them, and to those that hand on.
func TestByHeaders(t *testing.T) {
	for _, c := range []struct {
		x    ExchangeInfo
		want bool
	}{
		{ExchangeInfo{CreateExchange: CreateExchange{Type: Topic}, Bindings: 3}, false},
		{ExchangeInfo{CreateExchange: CreateExchange{Type: ConsistentHash}}, false},
		{ExchangeInfo{CreateExchange: CreateExchange{Type: Headers}}, true},
		{ExchangeInfo{CreateExchange: CreateExchange{Type: ConsistentHash, HashHeader: "h"}}, true},
		{ExchangeInfo{CreateExchange: CreateExchange{Type: Topic, Alternate: "rest"}}, true},
		{ExchangeInfo{CreateExchange: CreateExchange{Type: Topic}, Bindings: 3, Exchanges: 1}, true},
	} {
		if c.x.ByHeaders() != c.want {
			t.Errorf("%+v: by headers %t", c.x, !c.want)
		}
	}
}
