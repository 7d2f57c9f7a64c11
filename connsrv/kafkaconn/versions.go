package kafkaconn

import "github.com/twmb/franz-go/pkg/kmsg"

// api is one API key that is served: which versions, and how large a request may be.
type api struct {
	key      kmsg.Key
	min, max int16 // served
	shown    int16 // the lowest that is advertised, where that is another than min
	limit    int   // bytes of a request
}

// Bounds of requests, in bytes. A request is decoded into some 40 times its size at worst.
const (
	smallRequest   = 64 << 10
	mediumRequest  = 1 << 20
	produceRequest = 100 << 20 // Kafka's own limit; its batches are in no memory of ours
)

var apis = []api{
	// librdkafka compresses nothing for who does not show version 0 of Produce (up to 2.11).
	{key: kmsg.Produce, min: 3, max: 13, shown: 0, limit: produceRequest},
	{key: kmsg.Fetch, min: 4, max: 18, limit: mediumRequest},
	{key: kmsg.ListOffsets, min: 1, max: 11, limit: mediumRequest},
	{key: kmsg.Metadata, min: 0, max: 13, limit: mediumRequest},
	{key: kmsg.OffsetCommit, min: 2, max: 10, limit: mediumRequest},
	{key: kmsg.OffsetFetch, min: 1, max: 10, limit: mediumRequest},
	{key: kmsg.FindCoordinator, min: 0, max: 6, limit: smallRequest},
	{key: kmsg.JoinGroup, min: 0, max: 9, limit: mediumRequest},
	{key: kmsg.Heartbeat, min: 0, max: 4, limit: smallRequest},
	{key: kmsg.LeaveGroup, min: 0, max: 5, limit: mediumRequest},
	{key: kmsg.SyncGroup, min: 0, max: 5, limit: mediumRequest},
	{key: kmsg.DescribeGroups, min: 0, max: 6, limit: mediumRequest},
	{key: kmsg.ListGroups, min: 0, max: 5, limit: smallRequest},
	{key: kmsg.SASLHandshake, min: 0, max: 1, limit: smallRequest},
	{key: kmsg.SASLAuthenticate, min: 0, max: 2, limit: smallRequest},
	{key: kmsg.DescribeUserSCRAMCredentials, min: 0, max: 0, limit: smallRequest},
	{key: kmsg.AlterUserSCRAMCredentials, min: 0, max: 0, limit: smallRequest},
	{key: kmsg.ApiVersions, min: 0, max: 4, limit: smallRequest},
	{key: kmsg.CreateTopics, min: 2, max: 7, limit: mediumRequest},
	{key: kmsg.DeleteTopics, min: 1, max: 6, limit: mediumRequest},
	{key: kmsg.DeleteRecords, min: 0, max: 2, limit: mediumRequest},
	{key: kmsg.InitProducerID, min: 0, max: 5, limit: smallRequest},
	{key: kmsg.AddPartitionsToTxn, min: 0, max: 3, limit: mediumRequest},
	{key: kmsg.AddOffsetsToTxn, min: 0, max: 4, limit: smallRequest},
	{key: kmsg.EndTxn, min: 0, max: 5, limit: smallRequest},
	{key: kmsg.TxnOffsetCommit, min: 0, max: 5, limit: mediumRequest},
	{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, limit: mediumRequest},
	{key: kmsg.DescribeACLs, min: 1, max: 3, limit: smallRequest},
	{key: kmsg.CreateACLs, min: 1, max: 3, limit: mediumRequest},
	{key: kmsg.DeleteACLs, min: 1, max: 3, limit: mediumRequest},
	{key: kmsg.DescribeConfigs, min: 1, max: 4, limit: mediumRequest},
	{key: kmsg.AlterConfigs, min: 0, max: 2, limit: mediumRequest},
	{key: kmsg.CreatePartitions, min: 0, max: 3, limit: mediumRequest},
	{key: kmsg.DeleteGroups, min: 0, max: 2, limit: mediumRequest},
	{key: kmsg.AlterPartitionAssignments, min: 0, max: 1, limit: mediumRequest},
	{key: kmsg.ListPartitionReassignments, min: 0, max: 0, limit: smallRequest},
	{key: kmsg.ElectLeaders, min: 0, max: 2, limit: mediumRequest},
	{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, limit: mediumRequest},
	{key: kmsg.OffsetDelete, min: 0, max: 0, limit: mediumRequest},
	{key: kmsg.DescribeLogDirs, min: 1, max: 5, limit: mediumRequest},
	{key: kmsg.UpdateFeatures, min: 0, max: 2, limit: smallRequest},
	{key: kmsg.DescribeClientQuotas, min: 0, max: 1, limit: smallRequest},
	{key: kmsg.DescribeCluster, min: 0, max: 2, limit: smallRequest},
	{key: kmsg.DescribeProducers, min: 0, max: 0, limit: mediumRequest},
	{key: kmsg.DescribeTransactions, min: 0, max: 0, limit: mediumRequest},
	{key: kmsg.ListTransactions, min: 0, max: 2, limit: mediumRequest},
	{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, limit: mediumRequest},
	{key: kmsg.ConsumerGroupDescribe, min: 0, max: 1, limit: mediumRequest},
	{key: kmsg.ListConfigResources, min: 0, max: 1, limit: smallRequest},
	{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, limit: mediumRequest},
	{key: kmsg.ShareGroupHeartbeat, min: 1, max: 1, limit: mediumRequest},
	{key: kmsg.ShareGroupDescribe, min: 1, max: 1, limit: mediumRequest},
	{key: kmsg.ShareFetch, min: 1, max: 2, limit: mediumRequest},
	{key: kmsg.ShareAcknowledge, min: 1, max: 2, limit: mediumRequest},
	{key: kmsg.DescribeShareGroupOffsets, min: 0, max: 1, limit: mediumRequest},
	{key: kmsg.AlterShareGroupOffsets, min: 0, max: 0, limit: mediumRequest},
	{key: kmsg.DeleteShareGroupOffsets, min: 0, max: 0, limit: mediumRequest},
}

// byKey finds an API; nil: it is not served.
var byKey [128]*api

func init() {
	for i := range apis {
		a := &apis[i]
		if a.key != kmsg.Produce {
			a.shown = a.min
		}
		byKey[a.key] = a
	}
}

// apiOf is the API of a key; nil: it is not served.
func apiOf(key int16) *api {
	if key < 0 || int(key) >= len(byKey) {
		return nil
	}
	return byKey[key]
}

// serves tells whether a version is served.
func (a *api) serves(version int16) bool { return version >= a.min && version <= a.max }
