package shell

// Limits of a shell, with their units. A zero field takes its default.
type Limits struct {
	TurnInputs  int // inputs decided together; default 1024
	TurnBytes   int // bytes of those inputs; default 4 MiB
	HeldOutputs int // outputs that wait for their cursor; default 65536
	HeldBytes   int // their bytes; default 16 MiB
	CheckpointLimits
}

// CheckpointLimits say when a checkpoint is due: whichever comes first.
type CheckpointLimits struct {
	CheckpointBytes  uint64 // input bytes since the last one; default 64 MiB
	CheckpointEvents uint64 // events since then; default 1,000,000
	CheckpointMS     int64  // time since then, if anything changed; default 30,000
	// CheckpointGapMS is the least time from one to the next; default 1,000.
	CheckpointGapMS int64
	// ReplayShare is how much of one processor's time, in percent, the making of checkpoints may
	// take; default 10. The larger the state, the farther they are apart.
	ReplayShare int
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.TurnInputs, 1024)
	set(&l.TurnBytes, 4<<20)
	set(&l.HeldOutputs, 65536)
	set(&l.HeldBytes, 16<<20)
	l.CheckpointLimits = l.CheckpointLimits.orDefault()
	return l
}

func (l CheckpointLimits) orDefault() CheckpointLimits {
	if l.CheckpointBytes == 0 {
		l.CheckpointBytes = 64 << 20
	}
	if l.CheckpointEvents == 0 {
		l.CheckpointEvents = 1_000_000
	}
	if l.CheckpointMS == 0 {
		l.CheckpointMS = 30_000
	}
	if l.CheckpointGapMS == 0 {
		l.CheckpointGapMS = 1000
	}
	if l.ReplayShare == 0 {
		l.ReplayShare = 10
	}
	return l
}
