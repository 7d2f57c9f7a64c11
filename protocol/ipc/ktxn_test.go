package ipc

// txnalCodecs lists the records of transactional producers.
func txnalCodecs() []codec {
	const txnalLayout = "id:s producer:8 producerEpoch:2 "
	by := Txnal{"shop-1", 77, 3}
	return []codec{
		withBatch("append_txnal", headLayout+"index:8 "+metaLayout+"batch.epoch:2 level:1 txnal:1 zero:4 txn:8 "+batchLayout,
			Append{head, 9, LevelUnset, 0, meta, TxnalJoins}, "hello batch", DecodeAppend),
		record("init_txnal", headLayout+"id:s timeoutMS:4 producer:8 producerEpoch:2", InitTxnal{head, "shop-1", 60_000, -1, -1}, DecodeInitTxnal),
		record("txn_add", headLayout+txnalLayout+"group:s parts:v index:8 start:8 index:8 start:8",
			TxnAdd{head, by, "", []TxnPart{{9, 100}, {10, 0}}}, DecodeTxnAdd),
		record("txn_add_group", headLayout+txnalLayout+"group:s parts:v", TxnAdd{head, by, "g", nil}, DecodeTxnAdd),
		record("txn_offsets", headLayout+txnalLayout+"group:s member:s instance:s generation:4 joins:1 "+offsLayout,
			TxnOffsets{head, by, "g", "m", "i", 5, true, commits}, DecodeTxnOffsets),
		record("txn_finish", headLayout+txnalLayout+"commit:1 bump:1", TxnFinish{head, by, true, false}, DecodeTxnFinish),
		record("wait_stable", headLayout+"index:8 beyond:8 from:8", WaitStable{head, 9, 1000, 900}, DecodeWaitStable),
		record("stable", headLayout+"index:8 end:8 stable:8 from:8 to:8 aborted:v producer:8 first:8 last:8",
			Stable{head, 9, 1003, 1001, 900, 1001, []AbortedTxn{{77, 910, 950}}}, DecodeStable),
	}
}
