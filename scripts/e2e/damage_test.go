package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/damage"
	"github.com/trimq/trimq/shmqueue"
)

// wholesale is what the broker of the damage tests holds: messages enough for several segments of
// the log, a queue of which a part is done with, and checkpoints.
const wholesale = 900

// ruin is a stopped broker whose files come to harm, again and again, from the same beginnings.
type ruin struct {
	t     *testing.T
	b     *broker.Broker
	whole string // a copy of its data
}

func newRuin(t *testing.T) *ruin {
	r := &ruin{t: t, b: prepare(t, map[string]string{
		"segment_bytes": `"64Ki"`, "index_entries": "16", "checkpoint_events": "300", "checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`,
	}), whole: filepath.Join(t.TempDir(), "whole")}
	if err := r.b.Start(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, r.b)
	topicOf(t, c, "t", trimq.LevelDisk)
	for from := 0; from < wholesale; from += 25 {
		sendWide(t, c, from, from+25)
		if from == wholesale/2 {
			eventually(t, "two checkpoints", func() bool { return metric(t, r.b, "trimq_logic_checkpoints_total") >= 2 })
		}
	}
	if err := r.b.Signal("15"); err != nil {
		t.Fatal(err)
	}
	r.copy(r.b.Config.DataDir, r.whole)
	return r
}

// wide is a value that takes room, even compressed.
func wide(i int) string {
	s := rand.New(rand.NewPCG(uint64(i), 7))
	b := make([]byte, 400)
	for k := range b {
		b[k] = byte('a' + s.IntN(26))
	}
	return strconv.Itoa(i) + " " + string(b)
}

func sendWide(t *testing.T, c *trimq.Client, from, to int) {
	t.Helper()
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for i := from; i < to; i++ {
		err := p.Produce(testContext(t), &trimq.Message{Topic: "t", Value: []byte(wide(i))}, func(_ trimq.Result, err error) {
			failed = errors.Join(failed, err)
		})
		failed = errors.Join(failed, err)
	}
	if err := errors.Join(p.Close(testContext(t)), failed); err != nil {
		t.Fatal(err)
	}
}

func (r *ruin) copy(from, to string) {
	r.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		r.t.Fatalf("%v %s", err, out)
	}
}

// restore puts the data back as they were.
func (r *ruin) restore() {
	r.t.Helper()
	for _, dir := range []string{r.b.Config.DataDir, r.b.Config.LogDir} {
		if err := os.RemoveAll(dir); err != nil {
			r.t.Fatal(err)
		}
	}
	r.copy(r.whole, r.b.Config.DataDir)
}

// found is what reading the whole topic has given: each message is there, or its offset was told
// as damaged, or it is missing.
type found struct {
	read, told int
	missing    []int
	wrong      []string
}

func (r *ruin) readAll() (f found) {
	ctx, cancel := context.WithTimeout(testContext(r.t), 10*time.Second)
	defer cancel()
	c, err := trimq.Dial(ctx, []string{r.b.Addr})
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return f
	}
	defer c.Close(ctx)
	k, err := c.NewConsumer(ctx, []string{"t"})
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return f
	}
	defer k.Close(ctx)
	for next := 0; next < wholesale; {
		got, err := k.Poll(ctx)
		var at *trimq.PartitionError
		switch {
		case errors.As(err, &at):
			f.told++
			next = int(at.Offset) + 1
			if err := k.Seek(ctx, "t", 0, trimq.AtOffset(uint64(next))); err != nil {
				f.wrong = append(f.wrong, err.Error())
				return f
			}
			continue
		case err != nil:
			f.wrong = append(f.wrong, fmt.Sprintf("at %d: %v", next, err))
			return f
		}
		for _, m := range got.Records {
			for ; next < int(m.Offset); next++ {
				f.missing = append(f.missing, next)
			}
			if string(m.Value) != wide(next) {
				f.wrong = append(f.wrong, fmt.Sprintf("offset %d holds %.20q", m.Offset, m.Value))
			}
			next++
			f.read++
		}
		got.Release()
	}
	return f
}

