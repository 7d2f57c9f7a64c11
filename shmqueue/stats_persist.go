package shmqueue

// Counters of persistsrv. A new row goes to the end, with the next number.
const (
	PersistEntries     CounterID = 0
	PersistBytes       CounterID = 1
	PersistWrites      CounterID = 2
	PersistSyncs       CounterID = 3
	PersistSyncNS      CounterID = 4
	PersistSyncErrors  CounterID = 5
	PersistWriteErrors CounterID = 6
	PersistSegments    CounterID = 7
	PersistLogBytes    CounterID = 8
	PersistWritten     CounterID = 9
	PersistSynced      CounterID = 10
	PersistDiskFull    CounterID = 11
	PersistStarts      CounterID = 12
	PersistRecoveryNS  CounterID = 13
	PersistTornBytes   CounterID = 14
	PersistRebuilt     CounterID = 15
	PersistRetired     CounterID = 16
	PersistDiskFree    CounterID = 17

	PersistIndexEntries CounterID = 18
	PersistCheckpoints  CounterID = 19
	PersistRewritten    CounterID = 20
	PersistDamaged      CounterID = 21
	PersistDamagedRefs  CounterID = 22

	PersistCompactions      CounterID = 23
	PersistCompactedRecords CounterID = 24
	PersistCompactedBytes   CounterID = 25
	PersistPacks            CounterID = 26
	PersistPackBytes        CounterID = 27
)

// Status bits beside those in words.go, of persistsrv's restart and of its log.
const (
	StatusSyncing = 1 << 2 // a sync is under way: whoever finds this at its start does not know how it ended
	StatusDamaged = 1 << 3 // a place in the commit log is damaged
)

var persistStats = [...]Row{
	PersistEntries:     {Name: "trimq_persist_entries_total", Help: "Entries appended to the commit log.", Kind: KindCounter},
	PersistBytes:       {Name: "trimq_persist_appended_bytes_total", Help: "Bytes appended to the commit log.", Kind: KindCounter},
	PersistWrites:      {Name: "trimq_persist_writes_total", Help: "Gathered writes.", Kind: KindCounter},
	PersistSyncs:       {Name: "trimq_persist_syncs_total", Help: "Syncs of the commit log.", Kind: KindCounter},
	PersistSyncNS:      {Name: "trimq_persist_sync_seconds_total", Help: "Time spent in syncs.", Kind: KindCounter, Scale: 1e9},
	PersistSyncErrors:  {Name: "trimq_persist_sync_errors_total", Help: "Syncs that failed.", Kind: KindCounter},
	PersistWriteErrors: {Name: "trimq_persist_write_errors_total", Help: "Writes that failed.", Kind: KindCounter},
	PersistSegments:    {Name: "trimq_persist_segments", Help: "Segments of the commit log.", Kind: KindGauge},
	PersistLogBytes:    {Name: "trimq_persist_log_bytes", Help: "Size of the commit log.", Kind: KindGauge},
	PersistWritten:     {Name: "trimq_persist_written_lsn", Help: "Last LSN in the page cache.", Kind: KindGauge},
	PersistSynced:      {Name: "trimq_persist_synced_lsn", Help: "Last LSN on the disk.", Kind: KindGauge},
	PersistDiskFull:    {Name: "trimq_persist_disk_full", Help: "1 while new messages are refused for want of disk space.", Kind: KindGauge},
	PersistStarts:      {Name: "trimq_persist_starts_total", Help: "Starts of persistsrv.", Kind: KindCounter},
	PersistRecoveryNS:  {Name: "trimq_persist_recovery_seconds", Help: "How long the last recovery took.", Kind: KindGauge, Scale: 1e9},
	PersistTornBytes:   {Name: "trimq_persist_torn_bytes_total", Help: "Bytes cut off the log's end in recoveries.", Kind: KindCounter},
	PersistRebuilt:     {Name: "trimq_persist_rebuilt_indexes_total", Help: "Indexes rebuilt from the log.", Kind: KindCounter},
	PersistRetired:     {Name: "trimq_persist_retired_segments_total", Help: "Segments removed by retention.", Kind: KindCounter},
	PersistDiskFree:    {Name: "trimq_persist_disk_free_bytes", Help: "Free bytes of the data directory's file system.", Kind: KindGauge},

	PersistIndexEntries: {Name: "trimq_persist_index_entries_total", Help: "Entries appended to indexes.", Kind: KindCounter},
	PersistCheckpoints:  {Name: "trimq_persist_checkpoints_total", Help: "Checkpoints of logicsrv stored.", Kind: KindCounter},
	PersistRewritten:    {Name: "trimq_persist_rewritten_bytes_total", Help: "Bytes of the log written again because it was in doubt whether a sync had covered them.", Kind: KindCounter},
	PersistDamaged:      {Name: "trimq_persist_damaged_places", Help: "Damaged places of the commit log found since the start.", Kind: KindGauge},
	PersistDamagedRefs:  {Name: "trimq_persist_damaged_refs_total", Help: "References to stored messages that led to nothing that can be read.", Kind: KindCounter},

	PersistCompactions:      {Name: "trimq_persist_compactions_total", Help: "Passes of compaction over a partition that have changed something.", Kind: KindCounter},
	PersistCompactedRecords: {Name: "trimq_persist_compacted_records_total", Help: "Records removed by compaction.", Kind: KindCounter},
	PersistCompactedBytes:   {Name: "trimq_persist_compacted_bytes_total", Help: "Bytes of batches saved by compaction.", Kind: KindCounter},
	PersistPacks:            {Name: "trimq_persist_packs", Help: "Files of what compaction has kept.", Kind: KindGauge},
	PersistPackBytes:        {Name: "trimq_persist_pack_bytes", Help: "Size of what compaction has kept.", Kind: KindGauge},
}
