package core

import "testing"

func TestEmptyRoundTrip(t *testing.T) {
	c := New(Config{})
	l, err := Load(Config{}, c.Checkpoint(nil))
	if err != nil {
		t.Fatal(err)
	}
	if l.Digest() != c.Digest() {
		t.Fatalf("digest %x, loaded %x", c.Digest(), l.Digest())
	}
}