// TestDamage harms each kind of file in each way. The broker starts, or says which file is the matter
// and what to do; it serves all that is whole, and of what is not it says so, to who reads and in
// its log; then the directory is repaired, and bears the closest look. TRIMQ_TEST_DAMAGE is how many
// rounds there are, of other seeds each.
func TestDamage(t *testing.T) {
	rounds, seed := 1, uint64(1)
	if text := os.Getenv("TRIMQ_TEST_DAMAGE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("TRIMQ_TEST_DAMAGE: %v", err)
		}
		rounds, seed = n, rand.Uint64N(1<<32)
	}
	r := newRuin(t)
	for i := range uint64(rounds) {
		for _, class := range []damage.Class{"log", "index", "checkpoint", "index-checkpoint", "marker", "identity"} {
			for _, kind := range damage.Kinds {
				rnd := rand.New(rand.NewPCG(seed+i, uint64(len(class))))
				r.restore()
				h, err := damage.Plan(r.b.Config.DataDir, class, kind, rnd)
				if errors.Is(err, damage.ErrNothing) {
					continue
				}
				if err == nil {
					err = h.Do(r.b.Config.DataDir)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Run(fmt.Sprintf("%d/%s/%s", seed+i, class, kind), func(t *testing.T) {
					t.Log(h)
					r.t = t
					r.suffer(h)
				})
				if r.t = t; t.Failed() {
					return
				}
			}
		}
	}
}

// suffer lets a broker with a harmed file start, serve, be repaired, and serve again.
func (r *ruin) suffer(h damage.Harm) {
	defer r.end()
	before, verified := r.verify()
	if err := r.b.Start(); err != nil {
		r.names(h, err.Error(), "repair", "restore it", "remove it")
		_ = r.b.Signal("15") // fails where no daemon was left
	} else {
		f := r.readAll()
		r.judge(f)
		if whole := f.read == wholesale; !whole {
			if verified {
				r.t.Errorf("%d of %d messages are there, and verify found nothing:\n%s", f.read, wholesale, before)
			}
			r.names(h, before)
			r.names(h, r.errorsLogged())
		}
		if out, err := r.b.Run("log", "repair", "--yes", r.b.Config.DataDir); err == nil || !strings.Contains(err.Error(), "a broker works on this data directory") {
			r.t.Errorf("repair beside a broker: %v %s", err, out)
		}
		r.halt()
	}
	if h.File == "broker.id" && h.Kind != damage.Remove { // as the message says
		if err := os.Remove(filepath.Join(r.b.Config.DataDir, h.File)); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
	}
	would, _ := r.b.Run("log", "repair", r.b.Config.DataDir)
	did, err := r.b.Run("log", "repair", "--yes", r.b.Config.DataDir)
	if err != nil {
		r.t.Fatalf("repair: %v", err)
	}
	if strings.Count(would, "would:") > strings.Count(did, "done:") {
		r.t.Errorf("it would do\n%s\nand did\n%s", would, did)
	}
	if err := r.b.Start(); err != nil {
		r.t.Fatalf("after the repair: %v\n%s", err, did)
	}
	r.judge(r.readAll())
	r.halt()
	if text, ok := r.verify(); !ok {
		r.t.Errorf("after the repair\n%s\n%s", did, text)
	}
}

// verify is `trimq log verify`; ok says that it found nothing wrong.
func (r *ruin) verify() (text string, ok bool) {
	text, err := r.b.Run("log", "verify", r.b.Config.DataDir)
	if err != nil {
		text += err.Error()
	}
	return text, err == nil
}

// names wants the harmed file, or its index, named in a text, and one of the words.
func (r *ruin) names(h damage.Harm, text string, words ...string) {
	r.t.Helper()
	name := h.File
	if strings.HasPrefix(name, "index/") {
		name = filepath.Dir(name)
	}
	if !strings.Contains(text, name) && (h.Other == "" || !strings.Contains(text, h.Other)) {
		r.t.Errorf("%s is not named in\n%s", name, text)
	}
	for _, w := range words {
		if strings.Contains(text, w) {
			return
		}
	}
	if len(words) > 0 {
		r.t.Errorf("none of %q is in\n%s", words, text)
	}
}

