package kafkaconn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// What Kafka calls the configuration of groups. logicsrv keeps it as text; here is known what it
// means, and what it is where nobody has said.

// groupConfig is one key.
type groupConfig struct {
	name     string
	kind     kmsg.ConfigType
	standard string
	check    func(value string) bool
	want     string // what values there are, for people
}

// Keys of groups that are looked at here.
const (
	groupReset     = "share.auto.offset.reset"
	groupIsolation = "share.isolation.level"
	groupLock      = "share.record.lock.duration.ms"
	groupLimit     = "share.delivery.count.limit"
)

// Where a share group begins, but for by_duration:….
const (
	resetEarliest = "earliest"
	resetLatest   = "latest"
	resetDuration = "by_duration:"
)

// The isolation of share groups: whether their members see what aborted transactions have written.
const (
	isolationUncommitted = "read_uncommitted"
	isolationCommitted   = "read_committed"
)

var groupConfigs = []groupConfig{
	{
		name: groupReset, kind: kmsg.ConfigTypeString, standard: resetLatest, want: "earliest, latest, or by_duration: and a duration as PT24H",
		check: func(v string) bool {
			_, ok := parseDuration(strings.TrimPrefix(v, resetDuration))
			return v == resetEarliest || v == resetLatest || strings.HasPrefix(v, resetDuration) && ok
		},
	},
	{
		name: admin.SettingHeartbeatMS, kind: kmsg.ConfigTypeInt, standard: "5000", want: "100 to 60000",
		check: between(100, 60_000),
	},
	{
		name: groupIsolation, kind: kmsg.ConfigTypeString, standard: isolationUncommitted, want: isolationUncommitted + " or " + isolationCommitted,
		check: func(v string) bool { return v == isolationUncommitted || v == isolationCommitted },
	},
	{
		name: groupLimit, kind: kmsg.ConfigTypeInt, standard: "5", want: "2 to 10",
		check: between(2, 10),
	},
	{
		name: groupLock, kind: kmsg.ConfigTypeInt, standard: "30000", want: "1000 to 3600000",
		check: between(1000, 3_600_000),
	},
	{
		name: admin.SettingSessionMS, kind: kmsg.ConfigTypeInt, standard: "45000", want: "1000 to 3600000",
		check: between(1000, 3_600_000),
	},
}

// between checks a number.
func between(least, most int64) func(string) bool {
	return func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && n >= least && n <= most
	}
}

// parseDuration reads a duration as ISO 8601 writes it, in days and less: P2DT3H4M5.6S.
func parseDuration(text string) (time.Duration, bool) {
	rest, ok := strings.CutPrefix(text, "P")
	if !ok || rest == "" {
		return 0, false
	}
	days, clock, timed := strings.Cut(rest, "T")
	sum := time.Duration(0)
	if days != "" {
		n, err := strconv.ParseUint(strings.TrimSuffix(days, "D"), 10, 16)
		if err != nil || !strings.HasSuffix(days, "D") {
			return 0, false
		}
		sum = time.Duration(n) * 24 * time.Hour
	}
	if timed {
		d, err := time.ParseDuration(strings.ToLower(clock))
		if err != nil || d < 0 || strings.ContainsAny(clock, "NUµ") || strings.Contains(clock, "MS") {
			return 0, false
		}
		sum += d
	}
	return sum, sum >= 0
}

// shareSettings are what a share group's members are served by.
type shareSettings struct {
	lockMS uint64
	reset  string
	limit  uint64 // how often a message may be given, in a queue that is made now

	committed bool // what was aborted is passed over
}

