package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// What clients see of a server that hands over again and again is what they see of one that does
// not.
func TestRestless(t *testing.T) {
	restless = true
	defer func() { restless = false }()
	for name, f := range map[string]func(*testing.T){
		"TestVerdictsOfABrokenConnection":         TestVerdictsOfABrokenConnection,
		"TestPushKeepsTheFrameLimit":              TestPushKeepsTheFrameLimit,
		"TestRandomBytes":                         TestRandomBytes,
		"TestOversizedFrame":                      TestOversizedFrame,
		"TestBatchThatCouldNotBeFetchedIsRefused": TestBatchThatCouldNotBeFetchedIsRefused,
		"TestWrongVersionAndMagic":                TestWrongVersionAndMagic,
		"TestByteByByte":                          TestByteByByte,
		"TestLargeBatchInPieces":                  TestLargeBatchInPieces,
		"TestHandshakeTimeout":                    TestHandshakeTimeout,
		"TestIdleTimeout":                         TestIdleTimeout,
		"TestSlowWriterIsClosed":                  TestSlowWriterIsClosed,
		"TestAuth":                                TestAuth,
		"TestDiskFull":                            TestDiskFull,
		"TestHalfClosedClientIsAnswered":          TestHalfClosedClientIsAnswered,
		"TestHalfClosedConsumerIsGone":            TestHalfClosedConsumerIsGone,
		"TestPartsForSlowConsumersAreBounded":     TestPartsForSlowConsumersAreBounded,
		"TestFetchWhatIsThere":                    TestFetchWhatIsThere,
		"TestFetchPatchesBaseOffsets":             TestFetchPatchesBaseOffsets,
		"TestLongPoll":                            TestLongPoll,
		"TestListOffsets":                         TestListOffsets,
		"TestQueueDeliveryAndVerdicts":            TestQueueDeliveryAndVerdicts,
		"TestEndlessCreditIsToldInSteps":          TestEndlessCreditIsToldInSteps,
		"TestLittleCreditOfLargeBatches":          TestLittleCreditOfLargeBatches,
		"TestPushOfParts":                         TestPushOfParts,
		"TestQueueOfParts":                        TestQueueOfParts,
		"TestPartsThatCannotBeCut":                TestPartsThatCannotBeCut,
		"TestPulls":                               TestPulls,
		"TestPullOfASlowClient":                   TestPullOfASlowClient,
		"TestFilteredQueue":                       TestFilteredQueue,
		"TestRecallIsTold":                        TestRecallIsTold,
		"TestTransactions":                        TestTransactions,
		"TestOwnersEndsAreTold":                   TestOwnersEndsAreTold,
		"TestLogicRestartOfQueues":                TestLogicRestartOfQueues,
		"TestHalfClosedPuller":                    TestHalfClosedPuller,
		"TestListOffsetsOfAQueue":                 TestListOffsetsOfAQueue,
		"TestBadQueueRequests":                    TestBadQueueRequests,
		"TestLogicRestart":                        TestLogicRestart,
		"TestOtherEpochIsDropped":                 TestOtherEpochIsDropped,
		"TestIndexGone":                           TestIndexGone,
		"TestConnClosedIsTold":                    TestConnClosedIsTold,
		"TestSubClosedUnasked":                    TestSubClosedUnasked,
		"TestHelloTellsTheLimits":                 TestHelloTellsTheLimits,
		"TestProduceSmallAndLarge":                TestProduceSmallAndLarge,
		"TestProducePipelined":                    TestProducePipelined,
		"TestCorruptBatches":                      TestCorruptBatches,
		"TestPublish":                             TestPublish,
		"TestControlCommands":                     TestControlCommands,
		"TestNoReply":                             TestNoReply,
	} {
		t.Run(name, f)
	}
}

// Frames that have come in part, however large, are taken in by whoever has the connection when the
// rest comes.
func TestHandOverInTheMiddleOfFrames(t *testing.T) {
	for _, loops := range []int{1, 2} {
		b := start(t, func(c *tier.Config) { c.EventLoops, c.DrainTimeoutMS = loops, 50 })
		large := native.AppendFrame(nil, native.CmdProduce, 0, 7, produceBody(1, makeBatch(1500, 250)))
		small := native.AppendFrame(nil, native.CmdProduce, 0, 7, produceBody(1, makeBatch(10, 10)))
		huge := makeBatch(500, 1000)
		for _, x := range []struct {
			frame []byte
			cuts  []int
		}{
			{small, []int{1, native.FrameHeaderSize - 1, native.FrameHeaderSize, 60, len(small) - 1}},
			{large, []int{20, native.FrameHeaderSize + native.ProduceSize, 40_000, 200_000, len(large) - 1}},
			{native.AppendFrame(nil, native.CmdProduce, 0, 7, produceBody(1, huge)), []int{300_000}},
		} {
			c := b.connect()
			sent := 0
			for _, cut := range x.cuts {
				c.write(x.frame[sent:cut])
				sent = cut
				b.handOver()
			}
			c.write(x.frame[sent:])
			if f := c.read(); f.Correlation != 7 || f.Flags&native.FlagError != 0 {
				t.Fatalf("%+v", f.Header)
			}
		}
		b.stub.set(func() {
			if got := b.stub.indexes[1].next; got != 1500+10+500 {
				t.Errorf("%d messages are stored", got)
			}
		})
		b.stop()
	}
}

