package kafkaconn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
)

// listResources asks for the list; the answer is the error code and, for each thing, its kind and its name.
func listResources(s *stub, version int16, kinds ...int8) string {
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = kinds
	resp := call1(s, version, req, kmsg.NewPtrListConfigResourcesResponse())
	parts := []string{fmt.Sprint(resp.ErrorCode)}
	for _, r := range resp.ConfigResources {
		parts = append(parts, fmt.Sprintf("%d:%s", r.Type, r.Name))
	}
	return strings.Join(parts, " ")
}

func TestListConfigResources(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	s.topic("b", 2)
	s.shares.settings = map[string][]admin.Setting{"g": {{Name: groupLock, Value: "2000"}}, "h": {{Name: groupReset, Value: resetEarliest}}}
	for _, row := range []struct {
		version int16
		kinds   []int8
		want    string
	}{
		{0, nil, "0"},
		{1, nil, "0 4:1 2:a 2:b 32:g 32:h"},
		{1, []int8{listedTopics}, "0 2:a 2:b"},
		{1, []int8{listedGroups}, "0 32:g 32:h"},
		{1, []int8{listedBrokers, listedLoggers, listedMetrics}, "0 4:1"},
		{1, []int8{listedBrokers, 1}, "35"},
	} {
		if got := listResources(s, row.version, row.kinds...); got != row.want {
			t.Errorf("version %d, kinds %v: %q, want %q", row.version, row.kinds, got, row.want)
		}
	}
	s.refuses = errcode.Unavailable
	if got := listResources(s, 1); got != fmt.Sprint(codeCoordinatorLoading) {
		t.Errorf("topics cannot be told: %q", got)
	}
}
