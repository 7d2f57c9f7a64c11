package main

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue/tier"
)

// TestCoreConfig: what 0 means in the configuration, the core says with a number below 0.
func TestCoreConfig(t *testing.T) {
	c := tier.Default()
	got := coreConfig(c)
	if got.DefaultLevel != ipc.LevelDisk || got.GroupInitialDelayMS != 3000 || got.OffsetRetentionMS != 7*24*3600*1000 ||
		got.GroupSessionMS != 45_000 || got.GroupSessionMinMS != 6000 || got.GroupSessionMaxMS != 1_800_000 || got.GroupHeartbeatMS != 5000 {
		t.Errorf("by default: %+v", got)
	}
	c.GroupInitialDelayMS, c.OffsetRetentionHours, c.GroupSessionTimeoutMS = 0, 0, 2000
	got = coreConfig(c)
	if got.GroupInitialDelayMS >= 0 || got.OffsetRetentionMS >= 0 || got.GroupSessionMinMS != 2000 {
		t.Errorf("without delay and retention: %+v", got)
	}
}
