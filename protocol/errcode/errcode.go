package errcode

// Code is a typed error as clients see it. Codes are part of the protocol: never renumber.
type Code uint16

const (
	OK                  Code = 0
	Internal            Code = 1 // our fault; the request may be tried again
	Malformed           Code = 2 // a frame or body that cannot be decoded
	UnsupportedVersion  Code = 3
	UnsupportedCommand  Code = 4
	FrameTooLarge       Code = 5
	WindowExceeded      Code = 6 // more requests in flight than negotiated
	AuthRequired        Code = 7
	AuthFailed          Code = 8
	TooManyConnections  Code = 9
	ShuttingDown        Code = 10
	InvalidArgument     Code = 11
	NotFound            Code = 12 // exchange, queue, topic, binding or group of this name
	UnknownIndex        Code = 13 // index id that is no queue or partition (any longer)
	AlreadyExists       Code = 14
	Inequivalent        Code = 15 // exists with other properties
	InUse               Code = 16
	NotEmpty            Code = 17
	CorruptBatch        Code = 18 // CRC does not match
	InvalidBatch        Code = 19
	BatchTooLarge       Code = 20
	OffsetOutOfRange    Code = 21
	OutOfOrderSequence  Code = 22
	ProducerFenced      Code = 23
	UnknownProducer     Code = 24
	Unroutable          Code = 25
	DiskFull            Code = 26 // appends are refused until there is room
	Unavailable         Code = 27 // a tier is restarting and the request was not taken
	Timeout             Code = 28
	AccessRefused       Code = 29
	LimitExceeded       Code = 30
	UnknownSubscription Code = 31
	Damaged             Code = 32 // stored data failed its check
	Locked              Code = 33 // an exclusive queue of another connection
	LeaseExpired        Code = 34 // the message has come back, or is done with
	QueueFull           Code = 35 // a queue that takes no more has not taken the message
	UnknownTxn          Code = 36 // a transaction that has ended, or never was
	TxnEnded            Code = 37 // a transaction that has ended otherwise than is asked for now
	NeedHeaders         Code = 90 // a message was published without its headers, and they are looked at: again with them
)
