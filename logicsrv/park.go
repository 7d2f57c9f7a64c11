package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/trimq/trimq/logicsrv/shell"
)

// parkingLot keeps inputs that were given up, one file each: the ring record's payload as it
// was, for whoever looks for the bug. It never stops the broker: an error is only logged.
type parkingLot struct {
	dir string // data directory
	log *slog.Logger
}

func (l parkingLot) keep(in shell.Parked) {
	dir := filepath.Join(l.dir, "parked")
	name := filepath.Join(dir, fmt.Sprintf("%016x-%020d-type-%d.rec", in.Nonce, in.Pos, in.Type))
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		err = os.WriteFile(name, in.Payload, 0o640)
	}
	if err != nil {
		l.log.Error("keeping an input that was given up failed", "file", name, "err", err)
		return
	}
	l.log.Warn("an input was given up; its record is kept", "file", name)
}