// judge wants no message lost without a word, and none changed.
func (r *ruin) judge(f found) {
	r.t.Helper()
	if len(f.missing) > 0 || len(f.wrong) > 0 {
		r.t.Errorf("%d messages are there, %d places told as damaged; missing without a word: %v; wrong: %v", f.read, f.told, f.missing, f.wrong)
	}
}

// errorsLogged are the lines of error in the log of persistsrv.
func (r *ruin) errorsLogged() string {
	text, err := os.ReadFile(logOf(r.b, "persistsrv"))
	if err != nil {
		r.t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=ERROR") {
			found.WriteString(line)
		}
	}
	return found.String()
}

// halt stops the broker in order.
func (r *ruin) halt() {
	r.t.Helper()
	if err := r.b.Signal("15"); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

// end ends whatever is left of it.
func (r *ruin) end() {
	if r.t.Failed() {
		r.t.Log(r.b.Logs())
	}
	if err := r.b.Cleanup(); err != nil {
		r.t.Error(err)
	}
}

// TestRepairGivesUpOnlyWhereToldTo: a damaged place that logicsrv would have to replay is not passed
// over. Repair says so, changes nothing by itself, and only if it is told to ends the log there.
func TestRepairGivesUpOnlyWhereToldTo(t *testing.T) {
	b := started(t, map[string]string{"segment_bytes": `"64Ki"`})
	dir := b.Config.DataDir
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelDisk)
	for from := 0; from < 300; from += 20 {
		send(t, c, "t", from, from+20)
	}
	if err := b.Signal("9"); err != nil { // no checkpoint
		t.Fatal(err)
	}
	out, err := b.Run("log", "dump", dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &ruin{t: t, b: b}
	lsn := strings.Count(out, "\nlsn=") / 2
	h := damage.Harm{Kind: damage.Flip, Bit: 3}
	for line := range strings.Lines(out) {
		var at, position int64
		if strings.HasPrefix(line, "commitlog/") {
			h.File = strings.TrimSpace(line)
		} else if n, _ := fmt.Sscanf(line, "lsn=%d position=%d", &at, &position); n == 2 && at == int64(lsn) {
			var base int64
			if _, err := fmt.Sscanf(filepath.Base(h.File), "%d.log", &base); err != nil {
				t.Fatal(err)
			}
			h.At = commitlog.SegmentHeaderSize + position - base + 20 // in its head
			break
		}
	}
	if err := h.Do(dir); err != nil {
		t.Fatal(err)
	}
	before := sums(t, dir)
	for _, args := range [][]string{{"log", "repair", dir}, {"log", "repair", "--give-up", dir}} {
		if out, err := b.Run(args...); err == nil || !strings.Contains(out+err.Error(), h.File) || !strings.Contains(out+err.Error(), fmt.Sprintf("lsn %d and all that follow", lsn)) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if after := sums(t, dir); after != before {
		t.Errorf("without --yes it has changed\n%s\ninto\n%s", before, after)
	}
	if out, err := b.Run("log", "repair", "--give-up", "--yes", dir); err != nil || !strings.Contains(out, "GIVEN UP") || !strings.Contains(out, commitlog.BeforeRepairDir) {
		t.Fatalf("%v\n%s", err, out)
	}
	for k := b.KeyBase; k < b.KeyBase+4; k++ { // as it says: the rings of the killed broker
		if err := shmqueue.Remove(k); err != nil {
			t.Error(err)
		}
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	c = dial(t, b)
	kept := endOf(t, c)
	if kept == 0 || kept >= 300 {
		t.Fatalf("%d messages are left", kept)
	}
	send(t, c, "t", kept, kept+50)
	expect(t, c, "t", kept+50)
	r.halt()
	if text, ok := r.verify(); !ok {
		t.Error(text)
	}
}

// endOf is how many messages the topic holds.
func endOf(t *testing.T, c *trimq.Client) int {
	t.Helper()
	topics, err := c.Topics(testContext(t), "t")
	if err != nil || len(topics) != 1 {
		t.Fatal(topics, err)
	}
	return int(topics[0].Partitions[0].Next)
}

// sums are the checksums of all files of the log, its indexes and checkpoints.
func sums(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", "cd "+dir+" && find . -type f -not -path './run/*' -not -path './log/*' -not -name LOCK | sort | xargs sha256sum").CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return string(out)
}
