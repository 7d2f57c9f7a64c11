package errcode

// Codes of transactional producers; numbers from 80 on are theirs.
const (
	TxnalUnknown      Code = 80 // no such transactional id, or it has another producer id
	TxnalFenced       Code = 81 // another producer has begun under the transactional id
	TxnState          Code = 82 // not in the present state of the transaction
	InvalidTxnTimeout Code = 83
)
