package kafkaconn

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Features are what clusters of Kafka can be told to do or not to do, at which levels (KIP-584). Here they are as they
// are: at the highest level that is known, and to be had at no other.

// feature is one of them.
type feature struct {
	name     string
	min, max int16
}

var features = []feature{
	{"group.version", 0, 1},       // KIP-848
	{"share.version", 0, 1},       // KIP-932
	{"transaction.version", 0, 2}, // KIP-890
}

// appendFeatures tells of the features. Clients before version 4 do not bear one that begins at level 0.
func appendFeatures(resp *kmsg.ApiVersionsResponse, version int16) {
	resp.FinalizedFeaturesEpoch = 1
	for _, f := range features {
		if version >= 4 {
			supported := kmsg.NewApiVersionsResponseSupportedFeature()
			supported.Name, supported.MinVersion, supported.MaxVersion = f.name, f.min, f.max
			resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		}
		finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
		finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = f.name, f.max, f.max
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalized)
	}
}

// updateFeatures: what is to stay as it is stays so; everything else is refused.
func (c *Conn) updateFeatures(k *call, m *kmsg.UpdateFeaturesRequest) {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	for i := range m.FeatureUpdates {
		r := kmsg.NewUpdateFeaturesResponseResult()
		r.Feature = m.FeatureUpdates[i].Feature
		if text := refusedFeature(&m.FeatureUpdates[i]); text != "" {
			r.ErrorCode, r.ErrorMessage = codeInvalidUpdate, &text
			if m.Version >= 2 && resp.ErrorCode == codeNone { // all of them or none
				resp.ErrorCode, resp.ErrorMessage = r.ErrorCode, &text
			}
		}
		resp.Results = append(resp.Results, r)
	}
	c.finish(k, resp)
}

// refusedFeature is why a feature cannot be had at a level; empty: it is at that.
func refusedFeature(m *kmsg.UpdateFeaturesRequestFeatureUpdate) string {
	at := slices.IndexFunc(features, func(f feature) bool { return f.name == m.Feature })
	switch {
	case at < 0:
		return fmt.Sprintf("the feature %q is not known here", m.Feature)
	case features[at].max != m.MaxVersionLevel:
		return fmt.Sprintf("%s is at level %d here, and at no other: levels come with the program", m.Feature, features[at].max)
	}
	return ""
}