// What waits to be sent to a client that does not read, in memory and in ranges of files, is sent
// by whoever has the connection when it does.
func TestHandOverOfUnreadOutput(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.ConnectionMemoryBytes = 1 << 20 })
	p := b.connect()
	for range 20 {
		p.produce(1, makeBatch(400, 1000))
		p.produce(2, makeBatch(100, 30)) // its base offsets are replaced: headers in memory between the ranges
	}
	_, want1 := p.fetch(native.Fetch{Index: 1, MaxBytes: 300 << 10})
	_, want2 := p.fetch(native.Fetch{Index: 2, MaxBytes: 300 << 10})
	c := b.connect()
	const rounds = 60
	for range rounds {
		c.send(native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 300 << 10})
		c.send(native.CmdFetch, &native.Fetch{Index: 2, MaxBytes: 300 << 10})
	}
	passed := 0
	for range 3 {
		b.HandOver()
		l := <-b.leaving
		passed = max(passed, len(l.fds))
		o := b.options
		o.Legacy = l.state
		b.run(o)
	}
	if passed < 4 { // a listener, two connections, and the segment
		t.Errorf("%d descriptors were passed on: no ranges waited, the test shows nothing", passed)
	}
	for i := range 2 * rounds {
		f := c.read()
		_, got, err := native.DecodeFetchReply(f.Body)
		must(t, err)
		if want := [][]byte{want1, want2}[i%2]; !bytes.Equal(got, want) {
			t.Fatalf("answer %d has %d bytes, want %d, or others", i, len(got), len(want))
		}
	}
	c.sync()
}

// Connections that wait for room in a full ring, and an answer to a Marker that has stopped there,
// go on behind the hand-over: nothing is lost, and nothing is there twice.
func TestHandOverWithAFullRing(t *testing.T) {
	for _, loops := range []int{1, 2} {
		b := start(t, func(c *tier.Config) { c.EventLoops, c.DrainTimeoutMS = loops, 50 })
		consumer := b.connect()
		consumer.call(native.CmdSubscribe, &native.Subscribe{Sub: 3, Index: 5, Limit: 9, Kind: native.SubQueue})
		b.stub.set(func() { b.stub.hold = true })
		const clients, each = 12, 3
		var all []*client
		for range clients {
			c := b.connect()
			all = append(all, c)
			go func() {
				for i := range each {
					c.conn.Write(native.AppendFrame(nil, native.CmdProduce, 0, uint64(i), produceBody(1, makeBatch(1000, 250))))
				}
			}()
		}
		b.until("the ring to be full", func() bool { return b.counter(shmqueue.ConnRingFull) > 0 })
		b.handOver()
		b.stub.set(func() { b.stub.put(ipc.TypeMarker, (&ipc.Marker{Term: 1, Ask: 2}).Append(nil)) })
		b.until("the Marker", func() bool { return b.counter(shmqueue.ConnMarkers) > uint64(loops) })
		b.handOver()
		b.handOver()
		b.stub.set(func() { b.stub.hold, b.stub.told, b.stub.ends = false, nil, 0 })
		for _, c := range all {
			seen := map[uint64]bool{}
			for range each {
				f := c.read()
				if f.Flags&native.FlagError != 0 || seen[f.Correlation] {
					t.Fatalf("%+v", f.Header)
				}
				seen[f.Correlation] = true
			}
		}
		b.stub.until("the answer to the Marker", func() bool { return b.stub.ends == loops })
		b.stub.set(func() {
			if n := b.stub.seen[ipc.TypeAppend]; n != clients*each {
				t.Errorf("%d batches came through, want %d", n, clients*each)
			}
			if len(b.stub.told) != 1 {
				t.Errorf("told %+v", b.stub.told)
			}
			if b.stub.seen[ipc.TypeHello] != 1 {
				t.Errorf("%d Hellos", b.stub.seen[ipc.TypeHello])
			}
		})
		b.stop()
	}
}

// Long polls end in their time, counted from when they began.
func TestHandOverKeepsDeadlines(t *testing.T) {
	b := start(t, nil)
	c, late := b.connect(), b.connect()
	c.send(native.CmdFetch, &native.Fetch{Index: 4, MaxBytes: 1000, MinBytes: 1, MaxWaitMS: 300})
	late.send(native.CmdPull, &native.Pull{Queue: 1, Max: 3, WaitMS: 300})
	b.stub.until("both", func() bool { return len(b.stub.waits) == 1 && len(b.stub.pulls) == 1 })
	for range 3 {
		b.handOver()
	}
	for _, x := range []*client{c, late} {
		if f := x.read(); f.Flags&native.FlagError != 0 {
			t.Errorf("%+v", f.Header)
		}
	}
}

// Another address is listened on behind a hand-over, if it can be had; else the old one stays.
func TestHandOverToAnotherAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, x := range []struct {
		address string
		moves   bool
	}{{"127.0.0.1:0", true}, {taken.Addr().String(), false}} {
		b := start(t, func(c *tier.Config) { c.Listen, c.DrainTimeoutMS = "localhost:0", 50 })
		c, before := b.connect(), b.Port()
		config := *b.config
		config.Listen = x.address
		b.options.Config = &config
		b.handOver()
		c.sync()
		b.connect().produce(1, makeBatch(1, 1))
		if moved := b.Port() != before; moved != x.moves {
			t.Errorf("from port %d to %d for %s", before, b.Port(), x.address)
		}
		old, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", before))
		if (err != nil) != x.moves {
			t.Errorf("the old address: %v", err)
		}
		if err == nil {
			old.Close()
		}
		b.stop()
	}
}

// What would keep another program from a start is found before anything is given up.
func TestCheck(t *testing.T) {
	c := tier.Default()
	must(t, Check(c))
	c.AuthSecretFile = "/does/not/exist"
	if err := Check(c); !errors.Is(err, tier.ErrUsage) {
		t.Error(err)
	}
	c = tier.Default()
	c.MaxFrameBytes = c.RingRequestBytes / 4
	if err := Check(c); !errors.Is(err, tier.ErrUsage) {
		t.Error(err)
	}
}
