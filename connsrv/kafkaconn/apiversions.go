package kafkaconn

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clientWord is what the name and version of a client's software look like.
var clientWord = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$`)

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
