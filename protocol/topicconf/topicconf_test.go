package topicconf

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/ipc"
)

// TestKeys: they are in order, and take their defaults.
func TestKeys(t *testing.T) {
	list := Keys()
	for i, k := range list {
		if i > 0 && k.Name <= list[i-1].Name || Find(k.Name) == nil || Find(k.Name).Name != k.Name {
			t.Errorf("%s is not found, or out of order", k.Name)
		}
		if err := k.Check(k.Default); err != nil {
			t.Error(err)
		}
		if k.Check(strings.Repeat("1", maxValue+1)) == nil {
			t.Errorf("%s takes a value without bound", k.Name)
		}
	}
	if Find("no.such.key") != nil || Find("") != nil {
		t.Error("a key is found that is none")
	}
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		key, values string // good ones, then, behind a bar, bad ones
	}{
		{CleanupPolicy, "delete compact compact,delete delete,compact|shred , compact,shred"},
		{RetentionMS, "-1 0 1 9223372036854775807|-2 soon 1.5 9223372036854775808"},
		{MaxMessageBytes, "0 1 2147483647|-1 2147483648"},
		{TimestampType, "CreateTime LogAppendTime|createtime now"},
		{DirtyRatio, "0 0.5 1 1e-3|-0.1 1.1 NaN half"},
		{MinInSync, "1 2|0 -1"},
		{"preallocate", "true false TRUE|yes"},
		{CompressionType, "producer gzip snappy lz4 zstd|uncompressed none"},
		{"compression.gzip.level", "-1 0 9|-2 10"},
		{"compression.zstd.level", "-131072 3 22|23"},
		{"segment.bytes", "14 1073741824|13 0"},
		{"unclean.leader.election.enable", "true false|2"},
		{"remote.storage.enable", "false|true"},
	} {
		good, bad, _ := strings.Cut(row.values, "|")
		for _, v := range strings.Fields(good) {
			if err := Find(row.key).Check(v); err != nil {
				t.Error(err)
			}
		}
		for _, v := range append(strings.Fields(bad), " ") {
			if err := Find(row.key).Check(v); err == nil || !strings.Contains(err.Error(), row.key) {
				t.Errorf("%s = %q: %v", row.key, v, err)
			}
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	for _, row := range []struct {
		changes []Change
		want    string
	}{
		{[]Change{{Set, "no.such.key", "1"}}, "no.such.key is no key"},
		{[]Change{{Unset, "no.such.key", ""}}, "no.such.key is no key"},
		{[]Change{{Append, RetentionMS, "1"}}, "retention.ms is no list"},
		{[]Change{{Append, CleanupPolicy, "shred"}}, "want compact"},
		{[]Change{{Set, RetentionMS, "1"}, {Unset, RetentionMS, ""}}, "changed twice"},
		{[]Change{{9, RetentionMS, "1"}}, "operation 9"},
	} {
		was := []ipc.Header{{Key: RetentionBytes, Value: "5"}}
		if got, err := Apply(was, false, row.changes); err == nil || !strings.Contains(err.Error(), row.want) || got != nil || was[0].Value != "5" {
			t.Errorf("%v: %v, %v", row.changes, got, err)
		}
	}
}

// TestApply: whatever is changed, the result is what a map would say, sound, and the list before it
// stays as it is.
func TestApply(t *testing.T) {
	values := map[string][]string{
		RetentionMS: {"-1", "0", "77"}, RetentionBytes: {"5"}, MaxMessageBytes: {"9"}, CleanupPolicy: {"compact", "delete", "compact,delete"},
		TimestampType: {LogAppendTime}, "segment.bytes": {"1000"},
	}
	names := []string{RetentionMS, RetentionBytes, MaxMessageBytes, CleanupPolicy, TimestampType, "segment.bytes"}
	rapid.Check(t, func(rt *rapid.T) {
		var list []ipc.Header
		model := map[string]string{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			key := rapid.SampledFrom(names).Draw(rt, "key")
			value := rapid.SampledFrom(values[key]).Draw(rt, "value")
			g := Change{rapid.SampledFrom([]Op{Set, Set, Unset}).Draw(rt, "op"), key, value}
			replace := rapid.IntRange(0, 5).Draw(rt, "replace") == 0
			before := slices.Clone(list)
			next, err := Apply(list, replace, []Change{g})
			if err != nil || !slices.Equal(before, list) || !Sound(next) {
				rt.Fatalf("%v of %v: %v, %v", g, before, next, err)
			}
			if list = next; replace {
				clear(model)
			}
			if model[key] = value; g.Op == Unset {
				delete(model, key)
			}
			for _, name := range names {
				want, set := model[name]
				if IsSet(list, name) != set || set && Value(list, name) != want || !set && Value(list, name) != Find(name).Default {
					rt.Fatalf("%s is %q in %v, not %q", name, Value(list, name), list, want)
				}
			}
		}
	})
}

func TestRead(t *testing.T) {
	set := func(pairs ...string) Settings {
		var changes []Change
		for i := 0; i < len(pairs); i += 2 {
			changes = append(changes, Change{Set, pairs[i], pairs[i+1]})
		}
		list, err := Apply(nil, false, changes)
		if err != nil {
			t.Fatal(err)
		}
		return Read(list)
	}
	day := int64(86400000)
	byDefault := Settings{MaxMessageBytes: -1, MaxPastMS: 1<<63 - 1, MaxFutureMS: 1<<63 - 1, Delete: true, TombstoneMS: day, MaxLagMS: 1<<63 - 1, DirtyPPM: 500000, ClosingMS: 7 * day, ClosingBytes: 1 << 30}
	if got := set(); got != byDefault {
		t.Errorf("%+v", got)
	}
	if got := set(TimestampBefore, "0", TimestampAfter, "9"); got.MaxPastMS != 0 || got.MaxFutureMS != 9 || !got.LimitsTime() || byDefault.LimitsTime() {
		t.Errorf("%+v", got)
	}
	if got := set(TimestampBefore, "0", TimestampType, LogAppendTime); got.LimitsTime() {
		t.Errorf("%+v", got)
	}
	if got := set(RetentionMS, "0", RetentionBytes, "-1"); got.RetentionMS != 1 || got.RetentionBytes != 0 {
		t.Errorf("%+v", got)
	}
	if got := set(RetentionMS, "5", CleanupPolicy, Compact); got.RetentionMS != 0 || !got.Compact || got.Delete {
		t.Errorf("%+v", got)
	}
	if got := set(RetentionMS, "5", CleanupPolicy, ""); got.RetentionMS != 0 || got.Compact || got.Delete {
		t.Errorf("with an empty policy: %+v", got)
	}
	got := set(RetentionMS, "5", CleanupPolicy, "compact,delete", MaxMessageBytes, "0", TimestampType, LogAppendTime, DirtyRatio, "0.01")
	if got.RetentionMS != 5 || !got.Compact || !got.Delete || got.MaxMessageBytes != 0 || !got.LogAppendTime || got.DirtyPPM != 10000 {
		t.Errorf("%+v", got)
	}
}

func TestSoundAndText(t *testing.T) {
	good := []ipc.Header{{Key: MaxMessageBytes, Value: "5"}, {Key: RetentionMS, Value: "6"}}
	if !Sound(nil) || !Sound(good) || Text(good) != "max.message.bytes=5, retention.ms=6" || Text(nil) != "as by default" {
		t.Error(Text(good), Text(nil))
	}
	for _, bad := range [][]ipc.Header{
		{good[1], good[0]}, {good[0], good[0]}, {{Key: "x", Value: "1"}}, {{Key: RetentionMS, Value: "x"}},
	} {
		if Sound(bad) {
			t.Errorf("%v is sound", bad)
		}
	}
}
