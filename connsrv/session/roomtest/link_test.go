package roomtest

import "testing"

// TestLink: what is sent is kept, in order, until it is taken, and counts against the limit.
func TestLink(t *testing.T) {
	l := &Link{Most: 4}
	for _, text := range []string{"abc", "de"} {
		if l.Crowded() {
			t.Error("crowded too early")
		}
		copy(l.Append(len(text)), text)
	}
	if !l.Crowded() || string(l.Sent()) != "abcde" {
		t.Errorf("%q was sent, crowded: %t", l.Sent(), l.Crowded())
	}
	if b := l.Take(); string(b) != "abcde" || l.Bytes != 0 || len(l.Sent()) != 0 {
		t.Errorf("%q is taken, %q is left", b, l.Sent())
	}
	if l.LaterMS = 5; l.NowMS() != 1005 || l.Remote() == "" {
		t.Errorf("it is %d at %q", l.NowMS(), l.Remote())
	}
	f := &Forgetful{}
	if copy(f.Append(3), "abc"); len(f.Sent()) != 0 {
		t.Errorf("%q is kept", f.Sent())
	}
}

// TestLane: what goes into the lane comes out of the ring.
func TestLane(t *testing.T) {
	lane, in, _ := Lane(t, 64<<10, 8<<10)
	if !lane.Put(&Link{}, 7, []byte("record")) {
		t.Fatal("there is no room")
	}
	if r, ok := in.Next(); !ok || r.Type != 7 || string(r.Payload) != "record" {
		t.Errorf("%+v, %t comes out", r, ok)
	}
}
