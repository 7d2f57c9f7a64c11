package batch

import (
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
)

// fail makes the error that a client gets to see.
func fail(code errcode.Code, format string, args ...any) error {
	return &errcode.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}
