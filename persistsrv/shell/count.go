package shell

import "github.com/trimq/trimq/shmqueue"

// count brings the counters in shared memory up to date.
func (s *Shell) count() {
	c := s.o.Counters
	if c == nil {
		return
	}
	now, was := s.log.Stats(), s.counted
	s.counted = now
	for _, v := range []struct {
		id       shmqueue.CounterID
		now, was uint64
	}{
		{shmqueue.PersistEntries, now.Entries, was.Entries},
		{shmqueue.PersistBytes, now.Bytes, was.Bytes},
		{shmqueue.PersistWrites, now.Writes, was.Writes},
		{shmqueue.PersistSyncs, now.Syncs, was.Syncs},
		{shmqueue.PersistSyncNS, now.SyncNS, was.SyncNS},
		{shmqueue.PersistTornBytes, now.TornBytes, was.TornBytes},
		{shmqueue.PersistRebuilt, now.Rebuilt, was.Rebuilt},
		{shmqueue.PersistRetired, now.Removed, was.Removed},
		{shmqueue.PersistIndexEntries, now.IndexEntries, was.IndexEntries},
		{shmqueue.PersistCheckpoints, now.Checkpoints, was.Checkpoints},
		{shmqueue.PersistRewritten, now.Rewritten, was.Rewritten},
		{shmqueue.PersistDamagedRefs, now.DamagedRefs, was.DamagedRefs},
		{shmqueue.PersistCompactions, now.Compactions, was.Compactions},
		{shmqueue.PersistCompactedRecords, now.CompactedRecords, was.CompactedRecords},
		{shmqueue.PersistCompactedBytes, now.CompactedBytes, was.CompactedBytes},
	} {
		if v.now > v.was {
			c.Add(v.id, v.now-v.was)
		}
	}
	c.Set(shmqueue.PersistSegments, now.Segments)
	c.Set(shmqueue.PersistLogBytes, now.LogBytes)
	c.Set(shmqueue.PersistPacks, now.Packs)
	c.Set(shmqueue.PersistPackBytes, now.PackBytes)
	c.Set(shmqueue.PersistDiskFree, now.Free)
	c.Set(shmqueue.PersistDamaged, now.DamagedPlaces)
	c.Set(shmqueue.PersistWritten, s.log.Written())
	c.Set(shmqueue.PersistSynced, s.log.Synced())
	full := uint64(0)
	if s.log.Full() {
		full = 1
	}
	c.Set(shmqueue.PersistDiskFull, full)
}
