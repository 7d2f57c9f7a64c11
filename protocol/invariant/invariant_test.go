package invariant

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	Check(true, "never shown %d", 1)
	defer func() {
		err, ok := recover().(error)
		var f Failure
		if !ok || !errors.As(err, &f) {
			t.Fatalf("panicked with %v", err)
		}
		if !strings.Contains(f.Error(), "head 17 above tail 3") {
			t.Fatalf("text is %q", f.Error())
		}
	}()
	Check(false, "head %d above tail %d", 17, 3)
	t.Fatal("Check(false) returned")
}
