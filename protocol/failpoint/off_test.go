//go:build !failpoints

package failpoint

import "testing"

// TestHitIsFree shows that a release build pays nothing for a failpoint.
func TestHitIsFree(t *testing.T) {
	if Enabled {
		t.Fatal("a build without the tag failpoints calls itself enabled")
	}
	if n := testing.AllocsPerRun(100, func() { Hit("nowhere") }); n != 0 {
		t.Fatalf("Hit allocates %v times", n)
	}
}
