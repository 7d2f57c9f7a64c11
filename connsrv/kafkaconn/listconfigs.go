package kafkaconn

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// Kinds of things that have a configuration, where the list of them is asked for. Clients' metrics and
// levels of loggers are known and belong to nothing here; of other kinds Kafka knows no list.
const (
	listedTopics  = int8(kmsg.ConfigResourceTypeTopic)
	listedBrokers = int8(kmsg.ConfigResourceTypeBroker)
	listedLoggers = int8(kmsg.ConfigResourceTypeBrokerLogger)
	listedMetrics = int8(kmsg.ConfigResourceTypeClientMetrics)
	listedGroups  = int8(kmsg.ConfigResourceTypeGroupConfig)
)

var listedKinds = []int8{listedTopics, listedBrokers, listedLoggers, listedMetrics, listedGroups}

// listConfigResources lists what has a configuration: of the kinds that are asked for, or of all.
// Version 0 asks for clients' metrics alone.
func (c *Conn) listConfigResources(k *call, m *kmsg.ListConfigResourcesRequest) {
	resp, kinds := kmsg.NewPtrListConfigResourcesResponse(), m.ResourceTypes
	switch {
	case m.Version == 0:
		kinds = []int8{listedMetrics}
	case len(kinds) == 0:
		kinds = listedKinds
	}
	for _, kind := range kinds {
		if !slices.Contains(listedKinds, kind) {
			resp.ErrorCode = codeUnsupportedVersion
			c.finish(k, resp)
			return
		}
	}
	if slices.Contains(kinds, listedBrokers) {
		addResource(resp, listedBrokers, strconv.Itoa(nodeID))
	}
	c.listConfigured(k, kinds, resp)
}

// listConfigured adds topics and groups.
func (c *Conn) listConfigured(k *call, kinds []int8, resp *kmsg.ListConfigResourcesResponse) {
	groups := func() {
		if !slices.Contains(kinds, listedGroups) {
			c.finish(k, resp)
			return
		}
		c.describe(k, admin.Describe{Kind: admin.KindGroupConfig}, func(d *admin.Description) {
			for i := range d.Configs {
				addResource(resp, listedGroups, d.Configs[i].Group)
			}
		}, func(err error) { c.finishResources(k, resp, err) })
	}
	if !slices.Contains(kinds, listedTopics) {
		groups()
		return
	}
	c.describeTopics(k, nil, func(list []admin.TopicInfo, err error) {
		if err != nil {
			c.finishResources(k, resp, err)
			return
		}
		for i := range list {
			addResource(resp, listedTopics, list[i].Name)
		}
		groups()
	})
}

// finishResources answers, with the error if there was one.
func (c *Conn) finishResources(k *call, resp *kmsg.ListConfigResourcesResponse, err error) {
	if resp.ErrorCode = codeOf(err); err != nil {
		resp.ConfigResources = nil
	}
	c.finish(k, resp)
}

// addResource adds one thing.
func addResource(resp *kmsg.ListConfigResourcesResponse, kind int8, name string) {
	r := kmsg.NewListConfigResourcesResponseConfigResource()
	r.Type, r.Name = kind, name
	resp.ConfigResources = append(resp.ConfigResources, r)
}
