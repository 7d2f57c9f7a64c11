package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
)

// fakeSender answers every message at once, as its verdict says.
type fakeSender struct {
	verdict func(n int) (trimq.Result, error, bool) // false: no answer at all
	refuse  int                                     // Produce fails from this message on; 0: never
	got     [][]byte
	tags    []uint64
}

func (f *fakeSender) Produce(ctx context.Context, m *trimq.Message, done func(trimq.Result, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := len(f.got)
	if f.refuse > 0 && n >= f.refuse {
		return trimq.ErrClosed
	}
	f.got = append(f.got, bytes.Clone(m.Value))
	f.tags = append(f.tags, m.Tag)
	r, err, answer := f.verdict(n)
	r.Tag = m.Tag
	if answer {
		done(r, err)
	}
	return nil
}

func (f *fakeSender) Flush(context.Context) error { return nil }

func newLoad(f *fakeSender, quota int64) *load {
	return &load{send: f, gen: newGenerator(1, 0, 250), topic: "t", began: time.Now(), quota: quota, sample: 10, acks: newLatencies()}
}

func TestFloodCountsWhatBecameOfEachMessage(t *testing.T) {
	f := &fakeSender{verdict: func(n int) (trimq.Result, error, bool) {
		switch {
		case n == 5:
			return trimq.Result{}, errors.New("refused"), true
		case n == 6:
			return trimq.Result{}, nil, false
		}
		return trimq.Result{Duplicate: n == 7}, nil, true
	}}
	l := newLoad(f, 100)
	l.flood(context.Background())
	b := &bench{s: &settings{}, report: &Report{}, loads: []*load{l}}
	b.countLoads()
	r := b.report
	if r.Messages != 100 || r.Acknowledged != 98 || r.Failed != 1 || r.Lost != 1 || r.Resent != 1 || r.Error != "refused" || r.sound() {
		t.Fatalf("%+v", r)
	}
	if r.AckLatency.Samples != 10 {
		t.Fatalf("%d samples, one in ten of 98 asked for", r.AckLatency.Samples)
	}
	var x texts
	for i, m := range f.got {
		if n, ok := x.number(m); !ok || n != uint64(i) {
			t.Fatalf("message %d has number %d, %v", i, n, ok)
		}
	}
}

func TestFloodStops(t *testing.T) {
	ok := func(int) (trimq.Result, error, bool) { return trimq.Result{}, nil, true }
	f := &fakeSender{verdict: ok, refuse: 7}
	l := newLoad(f, 100)
	l.flood(context.Background())
	if l.sent != 7 || !errors.Is(l.err, trimq.ErrClosed) {
		t.Fatalf("%d sent, %v", l.sent, l.err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l = newLoad(&fakeSender{verdict: ok}, 100)
	l.flood(ctx)
	b := &bench{s: &settings{}, report: &Report{}, loads: []*load{l}}
	b.countLoads()
	if b.report.Messages != 0 || b.report.Stopped != "interrupted" || b.report.Error != "" {
		t.Fatalf("%+v", b.report)
	}
}

// Tags and times follow the schedule, whatever the clock did meanwhile.
func TestPaceFollowsTheSchedule(t *testing.T) {
	f := &fakeSender{verdict: func(int) (trimq.Result, error, bool) { return trimq.Result{}, nil, true }}
	l := newLoad(f, 50)
	l.pace(context.Background(), 10000, 300*time.Microsecond)
	if l.sent != 50 || l.acked.Load() != 50 || l.acks.h.TotalCount() != 50 {
		t.Fatalf("%d sent, %d acknowledged, %d timed", l.sent, l.acked.Load(), l.acks.h.TotalCount())
	}
	for n := range 50 {
		due := 300*time.Microsecond + time.Duration(n)*100*time.Microsecond
		if f.tags[n] != uint64(due)+1 || timeOf(f.got[n]) != l.began.UnixNano()+int64(due) {
			t.Fatalf("message %d: tag %d, time %d; due %d", n, f.tags[n], timeOf(f.got[n]), due)
		}
	}
	if took := time.Since(l.began); took < 5200*time.Microsecond {
		t.Fatalf("50 messages at 10,000/s took %v", took)
	}
}

// fakePoller gives fetches, then waits for ctx.
type fakePoller struct {
	fetches []*trimq.Fetch
	fail    error
	commits int
}

func (p *fakePoller) Poll(ctx context.Context) (*trimq.Fetch, error) {
	if len(p.fetches) == 0 {
		if p.fail != nil {
			return nil, p.fail
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f := p.fetches[0]
	p.fetches = p.fetches[1:]
	return f, nil
}
func (p *fakePoller) Commit(context.Context) error { p.commits++; return nil }
func (p *fakePoller) CommitAsync(done func(error)) { p.commits++; done(errors.New("commit refused")) }
func (p *fakePoller) Close(context.Context) error  { return nil }

func fetchOf(g *generator, partition uint32, offset uint64, count int) *trimq.Fetch {
	f := &trimq.Fetch{Partition: partition}
	for i := range count {
		f.Records = append(f.Records, trimq.Record{Offset: offset + uint64(i), Value: bytes.Clone(g.next(time.Now().UnixNano()))})
	}
	return f
}

func TestIntakeEndsAtItsGoal(t *testing.T) {
	g := newGenerator(1, 0, 250)
	ctx, cancel := context.WithCancel(context.Background())
	goal := &goal{reached: cancel}
	goal.want.Store(130)
	p := &fakePoller{fetches: []*trimq.Fetch{fetchOf(g, 0, 100, 10), fetchOf(g, 0, 110, 20)}}
	in := newIntake(p, goal, commitSync, true)
	in.whole = true // retention dropped 100, so 30 are wanted
	in.run(ctx)
	if in.problem() != nil || in.book.messages != 30 || in.commits != 2 || p.commits != 2 || in.e2e.TotalCount() != 30 {
		t.Fatalf("%d messages, %d commits, %v", in.book.messages, p.commits, in.problem())
	}
}

func TestIntakeReportsErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      *fakePoller
		commit string
		want   string
	}{
		{"poll", &fakePoller{fail: errors.New("broken")}, commitNone, "poll: broken"},
		{"commit", &fakePoller{fetches: []*trimq.Fetch{fetchOf(newGenerator(1, 0, 250), 0, 0, 1)}}, commitAsync, "commit: commit refused"},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		goal := &goal{reached: cancel}
		goal.want.Store(1)
		in := newIntake(c.p, goal, c.commit, false)
		in.run(ctx)
		if err := in.problem(); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// receive gives up when nothing comes, and says so.
func TestReceiveGivesUpWhenIdle(t *testing.T) {
	b := &bench{s: &settings{idle: 150 * time.Millisecond}, report: &Report{}}
	goal := &goal{reached: func() {}}
	goal.want.Store(10)
	b.takes = []*intake{newIntake(&fakePoller{}, goal, commitNone, false)}
	b.receive(context.Background(), goal)
	if !strings.HasPrefix(b.report.Stopped, "nothing came") {
		t.Fatalf("%+v", b.report)
	}
}

func TestReportForms(t *testing.T) {
	r := &Report{Mode: modeE2E, Topic: "t", Partitions: 1, Producers: 1, Consumers: 1, Level: "page", Codec: "none", Messages: 10, Acknowledged: 10, Received: 10}
	r.AckLatency = &Percentiles{Samples: 1, P50: 7}
	r.Processes = []usage.Process{{Name: usage.ClientName, PID: 1, CPUSeconds: 0.5, PeakBytes: 3 << 20}}
	r.finish(10, 2500, 0.5)
	if r.Rate != 20 || r.MBPerSec != 0 || !r.sound() {
		t.Fatalf("%+v", r)
	}
	var text, js bytes.Buffer
	if err := r.writeTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"acknowledged", "20 msg/s", "p50 7,", "client", "0.50 s CPU, peak 3.0 MiB"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := r.writeJSON(&js); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"messages", "acknowledged", "lost", "seconds", "rate", "ack_latency_us", "processes"} {
		if _, ok := back[key]; !ok {
			t.Errorf("no %q in %s", key, js.String())
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"produce extra", "is no flag"},
		{"produce --level fast", "--level"},
		{"produce --codec gzip", "--codec"},
		{"produce --size 5", "--size 5: from 128"},
		{"produce --producers 0", "--producers"},
		{"produce --topic=", "--topic is empty"},
		{"consume --commit maybe", "--commit"},
		{"rate --rate -1", "--rate"},
		{"produce --addr 127.0.0.1:1 --drain 50ms --count 1", "dial"},
		{"consume --no-such-flag", "no-such-flag"},
	} {
		app := newApp()
		var out bytes.Buffer
		app.Writer, app.ErrWriter = &out, &out
		err := app.Run(append([]string{"mq_perf"}, strings.Fields(c.args)...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestDoneAllocatesNothing(t *testing.T) {
	l := newLoad(nil, 1)
	if n := testing.AllocsPerRun(100, func() { l.done(trimq.Result{Tag: 1}, nil) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
