package kafkaconn

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clientWord is what the name and version of a client's software look like.
var clientWord = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$`)

// features are what clusters of Kafka can be told to do or not to do, at which levels. Here they are as they are.
var features = []struct {
	name     string
	min, max int16
}{
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

// apiVersions tells what is served.
func (c *Conn) apiVersions(k *call, m *kmsg.ApiVersionsRequest) {
	resp := kmsg.NewPtrApiVersionsResponse()
	if m.Version >= 3 && (!clientWord.MatchString(m.ClientSoftwareName) || !clientWord.MatchString(m.ClientSoftwareVersion)) {
		resp.ErrorCode = codeInvalidRequest
		c.finish(k, resp)
		return
	}
	for i := range apis {
		a := &apis[i]
		resp.ApiKeys = append(resp.ApiKeys, shownKey(a, a.shown, a.max))
	}
	if m.Version >= 3 {
		appendFeatures(resp, m.Version)
	}
	c.finish(k, resp)
}

func shownKey(a *api, min, max int16) kmsg.ApiVersionsResponseApiKey {
	shown := kmsg.NewApiVersionsResponseApiKey()
	shown.ApiKey, shown.MinVersion, shown.MaxVersion = int16(a.key), min, max
	return shown
}

// unknownVersions answers an ApiVersions of a version that we do not know, in version 0: the client
// asks again with one that is listed.
func (c *Conn) unknownVersions(k *call) {
	k.version = 0
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = codeUnsupportedVersion
	a := apiOf(int16(kmsg.ApiVersions))
	resp.ApiKeys = append(resp.ApiKeys, shownKey(a, a.min, a.max))
	c.finish(k, resp)
}
