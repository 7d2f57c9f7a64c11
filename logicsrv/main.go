package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/logicsrv/shell"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func main() {
	if replay.Asked(os.Args) {
		os.Exit(replay.Child(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(tier.Main("logicsrv", run))
}

func run(ctx context.Context, p *tier.Process) error {
	memory, err := p.Attach()
	if err != nil {
		return err
	}
	bell, err := openBell(tier.BellPath(p.Config))
	if err != nil {
		return err
	}
	defer bell.Close()
	memory.Response.Ring().Bell().SetWake(bell.ring)
	parked := parkingLot{dir: p.Config.DataDir, log: p.Log}
	var notReady error
	s, err := shell.New(shell.Options{
		Core:     coreConfig(p.Config),
		RingA:    memory.Request.Ring(),
		RingB:    memory.Response.Ring(),
		RingC:    memory.Log.Ring(),
		LogFS:    commitlog.DirFS(p.Config.DataDir),
		Replay:   replay.Process{Path: replay.Self, Data: p.Config.DataDir}.Make,
		Now:      func() int64 { return time.Now().UnixMilli() },
		Limits:   shell.Limits{TurnInputs: p.Config.TurnInputs, CheckpointLimits: checkpointLimits(p.Config)},
		Log:      p.Log,
		Counters: memory.Metrics.Tier(shmqueue.TierLogic),
		Running:  func(shell.Recovery) { notReady = p.Ready() },
		Park:     parked.keep,
	})
	if err != nil {
		return err
	}
	p.OnReload(func(c *tier.Config) { s.SetCheckpointLimits(checkpointLimits(c)) })
	p.OnState(func(w io.Writer) {
		fmt.Fprint(w, "standing follows in a line of its own")
		s.DumpState()
	})
	p.OnHandOver(s.Leave)
	stopNotes := readNotes(s, p.Log)
	defer context.AfterFunc(ctx, s.Stop)()
	switch err = s.Run(); {
	case errors.Is(err, shell.ErrLeft):
		err = tier.ErrHandOver
	case errors.Is(err, shell.ErrDamagedLog):
		err = fmt.Errorf("%w: %w", tier.ErrDamage, err)
	}
	stopNotes()
	return errors.Join(err, notReady, memory.Detach())
}

// coreConfig is what the configuration says of the core. There, below 0 is what 0 is here.
func coreConfig(c *tier.Config) core.Config {
	cfg := core.Config{
		DefaultLevel:        level(c.DefaultLevel),
		GroupSessionMS:      int32(c.GroupSessionTimeoutMS),
		GroupSessionMinMS:   int32(min(c.GroupSessionTimeoutMS, 6000)),
		GroupSessionMaxMS:   int32(c.GroupSessionTimeoutMaxMS),
		GroupHeartbeatMS:    int32(c.GroupHeartbeatMS),
		GroupInitialDelayMS: int64(c.GroupInitialDelayMS),
		OffsetRetentionMS:   int64(c.OffsetRetentionHours) * 3600 * 1000,
		MaxDelayed:          c.MaxDelayed,
		MaxTxns:             c.MaxTransactions,
		TxnCheckMS:          int64(c.TransactionCheckMS),
		TxnChecks:           c.TransactionChecks,
		TxnMaxMS:            int64(c.TransactionMaxHours) * 3600 * 1000,
	}
	if c.GroupInitialDelayMS == 0 {
		cfg.GroupInitialDelayMS = -1
	}
	if c.OffsetRetentionHours == 0 {
		cfg.OffsetRetentionMS = -1
	}
	return cfg
}

func checkpointLimits(c *tier.Config) shell.CheckpointLimits {
	return shell.CheckpointLimits{
		CheckpointBytes:  uint64(c.CheckpointBytes),
		CheckpointEvents: uint64(c.CheckpointEvents),
		CheckpointMS:     int64(c.CheckpointSeconds) * 1000,
	}
}

// level is the durability level of a name that the configuration has checked.
func level(name string) ipc.Level {
	switch name {
	case "memory":
		return ipc.LevelMemory
	case "page":
		return ipc.LevelPage
	}
	return ipc.LevelDisk
}