// shareSettingsOf reads settings; what cannot be read is as if nobody had said it.
func shareSettingsOf(list []admin.Setting) shareSettings {
	s := shareSettings{}
	for i := range groupConfigs {
		g := &groupConfigs[i]
		switch value := g.valueIn(list); g.name {
		case groupReset:
			s.reset = value
		case groupLock:
			s.lockMS, _ = strconv.ParseUint(value, 10, 64)
		case groupIsolation:
			s.committed = value == isolationCommitted
		case groupLimit:
			s.limit, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return s
}

// valueIn is the value of a key among the settings of a group.
func (g *groupConfig) valueIn(list []admin.Setting) string {
	for _, s := range list {
		if s.Name == g.name && g.check(s.Value) {
			return s.Value
		}
	}
	return g.standard
}

// groupConfigAt finds a key.
func groupConfigAt(name string) *groupConfig {
	if i := slices.IndexFunc(groupConfigs, func(g groupConfig) bool { return g.name == name }); i >= 0 {
		return &groupConfigs[i]
	}
	return nil
}

// setGroupConfig adds a change to a command; the text says why there can be none. No value: the key
// is to be what it is where nobody has said.
func setGroupConfig(m *admin.SetGroup, name string, value *string) (refusal string) {
	switch g := groupConfigAt(name); {
	case g == nil:
		return fmt.Sprintf("%s is not known here", name)
	case value == nil:
		m.Unset = append(m.Unset, name)
	case !g.check(*value):
		return fmt.Sprintf("%s = %q: want %s", name, *value, g.want)
	default:
		m.Set = append(m.Set, admin.Setting{Name: name, Value: *value})
	}
	return ""
}

// groupSettings asks for the settings of groups, by name.
func (c *Conn) groupSettings(k *call, names []string, then func(of map[string][]admin.Setting, err error)) {
	of := map[string][]admin.Setting{}
	if len(names) == 0 {
		then(of, nil)
		return
	}
	c.describe(k, admin.Describe{Kind: admin.KindGroupConfig, Names: names}, func(d *admin.Description) {
		for i := range d.Configs {
			of[d.Configs[i].Group] = d.Configs[i].Settings
		}
	}, func(err error) { then(of, err) })
}

// groupsIn lists the groups whose configuration is asked for.
func groupsIn(m *kmsg.DescribeConfigsRequest) (names []string) {
	for i := range m.Resources {
		if r := &m.Resources[i]; r.ResourceType == kmsg.ConfigResourceTypeGroupConfig && r.ResourceName != "" {
			names = append(names, r.ResourceName)
		}
	}
	return names
}

// describedGroup describes a group: what it has of its own and, but for that, what every group has.
func describedGroup(
	m *kmsg.DescribeConfigsRequest, ask *kmsg.DescribeConfigsRequestResource, of map[string][]admin.Setting, err error,
) kmsg.DescribeConfigsResponseResource {
	r := kmsg.NewDescribeConfigsResponseResource()
	r.ResourceType, r.ResourceName = ask.ResourceType, ask.ResourceName
	switch {
	case ask.ResourceName == "":
		r.ErrorCode, r.ErrorMessage = codeInvalidRequest, kmsg.StringPtr("a group has a name")
	case err != nil:
		r.ErrorCode, r.ErrorMessage = codeOf(err), textOf(err)
	default:
		r.Configs = describedSettings(of[ask.ResourceName], ask.ConfigNames, m.IncludeSynonyms)
	}
	return r
}

// describedSettings lists the keys that are asked for; names nil: all.
func describedSettings(list []admin.Setting, names []string, synonyms bool) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	for i := range groupConfigs {
		g := &groupConfigs[i]
		if names != nil && !slices.Contains(names, g.name) {
			continue
		}
		d := kmsg.NewDescribeConfigsResponseResourceConfig()
		value := g.valueIn(list)
		d.Name, d.Value, d.ConfigType, d.Source = g.name, &value, g.kind, kmsg.ConfigSourceDefaultConfig
		d.IsDefault = !slices.ContainsFunc(list, func(s admin.Setting) bool { return s.Name == g.name })
		if !d.IsDefault {
			d.Source = configSourceGroup
		}
		if synonyms {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Value, s.Source = g.name, &value, d.Source
			d.ConfigSynonyms = append(d.ConfigSynonyms, s)
		}
		out = append(out, d)
	}
	return out
}

// configSourceGroup says that a value is that of the group itself.
const configSourceGroup = kmsg.ConfigSourceGroupConfig
